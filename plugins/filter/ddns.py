"""What is decided about dynamic names: what is wrong with the input, and which clients are to run."""

import re

FILE = "group_vars/all/ddns.yml"
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
# inadyn gives the user's name to a shell, in double quotes, and HTTP takes what stands before the first colon.
USERNAME = re.compile(r"[\w.@+/=~%-]{1,127}", re.ASCII)
# What inadyn keeps of a password; a longer one would be cut off.
LONGEST = 255
FAMILIES = ("ipv4", "ipv6")


def is_name(name):
    """Tell whether *name* is a full DNS name, two labels or more."""
    return len(name) <= 253 and bool(re.fullmatch(rf"{LABEL}(\.{LABEL})+", name, re.IGNORECASE))


def families(record):
    """Return the families of addresses that an entry of ``ddns_records`` asks for."""
    return record.get("families") or ["ipv4"]


def record_problems(record, providers):
    """Return what is wrong with one entry of ``ddns_records``, without the variable's name and the cure's place.

    :arg record: the entry. Its password is never repeated.
    :arg providers: what is known of each provider, by name: ``needs`` and ``takes`` (keys of the entry), and by family its ``paths``, or
        its ``plugin`` where inadyn has one.
    """
    name, provider = record["name"], record["provider"]
    known, password, zone = providers[provider], record.get("password") or "", (record.get("zone") or "").lower()
    supported = known.get("plugin") or known["paths"]
    if not is_name(name):
        return [f"{name!r} is not a full DNS name; write one like home.example.org"]
    problems = [f"{name} needs a {key} for the provider {provider}; add it" for key in known.get("needs", ()) if not record.get(key)]
    problems += [
        f"{name} has a {key}, which the provider {provider} does not use; remove it"
        for key in ("server", "username", "zone")
        if record.get(key) and key not in (*known.get("needs", ()), *known.get("takes", ()))
    ]
    if not password:
        problems.append(
            f'{name} has no password; write password: "{{{{ vault_ddns_password }}}}" there, the password itself into '
            "group_vars/all/vault.yml, and correct it"
        )
    elif not password.isprintable() or len(password.encode()) > LONGEST:
        problems.append(f"the password of {name} has a line break, a control character or more than {LONGEST} bytes; change it")
    elif known.get("token") and not re.fullmatch(r"[A-Za-z0-9-]+", password):
        problems.append(f"the password of {name} is not a token of {provider} (letters, digits, -); correct it")
    username = record.get("username") or ""
    if username and not USERNAME.fullmatch(username):
        problems.append(
            f"the username of {name}, {username!r}, has characters other than letters, digits and . @ + / = ~ % _ -; correct it"
        )
    server = record.get("server") or ""
    if server.startswith("http://"):
        problems.append(f"{server!r} would get the password of {name} in the clear; write the name of a server that speaks TLS")
    elif server and not re.fullmatch(rf"{LABEL}(\.{LABEL})*(:[1-9][0-9]{{0,4}})?", server, re.IGNORECASE):
        problems.append(f"the server of {name}, {server!r}, is not HOST or HOST:PORT; correct it")
    if zone and not f".{name.lower()}".endswith(f".{zone}"):
        problems.append(f"{name} does not end in its zone {zone}; correct one of them")
    if known.get("suffix") and not re.fullmatch(rf"{LABEL}{re.escape(known['suffix'])}", name, re.IGNORECASE):
        problems.append(f"{name} is not a name of {provider}, which all are NAME{known['suffix']}; correct it")
    if len(set(families(record))) != len(families(record)):
        problems.append(f"{name} has the same family twice; remove one")
    problems += [
        f"{provider} is known to take {' and '.join(supported)} only; take {family} out of the families of {name}"
        for family in families(record)
        if family not in supported
    ]
    return problems


def ddns_problems(records, providers, services, period):
    """Return sentences about ``ddns_records`` and what goes with it, none where all is well.

    :arg records: list of dictionaries with ``name``, ``provider``, ``password`` and perhaps more.
    :arg providers: as for :func:`record_problems`.
    :arg services: address of the service that tells the own address, by family.
    :arg period: seconds between two looks at the own address.
    """
    problems = [f"ddns_records: {text} in {FILE}." for record in records for text in record_problems(record, providers)]
    names = [record["name"].lower() for record in records]
    problems += [
        f"ddns_records: {name} is there twice; remove one entry in {FILE}." for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    for family in sorted({family for record in records for family in families(record)}):
        service = services.get(family) or ""
        if not re.fullmatch(r"https://[^\s/]+\S*", service):
            problems.append(
                f"ddns_check_services: {service!r} cannot be trusted with the {family} address of this server; "
                f"write an address that begins with https:// in {FILE}."
            )
    if not 30 <= int(period) <= 86400:
        problems.append(f"ddns_period: {period} is not between 30 and 86400 seconds; correct it in {FILE}.")
    return problems


def ddns_clients(records, providers):
    """Return the clients that are to run, one for each name and family.

    :arg records: as for :func:`ddns_problems`, without problems.
    :arg providers: as for :func:`record_problems`.
    :returns: list of dictionaries with ``id`` (the instance of the service), ``name``, ``family``, ``username``, ``password``,
        and ``server``, ``path`` and ``answers``, or ``plugin`` where inadyn has one for the provider.
    """
    clients = []
    for record in records:
        known, name = providers[record["provider"]], record["name"].lower()
        for family in families(record):
            client = {"id": f"{name}-{family}", "name": name, "family": family, "password": record["password"]}
            # Some providers take the zone or the name itself in the place of a user.
            client["username"] = record.get("zone") or record.get("username") or name
            if "plugin" in known:
                client["plugin"] = known["plugin"][family]
            else:
                path = known["paths"][family].replace("%n", name.removesuffix(known.get("suffix", "")))
                client |= {"server": record.get("server") or known["server"], "path": path, "answers": known["answers"]}
            clients.append(client)
    return clients


def confuse_string(text):
    """Return *text* as a string in a configuration of libConfuse; in single quotes it reads no variables of the environment."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {"confuse_string": confuse_string, "ddns_clients": ddns_clients, "ddns_problems": ddns_problems}
