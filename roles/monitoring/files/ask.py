"""Ask Prometheus and Alertmanager on this server how they are, and print the answers as JSON: what the promises are held against.

``down``: targets that do not answer, with the reason. ``rules``: file and state of each rule. ``managers``: Alertmanagers that Prometheus
talks to. ``receivers``: of Alertmanager. ``age``: of the newest sample, in seconds. ``retention``: time and bytes. ``loaded``: whether
the last reload of each was good. ``mute``: what could not be asked.
"""

import json
import re
import time
import urllib.parse
import urllib.request

PROMETHEUS, ALERTMANAGER = "http://127.0.0.1:9090", "http://127.0.0.1:9093"


def ask(address):
    """Return the text behind an address."""
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read().decode()


def api(path, **query):
    """Return an answer of Prometheus' API."""
    return json.loads(ask(f"{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(query)}"))["data"]


def targets():
    """Return the targets, as soon as each has been asked once, or after 30 seconds; after a reload new ones take some seconds to come."""
    wanted = api("status/config")["yaml"].count("\n- job_name: ")
    for _ in range(60):
        found = api("targets", state="active")["activeTargets"]
        if len(found) == wanted and all(target["health"] != "unknown" for target in found):
            break
        time.sleep(0.5)
    return found


def managers():
    """Return the Alertmanagers that Prometheus talks to; after a reload it takes some seconds to find them again."""
    for _ in range(30):
        found = [manager["url"] for manager in api("alertmanagers")["activeAlertmanagers"]]
        if found:
            break
        time.sleep(0.5)
    return found


def down():
    """Return a line for each target that does not answer."""
    return sorted(f"{target['scrapePool']}: {target['lastError'] or 'not asked yet'}" for target in targets() if target["health"] != "up")


def rules():
    """Return file, name and health of each rule that is not well, and all files."""
    groups = api("rules")["groups"]
    bad = [f"{rule['name']}: {rule.get('lastError')}" for group in groups for rule in group["rules"] if rule["health"] == "err"]
    return {"files": sorted({group["file"] for group in groups}), "bad": bad}


def age():
    """Return the age of the newest sample of each host, at most, in seconds."""
    (found,) = api("query", query="time() - min(max by (host) (timestamp(up)))")["result"]
    return float(found["value"][1])


def loaded():
    """Return whether the last reload of each was good."""
    texts = {"prometheus": ask(f"{PROMETHEUS}/metrics"), "alertmanager": ask(f"{ALERTMANAGER}/metrics")}
    return {name: re.search(rf"^{name}_config_last_reload_successful (\S+)$", text, re.M)[1] == "1" for name, text in texts.items()}


def retention():
    """Return time, as it was given, and size in bytes."""
    size = re.search(r"^prometheus_tsdb_retention_limit_bytes (\S+)$", ask(f"{PROMETHEUS}/metrics"), re.M)
    return {"time": api("status/flags")["storage.tsdb.retention.time"], "bytes": float(size[1])}


ASKED = {
    "down": down, "rules": rules, "age": age, "loaded": loaded, "retention": retention,
    "managers": managers,
    "receivers": lambda: sorted(receiver["name"] for receiver in json.loads(ask(f"{ALERTMANAGER}/api/v2/receivers"))),
}  # fmt: skip
answers = {"mute": []}
for name, function in ASKED.items():
    try:
        answers[name] = function()
    except (OSError, ValueError, KeyError, TypeError) as error:
        answers["mute"].append(f"{name}: {getattr(error, 'reason', error)}")
print(json.dumps(answers))
