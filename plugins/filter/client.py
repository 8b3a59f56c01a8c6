"""What a laptop needs to know of the servers that it connects to."""

import json
import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CURE = "in group_vars/clients/client.yml"
NAME = re.compile(r"[a-z][a-z0-9_-]*")
NEEDED = ("host", "ssh_port", "ssh_user", "host_key")
# Options of sshfs that hold on every system; the role's README.md says what each is for.
SSHFS = [
    "delay_connect", "reconnect", "ServerAliveInterval=5", "ServerAliveCountMax=3", "ConnectTimeout=5", "ControlPath=none", "idmap=user",
]  # fmt: skip
SSHFS_OF = {"Darwin": ["allow_other", "defer_permissions"], "Linux": ["allow_other", "default_permissions"]}


def client_connections(servers, artifacts):
    """Return by name of the server what its last run has handed out.

    :arg servers: list of dictionaries with ``name``.
    :arg artifacts: directory on the control node that the action ``artifact`` writes to; empty for its own choice.
    :returns: dict of dicts: the keys of ``connection.json``, ``ca_text`` (the authority's certificate, or empty) and ``folder``. A server
        without the file is left out; of a file that is of no use ``wrong`` says why.
    """
    found = {}
    for name in (str(server["name"]) for server in servers):
        folder = ROOT / Path(artifacts or "artifacts").expanduser() / name
        file = folder / "connection.json"
        try:
            if not file.exists():
                continue
            known = json.loads(file.read_text(encoding="utf-8"))
            missing = [key for key in NEEDED if not known.get(key)]
            if missing:
                raise ValueError(f"says nothing about {', '.join(missing)}")
            ca = (folder / known["ca"]).read_text(encoding="utf-8") if known.get("ca") else ""
            found[name] = {**known, "ca_text": ca, "folder": str(folder)}
        except (OSError, ValueError, AttributeError) as error:
            reason = f"cannot be used ({error})" if isinstance(error, (OSError, AttributeError)) else str(error)
            found[name] = {"wrong": "is no JSON" if isinstance(error, json.JSONDecodeError) else reason}
    return found


def absolute(path, home):
    """Return *path* as an absolute one on the laptop; ``~``, and what does not begin with a slash, is below *home*."""
    return posixpath.normpath(posixpath.join(home, re.sub(r"^~(/+|$)", "", str(path))))


def systemd_path(path):
    """Return *path* as ``systemd-escape --path`` writes it, without a suffix."""
    plain = posixpath.normpath(path).strip("/")
    escaped = "".join(
        char if re.match(r"[A-Za-z0-9:_.]", char) else "-" if char == "/" else "".join(f"\\x{byte:02x}" for byte in char.encode())
        for char in plain
    )
    return re.sub(r"^\.", r"\\x2e", escaped) or "-"


def called(server):
    """Return how the command and the alias of an entry of ``client_servers`` are called."""
    return str(server.get("command") or server["name"])


def mount_of(server, given):
    """Return the directory on the laptop where the files of *server* appear."""
    return absolute((server.get("mount") or given["mount"]).replace("{name}", called(server)), given["home"])


def gateway_of(server, servers, gateway):
    """Return the entry of *servers* that is the gateway of *server*; None where there is none, or no such entry."""
    name = server.get("gateway", gateway)
    return next((other for other in servers if name and str(other["name"]) == name and other is not server), None)


def client_plan(servers, connections, given):
    """Return what is written about each server that can be reached, as one dictionary each.

    :arg servers: ``client_servers``.
    :arg connections: as from :func:`client_connections`.
    :arg given: dictionary with ``gateway``, ``identity`` and ``mount`` as the role's variables say, ``home`` on the laptop, ``system``
        (``Linux``, ``Darwin``), ``root`` (whether the run may use root there), ``local`` (whether the laptop is the control node).
    """
    plan = []
    for server in servers:
        known = connections.get(str(server["name"]), {"wrong": "is not there"})
        if "wrong" in known:
            continue
        command, user, home = called(server), server.get("user") or known["ssh_user"], given["home"]
        gateway = gateway_of(server, servers, given["gateway"])
        notebook = (known.get("jupyter") or {}).get(user) or {}
        password = notebook.get("password_file") or ""
        allowed = given["root"] or given["system"] == "Darwin"
        mount = mount_of(server, given)
        plan.append(
            {
                "name": str(server["name"]),
                "command": command,
                "host": server.get("host") or known["host"],
                "port": int(known["ssh_port"]),
                "user": user,
                "identity": absolute(server.get("identity") or given["identity"], home),
                "gateway": called(gateway) if gateway else "",
                "mount": mount,
                "unit": systemd_path(mount),
                "options": ",".join(SSHFS + (SSHFS_OF.get(given["system"], []) if allowed else [])),
                "jupyter_url": notebook.get("url") or "",
                "jupyter_port": str(notebook.get("port") or ""),
                "password_file": f"{known['folder']}/{password}" if password and given["local"] else "",
                "host_key": known["host_key"],
                "ca": known["ca_text"],
            }
        )
    return plan


