"""What the firewall is told of a service, in nftables' language, and whether what listens is what it was told of."""

import ipaddress
import itertools
import re

from ansible.errors import AnsibleFilterError

DIRECTORY = "/etc/fenton/firewall.d"
# Stands in the comment of ports on which nobody need listen all the time.
ON_DEMAND = "on demand"
RULE = """# Ansible managed
table inet fenton {{
  chain ports {{
{lines}  }}
}}
"""


def ranges(ports):
    """Return sorted numbers as texts, those that follow each other as ``first-last``."""
    found = []
    for _, group in itertools.groupby(enumerate(ports), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in group]
        found.append(f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else str(numbers[0]))
    return found


def rule(sources, protocol, ports, comment):
    """Return the lines that let *sources* in to *ports*, none where there are no ports."""
    listed = ", ".join(ranges(sorted(ports)))
    froms = [f"{'ip6' if ':' in source else 'ip'} saddr {source} " for source in sources or ()] or [""]
    return "".join(f'    {start}{protocol} dport {{ {listed} }} accept comment "{comment}"\n' for start in froms if ports)


def numbers(port):
    """Return the ports that *port* stands for, a set.

    :arg port: port or list of ports, as numbers or as texts of digits; a text may be a range, ``8000-8100``.
    :raises ValueError: when something is no number.
    :raises TypeError: when something cannot be one.
    """
    spans = [[int(end) for end in str(each).split("-")] for each in (port if isinstance(port, list) else [port])]
    return {number for first, *last in spans for number in range(first, (last or [first])[0] + 1)}


def port_files(service, port, sources=(), protocol="tcp", note="", on_demand=False):
    """Return the files that open a port, as ``write_files`` takes them: a role compares them in its look, ``open_port`` writes them.

    :arg service: who listens: small letters, digits and ``-_.@``; one service has one rule.
    :arg port: port or list of ports (1 to 65535), as numbers or as texts of digits; a text may be a range, ``8000-8100``.
    :arg sources: addresses and networks that may connect, IPv4 or IPv6; everyone where there are none.
    :arg protocol: ``tcp`` or ``udp``.
    :arg note: what stands behind the service's name in the rule's comment.
    :arg on_demand: those of the ports, or ``True`` for all, on which nobody need listen all the time.
    :raises AnsibleFilterError: when a port is no number.
    """
    try:
        ports = numbers(port)
        rare = ports if on_demand is True else ports & numbers(on_demand or [])
    except (TypeError, ValueError):
        raise AnsibleFilterError(f"the port of {service} is no number or list of numbers: {port!r}") from None
    comment = f"{service}, {note}" if note else service
    lines = "".join(rule(sources, protocol, group, text) for group, text in ((ports - rare, comment), (rare, f"{comment}, {ON_DEMAND}")))
    return [
        {"dest": DIRECTORY, "state": "directory"},
        {
            "dest": f"{DIRECTORY}/{service}.nft",
            "content": RULE.format(lines=lines),
            # Where base has not been applied there is no nft yet, and the rule waits for it.
            "validate": "/bin/sh -c 'test ! -x /usr/sbin/nft || /usr/sbin/nft -c -f %s'",
        },
    ]


def own_rules(others):
    """Return the lines for those of ``base_other_ports`` that are to be open."""
    lines = ""
    for entry in others:
        if entry.get("open"):
            reason = re.sub(r"[^\w ,.:()/@+-]", " ", str(entry["reason"]))[:100]
            lines += rule(entry.get("sources"), entry.get("protocol") or "tcp", numbers(entry["port"]), f"own: {reason}, {ON_DEMAND}")
    return lines


def own_problems(others):
    """Return sentences about entries of ``base_other_ports`` that say nothing."""
    problems = []
    for entry in others:
        port = entry["port"]
        try:
            good = all(0 < number < 65536 for number in numbers(port)) and numbers(port)
        except (TypeError, ValueError):
            good = False
        if not good:
            problems.append(f"base_other_ports: {port!r} is not a port (1 to 65535), a range such as 8000-8100, or a list of these")
        wrong = [str(source) for source in entry.get("sources") or () if not is_network(source)]
        if wrong:
            problems.append(f"base_other_ports: {', '.join(wrong)} of port {port} is no address or network such as 192.0.2.0/24")
        if not str(entry["reason"]).strip():
            problems.append(f"base_other_ports: port {port} has no reason; say what listens there, and what for")
    return problems


def is_network(text):
    """Tell whether *text* is an address or a network."""
    try:
        ipaddress.ip_network(text, strict=False)
    except (TypeError, ValueError):
        return False
    return True


def declared(text):
    """Return what rules say: a list of ``(protocol, set of ports, comment)``. The table's own ones have no comment.

    :arg text: rules as a file of ours or as ``nft list`` writes them.
    """
    found = re.findall(r"\b(tcp|udp) dport (?:\{ ([^}]*) \}|(\S+)) accept comment \"([^\"]*)\"", text)
    return [(protocol, numbers(re.split(r",\s*", several or one)), comment) for protocol, several, one, comment in found]


