"""What the role slurm makes of what nodes say, the sentences about what cannot be, and qsub's translation."""

import base64
import importlib.machinery
import importlib.util
from pathlib import Path

import pytest
import slurm

ROOT = Path(__file__).resolve().parents[2]
# As slurmd -C of 24.11 prints it on a machine with two sockets, and on one without them.
BIG = "NodeName=big CPUs=32 Boards=1 SocketsPerBoard=2 CoresPerSocket=8 ThreadsPerCore=2 RealMemory=128683\nUpTime=0-16:49:38"
SMALL = "NodeName=small CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=24105\nUpTime=0-16:49:38"
CARD = {"address": "0000:01:00.0", "architecture": "pascal", "driver": "nvidia"}


def says(hardware, **more):
    return {"hardware": hardware, "address": "10.0.0.9", "node": {}, "devices": [], "gpus": [], **more}


def given(**more):
    return {
        "controller": "gate", "nodes": ["big", "small"], "cluster_name": "cluster", "partitions": [{"name": "main"}], "accounting": False,
        "accounts": [], "job_ports": "32768-60999", "options": {}, "taken": ["clustername", "include"], "munge_key": "", **more,
    }  # fmt: skip


def host(**more):
    return {
        "name": "big", "hostname": "big", "address": "10.0.0.9", "networks": ["10.0.0.0/24"], "memory": 128683, "cpus": 32, "node": {},
        "is_node": True, "addresses": ["10.0.0.9", "172.17.0.1"], **more,
    }  # fmt: skip


def test_a_node_is_what_slurmd_says_but_for_some_memory():
    line = slurm.node_line(says(BIG), "big")
    assert line.startswith(
        "NodeName=big NodeAddr=10.0.0.9 CPUs=32 Boards=1 SocketsPerBoard=2 CoresPerSocket=8 ThreadsPerCore=2 RealMemory="
    )
    memory = int(slurm.node_of(line)["RealMemory"])
    assert 0.97 * 128683 < memory <= 0.98 * 128683
    assert slurm.node_line(says(""), "big") == ""


def test_a_kernel_that_takes_a_few_MiB_more_changes_nothing_and_memory_that_is_gone_does():
    memory = slurm.node_of(slurm.node_line(says(BIG), "big"))["RealMemory"]
    for now in (128683 - 200, 128683 + 60):
        assert f"RealMemory={memory} " in slurm.node_line(says(BIG.replace("128683", str(now))), "big", memory)
    less = slurm.node_of(slurm.node_line(says(BIG.replace("128683", "64000")), "big", memory))["RealMemory"]
    assert int(less) < 64000
    assert int(slurm.node_of(slurm.node_line(says(BIG.replace("128683", "256000")), "big", memory))["RealMemory"]) > 240000


def test_the_inventory_may_offer_less():
    node = {"cpus": 30, "memory": 100000, "gpus": [{"type": "a", "file": "/dev/x"}], "features": ["fast", "gpu"], "options": {"Weight": 5}}
    line = slurm.node_line(says(BIG, node=node), "big")
    assert line == "NodeName=big NodeAddr=10.0.0.9 CPUs=30 RealMemory=100000 Gres=gpu:a:1 Feature=fast,gpu Weight=5 State=UNKNOWN"


@pytest.mark.parametrize(
    ("own", "devices", "found", "gres"),
    [
        (None, [], [], ""),
        (None, ["/dev/nvidia0"], [CARD], "gpu:pascal:1"),
        (None, ["/dev/nvidia1", "/dev/nvidia0"], [CARD, {**CARD, "architecture": "ada"}], "gpu:pascal:1,gpu:ada:1"),
        # One belongs to a virtual machine, and has no device of the driver.
        (None, ["/dev/nvidia0"], [{**CARD, "driver": "vfio-pci"}, {**CARD, "architecture": "ada"}], "gpu:ada:1"),
        # Nobody can say which is which.
        (None, ["/dev/nvidia0", "/dev/nvidiactl"], [CARD, CARD], "gpu:nvidia:1"),
        ([], ["/dev/nvidia0"], [CARD], ""),
        ([{"type": "t", "file": "/dev/null"}], [], [], "gpu:t:1"),
    ],
)
def test_cards_are_those_of_the_driver_unless_the_inventory_says(own, devices, found, gres):
    assert slurm.gres_of(slurm.gpus_of(own, devices, found)) == gres


def test_the_tenth_card_comes_after_the_ninth():
    devices = [f"/dev/nvidia{number}" for number in range(11)]
    assert [gpu["file"] for gpu in slurm.gpus_of(None, sorted(devices), [CARD] * 11)] == devices


