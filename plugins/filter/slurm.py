"""What Slurm is told: lines of slurm.conf and gres.conf from what the nodes say of themselves, and sentences about what cannot be."""

import base64
import binascii
import ipaddress
import json
import re

FILE = "group_vars/hpc/slurm.yml"
# Slurm refuses a node that has less than its line says. A kernel may keep some more for itself after an update.
SPARE = 0.02
MEMORY_STEP = 64  # MiB
# munge's credentials live for 300 s (munged(8), --max-ttl); what is farther apart than this is a broken clock, not a slow answer.
CLOCKS = 60  # s
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"


def node_of(line):
    """Return the words of one line ``NodeName=… CPUs=…`` as a dictionary, or an empty one where the text has no such line.

    :arg line: what ``slurmd -C`` prints, or a line of slurm.conf.
    """
    found = re.search(r"^NodeName=.*", line or "", re.M)
    return dict(word.split("=", 1) for word in found[0].split() if "=" in word) if found else {}


def known_nodes(conf):
    """Return by name the nodes that a slurm.conf has, each as a dictionary of its words.

    :arg conf: text of the file; empty where there is none.
    """
    nodes = [node_of(line) for line in re.findall(r"^NodeName=.*", conf or "", re.M)]
    return {node["NodeName"]: node for node in nodes}


def seen_of(found):
    """Return what a node says of itself, as :func:`node_line` wants it, from what the look at it has registered."""
    seen = found["seen"]
    return {**json.loads(seen["about"]["stdout"]), "hardware": seen["hardware"]["stdout"], "devices": seen["devices"]["lines"]}


def gpus_of(given, devices, found):
    """Return a node's GPUs as a list of dictionaries with ``type`` and ``file``.

    :arg given: ``gpus`` of ``slurm_node``, or None where the driver decides.
    :arg devices: paths of the driver's devices, ``/dev/nvidia0`` and so on.
    :arg found: the fact ``gpus``, in the order of the PCI bus, which is the driver's.
    """
    if given is not None:
        return [{"type": gpu["type"], "file": gpu["file"]} for gpu in given]
    numbered = sorted((path for path in devices if re.fullmatch(r"/dev/nvidia\d+", path)), key=lambda path: int(path[11:]))
    ours = [gpu["architecture"] for gpu in found or [] if gpu.get("driver") != "vfio-pci"]
    # Who has more cards than devices, or fewer, cannot say which is which.
    types = ours if len(ours) == len(numbered) else ["nvidia"] * len(numbered)
    return [{"type": kind, "file": path} for kind, path in zip(types, numbered, strict=True)]


def gres_of(gpus):
    """Return GPUs as the words of a node's line, ``gpu:ampere:2,gpu:pascal:1``; empty without any."""
    types = [gpu["type"] for gpu in gpus]
    return ",".join(f"gpu:{kind}:{types.count(kind)}" for kind in dict.fromkeys(types))


def words(options):
    """Return a dictionary as words of a line of slurm.conf."""
    return [f"{key}={value}" for key, value in (options or {}).items()]


def node_line(seen, name, present=""):
    """Return a node's line of slurm.conf.

    :arg seen: what the node says of itself: ``hardware`` (output of ``slurmd -C``), ``address``, ``node`` (``slurm_node``), ``devices``,
        ``gpus``.
    :arg name: its name.
    :arg present: the memory in MiB that its line has now. It stays while it is not more than there is and not much less, so that a few
        MiB from one boot to the next change nothing.
    :returns: the line, or an empty text where the node has not said anything.
    """
    fact = node_of(seen.get("hardware"))
    if not fact:
        return ""
    own = seen.get("node") or {}
    there = int(fact["RealMemory"])
    memory = own.get("memory") or int(there * (1 - SPARE)) // MEMORY_STEP * MEMORY_STEP
    near = str(present).isdigit() and abs(memory - int(present)) <= there * SPARE / 2 and int(present) <= there * (1 - SPARE / 2)
    memory = int(present) if near and not own.get("memory") else memory
    shape = ["Boards", "SocketsPerBoard", "CoresPerSocket", "ThreadsPerCore"]
    line = [f"NodeName={name}", f"NodeAddr={seen['address']}"]
    # Fewer CPUs than there are do not fit its sockets and cores: then Slurm wants the number alone.
    line += [f"CPUs={own['cpus']}"] if own.get("cpus") else [f"{key}={fact[key]}" for key in ["CPUs", *shape] if key in fact]
    line.append(f"RealMemory={memory}")
    gres = gres_of(gpus_of(own.get("gpus"), seen.get("devices") or [], seen.get("gpus")))
    line += [f"Gres={gres}"] if gres else []
    line += [f"Feature={','.join(own['features'])}"] if own.get("features") else []
    return " ".join([*line, *words(own.get("options")), "State=UNKNOWN"])


