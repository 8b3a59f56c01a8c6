"""The role ipyparallel: what is wrong with clusters, what their hosts are told, keys of old, and jobs of cluster_view."""

import getpass
import importlib.util
import os
import sys
from pathlib import Path

import pytest
from conftest import load

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "roles/ipyparallel/files/python"))

from cluster_helper import cluster as helper  # noqa: E402
from cluster_helper.config import all_problems, old_keys  # noqa: E402

spec = importlib.util.spec_from_file_location("ipyparallel_filters", ROOT / "plugins/filter/ipyparallel.py")
filters = importlib.util.module_from_spec(spec)
spec.loader.exec_module(filters)

HOSTS = ["fenton", "forge", "anvil"]
GOOD = {"name": "lab", "user": "ada", "transport": "ssh", "controller": "fenton", "engines": {"fenton": 1, "forge": {"slots": 2}}}
OVER_SLURM = {**GOOD, "transport": "slurm", "engines": 4}
PEERS = {
    "fenton": {"address": "10.0.0.1", "hostname": "fenton", "port": 22, "host_keys": ["ssh-ed25519 F"], "keys": {"lab": "ssh-ed25519 K"}},
    "forge": {"address": "10.0.0.2", "hostname": "forge", "port": 2222, "host_keys": ["ssh-ed25519 G", "ssh-rsa R"], "keys": {}},
}


def test_good_clusters_are_let_through():
    assert filters.ipyparallel_problems([GOOD, {**OVER_SLURM, "name": "big", "ports": "12200-12208"}], HOSTS) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ports": "12100-12107"}, "lab: ports: 12100-12107 are 8, and a controller needs 9 for its engines; give it 12100-12108 in"),
        ({"ports": "22-40"}, "lab: ports: 22-40 is no range FIRST-LAST between 1024 and 65535"),
        ({"engines": {}}, "lab: engines: there are none"),
        ({"engines": {"fenton": 0}}, "lab: engines: fenton has 0 of them"),
        ({"engines": {"frogre": 1}}, "lab: engines: the inventory has no host frogre"),
        ({"engines": 3}, "lab: engines: 3 says no hosts; write {fenton: 4}"),
        ({"engines": {"forge": {"slots": 1, "address": "forge.lan"}}}, "lab: engines: forge.lan of forge is no address"),
        ({"controller": "fentno"}, "lab: controller: the inventory has no host fentno"),
        ({"name": "my lab"}, "my lab: is no name of a profile"),
        ({"name": "../lab"}, "../lab: is no name of a profile"),
        ({"user": "root"}, "lab: user: 'root' cannot be an account of a person"),
        ({"transport": "slurm", "engines": 0}, "lab: engines: 0 is not the number of Slurm jobs"),
        ({"transport": "slurm", "engines": 1, "jobs": {"walltime": 3600.5}}, "lab: walltime: 3600.5 is no time such as '01:00:00'"),
        ({"transport": "slurm", "engines": 1, "jobs": {"memory": "2"}}, "lab: memory: '2' is no amount with a unit"),
    ],
)
def test_bad_clusters_are_one_sentence_each(change, said):
    (sentence,) = filters.ipyparallel_problems([{**GOOD, **change}], HOSTS)
    assert said in sentence
    assert sentence.startswith("ipyparallel_clusters: ")
    assert sentence.endswith("group_vars/all/ipyparallel.yml.")


def test_two_clusters_do_not_share_ports_or_names():
    said = filters.ipyparallel_problems([GOOD, {**GOOD, "name": "big"}], HOSTS)
    assert said == [
        "ipyparallel_clusters: big: ports: 12100-12119 overlap with those of lab on fenton; "
        "give it others in group_vars/all/ipyparallel.yml."
    ]
    assert "lab: is there twice" in filters.ipyparallel_problems([GOOD, GOOD], HOSTS)[0]


def test_jobs_and_nodes():
    assert (
        filters.ipyparallel_job_problems({"queue": "main", "memory": "2GB", "cores": 2, "walltime": "1-00:00:00", "ports": "20000-20100"})
        == []
    )
    assert "ports: 20000-20001 are 2" in filters.ipyparallel_job_problems({"ports": "20000-20001"})[0]
    assert "no host n9" in filters.ipyparallel_node_problems(["n9"], HOSTS)[0]


