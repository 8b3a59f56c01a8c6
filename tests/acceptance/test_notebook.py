"""JupyterLab on a node, as a job: asked for on the gateway, reached from outside through ssh alone."""

import contextlib
import re
import socket
import subprocess

import pytest
import requests
from conftest import SCENARIO, eventually
from test_jupyter import Lab

PASSWORD = "correct horse battery"
OWN = "/home/ada/.config/fenton/notebook"
SMALL = "--cores 1 --memory 300M --time 20"


@pytest.fixture(autouse=True)
def _scenario():
    """Leave it to the role's own scenario, where homes are shared; the promises are asked everywhere."""
    if SCENARIO != "notebook":
        pytest.skip("shown in the scenario notebook")


@pytest.fixture
def gate(servers):
    return servers["gate"]


@pytest.fixture
def node(servers):
    return servers["node1"]


def login(server, script, user="ada", **options):
    """Run a script as somebody who has logged in; return the finished process."""
    return server.docker("runuser", "-l", user, "-c", script, **options)


def ada(server, script):
    """Return what a script of ada's prints."""
    done = login(server, script)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def jobs(gate):
    return ada(gate, "squeue --noheader --user ada --format=%i").split()


@pytest.fixture
def nothing_runs(gate):
    """Begin and end without notebooks."""
    ada(gate, "scancel --user ada")
    eventually(lambda: not jobs(gate), 60)
    yield
    ada(gate, "scancel --user ada")
    eventually(lambda: not jobs(gate), 60)


@pytest.fixture
def password(gate):
    ada(gate, f"printf '%s\\n' '{PASSWORD}' | fenton-notebook password")
    return PASSWORD


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def tunnel(gate, node, port):
    """Lead a port here to one of the node's loopback, through the gateway, by ssh alone; yield the port here."""
    here = free_port()
    jump = " ".join(["ssh", *gate.ssh_options("ada", 22), "-W", "%h:%p", gate.address])
    words = ["ssh", *node.ssh_options("ada", 22), "-o", f"ProxyCommand={jump}", "-o", "ExitOnForwardFailure=yes", "-N"]
    process = subprocess.Popen([*words, "-L", f"127.0.0.1:{here}:localhost:{port}", node.address], stdin=subprocess.DEVNULL)
    try:
        eventually(lambda: opens(here))
        yield here
    finally:
        process.terminate()
        process.wait(10)


def opens(port, host="127.0.0.1"):
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=2):
        return True
    return False


class Notebook(Lab):
    """ada's notebook behind a tunnel, whose certificate is checked against her own authority."""

    def __init__(self, gate, port, tmp_path):
        authority = tmp_path / "ca.pem"
        authority.write_text(ada(gate, f"cat {OWN}/authority/ca.pem") + "\n")
        self.name, self.port, self.password, self.authority = "ada", port, PASSWORD, str(authority)
        self.url = f"https://127.0.0.1:{port}"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = self.authority


def told(text):
    """Return node, port and job out of what the command says."""
    found = re.search(r"fenton -t (\S+) (\d+) .*https://127\.0\.0\.1:(\d+)\n.*fenton-notebook stop (\d+)", text, re.S)
    assert found and found[2] == found[3], text
    return found[1], int(found[2]), found[4]


def test_one_command_gives_a_notebook_that_computes_on_the_node(gate, node, password, nothing_runs, tmp_path):
    name, port, job = told(ada(gate, f"fenton-notebook {SMALL}"))
    assert (name, job) == ("node1", jobs(gate)[0])
    with tunnel(gate, node, port) as here:
        lab = Notebook(gate, here, tmp_path)
        assert lab.ask("GET", "/api/contents").status_code == 403
        assert lab.log_in("something else!").status_code != 302
        assert lab.log_in().status_code == 302
        said = lab.text(lab.kernel(), "import os, socket; print(socket.gethostname(), os.environ['SLURM_JOB_ID'], os.getcwd())")
        assert said.split() == ["node1", job, "/home/ada"], said
    # Nobody but through ssh: the port is open on the node's loopback alone.
    assert not opens(port, node.address)
    assert ada(gate, f"bash -c 'exec 3<>/dev/tcp/{node.address}/{port}' 2>&1 || echo closed").endswith("closed")


