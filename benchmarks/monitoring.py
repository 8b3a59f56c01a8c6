"""Measure what monitoring costs a server at rest: memory and processor time of each agent, and how long scrapes take.

The half that measures needs nothing but the server's Python; it is sent there and finds the agents itself, among the services that run
and the timers. Memory is the proportional set size, which counts what processes share once. Processor time is what the kernel says that
the processes of a service, and the children that they have waited for, took meanwhile. What a timer starts is over too soon to be found
that way: it is started once more, and what it took is what the children of systemd took meanwhile, the least of three.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

AGENTS = r"prometheus|exporter|alertmanager|blackbox|nginx|glances|grafana|nvitop|istat|fenton-(alerts|dashboard|live|metrics)"
# What all of it together may cost on a server without a GPU: percent of one core, and MiB.
BOUNDS = (1, 300)
TICK = os.sysconf("SC_CLK_TCK")


def said(*words):
    """Return what a command prints, empty where it fails."""
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def ticks(process, fields):
    """Return the sum of some times of a process in seconds, 0 where it is gone.

    :arg fields: numbers of fields in proc(5): 14 and 15 are its own user and system time, 16 and 17 those of the children it waited for.
    """
    try:
        # The name may have blanks and brackets in it.
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(words[field - 3]) for field in fields) / TICK


def memory(process):
    """Return the proportional set size of a process in MiB, 0 where it is gone."""
    try:
        return int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{process}/smaps_rollup").read_text(), re.M)[1]) / 1024
    except (OSError, TypeError):
        return 0


def services(pattern):
    """Return the processes of each running service whose name fits."""
    listed = said("systemctl", "list-units", "--type=service", "--state=running", "--plain", "--no-legend").splitlines()
    found = {}
    for unit in (line.split()[0] for line in listed):
        if re.search(pattern, unit):
            group = said("systemctl", "show", "--property=ControlGroup", "--value", unit)
            for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"):
                files = Path(root + group).rglob("cgroup.procs")
                processes = [int(number) for file in files for number in file.read_text().split()]
                if processes:
                    found[unit.removesuffix(".service")] = processes
                    break
    return found


def timers(pattern):
    """Return how often a minute the active timers whose names fit start something, by what they start."""
    found = {}
    for line in said("systemctl", "list-units", "--type=timer", "--state=active", "--plain", "--no-legend").splitlines():
        unit = line.split()[0]
        if not re.search(pattern, unit):
            continue
        shown = said("systemctl", "show", "--property=Unit,TimersMonotonic,TimersCalendar", unit)
        # "{ OnUnitActiveUSec=1min ; next_elapse=… }", "{ OnCalendar=*:0/15 ; … }": the shortest of all.
        periods = [seconds("timespan", text) for text in re.findall(r"OnUnit(?:Ina|A)ctiveUSec=([^;]+) ;", shown)]
        periods += [seconds("calendar", text) for text in re.findall(r"OnCalendar=([^;]+) ;", shown)]
        if any(periods):
            found[re.search(r"^Unit=(.+)\.service$", shown, re.M)[1]] = 60 / min(filter(None, periods))
    return found


def seconds(kind, text):
    """Return the seconds of a time span of systemd, or between two of its calendar's events."""
    if kind == "timespan":
        found = re.search(r"μs: (\d+)", said("systemd-analyze", "timespan", text))
        return int(found[1]) / 1e6 if found else 0
    shown = said("systemd-analyze", "calendar", "--iterations=2", text)
    times = [said("date", "-d", each, "+%s") for each in re.findall(r"(?:Next elapse|Iter\. #2|Iteration #2): (.+)", shown)]
    return int(times[1]) - int(times[0]) if len(times) == 2 else 0


def run_once(unit):
    """Start what a timer starts and return the processor time that it took, in seconds."""
    taken = []
    for _ in range(3):
        before = ticks(1, (16, 17))
        subprocess.run(["systemctl", "start", unit], capture_output=True)
        taken.append(ticks(1, (16, 17)) - before)
    return min(taken)


def ask(prometheus, query):
    """Return the answer of Prometheus to *query* by job, nothing where there is no Prometheus."""
    url = f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = json.load(answer)["data"]["result"]
    except OSError:
        return {}
    return {each["metric"].get("job", ""): float(each["value"][1]) for each in found}


