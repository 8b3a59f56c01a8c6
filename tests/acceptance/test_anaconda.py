"""What a person finds after logging in, and what the role does about damage and bad input."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

FIXTURES = Path(__file__).resolve().parents[2] / "molecule" / "fixtures" / "build"
PREFIX = "/opt/conda"
SMALL = f"{PREFIX}/envs/small"


def given(**variables):
    """Return words that set variables of the play."""
    return ["-e", json.dumps(variables)]


def installer(name):
    """Return URL and sum of a miniature installer as variables."""
    return {
        "anaconda_url": f"file:///srv/fixtures/{name}-Linux-x86_64.sh",
        "anaconda_checksum": (FIXTURES / f"{name}-Linux-x86_64.sh.sha256").read_text().strip(),
    }


def told(done):
    """Return what a play said, as one line."""
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


def changed(done):
    """Return how many tasks of a play changed something, after it went well."""
    assert done.returncode == 0, done.stdout[-3000:]
    return int(re.search(r"changed=(\d+)", done.stdout)[1])


@pytest.fixture(scope="module", autouse=True)
def small(server):
    """Skip these tests where there is no small environment to break: elsewhere the promises are enough."""
    if server.docker("test", "-d", SMALL).returncode:
        pytest.skip("only the scenario anaconda has an environment to break")


@pytest.fixture(scope="module")
def breaking(server):
    """Let tests that break things run before a reboot only; what they show does not change by it, and they take minutes."""
    if "ONLINE" in os.environ:
        pytest.skip("its packages are in the stand-in for conda's servers only")
    started = server.docker("stat", "-c", "%Y", "/proc/1").stdout
    before = server.docker("cat", "/var/tmp/broken-and-mended").stdout
    if before not in ("", started):
        pytest.skip("shown before the reboot")
    yield
    server.docker("sh", "-c", f"echo {started.strip()} >/var/tmp/broken-and-mended")


@pytest.fixture(scope="module")
def grace(server):
    """Return a function that runs a command as an ordinary user, in a login shell over ssh."""
    script = (
        "id grace >/dev/null 2>&1 || useradd -m -s /bin/bash grace;"
        "install -d -m 0700 -o grace -g grace /home/grace/.ssh;"
        "install -m 0600 -o grace -g grace /root/.ssh/authorized_keys /home/grace/.ssh/authorized_keys"
    )
    assert server.docker("sh", "-c", script).returncode == 0
    yield lambda command: server.ssh(f"bash -lc '{command}'", user="grace", timeout=120)
    server.docker("sh", "-c", "loginctl terminate-user grace; sleep 0.5; userdel -rf grace")


def version(server, tool):
    return server.docker(f"{SMALL}/bin/python", "-c", f'import importlib.metadata as m; print(m.version("{tool}"))').stdout.strip()


def birth(server):
    """Return what tells one creation of the small environment from another."""
    return server.docker("stat", "-c", "%i", SMALL).stdout


# A person


def test_conda_is_there_after_a_login(grace):
    done = grace('conda --version && conda activate science && python -c "import numpy, sys; print(sys.prefix)"')
    assert re.fullmatch(rf"conda \d+\.\d+\.\d+\n{PREFIX}/envs/science\n", done.stdout), done


@pytest.mark.skipif("ONLINE" in os.environ, reason="sample-tool is in the stand-in for conda's servers only")
def test_one_makes_an_environment_of_ones_own_at_home(grace):
    make = "conda create -y -q -n mine sample-tool && conda activate mine"
    done = grace(f"{make} && sample-tool && command -v sample-tool && ls ~/.conda/pkgs")
    assert "sample-tool 1.1\n/home/grace/.conda/envs/mine/bin/sample-tool\n" in done.stdout, done
    assert "sample-tool-1.1-0" in done.stdout


def test_the_base_refuses_and_says_what_to_do(grace):
    done = grace("conda install -y -n base sample-tool")
    assert done.returncode != 0
    assert re.search("EnvironmentIsFrozen|EnvironmentNotWritable", done.stderr)


def test_root_does_not_change_the_base_by_mistake_either(server):
    done = server.docker(f"{PREFIX}/bin/conda", "install", "-y", "pip")
    assert "EnvironmentIsFrozenError" in done.stderr
    assert "conda create -n NAME" in done.stderr


@pytest.mark.parametrize("path", [PREFIX, f"{PREFIX}/pkgs", f"{PREFIX}/envs/science/bin", "/usr/local/share/jupyter/kernels/science"])
def test_nobody_can_plant_files_for_others(grace, path):
    assert "Permission denied" in grace(f"touch {path}/planted").stderr


def test_the_shared_environment_needs_no_compiling(grace):
    done = grace(f'{PREFIX}/envs/science/bin/python -v -c "import sklearn" 2>&1 | grep -c "could not create"')
    assert done.stdout == "0\n"


def test_the_kernel_starts_and_its_programs_are_the_environments(server, grace):
    program = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="science")
code = "import os, shutil; print(os.environ['CONDA_PREFIX'], shutil.which('python'))"
client.execute_interactive(code, timeout=60)
manager.shutdown_kernel(now=True)
"""
    words = ["docker", "exec", "-i", server.container, "sh", "-c", "cat >/home/grace/try_kernel.py"]
    subprocess.run(words, input=program, text=True, check=True)
    done = grace(f"cd && {PREFIX}/envs/science/bin/python try_kernel.py")
    assert done.stdout == f"{PREFIX}/envs/science {PREFIX}/envs/science/bin/python\n", done


