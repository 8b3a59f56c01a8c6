"""Jobs of people on a cluster of a gateway and two nodes, as they send them: by srun, sbatch and Torque's commands."""

import json
import re
import subprocess
import time

import pytest
from conftest import SCENARIO, eventually

ACCOUNT = "ged-intel11"


@pytest.fixture(autouse=True)
def _scenario():
    """Leave it to the role's own scenario, which has two nodes; the promises are asked everywhere."""
    if SCENARIO != "slurm":
        pytest.skip("shown in the scenario slurm")


@pytest.fixture
def gate(servers):
    return servers["gate"]


@pytest.fixture
def nodes(servers):
    return {name: servers[name] for name in ("node1", "node2")}


def sh(server, script, user="root", **options):
    """Return what a script prints on the server, run as somebody who has logged in."""
    done = server.docker("runuser", "-l", user, "-c", script, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def ada(server, script):
    return sh(server, script, "ada")


def send(gate, script, words=""):
    """Send a job by qsub from the gateway and return its number."""
    ada(gate, f"cat >job.sh <<'END'\n{script}\nEND")
    number = ada(gate, f"qsub {words} job.sh")
    assert number.isdigit(), number
    return number


def field(gate, job, name):
    """Return one field of what the controller knows of a job."""
    found = re.search(rf"\b{name}=(\S*)", sh(gate, f"scontrol show job {job}"))
    return found[1] if found else ""


def ended(gate, job, seconds=40):
    eventually(lambda: field(gate, job, "JobState") in ("COMPLETED", "FAILED", "TIMEOUT"), seconds)
    return field(gate, job, "JobState")


def output(gate, nodes, job, path):
    """Return a file that a job wrote; the homes here are not shared, so it lies where the job ran."""
    place = nodes[field(gate, job, "BatchHost")]
    return eventually(lambda: place.docker("cat", path).stdout, 10)


def play(*servers, tags="slurm", **more):
    """Run the role again on these servers, with other settings."""
    limit = ",".join(each.name for each in servers)
    return servers[0].playbook("-l", limit, "--tags", tags, "-e", json.dumps(more))


def states(gate):
    """Return the state of each node."""
    return dict(line.split() for line in sh(gate, "sinfo --noheader --Node --format '%N %t'").splitlines())


@pytest.fixture
def well(gate, nodes):
    """Fail where the test leaves the cluster unwell."""
    yield
    eventually(lambda: set(states(gate).values()) <= {"idle"}, 60)


def test_srun_lands_on_both_nodes(gate):
    assert sorted(ada(gate, f"srun -A {ACCOUNT} -N 2 hostname").split()) == ["node1", "node2"]


def test_sbatch_lands_on_both_nodes(gate, nodes):
    for name, node in nodes.items():
        job = ada(gate, f"cd /tmp && sbatch --parsable -A {ACCOUNT} -w {name} --wrap hostname")
        assert ended(gate, job) == "COMPLETED"
        assert node.docker("cat", f"/tmp/slurm-{job}.out").stdout.strip() == name


def test_jobs_can_be_sent_from_a_node_too(nodes):
    assert ada(nodes["node1"], f"srun -A {ACCOUNT} -w node2 hostname") == "node2"


def test_the_old_lines_of_torque_work(gate, nodes):
    script = """#!/bin/bash
#PBS -N old-habit
#PBS -l walltime=01:00:00,mem=64mb
#PBS -A ged-intel11
#PBS -q main
#PBS -j oe
env | grep ^PBS_ | sort
cat $PBS_NODEFILE"""
    job = send(gate, script)
    assert ended(gate, job) == "COMPLETED"
    said = output(gate, nodes, job, f"/home/ada/old-habit.o{job}")
    assert field(gate, job, "TimeLimit") == "01:00:00"
    assert field(gate, job, "Account") == ACCOUNT
    assert field(gate, job, "Partition") == "main"
    assert "mem=64M" in field(gate, job, "ReqTRES") + field(gate, job, "TRES")
    variables = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    assert variables["PBS_JOBID"] == job
    assert variables["PBS_O_WORKDIR"] == "/home/ada"
    assert variables["PBS_JOBNAME"] == "old-habit"
    assert variables["PBS_QUEUE"] == "main"
    assert said.splitlines()[-1] == field(gate, job, "BatchHost")


def test_each_job_of_an_array_writes_a_file_of_its_own(gate, nodes):
    job = send(gate, "#PBS -t 1-3 -N many\n#PBS -l mem=32mb -A ged-intel11\necho task $PBS_ARRAYID", "-q main")
    eventually(lambda: ada(gate, f"squeue --noheader --job {job} 2>/dev/null || true") == "", 40)
    lines = [node.docker("sh", "-c", f"cat /home/ada/many.o{job}.*").stdout.splitlines() for node in nodes.values()]
    assert sorted(sum(lines, [])) == ["task 1", "task 2", "task 3"]


def test_a_script_on_the_standard_input_is_a_job(gate, nodes):
    job = ada(gate, f"echo 'echo from-the-input' | qsub -A {ACCOUNT} -l nodes=1")
    assert ended(gate, job) == "COMPLETED"
    assert output(gate, nodes, job, f"/home/ada/STDIN.o{job}") == "from-the-input\n"


def test_qstat_tells_of_a_job_in_all_its_forms_and_qdel_ends_it(gate):
    job = send(gate, "#PBS -A ged-intel11\nsleep 300", "-l nodes=2:ppn=1,mem=32mb")
    eventually(lambda: field(gate, job, "JobState") == "RUNNING")
    assert re.search(rf"^{job}\b.*\bada\b.*\bR\b", ada(gate, "qstat"), re.M)
    assert "exec_host = node1/1+node2/1" in ada(gate, f"qstat -f {job}")
    assert "node1/1+node2/1" in ada(gate, "qstat -n")
    assert "main" in ada(gate, "qstat -q")
    assert "node2" in ada(gate, "pbsnodes -a")
    ada(gate, f"qdel {job}")
    eventually(lambda: field(gate, job, "JobState") == "CANCELLED")


def test_what_torque_had_and_slurm_has_not_is_refused(gate):
    done = gate.docker("runuser", "-l", "ada", "-c", "qsub -l pmem=1gb job.sh")
    assert done.returncode != 0
    assert "-l pmem has no meaning here; ask for a job's memory on each node with -l mem=" in done.stderr


def test_a_gpu_is_given_to_who_asks_for_it(gate):
    assert ada(gate, f"srun -A {ACCOUNT} --gres=gpu:gtx1080:1 sh -c 'hostname; echo $CUDA_VISIBLE_DEVICES'").split() == ["node1", "0"]
    done = gate.docker("runuser", "-l", "ada", "-c", f"srun -A {ACCOUNT} --gres=gpu:gtx1080:2 true")
    assert done.returncode != 0


def test_who_has_no_account_runs_nothing_and_jobs_are_on_record(gate):
    done = gate.docker("runuser", "-l", "tom", "-c", "srun true")
    assert done.returncode != 0
    assert "Invalid account" in done.stderr
    job = ada(gate, f"cd /tmp && sbatch --parsable -A {ACCOUNT} --wrap true")
    assert ended(gate, job) == "COMPLETED"
    eventually(lambda: ada(gate, f"sacct -nX -j {job} -o account%20,state").split() == [ACCOUNT, "COMPLETED"])


def test_the_end_of_a_job_is_told(gate):
    job = send(gate, "#PBS -m ae\n#PBS -A ged-intel11\ntrue")
    told = eventually(lambda: [line for line in gate.docker("cat", "/var/lib/postbox").stdout.splitlines() if f"Job_id={job} " in line])
    assert re.match(r"root: -s Slurm Job_id=\d+ Name=job.sh Ended", told[0])


def test_the_key_is_nobodys_to_read_and_nowhere_else(gate, nodes):
    key = sh(gate, "base64 -w 0 /etc/munge/munge.key")
    for server in (gate, *nodes.values()):
        assert sh(server, "stat -c '%a %U' /etc/munge/munge.key") == "600 munge"
        assert sh(server, "base64 -w 0 /etc/munge/munge.key") == key
        assert sh(server, f"journalctl --no-pager | grep -cF '{key[:40]}' || true") == "0"


@pytest.mark.once
def test_a_node_with_another_key_is_named_and_repaired(gate, nodes, well):
    sh(nodes["node2"], "head -c 128 /dev/urandom >/etc/munge/munge.key && systemctl restart munge && systemctl --no-block restart slurmd")
    told = nodes["node2"].playbook("--tags", "verify", "-l", "gate,node2")
    assert told.returncode != 0
    assert "Controller and nodes have one key" in told.stdout
    done = play(gate, nodes["node2"])
    assert done.returncode == 0, done.stdout[-3000:]
    assert "node2 has another munge key than gate" in done.stdout.replace("\n        ", " ")
    assert ada(gate, f"srun -A {ACCOUNT} -w node2 hostname") == "node2"


@pytest.mark.once
def test_a_job_goes_on_while_the_controller_is_down(gate, nodes, well):
    job = ada(gate, f"cd /tmp && sbatch --parsable -A {ACCOUNT} -w node1 --mem 32 --wrap 'sleep 18; echo through'")
    waiting = ada(gate, f"cd /tmp && sbatch --parsable -A {ACCOUNT} --begin now+1hour --mem 32 --wrap true")
    eventually(lambda: field(gate, job, "JobState") == "RUNNING")
    # What happened in its last seconds before a crash it has not written down.
    time.sleep(6)
    sh(gate, "systemctl kill --signal KILL slurmctld")
    eventually(lambda: "is UP" in gate.docker("scontrol", "ping").stdout, 40)
    assert ended(gate, job) == "COMPLETED"
    assert field(gate, job, "Restarts") == "0"
    assert nodes["node1"].docker("cat", f"/tmp/slurm-{job}.out").stdout == "through\n"
    assert field(gate, waiting, "JobState") == "PENDING"
    ada(gate, f"scancel {waiting}")


@pytest.mark.long
@pytest.mark.once
def test_the_job_of_a_node_that_dies_runs_again_elsewhere(gate, nodes, well):
    job = ada(gate, f"cd /tmp && sbatch --parsable -A {ACCOUNT} --requeue -C gpu --mem 32 --wrap 'sleep 300'")
    eventually(lambda: field(gate, job, "JobState") == "RUNNING")
    subprocess.run(["docker", "kill", nodes["node1"].container], check=True, capture_output=True)
    try:
        eventually(lambda: field(gate, job, "Restarts") == "1", 90)
        assert field(gate, job, "JobState") == "PENDING"
        ada(gate, f"scontrol update job={job} features= && scontrol update job={job} starttime=now")
        eventually(lambda: field(gate, job, "BatchHost") == "node2" and field(gate, job, "JobState") == "RUNNING", 60)
    finally:
        ada(gate, f"scancel {job}")
        subprocess.run(["docker", "start", nodes["node1"].container], check=True, capture_output=True)
    eventually(lambda: states(gate)["node1"] == "idle", 60)


@pytest.mark.once
def test_a_node_that_spoils_jobs_gets_none_until_it_is_well(gate, nodes, well):
    script = "/usr/local/lib/fenton/slurm-health"
    sh(nodes["node2"], f"chattr +i /tmp 2>/dev/null; mount -t tmpfs -o size=1m none /tmp && {script}")
    eventually(lambda: states(gate)["node2"] in ("drain", "drained"))
    assert "health: less than 64 MiB are free in /tmp" in sh(gate, "scontrol show node node2")
    sh(nodes["node2"], f"umount /tmp && {script}")
    eventually(lambda: states(gate)["node2"] == "idle")
    sh(gate, "scontrol update nodename=node2 state=drain reason=mine")
    sh(nodes["node2"], script)
    assert states(gate)["node2"] == "drain"
    sh(gate, "scontrol update nodename=node2 state=resume")


@pytest.mark.once
def test_a_cluster_that_cannot_be_is_refused_in_a_sentence_each(gate, nodes):
    done = play(gate, *nodes.values(), slurm_partitions=[{"name": "main", "nodes": []}], slurm_munge_key="c2hvcnQ=")
    told = re.sub(r"\s+", " ", done.stdout)
    assert "slurm_partitions: main has no node; name some, or remove it in group_vars/hpc/slurm.yml." in told
    assert "slurm_munge_key: it is not a key of 32 to 1024 bytes" in told
    assert "c2hvcnQ=" not in told
    assert done.returncode != 0
    assert not re.search(r"changed=[1-9]", done.stdout)


@pytest.mark.once
def test_what_a_host_refutes_is_refused_in_a_sentence_each(gate, nodes):
    node = nodes["node1"]
    # A container's name and clock are the host's, so the two programs that tell them are made to lie.
    lies = {
        "hostname": '[ "$1" != -s ] || exec echo other; exec /usr/bin/hostname "$@"',
        "date": 'exec /usr/bin/date -d "-10 minutes" "$@"',
    }
    for program, lie in lies.items():
        sh(node, f"cat >/usr/local/bin/{program} <<'END'\n#!/bin/sh\n{lie}\nEND\nchmod 755 /usr/local/bin/{program}")
    try:
        done = play(gate, node, slurm_node={"memory": 99999999})
    finally:
        sh(node, "rm /usr/local/bin/hostname /usr/local/bin/date")
    told = re.sub(r"\s+", " ", done.stdout)
    assert "node1: its host name is other, and Slurm knows a host by that" in told
    assert re.search(r"node1: its clock is (59[0-9]|60[0-9]) s behind that of gate", told)
    assert re.search(r"slurm_node: node1 has \d+ MiB of memory, and memory says 99999999; lower it in host_vars/node1/slurm.yml", told)
    assert done.returncode != 0
    assert not re.search(r"changed=[1-9]", done.stdout)


@pytest.mark.once
def test_a_configuration_that_slurm_refuses_never_reaches_it(gate):
    before = sh(gate, "sha256sum /etc/slurm/*.conf; systemctl show -P ActiveEnterTimestamp slurmctld")
    done = play(gate, slurm_options={"SchedulerType": "sched/nonsense"})
    assert done.returncode != 0
    assert "would not be valid, so nothing was written" in re.sub(r"\s+", " ", done.stdout)
    assert sh(gate, "sha256sum /etc/slurm/*.conf; systemctl show -P ActiveEnterTimestamp slurmctld") == before


@pytest.mark.once
def test_a_node_leaves_and_joins_and_no_job_is_lost(gate, nodes, well):
    job = ada(gate, f"cd /tmp && sbatch --parsable -A {ACCOUNT} -w node1 --mem 32 --wrap 'sleep 300'")
    eventually(lambda: field(gate, job, "JobState") == "RUNNING")
    done = play(gate, slurm_nodes=["node1"], slurm_partitions=[{"name": "main"}])
    assert done.returncode == 0, done.stdout[-3000:]
    assert set(states(gate)) == {"node1"}
    # The inventory's own list again: the node that the controller has forgotten must be taken along.
    done = play(gate)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "slurm_nodes: node2 left out" in re.sub(r"\s+", " ", done.stdout)
    done = play(gate, nodes["node2"])
    assert done.returncode == 0, done.stdout[-3000:]
    eventually(lambda: states(gate).get("node2") == "idle", 40)
    assert field(gate, job, "JobState") == "RUNNING"
    assert field(gate, job, "Restarts") == "0"
    assert sorted(ada(gate, f"srun -A {ACCOUNT} --mem 32 -N 2 hostname").split()) == ["node1", "node2"]
    ada(gate, f"scancel {job}")


@pytest.mark.once
def test_what_is_changed_by_hand_on_the_controller_is_put_right(gate):
    how = """echo '# mine' >>/etc/slurm/slurm.conf && echo '# mine' >>/etc/slurm/gres.conf && chmod 644 /etc/slurm/slurmdbd.conf &&
        sacctmgr -i modify account ged-intel11 set MaxJobs=5 && systemctl stop slurmctld"""
    look = """cat /etc/slurm/*.conf; stat -c '%n %a %U' /etc/slurm/*.conf; sacctmgr -nP list assoc format=account,maxjobs
        systemctl is-active slurmctld"""
    gate.mends("slurm", how, look)


@pytest.mark.once
def test_what_is_changed_by_hand_on_a_node_is_put_right(nodes):
    how = (
        "systemctl disable slurmd && echo >>/usr/local/lib/fenton/slurm-health && chmod 755 /usr/local/bin/qsub && rm /usr/local/bin/qstat"
    )
    nodes["node1"].mends("slurm", how, "systemctl is-enabled slurmd; cat /usr/local/lib/fenton/slurm-health; cat /usr/local/bin/q*")
