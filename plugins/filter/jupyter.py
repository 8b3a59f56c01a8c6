"""What is decided about notebook servers: what is wrong with the input, what must be written, started or kept."""

import re

import argon2

FILE = "group_vars/workbenches/jupyter.yml"
# What Jupyter and its extensions answer under themselves.
PATHS = set(
    "api custom doc edit files kernelspecs lab login logout metrics nbconvert nbextensions notebooks proxy public server-proxy static "
    "terminals tree view".split()
)
SHORTEST = 12
# What jupyter_server itself uses: 10 MiB, ten rounds.
HASHER = argon2.PasswordHasher(memory_cost=10240, time_cost=10, parallelism=8)
PREFIX = "argon2:"


def jupyter_problems(users):
    """Return sentences about entries of ``jupyter_users`` that would not work.

    :arg users: list of dictionaries with ``name``, ``port`` and perhaps ``password``. Passwords are never repeated.
    """
    problems, ports, names = [], {}, set()
    for user in users:
        name, port = str(user["name"]), int(user["port"])
        if name == "root":
            problems.append(f"jupyter_users: root must not run notebooks; name an ordinary account in {FILE}")
        elif not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", name):
            problems.append(
                f"jupyter_users: {name!r} is no user name that Linux accepts (up to 32 of a-z, 0-9, _ and -, a letter first); "
                f"correct it in {FILE}"
            )
        if name in names:
            problems.append(f"jupyter_users: {name} is there twice; remove one entry in {FILE}")
        names.add(name)
        if not 1024 <= port <= 65535:
            problems.append(f"jupyter_users: port {port} of {name} is not between 1024 and 65535; change it in {FILE}")
        elif port in ports:
            problems.append(f"jupyter_users: port {port} is used by both {ports[port]} and {name}; give one of them another port in {FILE}")
        ports.setdefault(port, name)
        password = user.get("password")
        if password is not None and len(password) < SHORTEST:
            problems.append(
                f"jupyter_users: the password of {name} has fewer than {SHORTEST} characters; choose a longer one in {FILE}, "
                "or leave it out to have one generated"
            )
        elif password is not None and ("\n" in password or password != password.strip()):
            problems.append(f"jupyter_users: the password of {name} begins or ends with a space or has two lines; change it in {FILE}")
    return problems


def jupyter_metrics_problems(users, offset):
    """Return sentences about ports for metrics that are none, or that are a server's.

    :arg users: list of dictionaries with ``name`` and ``port``.
    :arg offset: what is added to a server's port; 0 for no metrics.
    """
    offset, ports = int(offset), {int(user["port"]): user["name"] for user in users}
    problems = []
    for port, name in ports.items() if offset else ():
        wanted = port + offset
        if not 1024 <= wanted <= 65535:
            problems.append(
                f"jupyter_metrics_offset: {offset} and port {port} of {name} make {wanted}, which is not between 1024 and 65535; "
                f"change one of them in {FILE}"
            )
        elif wanted in ports:
            problems.append(
                f"jupyter_metrics_offset: {offset} and port {port} of {name} make {wanted}, the port of {ports[wanted]}; "
                f"change one of them in {FILE}"
            )
    return problems


def jupyter_proxy_problems(proxies):
    """Return sentences about entries of ``jupyter_proxies`` that would not work.

    :arg proxies: list of dictionaries with ``name``, ``title``, ``command`` (list of words) and perhaps ``icon``.
    """
    problems, names = [], set()
    for proxy in proxies:
        name, command = str(proxy["name"]), [str(word) for word in proxy["command"]]
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or name in PATHS:
            problems.append(f"jupyter_proxies: {name!r} cannot stand in an address beside Jupyter's own (a-z, 0-9, -); change it in {FILE}")
        if name in names:
            problems.append(f"jupyter_proxies: {name} is there twice; remove one entry in {FILE}")
        names.add(name)
        if not command or not command[0].startswith("/"):
            problems.append(f"jupyter_proxies: the command of {name} must begin with the path of a program; correct it in {FILE}")
        if not any(mark in word for word in command for mark in ("{unix_socket}", "{port}")):
            problems.append(f"jupyter_proxies: the command of {name} does not say where to listen; add {{unix_socket}} to it in {FILE}")
    return problems


def jupyter_connections(users, hostname):
    """Return what a person needs to connect, by user name.

    :arg users: list of dictionaries with ``name``, ``port`` and perhaps ``password``.
    :arg hostname: name or address in the URL.
    :returns: for each user ``url``, ``port`` and ``password_file``, which is empty where the password was given.
    """
    host = f"[{hostname}]" if ":" in hostname else hostname
    return {
        user["name"]: {
            "url": f"https://{host}:{user['port']}/lab",
            "port": int(user["port"]),
            "password_file": "" if user.get("password") else f"jupyter-password-{user['name']}",
        }
        for user in users
    }


def jupyter_differing(wanted, seen, private=(), states=()):
    """Return which configurations are to be written and which servers are to be started or started again.

    :arg wanted: text of the configuration by user name.
    :arg seen: text of each configuration by user name, and what each server runs with by ``<name> runs with``.
    :arg private: file names of configurations that only root can read.
    :arg states: lines ``<name> <active state> <enabled state>``.
    :returns: dict with the lists ``write``, ``attend`` (not running and enabled with the wanted configuration) and ``running``
        (those of ``attend`` that run with another one).
    """
    right = {name for name, text in wanted.items() if seen.get(f"{name} runs with") == text}
    attend = [name for name in wanted if name not in right or f"{name} active enabled" not in states]
    active = {line.split()[0] for line in states if line.split()[1:2] == ["active"]}
    return {
        "write": [name for name, text in wanted.items() if seen.get(name) != text or f"{name}.py" not in private],
        "attend": attend,
        "running": [name for name in attend if name in active and name not in right],
    }


def jupyter_password(password, known=""):
    """Return the hash of *password* for JupyterLab's ``hashed_password``.

    :arg password: the password, not empty.
    :arg known: text that may hold an earlier hash, such as the configuration on the host. When that hash is an argon2id
        hash of the same password it is returned as it is, so that nothing changes; the salt of a new one is random.
    :raises ValueError: when *password* is empty.
    """
    if not password:
        raise ValueError("the password is empty")
    found = re.search(r"argon2:(\$argon2id\$[A-Za-z0-9+/=$,.]+)", known or "")
    if found:
        try:
            if HASHER.verify(found[1], password) and not HASHER.check_needs_rehash(found[1]):
                return PREFIX + found[1]
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            pass  # another password's, or a damaged one
    return PREFIX + HASHER.hash(password)


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {
            "jupyter_connections": jupyter_connections,
            "jupyter_differing": jupyter_differing,
            "jupyter_metrics_problems": jupyter_metrics_problems,
            "jupyter_password": jupyter_password,
            "jupyter_problems": jupyter_problems,
            "jupyter_proxy_problems": jupyter_proxy_problems,
        }