def node_lines(names, seen, conf):
    """Return the lines of all nodes that are known, in order.

    :arg names: the nodes that the cluster should have.
    :arg seen: by name what those in this run say of themselves, as for :func:`node_line`.
    :arg conf: the present slurm.conf; a node that is not in this run keeps its line.
    """
    known = known_nodes(conf)
    lines = []
    for name in names:
        line = node_line(seen.get(name) or {}, name, known.get(name, {}).get("RealMemory", ""))
        lines += [line or " ".join(words(known[name]))] if line or name in known else []
    return lines


def gres_lines(names, seen, conf):
    """Return the lines of gres.conf, in order; arguments as for :func:`node_lines`, but *conf* is the present gres.conf."""
    lines = []
    for name in names:
        about = seen.get(name) or {}
        if node_of(about.get("hardware")):
            gpus = gpus_of((about.get("node") or {}).get("gpus"), about.get("devices") or [], about.get("gpus"))
            lines += [f"NodeName={name} Name=gpu Type={gpu['type']} File={gpu['file']}" for gpu in gpus]
        else:
            lines += re.findall(rf"^NodeName={re.escape(name)} .*", conf or "", re.M)
    return lines


def without_devices(names, conf, gres):
    """Return the nodes whose line has GPUs that gres.conf knows nothing of: only they themselves can say which devices these are.

    :arg names: nodes that are not in this run.
    :arg conf: the present slurm.conf.
    :arg gres: the present gres.conf.
    """
    known = known_nodes(conf)
    return [name for name in names if "Gres" in known.get(name, {}) and not re.search(rf"^NodeName={re.escape(name)} ", gres, re.M)]


def partition_lines(partitions, lines):
    """Return the lines of the partitions.

    :arg partitions: ``slurm_partitions``.
    :arg lines: of the nodes. What is not among them yet is left out, and so is a partition that would be empty.
    """
    names = [node_of(line)["NodeName"] for line in lines]
    found = []
    for number, partition in enumerate(partitions):
        nodes = [name for name in names if name in partition.get("nodes", names)]
        if nodes:
            line = [f"PartitionName={partition['name']}", f"Nodes={','.join(nodes)}", f"Default={'NO' if number else 'YES'}"]
            line += [f"MaxTime={partition.get('max_time', 'INFINITE')}", *words(partition.get("options")), "State=UP"]
            found.append(" ".join(line))
    return found


