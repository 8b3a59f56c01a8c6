"""Clusters of ipyparallel engines: what is wrong with them, and what each of their hosts needs to know."""

import ipaddress
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE = "group_vars/all/ipyparallel.yml"
DEFAULT_PORTS = "12100-12119"
# What the controller of ipyparallel 9.2 binds towards engines: registration, mux, task, control, iopub, two for heartbeats, and two
# leaves of the broadcast (ipyparallel/controller/app.py, `load_ports`). What the range has not, it takes at random.
NEEDED = 9
WALLTIME = r"(\d+-)?\d+(:\d\d){0,2}"
LIBRARY = "/usr/local/lib/fenton"


def port_range(text):
    """Return first and last port of ``FIRST-LAST``, or None where *text* is no such range."""
    found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", str(text))
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    return (first, last) if 1024 <= first <= last <= 65535 else None


def slots(engines):
    """Return ``{host: (number of engines, address or empty)}`` of a cluster over ssh."""
    given = {host: about if isinstance(about, dict) else {"slots": about} for host, about in engines.items()}
    return {host: (about.get("slots"), str(about.get("address") or "")) for host, about in given.items()}


def whole(number):
    """Tell whether *number* is a whole number above 0."""
    return isinstance(number, int) and not isinstance(number, bool) and number > 0


def is_address(text):
    """Tell whether *text* is an address of IPv4 or IPv6."""
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def engine_problems(cluster, hosts):
    """Return what is wrong with the engines of one cluster, without the variable's name."""
    engines = cluster["engines"]
    if cluster["transport"] == "slurm":
        return [] if whole(engines) else [f"engines: {engines!r} is not the number of Slurm jobs, 1 or more; correct it in"]
    if not isinstance(engines, dict):
        return [f"engines: {engines!r} says no hosts; write {{{cluster['controller']}: 4}}, a number for each host, in"]
    if not engines:
        return ["engines: there are none; name a host and their number in"]
    problems = []
    for host, (number, address) in slots(engines).items():
        if host not in hosts:
            problems.append(f"engines: the inventory has no host {host}; write one of inventory/hosts.yml in")
        if not whole(number):
            problems.append(f"engines: {host} has {number!r} of them; write a number above 0, or take the host out in")
        if address and not is_address(address):
            problems.append(f"engines: {address} of {host} is no address such as 10.0.0.2; correct it in")
    return problems


def job_problems(jobs):
    """Return what is wrong with what jobs ask for, without the variable's name."""
    problems = []
    if jobs.get("walltime") is not None and not re.fullmatch(WALLTIME, str(jobs["walltime"])):
        problems.append(f"walltime: {jobs['walltime']!r} is no time such as '01:00:00' (in quotes); correct it in")
    if jobs.get("memory") is not None and not re.fullmatch(r"[1-9]\d*\s?[KMGT]i?B?", str(jobs["memory"])):
        problems.append(f"memory: {jobs['memory']!r} is no amount with a unit, such as 2GB; correct it in")
    if jobs.get("cores") is not None and not whole(jobs["cores"]):
        problems.append(f"cores: {jobs['cores']!r} is not a number above 0; correct it in")
    problems += [
        f"{key}: {jobs[key]!r} cannot be the name of one; correct it in"
        for key in ("queue", "account", "interface")
        if jobs.get(key) and not re.fullmatch(r"[A-Za-z0-9][\w.,@:-]*", str(jobs[key]))
    ]
    return problems + port_problems(jobs["ports"]) if jobs.get("ports") else problems


def port_problems(ports):
    """Return what is wrong with a range of ports, without the variable's name."""
    found = port_range(ports)
    if not found:
        return [f"ports: {ports} is no range FIRST-LAST between 1024 and 65535; correct it in"]
    count = found[1] - found[0] + 1
    if count < NEEDED:
        return [
            f"ports: {ports} are {count}, and a controller needs {NEEDED} for its engines; give it {found[0]}-{found[0] + NEEDED - 1} in"
        ]
    return []


