"""A cluster as its people have it: from a laptop outside, through the gateway, onto nodes that nobody else reaches."""

import re
import shlex
import time

import pytest
from conftest import ROOT, eventually, run

PYTHON = "/opt/conda/envs/parallel/bin/python"

# The example of 2014, as it stood: five jobs, two hundred tasks, the shell's line in the middle.
OLD = """
from cluster_helper.cluster import cluster_view

def long_running_function(n):
    machine_name = !uname -n
    return (n * 2, machine_name)

with cluster_view(scheduler="torque", queue="main", num_jobs=5,
                  extra_params={'resources': "walltime=01:00:00;account=ged-intel11;mem=64mb"}) as view:
    result = view.map(long_running_function, range(200))
"""

# A forest's scores, each fold on whatever engine is free, and on this machine alone.
FOREST = """
import ipyparallel, socket
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score

data, classes = load_iris(return_X_y=True)
folds = list(StratifiedKFold(6, shuffle=True, random_state=1).split(data, classes))
forest = RandomForestClassifier(60, random_state=1)
alone = list(cross_val_score(forest, data, classes, cv=folds))

def score(fold):
    from sklearn.base import clone
    train, test = fold
    import socket
    return socket.gethostname(), clone(forest).fit(data[train], classes[train]).score(data[test], classes[test])

client = ipyparallel.Client(profile="lab", timeout=20)
client.wait_for_engines(2, timeout=30)
client[:].push({"forest": forest, "data": data, "classes": classes}, block=True)
found = client.load_balanced_view().map_sync(score, folds)
print(sorted({host for host, _ in found}), [value for _, value in found] == alone)
"""

SLURM = """
import socket
from cluster_helper.cluster import cluster_view
asks = {"resources": "walltime=00:10:00;mem=64mb"}
with cluster_view(scheduler="slurm", queue="main", num_jobs=2, cores_per_job=2, extra_params=asks) as view:
    rc = view.client
    rc.wait_for_engines(2, timeout=60)
    print(*sorted(rc[:].apply_sync(socket.gethostname)))
"""


DASK = """
import socket
from dask.distributed import Client
from dask_jobqueue import SLURMCluster

if __name__ == "__main__":
    with SLURMCluster(cores=2) as cluster:
        cluster.scale(jobs=2)
        with Client(cluster, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            hosts = sorted(client.run(socket.gethostname).values())
            print(*hosts, client.submit(sum, range(101)).result())
"""


# What a browser does on the laptop: log in, start a kernel, run a cell, read what it prints.
CELL = """
import json, re, sys, uuid, requests, websocket

url, password, code = sys.argv[1:]
one = requests.Session()
one.verify = "/home/ada/notebook.pem"
one.get(f"{url}/login").raise_for_status()
one.post(f"{url}/login", data={"password": password, "_xsrf": one.cookies["_xsrf"]}).raise_for_status()
kernel = one.post(f"{url}/api/kernels", json={}, headers={"X-XSRFToken": one.cookies["_xsrf"]}).json()["id"]
cookies = "; ".join(f"{each.name}={each.value}" for each in one.cookies)
place = f"{url.replace('https', 'wss')}/api/kernels/{kernel}/channels?session_id=x"
link = websocket.create_connection(place, cookie=cookies, sslopt={"ca_certs": one.verify}, timeout=60)
header = {"msg_id": uuid.uuid4().hex, "username": "", "session": "x", "msg_type": "execute_request", "version": "5.3"}
ask = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
link.send(json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": ask, "channel": "shell", "buffers": []}))
answer = {"msg_type": ""}
while answer["msg_type"] != "stream":
    answer = json.loads(link.recv())
print(answer["content"]["text"], end="")
"""


@pytest.fixture
def gate(servers):
    return servers["gate"]


@pytest.fixture
def nodes(servers):
    return {name: servers[name] for name in ("node1", "node2")}


@pytest.fixture
def server(gate):
    return gate


def laptop(servers, script, timeout=120):
    """Run a line of sh as the owner of the laptop."""
    words = ("docker", "exec", "-u", "ada", "-w", "/home/ada", "-e", "HOME=/home/ada")
    path = "PATH=/home/ada/.local/bin:/usr/local/bin:/usr/bin:/bin"
    return run(*words, "-e", path, servers["desk"].container, "sh", "-c", script, timeout=timeout)


