"""Time the environment ``tf`` from nothing to a trained network, made as the role does it and with plain pip.

Each round boots a bare server with a distribution of conda, and there makes the environment twice from the same lock: with uv and compiled
at once, as the role anaconda does, and with the environment's own pip; neither keeps a cache. Then a network is trained in it, as an
ordinary user, twice. Medians go to ``benchmarks/results/``.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from run import ENVIRONMENT, HOST, ROOT, command, fresh, gone, head, median, variables, write

LOCK = ROOT / "roles/tensorflow/files/locks/tensorflow-cpu.txt"
TRAIN = ROOT / "roles/tensorflow/files/train.py"
ENV = "/opt/conda/envs/tf"
WAYS = {
    "uv": "UV_SYSTEM_CERTS=1 UV_LINK_MODE=hardlink UV_CACHE_DIR=/opt/conda/envs/.cache /root/uv pip install --quiet"
    f" --python {ENV}/bin/python --require-hashes --no-deps -r /root/lock.txt && rm -r /opt/conda/envs/.cache"
    f" && {{ {ENV}/bin/python -I -m compileall -q -q -j 0 {ENV}/lib/python3*/site-packages || true; }}",
    "pip": f"{ENV}/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes --no-deps"
    " -r /root/lock.txt",
}


def server(script):
    """Run a shell script on the server as root; return its seconds and what it printed, or stop where it fails."""
    started = time.monotonic()
    done = subprocess.run(["docker", "exec", f"fenton-bench-{HOST}", "sh", "-ec", script], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout[-2000:]}{done.stderr[-2000:]}\nbench: `{script[:80]}` failed with exit status {done.returncode}")
    return round(time.monotonic() - started, 2), done.stdout


def one_round(figures, ways):
    """Measure every way once on a fresh server and add what it took to *figures*.

    :arg ways: names and commands of :data:`WAYS`, in the order of their turns.
    """
    fresh()
    for source, target in ((shutil.which("uv"), "/root/uv"), (LOCK, "/root/lock.txt"), (TRAIN, "/opt/train.py")):
        command("docker", "cp", Path(source).resolve(), f"fenton-bench-{HOST}:{target}")
    # Its stand-in where the real installer is not to be had; what comes from the index is the same.
    listed = variables()
    server(f"sh {listed['anaconda_url'].removeprefix('file://')} -b -p /opt/conda >/dev/null && chmod 644 /opt/train.py")
    for way, install in ways:
        bare, _ = server(f"/opt/conda/bin/conda create --yes --prefix {ENV} python={listed['tensorflow_python']} >/dev/null")
        installed, _ = server(install)
        train = f"runuser -u nobody -- env -i HOME=/nonexistent {ENV}/bin/python -I /opt/train.py tensorflow"
        first, said = server(train)
        again, _ = server(train)
        _, size = server(f"du -sm {ENV}")
        for name, value in (
            ("from nothing to a trained network", bare + installed + first), ("installing", installed), ("first training", first),
            ("later training", again), ("MB on the disk", int(size.split()[0])),
        ):  # fmt: skip
            figures.setdefault(f"{name}, {way}", []).append(round(value, 2))
        print(way, json.loads(said), size.split()[0], "MB", flush=True)
        server(f"rm -r {ENV}")
    gone()


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (%(default)s)")
    options = parser.parse_args()
    figures = {}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", flush=True)
        # Each way goes first in turn: what the machine does beside it meets both.
        one_round(figures, list(WAYS.items())[:: -1 if number % 2 else 1])
    result = {**head(), "rounds": options.rounds, "figures": figures}
    lines = [
        "The environment `tf` for CPUs, made from its lock on a bare server, no cache; the index is near by.",
        f"Medians of {options.rounds} rounds; seconds, and MB for the disk.", "",
        "| what | median | all |", "|---|---:|---|",
        *(f"| {name} | {median(values)} | {', '.join(map(str, values))} |" for name, values in sorted(figures.items())),
    ]  # fmt: skip
    write(f"{ENVIRONMENT['OS']}-tensorflow", result, lines)


if __name__ == "__main__":
    main()
