#!/usr/bin/python3
"""Measure on a server what the role notify costs: ``ssh root@fenton python3 - <benchmarks/notify.py``. It sends some messages.

Prints JSON: medians in milliseconds of a command with and without notify, of a text, and the memory of the sender in MiB when it has just
worked and when it has had nothing to do for a while.
"""

import json
import platform
import statistics
import subprocess
import time

ROUNDS = 15


def median(*words):
    """Return the median wall time of a command in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        begun = time.monotonic()
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append((time.monotonic() - begun) * 1000)
    return round(statistics.median(times), 1)


def memory():
    """Return the proportional memory of the sender in MiB, 0 where it does not run."""
    words = ["systemctl", "show", "-P", "MainPID", "fenton-notify.service"]
    process = int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    if not process:
        return 0
    with open(f"/proc/{process}/smaps_rollup", encoding="ascii") as file:
        return round(next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024, 1)


found = {
    "python": platform.python_version(),
    "true_ms": median("true"),
    "python_ms": median("/usr/bin/python3", "-I", "-c", "pass"),
    "notify_true_ms": median("notify", "--", "true"),
    "notify_text_ms": median("notify", "a text of the benchmark"),
}
found["sender_mib"] = memory()
until = time.monotonic() + 120
while memory() and time.monotonic() < until:
    time.sleep(2)
found["sender_at_rest_mib"] = memory()
print(json.dumps(found, indent=2))