# Damage


@pytest.mark.once
@pytest.mark.usefixtures("breaking")
@pytest.mark.attempt("Environments", "packages were changed by hand", "put right in place, in one change")
def test_changes_by_hand_are_seen_and_put_right_without_rebuilding(server):
    before, right = birth(server), version(server, "tqdm")
    uv = "UV_SYSTEM_CERTS=1 /usr/local/lib/fenton/uv/bin/uv pip"
    python = f"--python {SMALL}/bin/python"
    done = server.docker("sh", "-c", f"{uv} uninstall {python} packaging && {uv} install {python} tqdm==4.66.5")
    assert done.returncode == 0, done.stderr
    assert version(server, "tqdm") == "4.66.5"

    shown = server.playbook("--check", "--diff")
    assert "-pip tqdm 4.66.5" in shown.stdout
    assert f"+pip tqdm {right}" in shown.stdout
    assert version(server, "tqdm") == "4.66.5"

    assert changed(server.playbook()) == 1
    assert version(server, "tqdm") == right
    assert version(server, "packaging")
    assert birth(server) == before


@pytest.mark.attempt(
    "Killed runs",
    "an environment is half deleted or half made: {damage}",
    "the next run makes it whole",
)
@pytest.mark.once
@pytest.mark.usefixtures("breaking")
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("rm -r {env}/lib/python3*/site-packages/packaging", marks=pytest.mark.long),
        "rm -r {env}/lib/python3*/json {env}/lib/python3*/site-packages/tqdm",
        "rm {env}/conda-meta/history",
        "rm -r {env}/bin",
        pytest.param("rm -r {env}", marks=pytest.mark.long),
    ],
)
@pytest.mark.attempt("Environments", "half of an environment is gone: {damage}", "whole again after the next run")
def test_a_half_deleted_or_half_made_environment_is_whole_after_the_next_run(server, damage):
    assert server.docker("sh", "-c", damage.format(env=SMALL)).returncode == 0
    assert changed(server.playbook()) == 1
    done = server.docker(f"{SMALL}/bin/python", "-c", "import json, packaging.version, tqdm; print(tqdm.tqdm)")
    assert done.returncode == 0, done.stderr
    assert server.docker(f"{SMALL}/bin/sample-tool").stdout == "sample-tool 1.0\n"


@pytest.mark.attempt(
    "Killed runs",
    "what makes an environment is killed on the server ({step})",
    "the run fails, the next one finishes it, the one after changes nothing",
)
@pytest.mark.once
@pytest.mark.usefixtures("breaking")
@pytest.mark.parametrize("step", ["[b]in/conda create", "[u]v pip install", pytest.param("[m] compileall", marks=pytest.mark.long)])
@pytest.mark.attempt("Killed runs", "killed while an environment is made, at {step}", "the next run finishes it")
def test_a_run_that_is_killed_is_finished_by_the_next(server, step):
    server.docker("rm", "-r", SMALL)
    shoot = f"until child=$(pgrep -o -f '{step}'); do sleep 0.01; done; kill -9 $(ps -o ppid= -p $child) $child"
    shooting = subprocess.Popen(["docker", "exec", server.container, "timeout", "60", "sh", "-c", shoot])
    killed = server.playbook()
    assert shooting.wait(timeout=60) == 0
    assert killed.returncode != 0
    assert changed(server.playbook()) == 1
    assert changed(server.playbook()) == 0
    assert server.docker(f"{SMALL}/bin/python", "-c", "import json, packaging.version, tqdm").returncode == 0
    assert server.docker(f"{SMALL}/bin/sample-tool").returncode == 0