def test_a_node_that_is_not_in_this_run_keeps_its_lines():
    lines = slurm.node_lines(["big", "small"], {"big": says(BIG, gpus=[CARD], devices=["/dev/nvidia0"]), "small": says(SMALL)}, "")
    conf = "\n".join(["ClusterName=x", *lines, "PartitionName=main Nodes=big,small"])
    assert slurm.node_lines(["big", "small"], {"small": says(SMALL)}, conf) == lines
    assert slurm.node_lines(["small"], {}, conf) == lines[1:]
    assert slurm.node_lines(["big", "new"], {}, conf) == lines[:1]
    gres = slurm.gres_lines(["big", "small"], {"big": says(BIG, gpus=[CARD], devices=["/dev/nvidia0"])}, "")
    assert gres == ["NodeName=big Name=gpu Type=pascal File=/dev/nvidia0"]
    assert slurm.gres_lines(["big"], {}, "\n".join(gres)) == gres
    assert slurm.gres_lines(["big"], {"big": says(BIG)}, "\n".join(gres)) == []
    # Somebody has removed gres.conf, and the node is not there to be asked.
    assert slurm.without_devices(["big", "small", "new"], conf, "") == ["big"]
    assert slurm.without_devices(["big", "small"], conf, "\n".join(gres)) == []


def test_partitions_have_the_nodes_that_are_known():
    lines = slurm.node_lines(["big", "small", "new"], {"big": says(BIG), "small": says(SMALL)}, "")
    partitions = [{"name": "main"}, {"name": "long", "nodes": ["small"], "max_time": "7-0", "options": {"PriorityTier": 1}}]
    assert slurm.partition_lines([*partitions, {"name": "later", "nodes": ["new"]}], lines) == [
        "PartitionName=main Nodes=big,small Default=YES MaxTime=INFINITE State=UP",
        "PartitionName=long Nodes=small Default=NO MaxTime=7-0 PriorityTier=1 State=UP",
    ]
    assert slurm.memory_per_cpu(lines) == int(slurm.node_of(lines[0])["RealMemory"]) // 32


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, None),
        ({"nodes": []}, "slurm_nodes: there is no node"),
        ({"nodes": ["big", "big"]}, "big is there twice"),
        ({"nodes": ["big.example.org"]}, "'big.example.org' cannot be a host's name"),
        ({"cluster_name": "My Cluster"}, "slurm_cluster_name: 'My Cluster'"),
        ({"partitions": []}, "slurm_partitions: there is none"),
        ({"partitions": [{"name": "main", "nodes": []}]}, "slurm_partitions: main has no node"),
        ({"partitions": [{"name": "main", "nodes": ["huge"]}]}, "main has huge, which slurm_nodes has not"),
        ({"partitions": [{"name": "a b"}]}, "'a b' has other than letters"),
        ({"partitions": [{"name": "a"}, {"name": "a"}]}, "slurm_partitions: a is there twice"),
        ({"accounts": [{"name": "physics"}]}, "set slurm_accounting to true"),
        ({"accounting": True, "accounts": [{"name": "a;b"}]}, "'a;b' cannot be an account"),
        ({"accounting": True, "accounts": [{"name": "a", "users": ["Ada L"]}]}, "'Ada L' cannot be an account or a user"),
        ({"options": {"ClusterName": "x"}}, "ClusterName is set by the role itself"),
        ({"options": {"Bad Key": 1}}, "'Bad Key' is not the word of a line"),
        ({"job_ports": "40000"}, "slurm_job_ports: '40000' is not FIRST-LAST"),
        ({"job_ports": "50000-40000"}, "slurm_job_ports: '50000-40000' is not FIRST-LAST"),
        ({"job_ports": ""}, None),
        ({"munge_key": "short"}, "slurm_munge_key: it is not a key"),
        ({"munge_key": base64.b64encode(bytes(8)).decode()}, "slurm_munge_key: it is not a key"),
        ({"munge_key": base64.b64encode(bytes(128)).decode()}, None),
    ],
)
def test_one_sentence_for_each_mistake(settings, said):
    found = slurm.slurm_problems(given(**settings))
    assert len(found) == (1 if said else 0), found
    if said:
        assert said in found[0]
        assert found[0].endswith((".yml.", "in the inventory."))
        assert settings.get("munge_key", "not there") not in found[0]


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({}, None),
        ({"hostname": ""}, None),
        ({"hostname": "localhost"}, "its host name is localhost"),
        ({"address": ""}, "big has no address"),
        ({"address": "10.0.0.10"}, "big does not have the address 10.0.0.10"),
        ({"networks": ["10.1.0.0/16"]}, "10.0.0.9 is in none of 10.1.0.0/16"),
        ({"networks": ["10.0.0.0/33"]}, "'10.0.0.0/33' does not appear"),
        ({"node": {"memory": 128684}}, "has 128683 MiB of memory, and memory says 128684"),
        ({"node": {"cpus": 33}}, "has 32 CPUs, and cpus says 33"),
        ({"node": {"memory": 128684, "cpus": 33}, "is_node": False}, None),
    ],
)
def test_one_sentence_for_what_the_host_refutes(about, said):
    found = slurm.slurm_host_problems(host(**about))
    assert len(found) == (1 if said else 0), found
    assert not said or said in found[0]