def ada(servers, script, timeout=120):
    """Return what a script prints that ada runs on the gateway in a login shell, having come from the laptop."""
    place = f"/home/ada/{time.monotonic_ns()}.sh"
    wrote = servers["gate"].docker("runuser", "-u", "ada", "--", "sh", "-c", f"cat >{place} <<'END OF SCRIPT'\n{script}\nEND OF SCRIPT")
    assert wrote.returncode == 0, wrote.stderr
    done = laptop(servers, f"ssh fenton bash -l {place}", timeout)
    servers["gate"].docker("rm", place)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def python(servers, script, timeout=120):
    return ada(servers, f"{PYTHON} - <<'END'\n{script}\nEND", timeout)


def field(gate, job, name):
    """Return one field of what the controller knows of a job."""
    found = re.search(rf"\b{name}=(\S*)", gate.docker("scontrol", "show", "job", job).stdout)
    return found[1] if found else ""


@pytest.fixture
def tidy(gate):
    """End ada's jobs after a test."""
    yield
    gate.docker("scancel", "-u", "ada")


def states(gate):
    """Return the state of each node."""
    return dict(line.split() for line in gate.docker("sinfo", "--noheader", "--Node", "--format", "%N %t").stdout.splitlines())


def test_a_cluster_is_well(gate, servers):
    eventually(lambda: set(states(gate).values()) == {"idle"}, 60)
    done = gate.playbook("--tags", "verify", "-l", "hpc")
    assert done.returncode == 0, done.stdout[-4000:]


def test_jobs_from_the_laptop_land_on_both_nodes(servers):
    assert ada(servers, "srun -N 2 hostname | sort").split() == ["node1", "node2"]


def test_what_a_job_writes_is_read_on_the_gateway(servers, gate):
    """By sbatch and by qsub; there is one home."""
    job = ada(servers, "sbatch --parsable --wrap 'hostname; sleep 1'")
    old = ada(
        servers,
        "printf '#PBS -N old -l walltime=01:00:00,mem=64mb -q main\\n#PBS -j oe\\nhostname; echo $PBS_JOBID\\n' >old.sh; qsub old.sh",
    )
    for number, file in ((job, f"slurm-{job}.out"), (old, f"old.o{old}")):
        eventually(lambda number=number: field(gate, number, "JobState") == "COMPLETED", 60)
        assert ada(servers, f"cat {file}").split()[0] in ("node1", "node2")


def test_modules_are_there_in_a_job(servers):
    assert "/opt/conda/" in ada(servers, "srun bash -lc 'module load anaconda/parallel && command -v python'")


def test_engines_over_ssh_compute_on_both_nodes(servers):
    script = 'import ipyparallel, socket\nc = ipyparallel.Client(profile="lab", timeout=20)\nc.wait_for_engines(2, timeout=30)\n'
    assert python(servers, script + "print(*sorted(c[:].apply_sync(socket.gethostname)))").split() == ["node1", "node2"]


def test_engines_over_slurm_compute_on_both_nodes(servers):
    assert python(servers, SLURM).split()[-2:] == ["node1", "node2"]


@pytest.mark.once
def test_dask_computes_on_both_nodes_with_the_clusters_own_defaults(servers):
    said = ada(servers, f"cat >cluster.py <<'END'\n{DASK}\nEND\n{PYTHON} cluster.py")
    assert said.splitlines()[-1] == "node1 node2 5050"


def test_a_forest_grows_on_the_cluster_as_on_one_machine(servers):
    assert python(servers, FOREST) == "['node1', 'node2'] True"


@pytest.mark.once
def test_the_example_of_old_runs_unchanged(servers):
    count = "print(len(result), result[199][0], *sorted({name for _, (name,) in result}))"
    ipython = PYTHON.replace("/python", "/ipython")
    said = ada(servers, f"cat >old.ipy <<'END'\n{OLD}\n{count}\nEND\n{ipython} old.ipy", 180)
    assert said.splitlines()[-1] == "200 398 node1 node2"


