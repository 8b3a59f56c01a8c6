"""What is decided about watching: what is wrong with the input, and the configurations of Prometheus and Alertmanager as data."""

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = "group_vars/monitoring/monitoring.yml"
ADDRESS = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):([1-9][0-9]{0,4})")
MAIL = re.compile(r"[^@\s<>,\"]+@[^@\s<>,\"]+")
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
SIZES = {"KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40, "PB": 2**50}
# Prometheus writes a block every two hours; less than its log and one block need cannot be kept to.
SHORTEST, SMALLEST = 2 * 3600, 256 * 2**20
# All that a rule file may hold: https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/
GROUP_KEYS = {"name", "interval", "limit", "query_offset", "labels", "rules", "partial_response_strategy"}
RULE_KEYS = {"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"}


def read_rules(paths):
    """Return the texts of rule files on the control node, by path; None where there is no such file.

    :arg paths: as ``monitoring_rules``; relative paths begin at the repository.
    """
    files = {str(path): ROOT / path for path in paths}
    return {path: file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None for path, file in files.items()}


def seconds(text):
    """Return the length in seconds of a duration as Prometheus writes it (``1h30m``), or None where it is none."""
    if not re.fullmatch(r"((\d+)(y|w|d|h|ms|m|s))+", text):
        return None
    parts = re.findall(r"(\d+)(y|w|d|h|ms|m|s)", text)
    order = [list(UNITS)[::-1].index(unit) for _, unit in parts]
    return sum(int(number) * UNITS[unit] for number, unit in parts) if order == sorted(set(order)) else None


def size_in_bytes(text):
    """Return what a size as Prometheus writes it (``5GB``) is in bytes, or None where it is none."""
    found = re.fullmatch(r"(\d+)(KB|MB|GB|TB|PB)", text)
    return int(found[1]) * SIZES[found[2]] if found else None


def is_address(text):
    """Tell whether *text* is HOST:PORT."""
    found = ADDRESS.fullmatch(text or "")
    return bool(found) and int(found[2]) <= 65535


def watched(hosts, directory):
    """Return ``monitoring_targets`` for servers, from what each of them has handed out.

    :arg hosts: names of the inventory.
    :arg directory: where ``<host>/exporters.json`` lie (role exporters); empty for where runs put them by themselves.
    :returns: a dictionary per host; with ``host`` alone where there is no file yet.
    :raises ValueError: when such a file is not JSON.
    """
    found = []
    for host in hosts:
        file = ROOT / Path(directory or "artifacts").expanduser() / host / "exporters.json"
        found.append(json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"host": host})
    return found


def reachable(targets, own):
    """Return those targets that can be scraped: the server's own, and those that have a door."""
    return [target for target in targets if target.get("modules") and (target["host"] == own or target.get("door"))]


def left_out(targets, own):
    """Return a sentence for each target that cannot be scraped."""
    return [
        f"{target['host']}: not watched, because "
        + ("it lets no other server in" if target.get("modules") else "it has no exporters.json below artifacts/ on this control node")
        + f"; run `ansible-playbook site.yml -l {','.join(dict.fromkeys([target['host'], own]))}`"
        for target in targets
        if target not in reachable(targets, own)
    ]


def target_problems(target):
    """Return what is wrong with one entry of ``monitoring_targets``, without the variable's name; no secret is repeated."""
    host, problems = target["host"], []
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", host):
        return [f"{host!r} cannot be the name of a server"]
    for name, module in (target.get("modules") or {}).items():
        if not re.fullmatch(r"node|gpu|blackbox|jupyter_[a-z_][a-z0-9_-]*", name):
            problems.append(f"the module {name!r} of {host} is none of node, gpu, blackbox, jupyter_USER")
        elif not isinstance(module, dict) or not is_address(module.get("address")) or not str(module.get("path", "")).startswith("/"):
            problems.append(f"the module {name} of {host} has no address HOST:PORT, or no path")
    if target.get("probes") and "blackbox" not in (target.get("modules") or {}):
        problems.append(f"{host} has probes, and no module blackbox that could make them")
    problems += [
        f"the probe {name} of {host}, {url!r}, does not begin with http:// or https://"
        for name, url in (target.get("probes") or {}).items()
        if not re.fullmatch(r"https?://\S+", str(url))
    ]
    door = target.get("door")
    if door:
        if not is_address(door.get("address")):
            problems.append(f"the door of {host} has no address HOST:PORT")
        if "-----BEGIN CERTIFICATE-----" not in (door.get("ca") or ""):
            problems.append(f"the door of {host} has no certificate of an authority")
        if not re.fullmatch(r"[\x21-\x7e]{16,}", door.get("token") or ""):
            problems.append(f"the door of {host} has no token of 16 characters or more")
    return problems