def test_the_controller_is_told_of_hosts_that_have_shown_themselves():
    cluster = {**GOOD, "engines": {"fenton": 1, "forge": 2, "anvil": 1}}
    about = filters.ipyparallel_description(cluster, "fenton", PEERS, {}, "/env")
    assert about["hosts"] == {
        "fenton": {"slots": 1, "local": True},
        "forge": {"slots": 2, "local": False, "address": "10.0.0.2", "port": 2222},
    }
    assert filters.ipyparallel_known_hosts(about, PEERS) == "fenton ssh-ed25519 F\nforge ssh-ed25519 G\nforge ssh-rsa R\n"
    (sentence,) = filters.ipyparallel_unknown([cluster], "fenton", PEERS)
    assert "no run has reached anvil yet, so its engines are left out" in sentence


def test_a_key_is_for_one_command_from_one_address():
    assert filters.ipyparallel_authorized([GOOD], "forge", PEERS, "/env") == {
        "ada": 'restrict,from="10.0.0.1",command="/usr/local/lib/fenton/fenton-engines serve lab 2 /env/bin/python"'
        " ssh-ed25519 K lab of fenton\n"
    }
    assert filters.ipyparallel_authorized([GOOD], "fenton", PEERS, "/env") == {}
    assert filters.ipyparallel_authorized([GOOD], "forge", {}, "/env") == {"ada": ""}


def test_doors_open_to_engines_and_close_behind_former_clusters():
    doors = filters.ipyparallel_doors([GOOD], "fenton", PEERS, [], {}, ["lab", "old"])
    assert doors == [
        {"name": "lab", "ports": list(range(12100, 12120)), "sources": ["10.0.0.2"]},
        {"name": "old", "ports": [1024], "sources": []},
    ]
    assert filters.ipyparallel_doors([OVER_SLURM], "fenton", PEERS, ["forge"], {}, [])[0]["sources"] == ["10.0.0.2"]
    assert filters.ipyparallel_doors([GOOD], "forge", PEERS, [], {}, []) == []


def test_what_srun_and_dask_are_asked():
    jobs = {"queue": "main", "walltime": "02:00:00", "memory": "2 GB", "cores": 2, "account": "ada"}
    assert filters.srun_words(jobs) == ["--partition=main", "--account=ada", "--time=02:00:00", "--cpus-per-task=2", "--mem=2G"]
    slurm = filters.ipyparallel_dask({**jobs, "interface": "eth1"})["jobqueue"]["slurm"]
    assert slurm["memory"] == "2GiB"
    assert (slurm["queue"], slurm["cores"], slurm["interface"], slurm["account"]) == ("main", 2, "eth1", "ada")
    assert "scheduler-options" not in slurm
    assert filters.ipyparallel_dask(jobs, "10.0.0.1")["jobqueue"]["slurm"]["scheduler-options"] == {"host": "10.0.0.1"}


OLD = """c.IPClusterEngines.engine_launcher = \\
'IPython.parallel.apps.launcher.SSHEngineSetLauncher'


c.SSHEngineSetLauncher.engines = {
    'host@xxx.xxx.xxx.x02' : (2, ['--profile_dir=/home/to/profile'])
    }
c.HubFactory.ip = '*'
"""


def test_the_configuration_of_2017_is_told_line_by_line():
    assert old_keys(OLD) == [
        (1, "c.IPClusterEngines.engine_launcher", "c.Cluster.engine_launcher_class = 'ssh'"),
        (
            6,
            "'host@xxx.xxx.xxx.x02': (2, ['--profile_dir=/home/to/profile'])",
            "'host@xxx.xxx.xxx.x02': 2, or 'host@xxx.xxx.xxx.x02': {'n': 2, …}",
        ),
        (8, "c.HubFactory.ip", "c.IPController.ip"),
    ]


def test_a_configuration_of_today_is_let_through(tmp_path):
    assert (
        old_keys("c.Cluster.engine_launcher_class = 'ssh'\nc.SSHEngineSetLauncher.engines = {'forge': {'n': 2}}\nc.IPController.ip = '*'")
        == []
    )
    profile = tmp_path / "profile_old"
    profile.mkdir()
    (profile / "ipcluster_config.py").write_text("c = get_config()\nprint 'hello'\n")
    assert "ipcluster_config.py line 2: no Python of today can read this" in all_problems(tmp_path)[0]


def test_the_resources_of_the_old_example():
    assert helper.parse_resources("walltime=01:00:00;account=ged-intel11;mem=64mb") == {
        "walltime": "01:00:00", "account": "ged-intel11", "mem": "64mb",
    }  # fmt: skip
    assert helper.parse_resources("timelimit=60, partition=long;") == {"walltime": "60", "queue": "long"}
    assert helper.parse_resources({"mem": "2 GB"}) == {"mem": "2 GB"}
    assert helper.parse_resources("") == {}


