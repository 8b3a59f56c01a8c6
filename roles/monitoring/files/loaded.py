"""Say what does not run with the files that are there: ``loaded.py`` < {"UNIT": {"restart": [FILE, …], "reload": […], …}, …}.

Prints "start UNIT", "restart UNIT" or "reload UNIT"; nothing where all is well. What a service has loaded it says itself, by the time
of its last good reload; what it was started with, by the time of its start.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from datetime import datetime

PROPERTIES = ("ActiveState", "UnitFileState", "ActiveEnterTimestamp", "NeedDaemonReload")


def show(units):
    """Return the properties of each unit, in the order of *units*: list of dictionaries."""
    words = ["systemctl", "show", "-p", ",".join(PROPERTIES), "--timestamp=us+utc", *units]
    said = subprocess.run(words, capture_output=True, text=True).stdout
    return [dict(line.split("=", 1) for line in block.splitlines()) for block in said.strip().split("\n\n")]


def newest(files):
    """Return when the newest of *files* was written, in seconds since 1970; a file that is missing is newer than all."""
    return max((os.path.getmtime(file) if os.path.exists(file) else float("inf") for file in files), default=0)


def reloaded(port, metric):
    """Return when the service on *port* last took its files, in seconds since 1970; 0 where it does not say."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            found = re.search(rf"^{metric} (\S+)$", answer.read().decode(), re.M)
    except OSError:
        return 0
    return float(found[1]) if found else 0


def due(unit, wanted):
    """Return what a unit with these properties needs: a word, or None."""
    if unit["ActiveState"] != "active" or unit["UnitFileState"] != "enabled":
        return "start"
    began = datetime.strptime(unit["ActiveEnterTimestamp"].replace("UTC", "+0000"), "%a %Y-%m-%d %H:%M:%S.%f %z")
    if newest(wanted["restart"]) > began.timestamp() or unit["NeedDaemonReload"] == "yes":
        return "restart"
    if wanted.get("reload") and newest(wanted["reload"]) > reloaded(wanted["port"], wanted["metric"]):
        return "reload"
    return None


services = json.load(sys.stdin)
for (name, files), unit in zip(services.items(), show([f"{name}.service" for name in services]), strict=True):
    word = due(unit, files)
    if word:
        print(word, name)
