"""Find the user and the port by which the control node gets in. Options and examples: plugins/modules/way_in.py."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from ansible import context
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED_USERS = ("root", "ubuntu", "debian", "admin")
INSIDE, ROOT = "fenton-is-inside", "fenton-is-root"
RUST = "fenton-sudo-rs"
PROBE = (
    f'echo {INSIDE}; if [ "$(id -u)" = 0 ] || sudo -n true; then echo {ROOT}; elif sudo --version | grep -q sudo-rs; then echo {RUST}; fi'
)

# What ssh says, by what it means. The first that fits counts.
MEANINGS = (
    ("jump", r"UNKNOWN port 65535|stdio forwarding failed|Connection closed by UNKNOWN"),
    ("changed", r"HOST IDENTIFICATION HAS CHANGED|host key .* has changed|REVOKED HOST KEY"),
    ("unknown", r"Host key verification failed|No \S+ host key is known"),
    ("algorithms", r"Unable to negotiate|no matching .* found"),
    ("denied", r"Permission denied|Too many authentication failures|Invalid/incorrect"),
    ("refused", r"Connection refused"),
    ("name", r"Could not resolve hostname"),
    ("timed out", r"timed out|Timeout"),
    ("unreachable", r"No route to host|Network is unreachable|Host is down"),
    ("dropped", r"reset by peer|Not allowed at this time|Broken pipe|exchange_identification"),
    ("closed", r"[Cc]onnection (?:was )?closed"),  # after the key, as for an account that has expired; or this is no sshd
)
SILENT = ("refused", "timed out", "unreachable")  # nothing answers on this port; another one may
FINAL = ("jump", "changed", "unknown", "algorithms", "name", "dropped")  # no other user or port would fare better


@dataclass
class Attempt:
    """One login that was tried, and what came of it (a key of MEANINGS, ``inside``, ``root`` or ``no shell``)."""

    user: str
    port: int
    outcome: str
    said: str = ""


def unique(values):
    """Return *values* as a list, in order, without empty ones and repetitions."""
    return list(dict.fromkeys(value for value in values if value))


def meaning(said):
    """Return the key of MEANINGS for what ssh *said* on stderr; ``other`` where none fits."""
    return next((key for key, pattern in MEANINGS if re.search(pattern, said)), "other")


def last_line(said):
    """Return the last line of *said* that is not one of ssh's own debugging."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not re.match(r"debug\d:|OpenSSH_", line)]
    return re.sub(r"^.*via ssh: *", "", lines[-1]) if lines else "it says nothing"


def log_in(connection, user, port, probe=PROBE):
    """Try one login.

    :arg connection: Ansible's ssh connection; its options for user and port are overwritten.
    :arg user: name to log in as.
    :arg port: port of the host.
    :arg probe: what is run there; of what it prints only PROBE's words count.
    :returns: an Attempt.
    """
    connection.set_option("remote_user", user)
    connection.set_option("port", port)
    connection.control_path = None  # else the plugin would go on with the socket of the previous attempt
    try:
        _, out, err = connection.exec_command(probe, sudoable=False)
    except AnsibleConnectionFailure as error:
        said = to_text(error)
        return Attempt(user, port, meaning(said), said)
    out, err = to_text(out), to_text(err)
    if ROOT in out:
        return Attempt(user, port, "root")
    return Attempt(user, port, "inside" if INSIDE in out else "no shell", out + err)


def search(connection, users, ports, root=True, probe=PROBE):
    """Try logins until one fits.

    :arg connection: as for ``log_in``.
    :arg users: names in the order to try; one whom the server itself names ("Please login as …") is next.
    :arg ports: ports in the order to try; the next one only while none answered as sshd does.
    :arg root: whether a login that can become root without a password is wanted; else the first login does.
    :arg probe: as for ``log_in``.
    :returns: tuple of the Attempt to use, or None, and the list of all Attempts.
    """
    tried = []
    for port in ports:
        queue, seen = list(users), set()
        while queue:
            user = queue.pop(0)
            if user in seen:
                continue
            seen.add(user)
            attempt = log_in(connection, user, port, probe)
            tried.append(attempt)
            if attempt.outcome == "root" or (attempt.outcome == "inside" and not root):
                return attempt, tried
            if attempt.outcome in (*FINAL, *SILENT):
                break
            hint = re.search(r'[Pp]lease log ?in as the user "?([a-z_][\w.-]*)', attempt.said)
            if hint:
                queue.insert(0, hint[1])
        # What hangs up may be another program, on the port that sshd is about to get.
        if tried[-1].outcome not in (*SILENT, "dropped", "closed"):
            break
    return next((attempt for attempt in tried if attempt.outcome == "inside"), None), tried


