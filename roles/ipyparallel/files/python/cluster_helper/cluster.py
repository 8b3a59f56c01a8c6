"""``cluster_view``: engines as jobs of a batch system, for as long as a ``with`` block lasts.

The call is that of ipython-cluster-helper 0.6.4 (2019), which no Python of today can run; what works here is ipyparallel 9. Old
programs run unchanged::

    from cluster_helper.cluster import cluster_view

    with cluster_view(scheduler="torque", queue="main", num_jobs=5,
                      extra_params={"resources": "walltime=01:00:00;account=ada;mem=64mb"}) as view:
        results = view.map(function, range(200))
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

# An account without root has its own, which goes before the host's.
OWN = Path(os.path.expanduser("~/.config/fenton/ipyparallel/jobs.json"))
DEFAULTS = Path(os.environ.get("FENTON_IPYPARALLEL", "/etc/fenton/ipyparallel")) / "jobs.json"
# Sockets that a controller of ipyparallel 9.2 binds for its engines (ipyparallel/controller/app.py).
NEEDED = 9
# Words for the same resource, by the name that is used here: of Torque (qsub -l), of Slurm (sbatch), of ipyparallel_jobs.
NAMES = {
    "time": "walltime", "timelimit": "walltime", "t": "walltime", "a": "account", "partition": "queue", "p": "queue",
    "memory": "mem", "cpus-per-task": "cores", "ppn": "cores",
}  # fmt: skip
LISTED = "slurm, torque, pbspro, or any of them with extra_params={'run_local': True}"


def defaults():
    """Return what jobs ask for where nobody says otherwise (``ipyparallel_jobs``): the account's own, or the host's, or nothing."""
    try:
        return json.loads((OWN if OWN.exists() else DEFAULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def parse_resources(resources):
    """Return what a job asks for as a dictionary.

    :arg resources: text such as ``walltime=01:00:00;account=ada;mem=64mb`` (also with commas), as qsub's ``-l`` takes it, or a
        dictionary. Slurm's own names mean the same (``timelimit``, ``time``, ``partition``); what is not known goes to the batch
        system as it is.
    :returns: keys ``walltime``, ``account``, ``mem``, ``queue``, ``cores`` and others; values are texts.
    :raises ValueError: when a part has no ``=``, a walltime is none, or memory has no unit that is known.
    """
    parts = resources.items() if isinstance(resources, dict) else (part.partition("=")[::2] for part in re.split(r"[;,]", resources or ""))
    wanted = {}
    for key, value in ((str(key).strip().lstrip("-"), str(value).strip()) for key, value in parts):
        if not key and not value:
            continue
        if not key or not value or "\n" in key + value:
            raise ValueError(f"extra_params: resources: {key or value!r} is no name=value, as in 'walltime=01:00:00;mem=2gb'")
        wanted[NAMES.get(key, key)] = value
    if "walltime" in wanted and not re.fullmatch(r"(\d+-)?\d+(:\d\d){0,2}", wanted["walltime"]):
        raise ValueError(f"extra_params: walltime={wanted['walltime']} is no time such as 01:00:00")
    if "mem" in wanted and not re.fullmatch(r"\d+\s?([kmgt]i?)?b?", wanted["mem"], re.I):
        raise ValueError(f"extra_params: mem={wanted['mem']} is no amount with a unit, such as 64mb or 2gb")
    return wanted


def slurm_lines(wanted):
    """Return the ``#SBATCH`` lines for what a job asks for.

    :arg wanted: as from :func:`parse_resources`. Memory without a unit is in megabytes there and here (sbatch(1), ``--mem``).
    """
    names = {"walltime": "time", "queue": "partition", "cores": "cpus-per-task"}
    lines = []
    for key, value in wanted.items():
        if key == "mem":
            value = re.sub(r"\s|i?b$", "", value, flags=re.I).upper()
        lines.append(f"#SBATCH --{names.get(key, key)}={value}")
    return lines


def pbs_lines(wanted):
    """Return the ``#PBS`` lines for what a job asks for.

    :arg wanted: as from :func:`parse_resources`.
    """
    lines = [f"#PBS -A {wanted['account']}"] if "account" in wanted else []
    lines += [f"#PBS -q {wanted['queue']}"] if "queue" in wanted else []
    lines += [f"#PBS -l nodes=1:ppn={wanted['cores']}"] if "cores" in wanted else []
    return lines + [f"#PBS -l {key}={value}" for key, value in wanted.items() if key not in ("account", "queue", "cores")]


# Without a home that all hosts share, neither profile nor log directory is there yet; so the log is on the node.
BODY = "mkdir -p '{profile_dir}/log' '{profile_dir}/security' '{profile_dir}/pid'\nexec {program_and_args}\n"


def batch_template(kind, wanted, tag):
    """Return the script that starts the engines, each as a job of its own, with ipyparallel's placeholders in it.

    :arg kind: ``slurm`` or ``pbs``.
    :arg wanted: as from :func:`parse_resources`.
    :arg tag: name of the jobs.
    """
    if kind == "slurm":
        head = [f"#SBATCH --job-name={tag}", "#SBATCH --array=1-{n}", "#SBATCH --ntasks=1", "#SBATCH --output=/tmp/ipengine-%u-%A_%a.log"]
        lines = head + slurm_lines(wanted)
    else:
        lines = [f"#PBS -N {tag}", "#PBS -t 1-{n}", "#PBS -V", "#PBS -j oe"] + pbs_lines(wanted)
    return "\n".join(["#!/bin/sh", *lines, BODY])


def batch_system(scheduler, which=shutil.which):
    """Return the kind of ipyparallel's launcher for *scheduler*.

    Torque's words run on Slurm too: where there is ``sbatch``, that is what is asked.

    :arg scheduler: as in ``cluster_view``.
    :arg which: finds a program.
    :raises ValueError: for a scheduler that is not offered.
    :raises RuntimeError: where its commands are not there.
    """
    name = str(scheduler).lower()
    if name not in ("slurm", "torque", "pbspro"):
        raise ValueError(f"cluster_view: scheduler {scheduler!r} is not offered; choose {LISTED}")
    if which("sbatch"):
        return "slurm"
    if name != "slurm" and which("qsub"):
        return "pbs"
    wanted = "sbatch" if name == "slurm" else "sbatch or qsub"
    raise RuntimeError(
        f"cluster_view: this host has no {wanted}; run this where jobs are submitted, or with extra_params={{'run_local': True}}"
    )


def own_address():
    """Return the address of this host that engines can reach: the administrator's word, or that of the default route."""
    given = defaults().get("address")
    if given:
        return given
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # an address for documentation (RFC 5737); nothing is sent
        return probe.getsockname()[0]