def test_it_ends_with_the_job_and_leaves_nothing(gate, node, password, nothing_runs):
    _, port, job = told(ada(gate, f"fenton-notebook {SMALL}"))
    assert told(ada(gate, "fenton-notebook list"))[1:] == (port, job)
    assert ada(gate, "fenton-notebook stop") == f"Job {job} ends."
    eventually(lambda: not jobs(gate), 60)
    eventually(lambda: not ada(node, "pgrep -u ada -f 'jupyterlab|ipykernel' || true"), 40)
    assert ada(node, "ls -d /tmp/fenton-notebook-* 2>/dev/null || true") == ""
    assert ada(gate, "fenton-notebook list") == "You have no notebooks."


def test_sbatch_takes_the_command_itself_and_its_options_win(gate, password, nothing_runs):
    job = ada(gate, "cd /tmp && sbatch --parsable --mem=200M --time=10 $(command -v fenton-notebook)")
    _, port, listed = told(eventually(lambda: (text := ada(gate, "fenton-notebook list")) and "https" in text and text + "\n", 60))
    assert listed == job
    shown = ada(gate, f"scontrol show job {job}")
    assert "TimeLimit=00:10:00" in shown and "Requeue=0" in shown and re.search(r"(Req)?TRES=.*mem=200M", shown), shown
    assert port in range(21000, 31050)


def test_what_the_cluster_has_not_is_said_in_a_sentence_and_nothing_is_sent(gate, password, nothing_runs):
    for words, sentence in {
        "--cores 999": r"--cores 999: the largest node of partition main, node1, has \d+\.",
        "--memory 99T": r"--memory 99T: the largest node of partition main, node1, has \d+[MG]\.",
        "--partition short --time 1:00:00": r"--time 1:00:00: partition short allows 0:30:00 at most; --partition main has it\.",
        "--gpu hopper": r"--gpu hopper:1: no node of partition main has a GPU\.",
        "--partition nowhere": r"--partition nowhere: there is no such partition; there are main, short\.",
        "--cores many": r"--cores 'many' is not a number of cores, such as 4\.",
        "--memory lots": r"--memory 'lots' is not an amount of memory, such as 8G or 512M\.",
        "--time soon": r"--time 'soon' is not a time as Slurm writes it",
        "start": r"'start' is not a verb",
        "--core 4": r"unrecognized arguments: --core 4",
        "stop 4711": r"You have no notebooks\.",
    }.items():
        done = login(gate, f"fenton-notebook {words}")
        assert done.returncode == 64, (words, done.stdout, done.stderr)
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert re.match(rf"fenton-notebook: ({sentence})", done.stderr), done.stderr
    assert jobs(gate) == []