def sentence(host, address, tried, key=""):
    """Say why there is no way in.

    :arg host: name in the inventory.
    :arg address: name or address that ssh was given.
    :arg tried: list of Attempts, none of which got in.
    :arg key: path of the private key in use; empty where ssh chooses.
    :returns: one or two sentences with the line to change or the command to run.
    """
    last = next((attempt for attempt in reversed(tried) if attempt.outcome not in SILENT), tried[-1])
    where = f"{address}, port {last.port}"
    line = f"of {host} in the inventory"
    if all(attempt.outcome in SILENT for attempt in tried):
        ports = " and ".join(f"port {attempt.port} ({attempt.outcome})" for attempt in tried)
        return (
            f"{host}: nothing answers ssh at {address}, {ports}; check that the server runs, or change ansible_host or ansible_port {line}"
        )
    if last.outcome == "name":
        return f"{host}: the name {address} does not resolve; change ansible_host {line} to the server's address"
    if last.outcome == "jump":
        return (
            f"{host}: the jump host on the way to {where} does not let through ({last_line(last.said)}); try `ssh` to the jump host itself"
        )
    if last.outcome == "changed":
        forget = re.search(r"ssh-keygen .*-R \S+", last.said)
        name = address if last.port == 22 else f"'[{address}]:{last.port}'"
        command = forget[0].strip() if forget else f"ssh-keygen -R {name}"
        return (
            f"{host}: {where} shows another host key than before, so it may be another machine; "
            f"if the server was installed anew, run `{command}` and repeat"
        )
    if last.outcome == "unknown":
        return (
            f"{host}: the host key of {where} is not known here; "
            f"run `ssh -p {last.port} {last.user}@{address} true` once, "
            "compare the fingerprint with the one your hoster shows, and repeat"
        )
    if last.outcome == "algorithms":
        return (
            f"{host}: this control node's ssh and {where} have no algorithm in common ({last_line(last.said)}); "
            "use a newer OpenSSH here, or ssh_curve25519: true from a machine that gets in"
        )
    if last.outcome == "dropped":
        return (
            f"{host}: {where} hangs up before the login ({last_line(last.said)}); "
            "after failed logins servers refuse an address for some minutes, so wait ten minutes and repeat"
        )
    key = f" with the key {key}" if key else " with the keys of ssh-agent and ~/.ssh"
    names = ", ".join(unique(attempt.user for attempt in tried if attempt.outcome not in SILENT))
    if any(attempt.outcome == "no shell" for attempt in tried):
        odd = next(attempt for attempt in tried if attempt.outcome == "no shell")
        return f"{host}: {odd.user} logs in at {where}, but no command runs there ({last_line(odd.said)}); change ansible_user {line}"
    if any(attempt.outcome == "inside" for attempt in tried):
        inside = next(attempt for attempt in tried if attempt.outcome == "inside")
        return (
            f"{host}: {inside.user} logs in at {where}, but cannot become root ({last_line(inside.said)}); "
            f"let the user use sudo without a password, or pass --ask-become-pass"
        )
    if all(attempt.outcome in (*SILENT, "denied", "dropped", "closed") for attempt in tried):
        return (
            f"{host}: {where} answers, but lets nobody in as {names}{key}; "
            f"set ansible_user and ansible_ssh_private_key_file {line} to a user and a key that may"
        )
    return f"{host}: no login at {where} as {names}{key}: {last_line(last.said)}"


def stuck(host, found, become_exe):
    """Say why a password for sudo would not help; an empty text where it would.

    sudo-rs, the sudo of Ubuntu 25.10 and later, does not show Ansible's prompt, and the run would wait for it in vain
    (ansible/ansible #85837).

    :arg host: name in the inventory.
    :arg found: the Attempt that got in.
    :arg become_exe: what the inventory sets as ``ansible_become_exe``, if anything.
    """
    if found.outcome != "inside" or RUST not in found.said or become_exe:
        return ""
    return (
        f"{host}: sudo there is sudo-rs, which does not take a password from Ansible; connect as root, let {found.user} use sudo "
        f"without a password, or, where classic sudo is installed, set ansible_become_exe: sudo.ws for {host} in the inventory"
    )