def email_problems(email):
    """Return what is wrong with ``monitoring_email``, without the variable's name; the password is never repeated."""
    if not email:
        return []
    problems = []
    for key, values in (("to", email.get("to") or []), ("from", [email["from"]] if email.get("from") else [])):
        problems += [f"there is no {key!r}; add it"] if not values else []
        problems += [f"{value!r} is not a mail address; correct it" for value in values if not MAIL.fullmatch(str(value))]
    smarthost = email.get("smarthost") or ""
    if not smarthost:
        problems.append("there is no smarthost that takes the mails; add smarthost: HOST:PORT")
    elif not is_address(smarthost):
        problems.append(f"the smarthost {smarthost!r} is not HOST:PORT; correct it")
    if bool(email.get("username")) != bool(email.get("password")):
        problems.append("username and password belong together, and only one of them is there; add the other, or remove it")
    if email.get("password") and email.get("require_tls") is False:
        problems.append("require_tls: false would send the password in the clear; remove one of the two")
    return problems


def rule_file_problems(path, text):
    """Return what is wrong with the structure of a rule file; its PromQL is promtool's to judge.

    :arg path: how the file is called in ``monitoring_rules``.
    :arg text: what stands in it.
    """
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return [f"{path} is not YAML{f' in line {mark.line + 1}' if mark else ''} ({getattr(error, 'problem', 'unreadable')}); correct it"]
    groups = read.get("groups") if isinstance(read, dict) else None
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups) or set(read) != {"groups"}:
        return [f"{path} is no rule file of Prometheus, which has groups: and nothing beside it; correct it"]
    problems, names = [], [group.get("name") for group in groups]
    for group in groups:
        name, rules = group.get("name"), group.get("rules")
        if not isinstance(name, str) or not name:
            problems.append(f"{path} has a group without a name; give it one")
            continue
        problems += [f"{path} has two groups {name!r}; rename one"] if names.count(name) > 1 else []
        problems += [f"{path}, group {name!r}: {key} is not a key of a group; correct it" for key in sorted(set(group) - GROUP_KEYS)]
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            problems.append(f"{path}, group {name!r} has no list of rules; add it")
            continue
        for number, rule in enumerate(rules, 1):
            where = f"{path}, group {name!r}, rule {number}"
            if ("alert" in rule) == ("record" in rule):
                problems.append(f"{where} needs either alert or record; correct it")
            if rule.get("expr") in (None, ""):
                problems.append(f"{where} has no expr; add it")
            problems += [f"{where}: {key} is not a key of a rule; correct it" for key in sorted(set(map(str, rule)) - RULE_KEYS)]
            problems += [
                f"{where}: {key}: {rule[key]} is not a duration such as 5m; correct it"
                for key in ("for", "keep_firing_for")
                if key in rule and seconds(str(rule[key])) is None and str(rule[key]) != "0"
            ]
    return list(dict.fromkeys(problems))


