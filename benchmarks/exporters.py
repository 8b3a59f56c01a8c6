#!/usr/bin/python3
"""Measure on a server what the role exporters costs: ``ssh root@fenton python3 - <benchmarks/exporters.py``.

For two minutes it asks each exporter every 15 seconds, as a Prometheus does, and prints JSON: of each unit the memory in MiB (proportional,
what it shares with others counted once) and the share of one core in percent, likewise of systemd itself and of the bus, which answer the
collector of units; all of that together; and the median and longest time of a scrape in milliseconds.
"""

import json
import os
import statistics
import subprocess
import time
import urllib.request

SECONDS, EVERY = 120, 15
# Where to ask; 0 for those that answer nothing by themselves.
PORTS = {
    "prometheus-node-exporter": 9100,
    "fenton-gpu-exporter": 9835,
    "prometheus-blackbox-exporter": 0,
    "prometheus-exporter-exporter": 0,
}
TICKS = os.sysconf("SC_CLK_TCK")


def process(unit):
    """Return the main process of a unit, 0 where it does not run."""
    words = ["systemctl", "show", "-P", "MainPID", f"{unit}.service"]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout or 0)


def used(pid):
    """Return the seconds of processor time that a process has had."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid):
    """Return the proportional memory of a process in MiB."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024


def main():
    """Print what was found."""
    pids = {unit: process(unit) for unit in PORTS}
    pids = {unit: pid for unit, pid in pids.items() if pid} | {"systemd": 1, "dbus": process("dbus")}
    # Both have other work too; where nobody asks, that is what they take.
    quiet = {unit: used(pid) for unit, pid in pids.items()}
    time.sleep(30)
    idle = {unit: (used(pid) - quiet[unit]) / 30 for unit, pid in pids.items()}
    before, times, end = {unit: used(pid) for unit, pid in pids.items()}, [], time.monotonic() + SECONDS
    while time.monotonic() < end:
        next_one = time.monotonic() + EVERY
        for unit, port in PORTS.items():
            if unit in pids and port:
                begun = time.monotonic()
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read()
                if port == 9100:
                    times.append((time.monotonic() - begun) * 1000)
        time.sleep(max(0.0, next_one - time.monotonic()))
    share = {unit: (used(pid) - before[unit]) / SECONDS * 100 for unit, pid in pids.items()}
    for unit in ("systemd", "dbus"):
        share[unit] = max(0.0, share[unit] - idle[unit] * 100)
    agents = {unit: memory(pid) for unit, pid in pids.items() if unit in PORTS}
    print(json.dumps({
        "percent_of_a_core": {unit: round(number, 3) for unit, number in share.items()} | {"all": round(sum(share.values()), 3)},
        "mib": {unit: round(number, 1) for unit, number in agents.items()} | {"all": round(sum(agents.values()), 1)},
        "scrape_ms": {"median": round(statistics.median(times), 1), "longest": round(max(times), 1)},
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