def test_clocks_that_are_apart_are_named():
    assert slurm.clock_problems({"big": 3, "gate": 1}, "big", "gate") == []
    assert slurm.clock_problems({"big": 900}, "big", "gate") == []
    (said,) = slurm.clock_problems({"big": -600, "gate": 1}, "big", "gate")
    assert said.startswith("big: its clock is 601 s behind that of gate")


def test_accounts_are_made_changed_and_left_alone():
    accounts = [
        {"name": "ged", "users": ["ada", "tom"], "limits": {"MaxJobs": 20}},
        {"name": "bio", "users": [], "limits": {"GrpTRES": "cpu=4"}},
    ]
    assert slurm.limit_names(accounts) == ["MaxJobs", "GrpTRES"]
    first = slurm.account_commands(accounts, "", "c")
    assert first == [
        ["add", "cluster", "c"],
        ["add", "account", "ged", "cluster=c", "MaxJobs=20"],
        ["add", "user", "ada", "account=ged", "cluster=c"],
        ["add", "user", "tom", "account=ged", "cluster=c"],
        ["add", "account", "bio", "cluster=c", "GrpTRES=cpu=4"],
    ]
    present = "c|root||||\nc|root|root|||\nc|ged||20||\nc|ged|ada|||\nc|ged|tom|||\nc|bio|||cpu=4|\nother|ged|eve|||"
    assert slurm.account_commands(accounts, present, "c") == []
    accounts[0].update(users=["ada"], limits={})
    accounts[1]["limits"]["MaxJobs"] = 3
    # The order of the fields is that of the names.
    assert slurm.limit_names(accounts) == ["GrpTRES", "MaxJobs"]
    present = "c|root||||\nc|ged||cpu=9|20|\nc|ged|ada|||\nc|ged|tom|||\nc|bio||cpu=4||"
    assert slurm.account_commands(accounts, present, "c") == [
        ["modify", "account", "where", "name=ged", "cluster=c", "set", "GrpTRES=-1", "MaxJobs=-1"],
        ["delete", "user", "where", "name=tom", "account=ged", "cluster=c"],
        ["modify", "account", "where", "name=bio", "cluster=c", "set", "MaxJobs=3"],
    ]


@pytest.fixture(scope="module")
def qsub():
    loader = importlib.machinery.SourceFileLoader("qsub", str(ROOT / "roles/slurm/files/qsub"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("qsub", loader))
    loader.exec_module(module)
    return module


def translated(qsub, text, *words):
    given, rest = qsub.options(words, "command line")
    return " ".join([*qsub.merged([("-N", ["job.sh"]), *qsub.directives(text), *given]), *rest])


def test_lines_of_the_script_become_options_and_the_command_line_wins(qsub):
    text = """#!/bin/sh
# a job
#PBS -N named -q long
#PBS -l walltime=01:00:00,mem=64mb -A ged

#PBS -l nodes=2:ppn=1
echo
#PBS -N late
"""
    assert translated(qsub, text, "-q", "main", "job.sh") == ("-N named -q main -A ged -l walltime=1:00:00,mem=64mb,nodes=2:ppn=1 job.sh")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-t 1-3 -o out/", "-N job.sh -t 1-3 -o out/job.sh.o%A.%a"),
        ("-o gate:/tmp/x -j oe", "-N job.sh -o /tmp/x -j oe"),
        ("-l walltime=1:02:00:00 -l mem=1gb", "-N job.sh -l walltime=26:00:00,mem=1gb"),
        ("-l walltime=90", "-N job.sh -l walltime=0:01:30"),
        ("-Vqmain", "-N job.sh -V -q main"),
        ("-W depend=afterok:7,umask=022", "-N job.sh -W depend=afterok:7 -W umask=022"),
        ("-d /tmp -k oe -S /bin/bash", "-N job.sh -wd /tmp"),
    ],
)
def test_torques_options_are_told_as_the_package_knows_them(qsub, words, said):
    assert translated(qsub, "", *words.split()) == said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-l pmem=1gb", "-l pmem has no meaning here"),
        ("-l walltime=soon", "'soon' is no time"),
        ("-Q", "there is no option -Q (command line)"),
        ("-N", "-N needs a value"),
    ],
)
def test_what_has_no_meaning_is_refused(qsub, words, said):
    with pytest.raises(SystemExit, match=f"qsub: .*{said.replace('(', '[(]').replace(')', '[)]')}"):
        translated(qsub, "", *words.split())