def monitoring_problems(given):
    """Return sentences about the settings, none where all is well.

    :arg given: dictionary of the role's variables without ``monitoring_``; ``rules`` is a dictionary of texts by path, None where the file
        is not there.
    """
    problems = [f"monitoring_targets: {text}; correct it in {FILE}." for target in given["targets"] for text in target_problems(target)]
    hosts = [target["host"] for target in given["targets"]]
    twice = dict.fromkeys(host for host in hosts if hosts.count(host) > 1)
    problems += [f"monitoring_targets: {host} is there twice; remove one in {FILE}." for host in twice]

    interval = seconds(str(given["interval"]))
    if interval is None or not 1 <= interval <= 120:
        # A query that looks five minutes back must find two samples.
        problems.append(f"monitoring_interval: {given['interval']!r} is not between 1s and 2m, written like 15s; correct it in {FILE}.")
    span = seconds(str(given["retention_time"]))
    if span is None or span < SHORTEST:
        text = f"{given['retention_time']!r} is not a time of 2h or more, written like 30d"
        problems.append(f"monitoring_retention_time: {text}; correct it in {FILE}.")
    size = size_in_bytes(str(given["retention_size"]))
    if size is None or size < SMALLEST:
        text = f"{given['retention_size']!r} is not a size of 256MB or more, written like 5GB"
        problems.append(f"monitoring_retention_size: {text}; correct it in {FILE}.")

    names = [Path(path).name for path in given["rules"]]
    for path, text in given["rules"].items():
        if text is None:
            problems.append(f"monitoring_rules: there is no file {path} on the control node; correct it in {FILE}.")
        elif not re.fullmatch(r"[A-Za-z0-9._-]+\.ya?ml", Path(path).name):
            problems.append(f"monitoring_rules: {path} is not called NAME.yml; rename it, and correct it in {FILE}.")
        elif names.count(Path(path).name) > 1:
            problems.append(f"monitoring_rules: two files are called {Path(path).name}; rename one, and correct it in {FILE}.")
        else:
            problems += [f"monitoring_rules: {said}." for said in rule_file_problems(path, text)]

    problems += [f"monitoring_email: {text} in {FILE}." for text in email_problems(given["email"])]
    urls = [hook["url"] for hook in given["webhooks"]]
    for number, url in enumerate(urls, 1):
        if not re.fullmatch(r"https?://[^\s/]+\S*", url):
            problems.append(f"monitoring_webhooks: entry {number} does not begin with http:// or https://; correct it in {FILE}.")
        elif url in urls[: number - 1]:
            problems.append(f"monitoring_webhooks: entry {number} is there twice; remove one in {FILE}.")
    return list(dict.fromkeys(problems))


def host_problems(seen, host, size):
    """Return sentences about what the host itself shows.

    :arg seen: what was seen: ``ports`` (a line for each that is taken), ``room`` (bytes of the disk), ``rules`` (a line for each that
        promtool refuses), each where it was asked for.
    :arg host: its name in the inventory.
    :arg size: as ``monitoring_retention_size``.
    """
    problems = [
        f"role monitoring: {line} on {host}, and Prometheus needs it; give that program another one (for Cockpit: "
        "systemctl edit cockpit.socket), or take the host out of the group monitoring in inventory/hosts.yml."
        for line in (seen.get("ports") or {}).get("lines", [])
    ]
    room = (seen.get("room") or {}).get("stdout", "")
    if room.isdigit() and size_in_bytes(str(size)) and size_in_bytes(str(size)) > int(room):
        text = f"{size} is more than the disk of {host} has below /var/lib ({int(room) / 2**30:.1f} GB)"
        problems.append(f"monitoring_retention_size: {text}; correct it in {FILE}.")
    rules = seen.get("rules") or {"lines": [], "rc": 0}
    problems += [f"monitoring_rules: promtool refuses {line}; correct that file." for line in rules["lines"]]
    if rules["rc"] not in (0, 77):
        said = (rules["stderr"].splitlines() or ["no answer"])[-1]
        problems.append(f"monitoring_rules: promtool could not be asked on {host} ({said}); run it again.")
    return problems


def own_names(texts):
    """Return *texts* under the names that rule files of the user's own have on the host."""
    return {f"own-{Path(name).name}": text for name, text in texts.items()}


def named_files(texts, directory, **more):
    """Return entries of ``write_files``.

    :arg texts: by name of the file.
    :arg directory: where they are to be.
    :arg more: further keys of each entry.
    """
    return [{"dest": f"{directory}/{Path(name).name}", "content": text or "", **more} for name, text in texts.items()]


def door_texts(targets):
    """Return by name the files that open the doors of *targets*: the authority's certificate and the token of each."""
    texts = {f"{target['host']}.pem": target["door"]["ca"] for target in targets}
    return texts | {f"{target['host']}.token": target["door"]["token"] for target in targets}


# Times of each of JupyterLab's handlers, by status and bucket: hundreds of series that nobody looks at.
HANDLERS = {"source_labels": ["__name__"], "regex": "http_request_duration_seconds_.*", "action": "drop"}