@pytest.mark.long
@pytest.mark.once
@pytest.mark.usefixtures("breaking")
@pytest.mark.attempt("Environments", "the installation of conda broke off", "finished by the next run")
def test_an_installation_that_broke_off_is_finished(server):
    server.docker("sh", "-c", f"rm -r {PREFIX}/bin {PREFIX}/conda-meta /etc/profile.d/conda.sh")
    assert changed(server.playbook()) > 0
    assert server.docker(f"{PREFIX}/bin/conda", "--version").returncode == 0
    assert changed(server.playbook()) == 0


# What goes wrong on the way


LOCK = Path(__file__).resolve().parents[2] / "molecule/anaconda/small.txt"


@pytest.fixture
def outdated(server):
    """Give the small environment another tqdm by hand, so that a run has something to fetch; the next plain run puts it right."""
    uv = "UV_SYSTEM_CERTS=1 /usr/local/lib/fenton/uv/bin/uv pip install"
    assert server.docker("sh", "-c", f"{uv} --python {SMALL}/bin/python tqdm==4.66.5").returncode == 0
    yield
    changed(server.playbook())
    assert version(server, "tqdm") != "4.66.5"


@pytest.mark.once
@pytest.mark.usefixtures("breaking", "outdated")
@pytest.mark.attempt(
    "Environments", "the package index cannot be reached", "the run says so; the environment works as before, the next run goes on"
)
def test_an_index_that_cannot_be_reached_leaves_the_environment_at_work(server):
    done = server.playbook(*given(anaconda_index="http://127.0.0.1:9/simple"))
    assert done.returncode != 0
    assert "environment small: uv pip install failed" in told(done)
    assert "127.0.0.1:9" in told(done)
    assert version(server, "tqdm") == "4.66.5"
    assert server.docker(f"{SMALL}/bin/python", "-c", "import packaging.version, tqdm").returncode == 0


@pytest.mark.long
@pytest.mark.once
@pytest.mark.usefixtures("breaking", "outdated")
@pytest.mark.attempt("Environments", "the package index takes the connection and says nothing", "the run ends by itself and says so")
def test_an_index_that_never_answers_does_not_hold_the_run_for_ever(server):
    silent = "import socket, time; s = socket.create_server(('127.0.0.1', 3141)); time.sleep(600)"
    with subprocess.Popen(["docker", "exec", server.container, "timeout", "600", "python3", "-c", silent]) as listening:
        try:
            done = server.playbook(*given(anaconda_index="http://127.0.0.1:3141/simple"))
        finally:
            server.docker("pkill", "-f", "create_server")
            listening.wait()
    assert done.returncode != 0
    assert "environment small: uv pip install failed" in told(done)
    assert version(server, "tqdm") == "4.66.5"


@pytest.mark.once
@pytest.mark.usefixtures("breaking", "outdated")
@pytest.mark.attempt(
    "Environments", "a package is not the one whose hash is in the lock file", "refused with its name; nothing of it is installed"
)
def test_a_package_with_another_hash_is_refused(server, tmp_path):
    lock = tmp_path / "small.txt"
    lock.write_text(re.sub(r"(tqdm==[^ ]+ \\\n)(?: +--hash=\S+(?: \\)?\n)+", rf"\1    --hash=sha256:{'0' * 64}\n", LOCK.read_text()))
    assert "0" * 64 in lock.read_text()
    small = {"name": "small", "conda": ["sample-tool=1.0"], "pip_lock": str(lock)}
    done = server.playbook(*given(anaconda_environments=[small]))
    assert done.returncode != 0
    assert re.search("environment small: uv pip install failed.*Hash mismatch for `tqdm", told(done)), told(done)
    assert version(server, "tqdm") == "4.66.5"