def free_ports(span, address, needed=NEEDED):
    """Return *needed* ports of the range *span* on which nobody listens, as ipyparallel takes them; empty without a range.

    :arg span: ``FIRST-LAST``, or empty.
    :arg address: the address on which they are to be free.
    :raises RuntimeError: when there are too few.
    """
    if not span:
        return ""
    first, last = (int(part) for part in span.split("-"))
    found = []
    # People begin at different places, so that two who start at the same moment seldom meet.
    count = last - first + 1
    for number in (first + (offset + os.getpid() * needed) % count for offset in range(count)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((address, number))
            found.append(str(number))
        if len(found) == needed:
            return ",".join(found)
    raise RuntimeError(f"cluster_view: fewer than {needed} ports of {span} are free on {address}; end clusters that nobody uses")


def ask_slurm(script, num_jobs):
    """Let Slurm judge the jobs before anything is started; nothing is submitted.

    :arg script: as from :func:`batch_template`.
    :raises RuntimeError: with what Slurm says.
    """
    head = script.replace(BODY, "true\n").replace("{n}", str(num_jobs))
    done = subprocess.run(["sbatch", "--test-only"], input=head, capture_output=True, text=True)
    if done.returncode:
        said = "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in done.stderr.splitlines() if line.strip())
        raise RuntimeError(f"cluster_view: Slurm refuses such jobs: {said}")


def why_not(cluster):
    """Return what the batch system says of engines that do not come, or an empty text."""
    job = next((getattr(launcher, "job_id", "") for launcher in cluster.engines.values()), "")
    if not job or not shutil.which("squeue"):
        return ""
    said = subprocess.run(["squeue", "-h", "-r", "-o", "%i %T %r", "-j", str(job)], capture_output=True, text=True).stdout.strip()
    return said or f"job {job} has ended; see /tmp/ipengine-*{job}_*.log on its nodes"


def usual():
    """Return what a job asks for where its caller says nothing, as from :func:`parse_resources`."""
    known = defaults()
    return {{"memory": "mem"}.get(key, key): str(known[key]) for key in ("walltime", "account", "memory", "queue") if known.get(key)}


def configure(config, kind, wanted, tag, folder):
    """Have engines started as *config* says, and return the arguments of their controller: encrypted, on one address, on the ports allowed.

    :arg config: of traitlets; it is filled.
    :arg kind: ``slurm``, ``pbs`` or ``local``.
    :arg wanted: as from :func:`parse_resources`.
    :arg tag: name of the jobs.
    :arg folder: where the script that is submitted is written.
    """
    address = "127.0.0.1" if kind == "local" else own_address()
    words = [f"--IPController.engine_ip={address}", "--IPController.client_ip=127.0.0.1", f"--IPController.location={address}"]
    words += ["--IPController.enable_curve=True", "--HeartMonitor.period=1000"]
    ports = free_ports(defaults().get("ports", ""), address) if kind != "local" else ""
    words += [f"--IPController.engine_ports={ports}"] if ports else []
    if kind != "local":
        launcher = {"slurm": "SlurmEngineSetLauncher", "pbs": "PBSEngineSetLauncher"}[kind]
        config[launcher].batch_template = batch_template(kind, wanted, tag)
        config[launcher].batch_file_name = os.path.join(folder, f"{kind}.sh")
    return words


def engines_as_jobs(config):
    """Let ``ipyparallel.Cluster(profile=…)`` start its engines as jobs of the batch system here: for the profile's ``ipcluster_config.py``.

    :arg config: what ``get_config()`` returns.
    """
    kind = batch_system("torque")
    folder = os.path.expanduser("~/.cache/fenton")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    wanted = {**usual(), "cores": str(defaults().get("cores", 1))}
    config.Cluster.controller_args = configure(config, kind, wanted, "ipengine", folder)
    config.Cluster.engine_launcher_class = kind


def _cluster(kind, num_jobs, wanted, tag, profile, folder):
    """Return an ipyparallel cluster that has not been started; what it submits is written into *folder*."""
    import ipyparallel
    from traitlets.config import Config

    config = Config()
    words = configure(config, kind, wanted, tag, folder)
    more = {"profile": profile} if profile else {}
    return ipyparallel.Cluster(engines=kind, n=num_jobs, controller_args=words, config=config, **more)


@contextlib.contextmanager
def cluster_view(
    scheduler,
    queue,
    num_jobs,
    cores_per_job=1,
    profile=None,
    start_wait=16,
    extra_params=None,
    retries=None,
    direct=False,
    wait_for_all_engines=False,
):
    """Start engines as jobs, give a view of them, and end them with the block, however it ends.

    :arg scheduler: ``slurm``, ``torque`` or ``pbspro``; on a cluster of Slurm all of them mean Slurm.
    :arg queue: queue or partition; empty for the cluster's default.
    :arg num_jobs: number of jobs, each with one engine. The view has work for those that run; others join as they start.
    :arg cores_per_job: cores of each job.
    :arg profile: profile of IPython to use; ``default`` when not given.
    :arg start_wait: minutes to wait for the first engine, or for all of them.
    :arg extra_params: ``resources`` is a text such as ``walltime=01:00:00;account=ada;mem=64mb``; ``mem``, ``walltime`` and ``account``
        may stand alone; ``tag`` is a word for the jobs' name; with ``run_local`` the engines are processes of this host.
    :arg retries: how often a task is tried again when its engine dies.
    :arg direct: whether the view is a ``DirectView`` of all engines instead of one that gives the next task to who is idle.
    :arg wait_for_all_engines: whether to wait for all *num_jobs*.
    :returns: as a context, a view of ipyparallel that waits for results (``view.map`` returns a list).
    :raises ValueError: when an argument cannot be right.
    :raises RuntimeError: when the batch system is not there, or no engine comes in time; with the reason that it gives.

    Source of the signature: the documentation of ipython-cluster-helper 0.6.4.
    """
    extra = dict(extra_params or {})
    if not isinstance(num_jobs, int) or num_jobs < 1:
        raise ValueError(f"cluster_view: num_jobs is {num_jobs!r}; it must be a whole number above 0")
    kind = "local" if extra.get("run_local") else batch_system(scheduler)
    wanted = usual()
    wanted.update({"queue": str(queue)} if queue else {})
    wanted.update({"cores": str(cores_per_job)} if cores_per_job else {})
    wanted.update(parse_resources(extra.get("resources", "")))
    wanted.update(parse_resources({key: extra[key] for key in ("mem", "walltime", "timelimit", "account") if extra.get(key)}))
    tag = re.sub(r"[^A-Za-z0-9_-]", "-", "-".join(["ipengine", *([str(extra["tag"])] if extra.get("tag") else [])]))
    if kind == "slurm":
        ask_slurm(batch_template(kind, wanted, tag), num_jobs)
    folder = tempfile.mkdtemp(prefix="cluster_view-")
    cluster = client = None
    try:
        cluster = _cluster(kind, num_jobs, wanted, tag, profile, folder)
        cluster.start_controller_sync()
        cluster.start_engines_sync(num_jobs)
        client = cluster.connect_client_sync()
        goal, until = num_jobs if wait_for_all_engines else 1, time.monotonic() + start_wait * 60
        while len(client.ids) < goal:
            if time.monotonic() > until:
                raise RuntimeError(
                    f"cluster_view: {len(client.ids)} of {goal} engines came within {start_wait} minutes; {why_not(cluster)}".rstrip("; ")
                )
            time.sleep(0.2)
        view = client[:] if direct else client.load_balanced_view()
        view.block = True
        if retries is not None and not direct:
            view.retries = int(retries)
        yield view
    finally:
        if client is not None:
            client.close()
        shutil.rmtree(folder, ignore_errors=True)
        if cluster is not None:
            cluster.stop_cluster_sync()