def listener(line):
    """Return what a line of ``ss -Hltunp``, with the control group of its process behind it, says: a dictionary.

    Its keys are protocol, address, port, program, unit and user, the number of whose own systemd runs the unit; empty for the system's.
    """
    words = line.split()
    address, _, port = words[4].rpartition(":")
    name = re.search(r'users:\(\("([^"]+)"', line)
    group = line.rpartition(" unit=")[2].strip()
    units = re.findall(r"[^/]+\.(?:service|scope)", group)
    user = re.search(r"/user@(\d+)\.service/", group)
    return {
        "protocol": words[0],
        "address": address.partition("%")[0].strip("[]").removeprefix("::ffff:"),
        "port": int(port),
        "program": name[1] if name else "the kernel",
        "unit": units[-1] if units else "",
        "user": user[1] if user else "",
    }


def stops(each):
    """Return the command that ends a listener, as from :func:`listener`."""
    if not each["unit"].endswith((".service", ".socket")):
        return f"`fuser -k {each['port']}/{each['protocol']}`"
    user = f" --user --machine={each['user']}@.host" if each["user"] else ""
    return f"`systemctl{user} disable --now {each['unit']}`"


def firewall_truth(looked, others=(), behind=()):
    """Return ``foreign``, who listens beyond loopback on a port that nobody declared, and ``closed``, declared ports that do not answer.

    :arg looked: what ``verify`` has seen: lines of ``listening`` and of ``sockets`` (systemd's own), texts ``rules`` (files) and ``ports``
        (loaded), and ``ephemeral``, first and last port that the kernel gives to whoever wants any.
    :arg others: ``base_other_ports``.
    :arg behind: names of programs, or beginnings of those of units, that listen beyond loopback by nature and stay behind the firewall.
    :returns: dictionary of two lists; an entry of ``foreign`` has ``program``, ``where``, ``protocol``, ``port`` and ``stop``, one of
        ``closed`` has ``service`` and ``what``.
    """
    rules, loaded = declared(looked["rules"]), declared(looked["ports"])
    known = {(protocol, port) for protocol, ports, _ in rules for port in ports}
    known |= {(entry.get("protocol") or "tcp", port) for entry in others for port in numbers(entry["port"])}
    # Address assignment, which the firewall lets through by itself.
    known |= {("udp", 68), ("udp", 546)}
    first, last = (int(word) for word in looked["ephemeral"].split())
    sockets = {address: unit for address, unit, *_ in (line.split() for line in looked["sockets"])}
    found, listening = {}, set()
    for each in map(listener, looked["listening"]):
        try:
            loopback = ipaddress.ip_address(each["address"]).is_loopback
        except ValueError:
            loopback = False  # "*" is every address
        if loopback:
            continue
        listening.add((each["protocol"], each["port"]))
        # A program that asks something over UDP waits for the answer on a port that the kernel gives it.
        asking = each["protocol"] == "udp" and first <= each["port"] <= last
        # What jobs open comes and goes; in a container slurmd has them in its own group.
        job = "slurmstepd" in each["unit"] or each["unit"] == "slurmd.service" and each["program"] != "slurmd"
        inside = each["program"] in behind or each["unit"].startswith(tuple(behind))
        if (each["protocol"], each["port"]) in known or asking or job or inside:
            continue
        address = f"[{each['address']}]" if ":" in each["address"] else each["address"]
        if each["program"] == "systemd":
            each["unit"] = next((unit for place, unit in sockets.items() if place.endswith(f":{each['port']}")), each["unit"])
        one = found.setdefault((each["program"], each["unit"], each["protocol"], each["port"]), {**each, "places": []})
        one["places"].append(f"{address}:{each['port']}")
    foreign = [
        {
            "program": f"{one['program']} ({one['unit']})" if one["unit"] else one["program"],
            "where": f"{one['protocol']} {', '.join(sorted(one['places']))}",
            "protocol": one["protocol"],
            "port": one["port"],
            "stop": stops(one),
        }
        for one in found.values()
    ]
    closed = []
    for protocol, ports, comment in rules:
        service = comment.partition(",")[0]
        shut = ports - {port for kind, span, _ in loaded if kind == protocol for port in span}
        silent = set() if comment.endswith(ON_DEMAND) else {port for port in ports - shut if (protocol, port) not in listening}
        closed += [
            {"service": service, "what": f"{protocol} {', '.join(ranges(sorted(which)))} {why}"}
            for which, why in ((shut, "is not open in the kernel"), (silent, "is open, and nobody listens"))
            if which
        ]
    return {"foreign": foreign, "closed": [entry for number, entry in enumerate(closed) if entry not in closed[:number]]}


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {"port_files": port_files, "own_rules": own_rules, "own_problems": own_problems, "firewall_truth": firewall_truth}
