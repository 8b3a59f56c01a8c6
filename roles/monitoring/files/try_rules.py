"""Hold rule files against promtool, where nothing of Prometheus is installed too: ``try_rules.py [fetch]`` < {"NAME": "TEXT", …}.

Without promtool it ends with 77; with the word ``fetch`` it gets promtool from the distribution, into a directory that goes with it.
Prints a line for each file that promtool refuses.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def fetched(place):
    """Return the path of a promtool from the distribution's archive, unpacked below *place*; apt's own state stays as it is."""
    for name in ("lists/partial", "cache/archives/partial"):
        (place / name).mkdir(parents=True)
    apt = ["apt-get", "-qq", "-o", f"Dir::State::Lists={place}/lists", "-o", f"Dir::Cache={place}/cache", "-o", "APT::Sandbox::User=root"]
    subprocess.run([*apt, "update"], check=True, capture_output=True, cwd=place)
    for package in ("promtool", "prometheus"):  # a package of its own since Debian 13
        if subprocess.run([*apt, "download", package], capture_output=True, cwd=place).returncode == 0:
            break
    (package,) = place.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, place / "tree"], check=True, capture_output=True)
    return place / "tree/usr/bin/promtool"


def main():
    """Return the exit status."""
    texts = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        promtool = shutil.which("promtool", path="/usr/bin") or (fetched(place) if sys.argv[1:] == ["fetch"] else None)
        if not promtool:
            return 77
        for name, text in texts.items():
            file = place / "rules.yml"
            file.write_text(text, encoding="utf-8")
            done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True)
            if done.returncode:
                said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
                said = [line for line in said if not line.startswith("Checking") and line != "FAILED:"] or ["without a word"]
                print(f"{name}: {said[0].replace(f'{file}: ', '')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