def test_ctrl_c_leaves_a_job_that_waits_in_the_queue(gate, password, nothing_runs):
    first = ada(gate, "sbatch --parsable --chdir=/tmp --exclusive --time=5 --wrap 'sleep 300'")
    eventually(lambda: ada(gate, f"squeue --noheader --job {first} --format=%T") == "RUNNING")
    words = ["docker", "exec", gate.container, "runuser", "-u", "ada", "--", "timeout", "-s", "INT", "6", "fenton-notebook", *SMALL.split()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    (job,) = set(jobs(gate)) - {first}
    assert f"Job {job} waits (" in done.stdout, done
    assert f"Job {job} stays." in done.stdout, done
    listed = ada(gate, "fenton-notebook list")
    assert re.match(rf"Job {job} waits \(\w+\)", listed), listed
    assert ada(gate, "fenton-notebook stop") == f"Job {job} ends."


@pytest.mark.once
def test_the_first_use_makes_a_password_and_shows_it_to_a_terminal_only(gate, nothing_runs):
    ada(gate, f"rm -rf {OWN}")
    done = login(gate, f"fenton-notebook {SMALL}")
    assert done.returncode == 78
    assert "You have no password for notebooks yet" in done.stderr
    assert jobs(gate) == []
    shown = ada(gate, f"script -qec 'fenton-notebook {SMALL} --no-wait' /dev/null")
    password = re.search(r"shown this once: (\w{24})\r?\n", shown)
    assert password, shown
    assert "is in the queue" in shown
    again = ada(gate, f"script -qec 'fenton-notebook {SMALL} --no-wait' /dev/null")
    assert "shown this once" not in again
    found = ada(gate, f"grep -rlF {password[1]} /home/ada /tmp 2>/dev/null || true")
    assert found == "", found


@pytest.mark.once
def test_a_job_without_a_password_says_so(gate, nothing_runs):
    ada(gate, f"rm -rf {OWN}")
    job = ada(gate, "cd && sbatch --parsable --mem=200M --time=10 $(command -v fenton-notebook)")
    eventually(lambda: job not in jobs(gate), 40)
    assert "has no password of yours for notebooks" in ada(gate, f"cat ~/slurm-{job}.out")
    assert "Comment=failed: node1 has no password of yours" in ada(gate, f"scontrol show job {job}")


def test_what_is_ones_own_is_nobody_elses(gate, node, password, nothing_runs):
    _, _, job = told(ada(gate, f"fenton-notebook {SMALL}"))
    assert ada(gate, f"stat -c '%a %U' {OWN} {OWN}/password {OWN}/authority/ca.key").split("\n") == ["700 ada", "600 ada", "600 ada"]
    for path in ("password", "notebook/privkey.pem", f"logs/{job}.log"):
        assert login(gate, f"cat {OWN}/{path}", "tom").returncode != 0
    assert login(gate, "fenton-notebook list", "tom").stdout.strip() == "You have no notebooks."
    assert login(gate, f"fenton-notebook stop {job}", "tom").returncode == 64
    assert login(gate, f"scancel {job}", "tom").returncode != 0
    assert jobs(gate) == [job]
    # Neither the password nor its hash is in what others see of processes and jobs.
    seen = ada(node, "ps -eo args") + login(gate, f"scontrol show job {job}", "tom").stdout
    assert PASSWORD not in seen and "argon2" not in seen


def test_two_notebooks_of_one_person_have_two_ports(gate, password, nothing_runs):
    one = told(ada(gate, f"fenton-notebook {SMALL}"))
    two = told(ada(gate, f"fenton-notebook {SMALL}"))
    assert one[1] != two[1]
    done = login(gate, "fenton-notebook stop")
    assert "You have several notebooks; name one: " in done.stderr and done.returncode == 64
    assert ada(gate, f"fenton-notebook stop {one[2]}") == f"Job {one[2]} ends."


@pytest.mark.once
def test_what_is_changed_by_hand_is_put_right(gate):
    lib = "/usr/local/lib/fenton/notebook"
    how = f"echo '# mine' >>/usr/local/bin/fenton-notebook && chmod 700 {lib}/certificate && rm {lib}/config.py {lib}/overrides.json"
    look = f"cat /usr/local/bin/fenton-notebook; stat -c '%n %a %U' {lib}/*; cat {lib}/*"
    gate.mends("notebook", how, look)


@pytest.mark.once
def test_a_default_that_slurm_does_not_take_is_refused(gate):
    done = gate.playbook("--tags", "notebook", "-e", '{"notebook_job": {"cores": 1, "memory": "some", "time": 28800}}')
    said = re.sub(r"\s+", " ", done.stdout)
    assert "notebook_job: memory 'some' is not what Slurm takes" in said
    assert "notebook_job: time '28800' is not what Slurm takes" in said
    assert done.returncode != 0 and not re.search(r"changed=[1-9]", done.stdout)


@pytest.mark.once
def test_switched_off_it_is_gone_and_back_again(gate):
    done = gate.playbook("--tags", "notebook", "-e", '{"notebook_enabled": false}')
    assert done.returncode == 0, done.stdout[-3000:]
    ours = "/usr/local/bin/fenton-notebook /usr/local/lib/fenton/notebook /opt/conda/envs/notebook"
    assert gate.docker("sh", "-c", f"ls -d {ours}").stdout == ""
    done = gate.playbook("--tags", "notebook")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "usage" not in ada(gate, "fenton-notebook list")