@pytest.mark.once
@pytest.mark.usefixtures("breaking")
@pytest.mark.attempt(
    "Environments", "an environment is changed while a program runs in it", "the program goes on, with its variables, and can import more"
)
def test_a_program_that_runs_in_an_environment_outlives_its_update(server):
    words = ["docker", "exec", "-i", server.container, f"{SMALL}/bin/python", "-u", "-c", "import sys\nfor line in sys.stdin: exec(line)"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:

        def tell(line):
            program.stdin.write(line + "\n")
            program.stdin.flush()
            return program.stdout.readline().strip()

        assert tell("import tqdm; kept = 42; print(tqdm.__version__)") == version(server, "tqdm")
        uv = "UV_SYSTEM_CERTS=1 /usr/local/lib/fenton/uv/bin/uv pip install"
        assert server.docker("sh", "-c", f"{uv} --python {SMALL}/bin/python tqdm==4.66.5").returncode == 0
        assert changed(server.playbook()) == 1
        assert tell("import packaging.version, json, decimal; print(kept, packaging.version.Version('1.0'))") == "42 1.0"
        program.stdin.close()


@pytest.mark.once
@pytest.mark.usefixtures("breaking", "outdated")
@pytest.mark.skipif("ONLINE" in os.environ, reason="sample-tool is in the stand-in for conda's servers only")
@pytest.mark.attempt(
    "Environments", "people have environments of their own, at home and beside the shared ones", "no run touches a file of them"
)
def test_environments_that_people_made_are_theirs(server, grace):
    assert grace("conda create -y -q -n own sample-tool").returncode == 0
    made = server.docker("bash", "-lc", "conda create -y -q -n byhand sample-tool && touch /opt/conda/envs/byhand/notes")
    assert made.returncode == 0, made.stderr
    look = f"find /home/grace/.conda/envs {PREFIX}/envs/byhand -printf '%p %s %m %u %T@ %C@\\n' | sort | sha256sum"
    before = server.docker("sh", "-c", look).stdout
    assert changed(server.playbook()) == 1
    assert server.docker("sh", "-c", look).stdout == before
    server.docker("bash", "-lc", "conda remove -y -q -n byhand --all")


# Changes


@pytest.mark.long
@pytest.mark.once
@pytest.mark.usefixtures("breaking")
def test_another_version_updates_in_place_and_back(server):
    before = birth(server)
    for name in ("Miniforge3-26.9.1-0", "Miniforge3-26.7.2-0"):
        assert changed(server.playbook(*given(**installer(name)))) > 0
        assert server.docker(f"{PREFIX}/bin/conda", "--version").stdout.strip() == "conda " + name.split("-")[1]
        assert server.docker("test", "-e", f"{PREFIX}/conda-meta/frozen").returncode == 0
        assert server.docker("ls", "-A", "/var/cache/fenton").stdout == ""
    assert birth(server) == before


@pytest.mark.once
@pytest.mark.usefixtures("breaking")
def test_conda_packages_follow_the_list_and_an_environment_goes(server):
    one = {"name": "tools", "conda": ["sample-tool=1.0"]}
    tool = f"{PREFIX}/envs/tools/bin/sample-tool"
    assert changed(server.playbook(*given(anaconda_environments=[one]))) == 1
    assert server.docker(tool).stdout == "sample-tool 1.0\n"
    one["conda"] = ["sample-tool>=1.1"]
    assert changed(server.playbook(*given(anaconda_environments=[one]))) == 1
    assert server.docker(tool).stdout == "sample-tool 1.1\n"
    one["conda"] = ["sample-lib"]
    assert changed(server.playbook(*given(anaconda_environments=[one]))) == 1
    assert server.docker("test", "-e", tool).returncode == 1
    one["state"] = "absent"
    assert changed(server.playbook(*given(anaconda_environments=[one]))) == 1
    assert changed(server.playbook(*given(anaconda_environments=[one]))) == 0
    assert "tools" not in server.docker("ls", "-A", f"{PREFIX}/envs").stdout


@pytest.mark.once
@pytest.mark.usefixtures("breaking")
@pytest.mark.attempt("Environments", "a Python that cannot be had", "the run says so; the environment works as before")
def test_a_python_that_cannot_be_had_leaves_the_environment_at_work(server):
    before = birth(server)
    done = server.playbook(*given(anaconda_environments=[{"name": "small", "python": "3.10"}]))
    assert done.returncode != 0
    assert "environment small: conda create failed" in told(done)
    assert "PackagesNotFoundError" in told(done)
    assert birth(server) == before
    assert server.docker(f"{SMALL}/bin/sample-tool").returncode == 0
    assert changed(server.playbook()) == 0


@pytest.mark.long
@pytest.mark.once
@pytest.mark.usefixtures("breaking")
def test_a_distribution_with_terms_works_once_they_are_accepted(server):
    words = given(
        **installer("Miniconda3-py313_26.7.1-1"),
        anaconda_distribution="miniconda",
        anaconda_accept_terms=True,
        anaconda_prefix="/opt/mini",
        anaconda_environments=[{"name": "tools", "conda": ["sample-lib"]}],
    )
    try:
        assert changed(server.playbook(*words)) > 0
        assert server.docker("test", "-e", "/opt/mini/envs/tools/share/sample-lib").returncode == 0
    finally:
        server.docker("rm", "-rf", "/opt/mini")
        server.playbook()


# Bad input


def state(server):
    """Return what a refused run must leave as it was."""
    places = f"{PREFIX} /var/cache/fenton /etc/profile.d /usr/local/lib/fenton"
    return server.docker("sh", "-c", f"find {places} -printf '%p %s %T@\\n' 2>/dev/null | sort | sha256sum").stdout


def refused(server, **variables):
    """Run with bad input and return what was said, once it is clear that nothing changed."""
    before = state(server)
    done = server.playbook(*given(**variables))
    assert done.returncode != 0
    assert re.search(r"changed=0 ", done.stdout)
    assert state(server) == before
    return told(done)


@pytest.mark.once
@pytest.mark.usefixtures("breaking")
def test_a_wrong_sum_stops_before_the_first_change(server):
    said = refused(server, anaconda_checksum="0" * 64)
    right = installer("Miniforge3-26.7.2-0")["anaconda_checksum"]
    assert f"has sha256 {right}" in said
    assert f"wanted is {'0' * 64}" in said
    assert "anaconda_checksum in group_vars/all/anaconda.yml" in said


@pytest.mark.once
@pytest.mark.usefixtures("breaking")
def test_a_download_that_is_cut_short_stops_before_the_first_change(server):
    program = """
import http.server
class Cut(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        data = open("/srv/fixtures/Miniforge3-26.9.1-0-Linux-x86_64.sh", "rb").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:500000])
http.server.HTTPServer(("127.0.0.1", 8099), Cut).serve_forever()
"""
    words = ["docker", "exec", server.container, "timeout", "60", "python3", "-c", program]
    serving = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    time.sleep(1)
    try:
        said = refused(server, **{**installer("Miniforge3-26.9.1-0"), "anaconda_url": "http://127.0.0.1:8099/Miniforge3.sh"})
    finally:
        server.docker("pkill", "-f", "serve_forever")
        serving.wait(timeout=60)
    assert "http://127.0.0.1:8099/Miniforge3.sh was cut short, 500000 of" in said


@pytest.mark.once
@pytest.mark.usefixtures("breaking")
def test_terms_that_nobody_accepted_are_refused(server):
    said = refused(server, anaconda_distribution="anaconda")
    assert "anaconda_accept_terms: anaconda comes with terms of service" in said
    assert "`anaconda_accept_terms: true` in group_vars/all/anaconda.yml" in said


@pytest.mark.once
@pytest.mark.usefixtures("breaking")
def test_an_unknown_distribution_is_refused(server):
    said = refused(server, anaconda_distribution="condor")
    assert re.search("anaconda_distribution.*miniforge, miniconda, anaconda", said)


@pytest.mark.once
@pytest.mark.usefixtures("breaking")
def test_a_version_without_a_sum_is_refused(server):
    said = refused(server, anaconda_checksum="")
    assert "add `anaconda_checksum: <64 hexadecimal digits>` to group_vars/all/anaconda.yml" in said


@pytest.mark.once
@pytest.mark.usefixtures("breaking")
def test_a_lock_that_does_not_exist_is_refused(server):
    said = refused(server, anaconda_environments=[{"name": "x", "pip_lock": "locks/none.txt"}])
    assert "there is no file locks/none.txt on the control node" in said
