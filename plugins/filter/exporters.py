"""What is decided about metrics: what is wrong with the input, and what a watcher is told."""

import ipaddress
import re

FILE = "group_vars/all/exporters.yml"
WIRING = "group_vars/workbenches/exporters.yml"
HOST_FILE = "host_vars/{}/exporters.yml"
LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def address(text):
    """Return *text* as an ``ipaddress`` network, or None where it is a name, or nothing."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def exporters_source_problems(sources):
    """Return a sentence for each of *sources*, addresses, networks and names, from which nobody can come."""
    problems = []
    for source in sources:
        network = address(source)
        if network is None and not (len(source) <= 253 and all(LABEL.fullmatch(label) for label in source.split("."))):
            problems.append(
                f"exporters_sources: {source!r} is neither an address, nor a network such as 192.0.2.0/24, nor a name; correct it in {FILE}"
            )
        elif network is not None and network.is_loopback or source == "localhost":
            problems.append(
                f"exporters_sources: {source} is each server itself, so nobody comes from there; write the address by which the watcher "
                f"comes in {FILE}, or give its host an exporters_hostname that others know"
            )
    return problems


def exporters_name_problems(names, lines, host, own=()):
    """Return a sentence for each of *names* that the server does not know, or knows as itself.

    :arg names: names among the sources.
    :arg lines: ``<name> <address>``, what the server found.
    :arg host: how the inventory calls the server.
    :arg own: its own addresses.
    """
    problems = []
    for name in names:
        found = [ipaddress.ip_address(line.split()[1]) for line in lines if line.split()[0] == name]
        place = HOST_FILE.format(host)
        if not found:
            problems.append(f"exporters_sources: {host} finds no address for {name}; write the watcher's address in its place in {place}")
        elif any(known.is_loopback or str(known) in own for known in found):
            problems.append(
                f"exporters_sources: to {host} the name {name} is itself ({found[0]}); write the watcher's address in its place in {place}"
            )
    return problems


def exporters_probe_problems(probes):
    """Return sentences about entries of ``exporters_probes``, dictionaries with ``name`` and ``url``, that would not work."""
    problems, names = [], set()
    for probe in probes:
        name, url = str(probe["name"]), str(probe["url"])
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            problems.append(f"exporters_probes: the name {name!r} may have letters, digits, _ and - only; change it in {WIRING}")
        if name in names:
            problems.append(f"exporters_probes: {name} is there twice; remove one entry in {WIRING}")
        names.add(name)
        if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url):
            problems.append(
                f"exporters_probes: {url!r} of {name} is no address that begins with http:// or https://; correct it in {WIRING}"
            )
    return problems


def exporters_metric_problems(metrics, ports, door):
    """Return sentences about ports and names that would not work.

    :arg metrics: list of dictionaries with ``name``, ``port`` and perhaps ``path``.
    :arg ports: ports that the role uses itself, by name.
    :arg door: port of the door.
    """
    taken = {port: f"the exporter {name}" for name, port in ports.items()}
    problems, names = [], set(ports)
    if int(door) in taken:
        problems.append(f"exporters_port: {door} is the port of {taken[int(door)]}; choose another one in {FILE}")
    taken[int(door)] = "the door (exporters_port)"
    for entry in metrics:
        name, port, path = str(entry["name"]), int(entry["port"]), str(entry.get("path") or "/metrics")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            problems.append(f"exporters_metrics: the name {name!r} may have letters, digits, _ and - only; change it in {WIRING}")
        elif name in names:
            ours = ", ".join(sorted(ports))
            problems.append(f"exporters_metrics: {name} is there twice, or a name of ours ({ours}); change it in {WIRING}")
        names.add(name)
        if port in taken:
            problems.append(f"exporters_metrics: port {port} of {name} is that of {taken[port]}; give it another one in {WIRING}")
        taken.setdefault(port, name)
        if not re.fullmatch(r"/[^\s\"\\]*", path):
            problems.append(f"exporters_metrics: the path {path!r} of {name} does not begin with /; correct it in {WIRING}")
    return problems


def exporters_modules(metrics, ports, cards, probes):
    """Return what can be asked, by the name of the door's module: dictionaries with ``address`` and ``path``.

    :arg metrics: as for :func:`exporters_metric_problems`.
    :arg ports: likewise, with the keys ``node``, ``gpu`` and ``blackbox``.
    :arg cards: whether there are cards.
    :arg probes: whether something is probed.
    """
    own = {"node": "/metrics"} | ({"gpu": "/metrics"} if cards else {}) | ({"blackbox": "/probe"} if probes else {})
    found = {name: {"address": f"127.0.0.1:{ports[name]}", "path": path} for name, path in own.items()}
    for entry in metrics:
        found[entry["name"]] = {"address": f"127.0.0.1:{int(entry['port'])}", "path": entry.get("path") or "/metrics"}
    return found


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {
            "exporters_metric_problems": exporters_metric_problems,
            "exporters_modules": exporters_modules,
            "exporters_name_problems": exporters_name_problems,
            "exporters_probe_problems": exporters_probe_problems,
            "exporters_source_problems": exporters_source_problems,
        }
