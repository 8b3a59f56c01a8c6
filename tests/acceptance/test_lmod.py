"""People load what they need, in every kind of shell, and their system goes on to work."""

import json
import os

import pytest
from conftest import in_turn

PREFIX = "/opt/conda"
SCIENCE = f"{PREFIX}/envs/science/bin/python"
WHICH = "module load anaconda && command -v python"
# What the old notes told people to write, without the line that sets LD_LIBRARY_PATH.
OWN = """
whatis("Description: Anaconda")
local install_path = "/home/ada/anaconda"
setenv("ANACONDA_HOME", install_path)
prepend_path("PATH", pathJoin(install_path, "bin"))
"""


@pytest.fixture(scope="module", autouse=True)
def alone():
    """Skip where Lmod is off."""
    if os.environ.get("FENTON_SCENARIO") != "lmod":
        pytest.skip("shown in the scenario lmod")


def said(done):
    """Return what a command printed, after it went well."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()


def again(server, **variables):
    """Run the playbook's two roles with other variables, and return what it printed."""
    return server.playbook("--tags", "anaconda,lmod", "-e", json.dumps(variables))


@pytest.mark.parametrize("person", ["ada", "zoe"])
@pytest.mark.parametrize(
    "line",
    [
        WHICH,
        f"bash -lc '{WHICH}'",
        f"bash -c '{WHICH}'",
        f"zsh -c '{WHICH}'",
        f"zsh -lc '{WHICH}'",
        f"bash -ic '{WHICH}' 2>/dev/null",
        f"printf '#!/bin/bash\\n{WHICH}\\n' >script; chmod +x script; ./script",
        f"printf '#!/usr/bin/zsh\\n{WHICH}\\n' >script; chmod +x script; ./script",
        # As a job begins: what the person has who submits it, and no profile.
        f"printf '#!/bin/bash\\n{WHICH}\\n' >script; chmod +x script; bash -lc 'exec env PATH=/usr/bin:/bin ./script'",
        "module load anaconda && bash -c 'command -v python'",
    ],
)
def test_module_is_there_in_every_shell(server, person, line):
    assert said(server.ssh(line, user=person)) == [SCIENCE]


def test_a_shell_that_asks_for_no_module_does_not_wait_for_lmod(server):
    assert server.ssh("command -v clearMT", user="ada").stdout == "", "Lmod itself was read"


def test_one_environment_takes_the_place_of_the_other(server):
    shown = said(
        server.ssh(
            "module load anaconda; module load anaconda/spare; module -t list 2>&1; echo $CONDA_PREFIX; command -v conda", user="ada"
        )
    )
    assert shown[-3:] == ["anaconda/spare", f"{PREFIX}/envs/spare", f"{PREFIX}/condabin/conda"]


def test_unloading_gives_back_what_was_there(server):
    look = "env | grep -v -e LMOD -e ^_ -e MODULE -e ModuleTable -e BASH_ -e MANPATH | sort"
    before, after = server.ssh(
        f"module -t avail >/dev/null 2>&1; {look}; echo ======; module load anaconda cuda; module unload anaconda cuda; {look}", user="ada"
    ).stdout.split("======\n")
    assert before == after


def test_the_systems_own_programs_work_whatever_is_loaded(server):
    programs = "/usr/bin/curl --version && /usr/bin/python3 -c 'import ssl, sqlite3' && ldd /usr/bin/curl && echo LD=$LD_LIBRARY_PATH."
    shown = server.ssh(f"module load anaconda cuda && {programs}", user="ada")
    assert shown.returncode == 0, shown.stderr
    assert "LD=." in shown.stdout
    assert PREFIX not in shown.stdout


def test_modulefiles_of_ones_own_and_of_the_site_are_found(server):
    server.ssh(f"mkdir -p modulefiles anaconda/bin; cat >modulefiles/mine.lua <<'E'\n{OWN}E", user="ada")
    shown = said(server.ssh("module use ~/modulefiles; module load mine site; echo $ANACONDA_HOME $SITE ${PATH%%:*}", user="ada"))
    assert shown == ["/home/ada/anaconda", "here", "/home/ada/anaconda/bin"]


def test_the_newest_toolkit_is_the_default(server):
    assert said(server.ssh("module load cuda; nvcc; echo $CUDA_HOME", user="ada")) == ["release", "12.8", "/usr/local/cuda-12.8"]
    assert said(server.ssh("module load cuda/12.4; nvcc", user="ada")) == ["release", "12.4"]