def prometheus_config(targets, own, interval, rules, directory):
    """Return the configuration of Prometheus.

    :arg targets: as from :func:`reachable`.
    :arg own: name of the server that watches; its exporters are asked on loopback, those of others through their door.
    :arg interval: as in ``monitoring_interval``.
    :arg rules: paths of rule files on the host.
    :arg directory: directory on the host that holds ``doors/<host>.pem`` and ``doors/<host>.token``.
    """
    scrapes = []

    def scrape(host, job, address, path="/metrics", more=None, query=None, door=None):
        """Add a scrape; *more* are labels of its series, *query* parameters of its address, *door* is the one that it goes through."""
        labels = {"job": job, "host": host, "instance": host, **(more or {})}
        entry = {"job_name": "/".join([job, host, *(more or {}).values()])}
        entry |= {"metrics_path": path} if path != "/metrics" else {}
        entry |= {"params": {key: [value] for key, value in query.items()}} if query else {}
        entry |= {"metric_relabel_configs": [HANDLERS]} if job == "jupyter" else {}
        if door:
            entry |= {
                "scheme": "https",
                "authorization": {"credentials_file": f"{directory}/doors/{host}.token"},
                "tls_config": {"ca_file": f"{directory}/doors/{host}.pem", "server_name": door["server_name"]},
            }
        scrapes.append({**entry, "static_configs": [{"targets": [address], "labels": labels}]})

    def ask(target, module, job, more, query):
        """Add a scrape of one module of *target*, on loopback or through its door."""
        host, place, door = target["host"], target["modules"][module], target.get("door")
        if host == own:
            scrape(host, job, place["address"], place["path"], more, query)
        else:
            scrape(host, job, door["address"], "/proxy", more, {"module": module, **query}, door)

    scrape(own, "prometheus", "127.0.0.1:9090")
    scrape(own, "alertmanager", "127.0.0.1:9093")
    for target in targets:
        if target["host"] != own:
            # What tells a host that is down from an exporter that is: the door answers by itself.
            scrape(target["host"], "door", target["door"]["address"], door=target["door"])
        for module in target["modules"]:
            if module.startswith("jupyter_"):
                ask(target, module, "jupyter", {"name": module}, {})
            elif module != "blackbox":
                ask(target, module, module, {}, {})
        for name, url in (target.get("probes") or {}).items():
            ask(target, "blackbox", "probe", {"name": name}, {"target": url})
    return {
        "global": {
            "scrape_interval": interval,
            "evaluation_interval": interval,
            "scrape_timeout": interval if seconds(interval) < 10 else "10s",
        },
        "rule_files": rules,
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:9093"]}]}]},
        "scrape_configs": scrapes,
    }


def alertmanager_config(telegram, email, webhooks, port):
    """Return the configuration of Alertmanager; it holds no secret, for what knows them is fenton-alerts.

    :arg telegram: as ``monitoring_telegram``.
    :arg email: as ``monitoring_email``.
    :arg webhooks: as ``monitoring_webhooks``.
    :arg port: where fenton-alerts listens on loopback.
    """
    hooks = [(f"webhook-{number}", bool(hook.get("watchdog"))) for number, hook in enumerate(webhooks, 1)]
    people = ["telegram"] * bool(telegram) + ["email"] * bool(email) + [name for name, watchdog in hooks if not watchdog]
    watchdogs = [name for name, watchdog in hooks if watchdog]

    def receiver(name):
        return {"name": name, "webhook_configs": [{"url": f"http://127.0.0.1:{port}/{name}", "send_resolved": name not in watchdogs}]}

    # Each receiver is a route of its own: one that hangs holds up none of the others.
    return {
        "route": {
            "receiver": "nobody", "group_by": ["host"], "group_wait": "15s", "group_interval": "2m", "repeat_interval": "24h",
            "routes": [
                {"receiver": "nobody", "matchers": ['alertname="Watchdog"'], "routes": [
                    {"receiver": name, "group_wait": "0s", "group_interval": "1m", "repeat_interval": "5m", "continue": True}
                    for name in watchdogs
                ]},
                *({"receiver": name, "continue": True} for name in people),
            ],
        },
        "inhibit_rules": [
            # A host that is down says only that; a disk that is full says no more that it will be.
            {"source_matchers": ['alertname="HostDown"'], "target_matchers": ['alertname!="HostDown"'], "equal": ["host"]},
            {"source_matchers": ['alertname="DiskNearlyFull"'], "target_matchers": ['alertname="DiskFilling"'],
             "equal": ["host", "mountpoint"]},
        ],
        "receivers": [{"name": "nobody"}, *(receiver(name) for name in [*people, *watchdogs])],
    }  # fmt: skip


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {
            "alertmanager_config": alertmanager_config,
            "door_texts": door_texts,
            "host_problems": host_problems,
            "left_out": left_out,
            "monitoring_problems": monitoring_problems,
            "named_files": named_files,
            "own_names": own_names,
            "prometheus_config": prometheus_config,
            "prometheus_bytes": size_in_bytes,
            "prometheus_seconds": seconds,
            "reachable": reachable,
            "read_rules": read_rules,
            "watched": watched,
        }