def ipyparallel_problems(clusters, hosts):
    """Return sentences about ``ipyparallel_clusters``, none where all is well.

    :arg clusters: the variable.
    :arg hosts: names of the inventory.
    """
    said, taken = [], {}
    for cluster in clusters:
        name, problems = cluster["name"], []
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
            problems.append("is no name of a profile (a small letter, then small letters, digits and _); rename it in")
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", cluster["user"]) or cluster["user"] == "root":
            problems.append(f"user: {cluster['user']!r} cannot be an account of a person; correct it in")
        if cluster["controller"] not in hosts:
            problems.append(f"controller: the inventory has no host {cluster['controller']}; write one of inventory/hosts.yml in")
        if cluster.get("address") and not is_address(cluster["address"]):
            problems.append(f"address: {cluster['address']} is no address such as 10.0.0.1; correct it in")
        problems += engine_problems(cluster, hosts) + job_problems(cluster.get("jobs") or {})
        ports = cluster.get("ports") or DEFAULT_PORTS
        problems += port_problems(ports)
        span = port_range(ports) or (0, -1)
        for other, (controller, first, last) in taken.items():
            if other == name:
                problems.append("is there twice; rename one in")
            elif controller == cluster["controller"] and span[0] <= last and first <= span[1]:
                problems.append(f"ports: {ports} overlap with those of {other} on {controller}; give it others in")
        taken[name] = (cluster["controller"], *span)
        said += [f"ipyparallel_clusters: {name}: {problem} {FILE}." for problem in problems]
    return said


def ipyparallel_job_problems(jobs, name="ipyparallel_jobs", file="group_vars/hpc/ipyparallel.yml"):
    """Return sentences about what jobs ask for; *name* is the variable that says it, *file* where it stands."""
    return [f"{name}: {problem} {file}." for problem in job_problems(jobs)]


def ipyparallel_node_problems(nodes, hosts):
    """Return sentences about ``ipyparallel_nodes``."""
    return [
        f"ipyparallel_nodes: the inventory has no host {node}; correct it in group_vars/hpc/ipyparallel.yml."
        for node in nodes
        if node not in hosts
    ]


def hosts_of(cluster, nodes=()):
    """Return the names of the hosts of a cluster, that of the controller first."""
    return list(dict.fromkeys([cluster["controller"], *(cluster["engines"] if cluster["transport"] == "ssh" else nodes)]))


def part_of(clusters, host):
    """Return those clusters that have their controller or engines on *host*."""
    return [cluster for cluster in clusters if host in hosts_of(cluster)]


def ipyparallel_peers(hosts, directory):
    """Return what *hosts* have handed out, by their names; those that have not yet are left out.

    :arg hosts: names of the inventory.
    :arg directory: where ``<host>/ipyparallel.json`` lie; empty for where runs put them by themselves.
    :raises ValueError: when such a file is not JSON.
    """
    found = {}
    for host in hosts:
        file = ROOT / Path(directory or "artifacts").expanduser() / host / "ipyparallel.json"
        if file.is_file():
            found[host] = json.loads(file.read_text(encoding="utf-8"))
    return found


def srun_words(jobs):
    """Return the words that ask ``srun`` for a job."""
    names = {"queue": "partition", "account": "account", "walltime": "time", "cores": "cpus-per-task"}
    words = [f"--{word}={jobs[key]}" for key, word in names.items() if jobs.get(key)]
    return words + ([f"--mem={slurm_memory(jobs['memory'])}"] if jobs.get("memory") else [])


def slurm_memory(text):
    """Return an amount of memory as Slurm writes it: ``2 GiB`` is ``2G``."""
    return re.sub(r"\s|i?B$", "", str(text))


def ipyparallel_description(cluster, host, peers, jobs, prefix):
    """Return what ``fenton-engines`` on the controller's host needs to know: the contents of ``NAME.json``.

    :arg cluster: entry of ``ipyparallel_clusters``.
    :arg host: the controller's.
    :arg peers: as from :func:`ipyparallel_peers`; engines of hosts of which nothing is known are left out.
    :arg jobs: ``ipyparallel_jobs``.
    :arg prefix: the environment.
    """
    about = {
        "name": cluster["name"], "user": cluster["user"], "transport": cluster["transport"], "python": f"{prefix}/bin/python",
        "address": cluster.get("address") or peers.get(host, {}).get("address", ""), "ports": cluster.get("ports") or DEFAULT_PORTS,
    }  # fmt: skip
    if cluster["transport"] == "slurm":
        return {**about, "jobs": cluster["engines"], "srun": srun_words({**jobs, **(cluster.get("jobs") or {})})}
    known = {name: entry for name, entry in slots(cluster["engines"]).items() if name in peers or name == host}
    return {
        **about,
        "hosts": {
            name: {"slots": number, "local": True}
            if name == host
            else {"slots": number, "local": False, "address": address or peers[name]["address"], "port": peers[name]["port"]}
            for name, (number, address) in known.items()
        },
    }


def ipyparallel_places(description):
    """Return the instances of a cluster's unit: names of hosts, or numbers of jobs."""
    return list(description["hosts"]) if description["transport"] == "ssh" else [str(n + 1) for n in range(description["jobs"])]