def client_expected(plan, home):
    """Return what ``ssh -G`` must say about each server: lines with the alias before them.

    :arg plan: as from :func:`client_plan`.
    :arg home: the person's directory on the laptop.
    """
    return [
        f"{server['command']} {line}"
        for server in plan
        for line in (
            f"hostname {server['host']}",
            f"port {server['port']}",
            f"user {server['user']}",
            f"identityfile {server['identity']}",
            "identitiesonly yes",
            f"hostkeyalias {server['command']}",
            f"userknownhostsfile {home}/.config/fenton/{server['command']}.known_hosts",
            "globalknownhostsfile /dev/null",
            "stricthostkeychecking true",
            "forwardagent no",
            *([f"proxyjump {server['gateway']}"] if server["gateway"] else []),
        )
    ]


def within(path, other):
    """Tell whether *path* is *other* or lies below it."""
    return path == other or path.startswith(other.rstrip("/") + "/")


def in_a_circle(server, servers, gateway):
    """Tell whether the gateways of *server* lead back to it."""
    hop, seen = gateway_of(server, servers, gateway), []
    while hop and hop not in seen:
        if hop is server:
            return True
        seen.append(hop)
        hop = gateway_of(hop, servers, gateway)
    return False


def artifact_problems(server, known, coming):
    """Yield a sentence where the server has handed out nothing of use.

    :arg known: what :func:`client_connections` has found; None where there is nothing.
    :arg coming: servers whose ``connection.json`` is still to come.
    """
    name = str(server["name"])
    if name in coming:
        return
    if not known:
        yield (
            f"client_servers: there is no artifacts/{name}/connection.json; run `ansible-playbook site.yml -l {name}` first, "
            f"or take {name} out {CURE}"
        )
    elif "wrong" in known:
        yield f"client_servers: artifacts/{name}/connection.json {known['wrong']}; run `ansible-playbook site.yml -l {name}` again"


def name_problems(server, before, identity):
    """Yield a sentence for each name that cannot be used.

    :arg before: names of the commands of the entries before this one.
    :arg identity: the key that holds where the entry names none.
    """
    name, command = str(server["name"]), called(server)
    if not NAME.fullmatch(command):
        yield (
            f"client_servers: {command!r} cannot be the name of a command; give {name} a command of a-z, 0-9, - and _, "
            f"beginning with a letter, {CURE}"
        )
    elif command in before:
        yield f"client_servers: two servers would be called {command}; give {name} another command {CURE}"
    for key in ("user", "host"):
        if re.search(r"[\s\"'\\]|^-", str(server.get(key, ""))):
            yield f"client_servers: {key} of {name} is {server[key]!r}; ssh takes no blanks, quotes or leading - there; correct it {CURE}"
    key = server.get("identity") or identity
    if re.search(r"[\"\\\x00-\x1f]", key):
        yield f"client_identity: the key of {name} is {key!r}; ssh takes no quotes or line ends there; correct it {CURE}"


def way_problems(server, servers, default):
    """Yield a sentence where the way to *server* leads nowhere, or in a circle.

    :arg default: ``client_gateway``.
    """
    name, gateway = str(server["name"]), server.get("gateway", default)
    if server.get("gateway") == name or in_a_circle(server, servers, default):
        yield f"client_gateway: the way to {name} leads through {name} itself; set gateway: '' for the first hop {CURE}"
    elif gateway and gateway != name and not gateway_of(server, servers, default):
        yield f"client_gateway: the gateway of {name} is {gateway}, which is not in client_servers; add it {CURE}"


def mount_problems(server, mount, before, home):
    """Yield a sentence where nothing can be mounted at *mount*, whatever is there.

    :arg before: mounts of the entries before this one.
    """
    name = str(server["name"])
    other = next((known for known in before if within(mount, known) or within(known, mount)), None)
    if other:
        yield f"client_mount: {mount} for {name} and {other} lie in one another; give {name} another mount {CURE}"
    if within(home, mount):
        yield f"client_mount: {mount} for {name} would hide the whole home; give it a directory of its own {CURE}"
    if re.search(r"[\x00-\x1f\"\\%,]", mount):
        yield f"client_mount: {mount!r} for {name} has a character that sshfs or systemd would misread; choose another {CURE}"


def root_problems(given):
    """Yield a sentence for each thing that is asked for and cannot be had on this system, or not without root."""
    asked = [("client_trust: system", "system" in given["trust"]), ("client_automount", given["automount"])]
    if given["system"] == "Linux" and not given["root"]:
        for text in (text for text, wanted in asked if wanted):
            yield f"{text} needs root on the laptop; set client_root: true, or take it out, {CURE}"
    if given["automount"] and given["system"] != "Linux":
        yield f"client_automount: there is no systemd on {given['system']}; remove it {CURE}"


def client_problems(servers, connections, given):
    """Return a sentence for each thing that is wrong with ``client_servers`` and the variables beside it.

    :arg servers: ``client_servers``.
    :arg connections: as from :func:`client_connections`.
    :arg given: as for :func:`client_plan`, and ``coming``, the servers whose ``connection.json`` this run is about to write, ``trust`` and
        ``automount``.
    """
    problems, mounts = [], {}
    for server in servers:
        mount = mount_of(server, given)
        problems += artifact_problems(server, connections.get(str(server["name"])), given["coming"])
        problems += name_problems(server, mounts, given["identity"])
        problems += way_problems(server, servers, given["gateway"])
        problems += mount_problems(server, mount, [mounts[name] for name in mounts if name != called(server)], given["home"])
        mounts[called(server)] = mount
    return problems + list(root_problems(given))


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {
            "client_connections": client_connections,
            "client_expected": client_expected,
            "client_plan": client_plan,
            "client_problems": client_problems,
        }