@pytest.mark.parametrize("wrong", ["walltime", "walltime=soon", "mem=much", "=5", "mem=1gb\n#SBATCH --uid=0"])
def test_resources_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="extra_params"):
        helper.parse_resources(wrong)


def test_five_jobs_are_an_array_of_five():
    wanted = {"queue": "main", **helper.parse_resources("walltime=01:00:00;account=ged-intel11;mem=64mb;qos=high"), "cores": "1"}
    script = helper.batch_template("slurm", wanted, "ipengine")
    lines = script.splitlines()
    assert lines[0] == "#!/bin/sh"
    for line in (
        "--array=1-{n}",
        "--partition=main",
        "--time=01:00:00",
        "--account=ged-intel11",
        "--mem=64M",
        "--qos=high",
        "--cpus-per-task=1",
    ):
        assert f"#SBATCH {line}" in lines
    assert lines[-1] == "exec {program_and_args}"
    pbs = helper.batch_template("pbs", wanted, "ipengine").splitlines()
    for line in ("-t 1-{n}", "-q main", "-A ged-intel11", "-l walltime=01:00:00", "-l mem=64mb", "-l nodes=1:ppn=1", "-l qos=high"):
        assert f"#PBS {line}" in pbs


def test_which_batch_system_is_asked():
    def having(*programs):
        return lambda name: name if name in programs else None

    assert helper.batch_system("torque", having("sbatch", "qsub")) == "slurm"
    assert helper.batch_system("SLURM", having("sbatch")) == "slurm"
    assert helper.batch_system("torque", having("qsub")) == "pbs"
    with pytest.raises(ValueError, match="scheduler 'lsf' is not offered; choose slurm, torque"):
        helper.batch_system("lsf", having("sbatch"))
    with pytest.raises(RuntimeError, match="this host has no sbatch;"):
        helper.batch_system("slurm", having())


def test_free_ports(monkeypatch):
    assert helper.free_ports("", "127.0.0.1") == ""
    found = helper.free_ports("41000-41099", "127.0.0.1").split(",")
    assert len(set(found)) == 9
    with pytest.raises(RuntimeError, match="fewer than 9 ports of 41000-41007 are free"):
        helper.free_ports("41000-41007", "127.0.0.1")


def test_no_jobs_is_refused():
    with pytest.raises(ValueError, match="num_jobs is 0"), helper.cluster_view("slurm", "main", 0):
        pass


class Settings(dict):
    """As much of traitlets' Config as is used: sections come into being when they are named."""

    def __missing__(self, name):
        return self.setdefault(name, type(name, (), {})())

    __getattr__ = dict.__getitem__


@pytest.mark.parametrize(("program", "kind", "line"), [("sbatch", "slurm", "#SBATCH --partition=main"), ("qsub", "pbs", "#PBS -q main")])
def test_a_profile_starts_engines_as_jobs_of_what_the_site_has(monkeypatch, tmp_path, program, kind, line):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(helper, "OWN", tmp_path / "jobs.json")
    (tmp_path / "jobs.json").write_text('{"queue": "main", "walltime": "01:00:00", "cores": 2, "address": "10.0.0.1"}')
    monkeypatch.setattr(helper, "batch_system", lambda scheduler: helper_kind(scheduler, program))
    config = Settings()
    helper.engines_as_jobs(config)
    assert config.Cluster.engine_launcher_class == kind
    assert "--IPController.enable_curve=True" in config.Cluster.controller_args
    (launcher,) = (settings for name, settings in config.items() if name.endswith("EngineSetLauncher"))
    assert line in launcher.batch_template
    assert launcher.batch_file_name == f"{tmp_path}/.cache/fenton/{kind}.sh"


def helper_kind(scheduler, program, ask=helper.batch_system):
    """Return what *ask* says where *program* is all that there is."""
    return ask(scheduler, which=lambda name: name if name == program else None)


def test_a_start_cancels_what_an_earlier_one_left_in_the_queue_and_nothing_else(tmp_path, monkeypatch, capsys):
    engines = load(ROOT / "roles/ipyparallel/files/fenton-engines")
    (tmp_path / "scancel").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    (tmp_path / "scancel").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    engines.forget("night", "2")
    name = f"--name={engines.job_name('night', '2')}"
    assert (tmp_path / "asked").read_text().split() == ["--quiet", f"--user={getpass.getuser()}", name]
    assert name.removeprefix("--name=") in " ".join(engines.way({**OVER_SLURM, "name": "night", "srun": [], "python": "python"}, "2"))
    (tmp_path / "scancel").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    engines.forget("night", "2")
    assert "could not be cancelled" in "".join(capsys.readouterr())