def measure(minutes, pattern, prometheus):
    """Return what the agents of this machine take at rest.

    :arg minutes: how long to look.
    :arg pattern: regular expression for names of units.
    :arg prometheus: address of a Prometheus.
    """
    before = {unit: sum(ticks(process, (14, 15, 16, 17)) for process in processes) for unit, processes in services(pattern).items()}
    time.sleep(60 * minutes)
    found = {}
    for unit, processes in services(pattern).items():
        taken = sum(ticks(process, (14, 15, 16, 17)) for process in processes) - before.get(unit, 0)
        # A service that began meanwhile would have its start counted as rest.
        if unit in before and taken >= 0:
            found[unit] = {"mib": round(sum(map(memory, processes)), 1), "cpu_per_minute": round(taken / minutes, 3)}
    for unit, often in timers(pattern).items():
        found[f"{unit} (timer)"] = {"mib": 0, "cpu_per_minute": round(run_once(unit) * often, 3), "runs_per_minute": round(often, 3)}
    window = f"[{max(1, round(minutes))}m]"
    scrapes = {
        name: ask(prometheus, query)
        for name, query in {
            "mean": f"avg by (job) (avg_over_time(scrape_duration_seconds{window}))",
            "longest": f"max by (job) (max_over_time(scrape_duration_seconds{window}))",
            "samples": "sum by (job) (scrape_samples_scraped)",
            "targets": "count by (job) (up)",
            "answering": "sum by (job) (up)",
        }.items()
    }
    system = platform.freedesktop_os_release()
    return {
        "system": system["ID"] + system["VERSION_ID"].replace(".", ""),
        "minutes": minutes,
        "agents": found,
        "scrapes": {job: {name: values.get(job, 0) for name, values in scrapes.items()} for job in sorted(scrapes["mean"])},
    }


def way_to(server):
    """Return the words that run a command on a server: in a container of that name or host label, else over ssh."""
    for condition in (f"name=^{server}$", f"label=fenton.host={server}"):
        names = said("docker", "ps", "--format", "{{.Names}}", "--filter", condition).split()
        if len(names) > 1:
            sys.exit(f"bench: several containers are called {server}; name one of them: {', '.join(names)}")
        if names:
            return ["docker", "exec", "-i", names[0]]
    return ["ssh", server, *([] if server.startswith("root@") else ["sudo"])]


def report(result):
    """Return a result as lines of Markdown."""
    agents, minutes = result["agents"], result["minutes"]
    mib, cpu = (round(sum(each[key] for each in agents.values()), 2) for key in ("mib", "cpu_per_minute"))
    rows = sorted(agents.items(), key=lambda item: (-item[1]["mib"], item[0]))
    verdict = "within" if cpu / 0.6 < BOUNDS[0] and mib < BOUNDS[1] else "NOT within"
    return [
        f"What monitoring costs at rest, over {minutes:g} minutes: memory (PSS), and seconds of one processor per minute.",
        "", "| agent | MiB | CPU s/min |", "|---|---:|---:|",
        *(f"| {unit} | {each['mib']} | {each['cpu_per_minute']} |" for unit, each in rows),
        f"| **together** | **{mib}** | **{cpu}** |", "",
        f"{cpu / 0.6:.2f} % of one core and {mib:.0f} MiB: {verdict} the bounds of {BOUNDS[0]} % and {BOUNDS[1]} MiB, those of a server"
        " without a GPU.", "",
        "| job | targets (answering) | samples | scrape, mean ms | longest ms |", "|---|---:|---:|---:|---:|",
        *(
            f"| {job} | {each['targets']:.0f} ({each['answering']:.0f}) | {each['samples']:.0f} | {each['mean'] * 1000:.1f}"
            f" | {each['longest'] * 1000:.1f} |"
            for job, each in result["scrapes"].items()
        ),
    ]  # fmt: skip


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", nargs="?", help="container, host of a scenario, or what ssh knows; without it, this machine, as JSON")
    parser.add_argument("--minutes", type=float, default=5, help="how long to look (%(default)s)")
    parser.add_argument("--agents", default=AGENTS, help="regular expression for names of services and timers (%(default)s)")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address on the server (%(default)s)")
    options = parser.parse_args()
    if not options.server:
        return print(json.dumps(measure(options.minutes, options.agents, options.prometheus)))
    from run import head, write  # where this is sent to, there is no such module

    # Twice quoted: ssh gives its words to a shell.
    way, pattern = way_to(options.server), options.agents
    pattern = f"'{pattern}'" if way[0] == "ssh" else pattern
    words = [*way, "python3", "-", "--minutes", str(options.minutes), "--agents", pattern, "--prometheus", options.prometheus]
    done = subprocess.run(words, input=Path(__file__).read_text(encoding="utf-8"), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"bench: {options.server} could not be measured (exit status {done.returncode})")
    result = {**head(), **json.loads(done.stdout)}
    if not result["agents"]:
        sys.exit(f"bench: no service of {options.server} fits {options.agents}")
    return write(f"{result['system']}-monitoring", result, report(result))


if __name__ == "__main__":
    main()