def memory_per_cpu(lines):
    """Return what a job gets for each CPU where it does not say, in MiB: so much that every CPU of every node can be used."""
    nodes = [node_of(line) for line in lines]
    return min((int(node["RealMemory"]) // int(node["CPUs"]) for node in nodes), default=0)


def limit_names(accounts):
    """Return the names of all limits that are set for any account."""
    return list(dict.fromkeys(key for each in accounts for key in each.get("limits") or {}))


def account_commands(accounts, present, cluster):
    """Return what has to be told to sacctmgr, each a list of its words; none where all is as it should be.

    :arg accounts: ``slurm_accounts``.
    :arg present: ``sacctmgr -nP list associations`` with the fields cluster, account, user and those of :func:`limit_names`.
    :arg cluster: name of the cluster.
    """
    limits = limit_names(accounts)
    rows = [line.split("|") for line in (present or "").splitlines() if line.startswith(f"{cluster}|")]
    have = {(row[1], row[2]): dict(zip(limits, row[3:], strict=False)) for row in rows}
    said = [] if rows else [["add", "cluster", cluster]]
    for each in accounts:
        name, wanted = each["name"], {key: str(value) for key, value in (each.get("limits") or {}).items()}
        if (name, "") not in have:
            said.append(["add", "account", name, f"cluster={cluster}", *words(wanted)])
        else:
            # -1 takes a limit away.
            differ = {key: wanted.get(key, "-1") for key in limits if have[name, ""].get(key, "") != wanted.get(key, "")}
            said += [["modify", "account", "where", f"name={name}", f"cluster={cluster}", "set", *words(differ)]] if differ else []
        users = [user for account, user in have if account == name and user]
        said += [["add", "user", user, f"account={name}", f"cluster={cluster}"] for user in each.get("users", []) if user not in users]
        gone = [user for user in users if user not in each.get("users", [])]
        said += [["delete", "user", "where", f"name={user}", f"account={name}", f"cluster={cluster}"] for user in gone]
    return said


def duplicates(names):
    """Return the names that are there twice."""
    return list(dict.fromkeys(name for name in names if names.count(name) > 1))


def slurm_problems(given):
    """Return sentences about the settings of the cluster, none where all is well.

    :arg given: the variables without their prefix ``slurm_``.
    """
    said = []
    nodes, partitions, accounts = given["nodes"], given["partitions"], given["accounts"]
    said += [f"slurm_cluster_name: {given['cluster_name']!r} has other than small letters, digits, - and _; change it in {FILE}."] * (
        not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", given["cluster_name"])
    )
    if not nodes:
        said.append(f"slurm_nodes: there is no node, so no job could run; put one into the group hpc_nodes, or name it in {FILE}.")
    for name in duplicates(nodes):
        said.append(f"slurm_nodes: {name} is there twice; remove one in {FILE}.")
    for name in dict.fromkeys([given["controller"], *nodes]):
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62})", name):
            said.append(f"slurm_nodes: {name!r} cannot be a host's name, which Slurm knows it by; rename it in the inventory.")
    if not partitions:
        said.append(f"slurm_partitions: there is none, so no job could be sent; name one in {FILE}.")
    for name in duplicates([each["name"] for each in partitions]):
        said.append(f"slurm_partitions: {name} is there twice; remove one in {FILE}.")
    for each in partitions:
        if not re.fullmatch(NAME, each["name"]):
            said.append(f"slurm_partitions: {each['name']!r} has other than letters, digits, - and _; rename it in {FILE}.")
        strangers = [name for name in each.get("nodes", nodes) if name not in nodes]
        if strangers:
            said.append(f"slurm_partitions: {each['name']} has {', '.join(strangers)}, which slurm_nodes has not; correct one in {FILE}.")
        elif nodes and not each.get("nodes", nodes):
            said.append(f"slurm_partitions: {each['name']} has no node; name some, or remove it in {FILE}.")
    if accounts and not given["accounting"]:
        said.append(f"slurm_accounts: accounts need records; set slurm_accounting to true in {FILE}.")
    for name in duplicates([each["name"] for each in accounts]):
        said.append(f"slurm_accounts: {name} is there twice; remove one in {FILE}.")
    for name in [each["name"] for each in accounts] + [user for each in accounts for user in each.get("users", [])]:
        if not re.fullmatch(r"[a-z0-9_][a-z0-9_.-]*", name):
            said.append(f"slurm_accounts: {name!r} cannot be an account or a user of Slurm; change it in {FILE}.")
    for key, value in given["options"].items():
        if not re.fullmatch(r"[A-Za-z0-9]+", str(key)) or re.search(r"[\r\n]", str(value)):
            said.append(f"slurm_options: {key!r} is not the word of a line of slurm.conf; correct it in {FILE}.")
        elif key.lower() in given["taken"]:
            said.append(f"slurm_options: {key} is set by the role itself; remove it in {FILE}.")
    ends = [int(end) for end in re.findall(r"\d+", given["job_ports"])] if re.fullmatch(r"\d{4,5}-\d{4,5}", given["job_ports"]) else []
    if given["job_ports"] and not (ends and 1024 <= ends[0] <= ends[1] <= 65535):
        said.append(f"slurm_job_ports: {given['job_ports']!r} is not FIRST-LAST between 1024 and 65535; correct it in {FILE}.")
    if given["munge_key"]:
        try:
            size = len(base64.b64decode(given["munge_key"], validate=True))
        except (binascii.Error, ValueError):
            size = 0
        if not 32 <= size <= 1024:
            said.append(
                "slurm_munge_key: it is not a key of 32 to 1024 bytes in base64; "
                "write what `head -c 128 /dev/urandom | base64 -w 0` prints into group_vars/all/vault.yml."
            )
    return said


