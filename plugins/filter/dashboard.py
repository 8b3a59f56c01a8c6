"""What is decided about the page that shows the servers: what is wrong with the input, who may log in, what Grafana draws."""

import re

FILE = "group_vars/monitoring/dashboard.yml"
SHORTEST = 12
# What the shadow suite long took for logins. nginx computes it for each request: 3 ms.
ROUNDS = 5000
ADDRESS = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):([0-9]{1,5})")


def dashboard_problems(users, port, prometheus):
    """Return sentences about settings that would not work, none where all is well.

    :arg users: list of dictionaries with ``name`` and perhaps ``password``. Passwords are never repeated.
    :arg port: port of the page.
    :arg prometheus: address and port of Prometheus.
    """
    problems, names = [], set()
    for user in users:
        name = str(user["name"])
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}", name):
            problems.append(
                f"dashboard_users: {name!r} cannot be a name to log in with (up to 64 letters, digits and . _ @ -, "
                f"a letter or digit first); correct it in {FILE}."
            )
        if name in names:
            problems.append(f"dashboard_users: {name} is there twice; remove one entry in {FILE}.")
        names.add(name)
        password = user.get("password")
        if password is not None and len(str(password)) < SHORTEST:
            problems.append(
                f"dashboard_users: the password of {name} has fewer than {SHORTEST} characters; choose a longer one in {FILE}, "
                "or leave it out to have one generated."
            )
        elif password is not None and (not str(password).isprintable() or password != password.strip()):
            problems.append(f"dashboard_users: the password of {name} begins or ends with a blank or has two lines; change it in {FILE}.")
    if not 1 <= int(port) <= 65535:
        problems.append(f"dashboard_port: {port} is not between 1 and 65535; change it in {FILE}.")
    found = ADDRESS.fullmatch(str(prometheus))
    if not found or not 1 <= int(found[2]) <= 65535:
        problems.append(f"dashboard_prometheus: {prometheus!r} is no address with a port such as 127.0.0.1:9090; correct it in {FILE}.")
    elif int(found[2]) == int(port):
        problems.append(f"dashboard_port: port {port} is that of Prometheus; choose another one in {FILE}.")
    return problems


def dashboard_connection(users, hostname, port):
    """Return what people need to look: ``url``, and by user ``password_file``, which is empty where the password was given.

    :arg users: list of dictionaries with ``name`` and perhaps ``password``; nothing is returned where there are none.
    :arg hostname: name or address in the URL.
    :arg port: port of the page.
    """
    host = f"[{hostname}]" if ":" in hostname else hostname
    files = {user["name"]: "" if user.get("password") else f"dashboard-password-{user['name']}" for user in users}
    place = host if int(port) == 443 else f"{host}:{port}"
    return {"url": f"https://{place}/", "users": files} if users else {}


def dashboard_logins(passwords, users, known=""):
    """Return the text of nginx' file of logins, a name and a SHA-512 hash in each line (crypt(5)).

    :arg passwords: by user name.
    :arg users: list of dictionaries with ``name``; the lines follow its order.
    :arg known: an earlier text. A hash in it that fits stays, so that nothing changes; the salt of a new one is random.
    """
    # Here, since every run loads this file, whatever it is about.
    from passlib.hash import sha512_crypt

    hasher = sha512_crypt.using(rounds=ROUNDS)
    hashes = dict(line.split(":", 1) for line in (known or "").splitlines() if ":" in line)
    lines = []
    for name in (user["name"] for user in users):
        old = hashes.get(name, "")
        try:
            fits = sha512_crypt.verify(passwords[name], old) and not hasher.needs_update(old)
        except ValueError:
            fits = False  # there is none, or it is damaged
        lines.append(f"{name}:{old if fits else hasher.hash(passwords[name])}\n")
    return "".join(lines)


def dashboard_for_grafana(queries):
    """Return Grafana's description of a dashboard that shows what the page's graphs show, for any server.

    :arg queries: content of ``queries.json``, of which ``graphs`` is used.
    """
    units = {"%": "percent", "°C": "celsius", "W": "watt", "B/s": "Bps"}
    source = {"type": "prometheus", "uid": "fenton"}
    panels = []
    for number, graph in enumerate(queries["graphs"]):
        targets = [
            {
                "refId": chr(ord("A") + at),
                "datasource": source,
                "expr": line["expr"].replace("$host", '"$host"').replace("$window", "$__rate_interval"),
                "legendFormat": line["name"],
            }
            for at, line in enumerate(graph["lines"])
        ]
        defaults = {"unit": units[graph["unit"]], "min": 0} | ({"max": graph["max"]} if "max" in graph else {})
        panels.append(
            {
                "id": number + 1,
                "title": graph["title"],
                "type": "timeseries",
                "datasource": source,
                "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
                "fieldConfig": {"defaults": defaults, "overrides": []},
                "targets": targets,
            }
        )
    host = {
        "name": "host",
        "label": "server",
        "type": "query",
        "datasource": source,
        "query": {"query": 'label_values(up{job="node"}, host)', "refId": "host"},
        "refresh": 2,
        "sort": 1,
    }
    return {
        "uid": "fenton-servers",
        "title": "Servers",
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [host]},
        "panels": panels,
    }


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {
            "dashboard_connection": dashboard_connection,
            "dashboard_for_grafana": dashboard_for_grafana,
            "dashboard_logins": dashboard_logins,
            "dashboard_problems": dashboard_problems,
        }
