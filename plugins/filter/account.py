"""What can be wrong with an account on a cluster of others."""

import re

FILE = "group_vars/hpc_accounts/account.yml"
SHORTEST = 12


def numbers(version):
    """Return a version as a tuple of numbers, for comparing."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def account_problems(given):
    """Return sentences about an account that could not work.

    :arg given: dictionary with ``host``, its name in the inventory, and ``groups``, those it is in; ``uid`` of the account; ``glibc`` there
        and ``needed``, versions as texts; ``port``, ``password``; and ``room``, what the look said of room in the home (``rc``, ``stdout``,
        ``stderr``).
    """
    host, port, password = given["host"], int(given["port"]), given["password"]
    problems = []
    if "servers" in given["groups"]:
        problems.append(
            f"{host}: it is in servers and in hpc_accounts; a host is yours or somebody else's, so take it out of one in the inventory"
        )
    if int(given["uid"]) == 0:
        problems.append(f"{host}: the run logs in as root; the group hpc_accounts is for accounts without root, servers go into servers")
    if not given["glibc"]:
        problems.append(f"{host}: its C library is not glibc, for which the packages are built; take another login host of the cluster")
    elif numbers(given["glibc"]) < numbers(given["needed"]):
        problems.append(
            f"{host}: its C library is glibc {given['glibc']}, and the packages need {given['needed']} or newer; "
            f"take a newer login host of the cluster as ansible_host of {host} in the inventory"
        )
    if not 1024 <= port <= 65535:
        problems.append(f"account_port: {port} is not between 1024 and 65535; change it in {FILE}")
    if password and len(password) < SHORTEST:
        problems.append(
            f"account_password: it has fewer than {SHORTEST} characters; choose a longer one in {FILE}, or none to have one generated"
        )
    if given["room"]["rc"]:
        problems.append(f"{host}: it could not be asked for room ({(given['room']['stderr'] or 'no answer').splitlines()[-1]})")
    elif given["room"]["stdout"]:
        problems.append(
            f"account_room: there is too little room at {given['room']['stdout']}; free some, or name a directory with more, "
            f"such as your project's, as anaconda_prefix in {FILE}"
        )
    return problems


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {"account_problems": account_problems}