def last_way(artifacts, host):
    """Return user and port that the last run left behind in ``connection.json``; None for what is not there.

    :arg artifacts: directory that the action ``artifact`` writes to.
    :arg host: name in the inventory.
    """
    try:
        known = json.loads((Path(artifacts) / host / "connection.json").read_text(encoding="utf-8"))
        return known.get("ssh_user"), int(known["ssh_port"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, None


class ActionModule(ActionBase):
    """Try logins from the control node; the host is only asked who one is."""

    TRANSFERS_FILES = False
    ONLY_LOOKS = True  # see callback/in_process.py

    def run(self, tmp=None, task_vars=None):
        """Return ``user``, ``port`` and ``attempts``; fail with a sentence where nobody gets in."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec={
                "users": {"type": "list", "elements": "str", "default": []},
                "ports": {"type": "list", "elements": "int", "default": []},
                "prove": {"type": "bool", "default": False},
                "root": {"type": "bool", "default": True},
                "timeout": {"type": "int", "default": 5},
            }
        )
        connection = self._connection
        if connection.transport != "ssh":
            return {"changed": False}
        given_user, given_port = connection.get_option("remote_user"), connection.get_option("port")
        users, ports = args["users"], args["ports"]
        if not args["root"]:
            if not given_user:
                name = task_vars["inventory_hostname"]
                raise AnsibleActionFail(
                    f"{name}: nobody says who logs in there; set ansible_user of {name} in the inventory to your account"
                )
            users, ports = [given_user], [given_port or 22]
        elif not args["prove"]:
            # What outranks set_fact cannot be overruled later, so it is the only candidate.
            pinned = {"ansible_ssh_user", "ansible_ssh_port"} & set(task_vars) | set(load_extra_vars(self._loader))
            artifacts = self._templar.template(task_vars.get("artifacts_dir") or str(REPOSITORY / "artifacts"))
            last_user, last_port = last_way(artifacts, task_vars["inventory_hostname"])
            users = unique([given_user, *users, last_user, *SHIPPED_USERS])
            ports = unique([given_port, last_port, *ports, 22])
            if {"ansible_user", "ansible_ssh_user"} & pinned:
                users = [given_user]
            if {"ansible_port", "ansible_ssh_port"} & pinned:
                ports = [given_port]
        if not users or not ports:
            raise AnsibleActionFail("way_in: users and ports must not be empty with prove: true")

        odd = [port for port in ports if not 1 <= port <= 65535]
        if odd:
            raise AnsibleActionFail(
                f"{task_vars['inventory_hostname']}: {odd[0]} is not a port; "
                "write a number from 1 to 65535 for ssh_port (or ansible_port) in the inventory"
            )

        options = "-o BatchMode=yes " if not (connection.get_option("password") or self._play_context.password) else ""
        if args["prove"]:
            options += "-o ControlMaster=no -o ControlPath=none "  # the first value counts, so these go in front
        connection.set_option("ssh_args", options + (connection.get_option("ssh_args") or ""))
        connection.set_option("timeout", args["timeout"])
        connection.set_option("reconnection_retries", 0)

        sudo_password = any(context.CLIARGS.get(name) for name in ("become_ask_pass", "become_password_file")) or any(
            f"ansible_{name}" in task_vars for name in ("become_password", "become_pass", "sudo_pass")
        )
        host, address = task_vars["inventory_hostname"], connection.get_option("host")
        # On a host of others sudo would be reported to its administrators.
        probe = PROBE if args["root"] else f"echo {INSIDE}"
        found, tried = search(connection, users, ports, root=args["root"] and not sudo_password, probe=probe)
        if not found or (args["prove"] and found.outcome == "inside" and not sudo_password):
            raise AnsibleActionFail(sentence(host, address, tried, connection.get_option("private_key_file")))
        if args["root"] and (sentence_of_sudo := stuck(host, found, task_vars.get("ansible_become_exe"))):
            raise AnsibleActionFail(sentence_of_sudo)
        result = {"changed": False, "user": found.user, "port": found.port, "attempts": len(tried)}
        wrong = [
            f"ansible_{name}: {now}"
            for name, given, now in (("user", given_user, found.user), ("port", given_port, found.port))
            if given and given != now and not args["prove"]
        ]
        if wrong:
            result["warnings"] = [
                f"{host}: {given_user or found.user} on port {given_port or found.port} no longer gets in, "
                f"{found.user} on port {found.port} does; write {' and '.join(wrong)} for {host} in the inventory"
            ]
        return result