def slurm_host_problems(given):
    """Return sentences about one host: what its own facts refute.

    :arg given: ``name``, ``hostname``, ``address``, ``networks``, ``memory`` (of the host, MiB), ``cpus``, ``node`` (``slurm_node``),
        ``offset`` (s, its clock against the control node's), ``is_node``, ``addresses`` (those that it has).
    """
    name, own, file = given["name"], given["node"] or {}, f"host_vars/{given['name']}/slurm.yml"
    said = []
    if given["hostname"] and given["hostname"] != name:
        said.append(
            f"{name}: its host name is {given['hostname']}, and Slurm knows a host by that; give it one name, in the inventory and there "
            f"(base_hostname in host_vars/{name}/base.yml)."
        )
    if not given["address"]:
        said.append(f"slurm_address: {name} has no address by which others could reach it; write one into {file}.")
    elif given["addresses"] and given["address"] not in given["addresses"]:
        said.append(f"slurm_address: {name} does not have the address {given['address']}; correct it in {file}.")
    else:
        try:
            inside = any(ipaddress.ip_address(given["address"]) in ipaddress.ip_network(net, strict=False) for net in given["networks"])
            if not inside:
                said.append(
                    f"slurm_networks: {name}'s address {given['address']} is in none of {', '.join(given['networks']) or 'them'}; "
                    f"write the cluster's network into {FILE}."
                )
        except ValueError as error:
            said.append(f"slurm_networks: {error}; correct it in {FILE} or {file}.")
    if given["is_node"] and own.get("memory") and given["memory"] and own["memory"] > given["memory"]:
        said.append(f"slurm_node: {name} has {given['memory']} MiB of memory, and memory says {own['memory']}; lower it in {file}.")
    if given["is_node"] and own.get("cpus") and given["cpus"] and own["cpus"] > given["cpus"]:
        said.append(f"slurm_node: {name} has {given['cpus']} CPUs, and cpus says {own['cpus']}; lower it in {file}.")
    return said


def clock_problems(offsets, name, controller):
    """Return a sentence where a host's clock and that of the controller are apart, in a list.

    :arg offsets: by name of the host, how far its clock is ahead of the control node's, in seconds; not all hosts need be there.
    :arg name: the host.
    :arg controller: the controller.
    """
    if name not in offsets or controller not in offsets:
        return []
    ahead = offsets[name] - offsets[controller]
    return [
        f"{name}: its clock is {abs(ahead)} s {'ahead of' if ahead > 0 else 'behind'} that of {controller}, so neither believes the other; "
        "set it right (`timedatectl set-ntp true` on both, then `timedatectl timesync-status`)."
    ] * (abs(ahead) > CLOCKS)


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {
            "slurm_seen": seen_of,
            "slurm_known_nodes": known_nodes,
            "slurm_node_lines": node_lines,
            "slurm_gres_lines": gres_lines,
            "slurm_without_devices": without_devices,
            "slurm_partition_lines": partition_lines,
            "slurm_memory_per_cpu": memory_per_cpu,
            "slurm_limit_names": limit_names,
            "slurm_account_commands": account_commands,
            "slurm_problems": slurm_problems,
            "slurm_host_problems": slurm_host_problems,
            "slurm_clock_problems": clock_problems,
        }