def test_a_module_goes_with_its_environment_or_toolkit(server):
    gone = [{"name": "science"}, {"name": "spare", "state": "absent"}]
    server.docker("mv", "/usr/local/cuda-12.8", "/root/")
    done = again(server, anaconda_environments=gone)
    assert done.returncode == 0, done.stdout
    offered = said(server.ssh("module -t avail 2>&1", user="ada"))
    assert "anaconda/spare" not in offered and "cuda/12.8" not in offered
    assert {"anaconda/base", "cuda/12.4"} <= set(offered)
    server.docker("mv", "/root/cuda-12.8", "/usr/local/")
    assert again(server).returncode == 0
    assert said(server.ssh("module load anaconda/spare cuda; echo $CONDA_DEFAULT_ENV", user="ada")) == ["spare"]


SPOILT = {
    "rm /etc/lmod/modules/anaconda/science.lua": "cat /etc/lmod/modules/anaconda/science.lua",
    "echo 'setenv(\"A\", 1)' >>/etc/lmod/modules/cuda/12.4.lua; chmod 600 /etc/lmod/modules/cuda/12.8.lua": (
        "cat /etc/lmod/modules/cuda/12.4.lua; stat -c %a /etc/lmod/modules/cuda/*"
    ),
    "sed -i /fenton/d /etc/bash.bashrc /etc/zsh/zshenv": "cat /etc/bash.bashrc /etc/zsh/zshenv",
    "sed -i '/Fenton, role lmod/,+2d' /etc/bash.bashrc": "cat /etc/bash.bashrc",
    "chmod 600 /usr/local/lib/fenton/modules.sh; rm /etc/profile.d/00-fenton-modules.sh": (
        "stat -c %a /usr/local/lib/fenton/modules.sh /etc/profile.d/00-fenton-modules.sh"
    ),
    "dpkg --remove lmod": "dpkg-query -W -f '${Status}' lmod",
}


@pytest.mark.parametrize("edits", in_turn({how: (how, look) for how, look in SPOILT.items()}))
def test_what_is_changed_by_hand_is_put_right(server, edits):
    server.mends_all("lmod", edits)


def test_somebody_elses_modulefile_stays(server):
    server.docker("sh", "-c", "echo 'setenv(\"OWN\", 1)' >/etc/lmod/modules/anaconda/own.lua")
    assert "changed=0" in server.playbook("--tags", "lmod").stdout
    assert said(server.ssh("module load anaconda/own; echo $OWN", user="ada")) == ["1"]
    server.docker("rm", "/etc/lmod/modules/anaconda/own.lua")


def test_bad_input_is_refused_with_a_sentence(server):
    done = server.playbook("--tags", "lmod", "-e", json.dumps({"lmod_trees": ["modules"], "lmod_default": "two words"}))
    assert done.returncode != 0
    shown = " ".join(done.stdout.split())
    assert 'lmod_trees: "modules" is not an absolute path' in shown
    assert 'lmod_default: "two words" cannot be the name of an environment' in shown
    assert "changed=0" in done.stdout


def test_switching_it_off_takes_everything_out_again(server):
    done = again(server, lmod_enabled=False)
    assert done.returncode == 0, done.stdout
    assert server.ssh("module avail", user="ada").returncode == 127
    assert server.docker("grep", "-rl", "role lmod", "/etc", "/usr/local").stdout == ""
    # The shells' own files are as their packages brought them.
    assert "bash.bashrc" not in server.docker("dpkg", "-V", "bash").stdout
    assert "zshenv" not in server.docker("dpkg", "-V", "zsh", "zsh-common").stdout
    assert "changed=0" in again(server, lmod_enabled=False).stdout
    assert server.docker("apt-get", "install", "-qq", "-y", "--no-install-recommends", "environment-modules").returncode == 0
    refused = again(server)
    assert refused.returncode != 0
    assert "has the package environment-modules, which cannot stand beside Lmod" in " ".join(refused.stdout.split())
    assert server.docker("dpkg-query", "-W", "environment-modules").returncode == 0
    assert server.docker("apt-get", "purge", "-qq", "-y", "environment-modules").returncode == 0
    assert again(server).returncode == 0
    assert said(server.ssh(WHICH, user="ada")) == [SCIENCE]