def test_a_service_of_a_node_by_one_verb_of_the_laptop(servers, nodes):
    """The double hop of old."""
    nodes["node1"].docker(
        "sh", "-c", "cd /var/tmp && echo deep >page && exec setsid python3 -m http.server --bind 127.0.0.1 7000 >/dev/null 2>&1 &"
    )
    try:
        eventually(lambda: ":7000" in nodes["node1"].docker("ss", "-Hltn").stdout)
        done = laptop(servers, "fenton -t node1 8888:7000 && curl -sS http://127.0.0.1:8888/page; fenton -t node1 off")
        assert "deep\n" in done.stdout, done.stdout + done.stderr
    finally:
        nodes["node1"].docker("pkill", "-f", "http.server --bind 127.0.0.1 7000")


def test_a_notebook_on_a_node_answers_on_the_laptop(servers, gate, tidy):
    """Asked for on the gateway, opened by the line that it prints."""
    ada(servers, "printf 'correct horse battery\\n' | fenton-notebook password")
    said = ada(servers, "fenton-notebook --cores 1 --memory 300M --time 20")
    line = re.search(r"fenton -t (node\d) (\d+)", said)
    assert line, said
    opened = laptop(servers, f"fenton -cp :.config/fenton/notebook/authority/ca.pem notebook.pem && {line[0]}")
    assert opened.returncode == 0, opened.stdout + opened.stderr
    try:
        code = "import socket, os; print(socket.gethostname(), os.environ['SLURM_JOB_ID'])"
        words = f"https://127.0.0.1:{line[2]} 'correct horse battery' {shlex.quote(code)}"
        done = laptop(servers, f"cat >cell.py <<'END'\n{CELL}\nEND\npython3 cell.py {words}")
        job = gate.docker("squeue", "--noheader", "--user=ada", "--format=%i").stdout.strip()
        assert done.stdout.split() == [line[1], job], done.stderr
    finally:
        laptop(servers, f"fenton -t {line[1]} off; rm -f notebook.pem")


@pytest.mark.long
@pytest.mark.once
def test_a_network_that_is_cut_is_reported_and_mended(servers, gate, nodes, tidy):
    """A node's jobs go on elsewhere, and its engines come back when it does."""
    job = ada(servers, "sbatch --parsable --requeue -w node1 --mem 32 --wrap 'sleep 300'")
    eventually(lambda: field(gate, job, "JobState") == "RUNNING")
    rules = "add table inet cut; add chain inet cut in { type filter hook input priority -10; policy drop; }"
    assert nodes["node1"].docker("nft", rules).returncode == 0
    try:
        eventually(lambda: states(gate)["node1"].startswith("down"), 60)
        doctor = gate.playbook("--tags", "verify", "-l", "gate")
        assert doctor.returncode != 0
        assert "node1" in doctor.stdout
        eventually(lambda: field(gate, job, "JobState") == "PENDING", 60)
    finally:
        nodes["node1"].docker("nft", "delete", "table", "inet", "cut")
    eventually(lambda: states(gate)["node1"] in ("idle", "mix", "alloc"), 90)
    test_engines_over_ssh_compute_on_both_nodes(servers)


@pytest.mark.long
@pytest.mark.once
def test_a_third_node_joins_and_the_others_need_no_run(servers, gate, tidy):
    job = ada(servers, "sbatch --parsable -w node1 --mem 32 --wrap 'sleep 300'")
    eventually(lambda: field(gate, job, "JobState") == "RUNNING")
    joins = ("-i", ROOT / "molecule/hpc/joins.ini")
    done = gate.playbook(*joins, "-l", "gate,node3")
    assert done.returncode == 0, done.stdout[-4000:]
    eventually(lambda: states(gate).get("node3") == "idle", 60)
    assert ada(servers, "srun -w node3 hostname") == "node3"
    assert (field(gate, job, "JobState"), field(gate, job, "Restarts")) == ("RUNNING", "0")
    # And it leaves again.
    assert gate.playbook("--tags", "slurm,ipyparallel").returncode == 0
    eventually(lambda: set(states(gate)) == {"node1", "node2"})