def ipyparallel_known_hosts(description, peers):
    """Return the host keys of a cluster's engine hosts, as each of them has shown them to the control node."""
    lines = [f"{name} {key}\n" for name in description.get("hosts", {}) for key in peers.get(name, {}).get("host_keys", [])]
    return "".join(lines)


def ipyparallel_authorized(clusters, host, peers, prefix):
    """Return by user the lines that let controllers in, each for one command and from one address.

    :arg clusters: ``ipyparallel_clusters``.
    :arg host: the engines' host.
    :arg peers: as from :func:`ipyparallel_peers`.
    :arg prefix: the environment.
    """
    found = {}
    for cluster in clusters:
        controller = cluster["controller"]
        if cluster["transport"] != "ssh" or host not in cluster["engines"] or host == controller:
            continue
        known = peers.get(controller, {})
        key = known.get("keys", {}).get(cluster["name"])
        address = cluster.get("address") or known.get("address")
        number = slots(cluster["engines"])[host][0]
        command = f"{LIBRARY}/fenton-engines serve {cluster['name']} {number} {prefix}/bin/python"
        line = f'restrict,from="{address}",command="{command}" {key} {cluster["name"]} of {controller}\n' if key and address else ""
        found[cluster["user"]] = found.get(cluster["user"], "") + line
    return found


def ipyparallel_doors(clusters, host, peers, nodes, jobs, former=()):
    """Return the ports to open on *host*: ``name``, ``ports`` and ``sources``, the latter empty where they are to be closed.

    :arg former: names of clusters that had their controller here.
    """
    doors = []
    for cluster in clusters:
        if cluster["controller"] == host:
            given = slots(cluster["engines"]) if cluster["transport"] == "ssh" else {}
            others = [name for name in hosts_of(cluster, nodes) if name != host]
            found = [given.get(name, (0, ""))[1] or peers.get(name, {}).get("address", "") for name in others]
            first, last = port_range(cluster.get("ports") or DEFAULT_PORTS)
            doors.append({"name": cluster["name"], "ports": list(range(first, last + 1)), "sources": sorted(filter(None, found))})
    if jobs.get("ports"):
        first, last = port_range(jobs["ports"])
        found = [peers.get(name, {}).get("address", "") for name in nodes if name != host]
        doors.append({"name": "people", "ports": list(range(first, last + 1)), "sources": sorted(filter(None, found))})
    wanted = {door["name"] for door in doors}
    return doors + [{"name": name, "ports": [1024], "sources": []} for name in former if name not in wanted]


def ipyparallel_unknown(clusters, host, peers):
    """Return a sentence for each host that has handed out nothing yet and that *host* needs to know of."""
    return [
        f"Warning: ipyparallel_clusters: {cluster['name']}: no run has reached {name} yet, so "
        + ("its engines are left out" if name != cluster["controller"] else "its controller cannot come in")
        + f"; run `ansible-playbook site.yml -l {','.join(hosts_of(cluster))}`."
        for cluster in part_of(clusters, host)
        for name in hosts_of(cluster)
        if name not in peers
    ]


def ipyparallel_dask(jobs, address=""):
    """Return the contents of ``/etc/dask/jobqueue.yaml``: what ``SLURMCluster()`` asks for by itself.

    :arg jobs: ``ipyparallel_jobs``.
    :arg address: the host's, where its scheduler listens; without it, and with an interface, Dask chooses.
    """
    memory = re.sub(r"([KMGT])i?B?$", r"\1iB", str(jobs.get("memory") or "2G").replace(" ", ""))
    settings = {
        "cores": jobs.get("cores") or 1, "processes": 1, "memory": memory, "walltime": str(jobs.get("walltime") or "01:00:00"),
        # On the node: the home may not be there. What is None would lie in the directory from which jobs are submitted.
        "log-directory": "/tmp",
        # Where ``security=True`` puts the workers' keys.
        "shared-temp-directory": "~",
    }  # fmt: skip
    if address and not jobs.get("interface"):
        settings["scheduler-options"] = {"host": address}
    settings.update({key: str(jobs[key]) for key in ("queue", "account", "interface") if jobs.get(key)})
    return {"jobqueue": {"slurm": settings}}


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        mine = (
            ipyparallel_problems, ipyparallel_job_problems, ipyparallel_node_problems, ipyparallel_peers, ipyparallel_description,
            ipyparallel_places, ipyparallel_known_hosts, ipyparallel_authorized, ipyparallel_doors, ipyparallel_unknown, ipyparallel_dask,
        )  # fmt: skip
        return {one.__name__: one for one in mine} | {"ipyparallel_part_of": part_of}
