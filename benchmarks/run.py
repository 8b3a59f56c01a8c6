"""Time the site's first and second run and, beside it, a plain shell script that installs the same.

Each round boots a fresh container for the site and another for the script, one after the other, so that a slow minute of the
machine meets both. Medians go to ``benchmarks/results/`` with date, machine and system.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ["-i", "molecule/demo/inventory.yml", "-i", "molecule/shared/containers"]
ENVIRONMENT = {**os.environ, "FENTON_SCENARIO": "bench", "DEMO_PORT": "0", "OS": os.environ.get("OS", "debian13")}
HOST = "fenton"


def command(*words, **options):
    """Run *words* in the repository; when it fails, show its output and stop."""
    done = subprocess.run(
        [str(word) for word in words], cwd=ROOT, env={**ENVIRONMENT, **options}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{done.stdout[-4000:]}\nbench: {words[0]} failed with exit status {done.returncode}")
    return done.stdout


def fresh():
    """Boot a bare server in place of the last one."""
    command("ansible-playbook", *SOURCES, "molecule/shared/destroy.yml")
    command("ansible-playbook", *SOURCES, "molecule/shared/create.yml")


def site(*words):
    """Run the site once and return its report (seconds, roles, hosts); ``wall`` is what a user waits, in seconds."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        started = time.monotonic()
        artifacts = ["-e", f"artifacts_dir={ROOT}/.work/artifacts/bench"]
        command("ansible-playbook", *SOURCES, *artifacts, "site.yml", "-l", HOST, *words, FENTON_REPORT=str(report))
        return {"wall": round(time.monotonic() - started, 2), **json.loads(report.read_text())}


def plain():
    """Run the shell script on the server as root over ssh and return its wall time in seconds."""
    listed = json.loads(command("ansible-inventory", *SOURCES, "--host", HOST))
    ssh = [
        "ssh", "-F", "none", "-o", "BatchMode=yes", "-i", listed["ansible_ssh_private_key_file"],
        *listed["ansible_ssh_common_args"].split(), f"root@{listed['ansible_host']}",
    ]  # fmt: skip
    started = time.monotonic()
    # The script and what it installs from travel in the time that is measured, as Ansible's files do.
    locks = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("roles/*/files/locks/*.txt"))
    pack = subprocess.Popen(["tar", "-C", ROOT, "-cz", "benchmarks/plain.sh", *locks], stdout=subprocess.PIPE)
    variables = " ".join(
        f"{name}='{value}'" for name, value in (
            ("KEY", (ROOT / ".work/id_ed25519.pub").read_text().strip()),
            ("URL", listed["anaconda_url"]),
            ("SHA256", listed["anaconda_checksum"].removeprefix("sha256:")),
            ("PYTHON", listed["anaconda_python"]),
        )
    )  # fmt: skip
    remote = f"mkdir -p /root/plain && tar -C /root/plain -xz && cd /root/plain && {variables} sh -e benchmarks/plain.sh"
    done = subprocess.run([*ssh, remote], stdin=pack.stdout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout[-4000:]}\nbench: benchmarks/plain.sh failed with exit status {done.returncode}")
    return round(time.monotonic() - started, 2)


def machine():
    """Return what the figures were measured on."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), platform.machine())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return {"cpus": os.cpu_count(), "model": model, "memory_gib": round(memory), "kernel": platform.release()}


def median(values):
    """Return the median of *values*, rounded to hundredths."""
    return round(statistics.median(values), 2)


def table(result):
    """Return the result as Markdown."""
    m, lines = result["machine"], []
    lines += [f"# {result['os']}, {result['date']}", ""]
    lines += [
        f"{m['cpus']} CPUs ({m['model']}), {m['memory_gib']} GiB, Linux {m['kernel']}; {result['ansible']}; revision {result['revision']}.",
        "",
    ]
    lines += [f"Medians of {result['rounds']} rounds; seconds as the user waits for them.", "", "| what | median | all |", "|---|---:|---|"]
    for name in ("first_run", "second_run", "plain_script"):
        seconds = ", ".join(map(str, result[name]["all"]))
        lines.append(f"| {name.replace('_', ' ')} | {result[name]['median']} | {seconds} |")
    lines += ["", f"First run ÷ plain script: {result['first_over_plain']}", ""]
    lines += ["| role | first run, s | second run, s | tasks | tasks on the host | module calls |", "|---|---:|---:|---:|---:|---:|"]
    for role, figures in result["roles"].items():
        lines.append("| " + " | ".join(str(x) for x in (role, *figures.values())) + " |")
    return "\n".join(lines) + "\n"


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    first, second, script = [], [], []
    for number in range(1, rounds + 1):
        fresh()
        first.append(site())
        print(f"round {number}: first run {first[-1]['wall']} s", flush=True)
        second += [site() for _ in range(2)]
        changed = second[-1]["hosts"][HOST]["changed"]
        print(f"round {number}: second run {[run['wall'] for run in second[-2:]]} s, changed={changed}", flush=True)
        if changed:
            sys.exit("bench: the second run changed something; its time would mean nothing")
        fresh()
        script.append(plain())
        print(f"round {number}: plain script {script[-1]} s", flush=True)
    command("ansible-playbook", *SOURCES, "molecule/shared/destroy.yml")

    def seconds(runs):
        return {"median": median([run["wall"] for run in runs]), "all": [run["wall"] for run in runs]}

    result = {
        "date": time.strftime("%Y-%m-%d"),
        "os": ENVIRONMENT["OS"],
        "machine": machine(),
        "ansible": command("ansible", "--version").splitlines()[0],
        "revision": command("git", "rev-parse", "--short", "HEAD").strip(),
        "rounds": rounds,
        "first_run": seconds(first),
        "second_run": seconds(second),
        "plain_script": {"median": median(script), "all": script},
        "roles": {
            role: {
                "first": median([run["roles"][role]["seconds"] for run in first]),
                "second": median([run["roles"][role]["seconds"] for run in second]),
                **{key: second[-1]["roles"][role][key] for key in ("tasks", "on_host", "calls")},
            }
            for role in first[0]["roles"]
            if role in second[-1]["roles"]
        },
    }
    result["first_over_plain"] = round(result["first_run"]["median"] / result["plain_script"]["median"], 2)
    stem = ROOT / "benchmarks/results" / f"{result['date']}-{result['os']}"
    stem.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    stem.with_suffix(".md").write_text(table(result))
    print("\n" + table(result))


if __name__ == "__main__":
    main()
