"""JupyterLab on a node, as a job: asked for on the gateway, reached from outside through ssh alone."""

import contextlib
import re
import socket
import subprocess

import pytest
import requests
from conftest import SCENARIO, eventually
from test_jupyter import Lab
from test_laptop import Terminal

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


def jobs(gate, user="ada"):
    """Return the numbers of somebody's jobs."""
    return set(gate.docker("squeue", "--noheader", f"--user={user}", "--format=%i").stdout.split())


def end_all(gate, user):
    gate.docker("scancel", f"--user={user}")
    eventually(lambda: not jobs(gate, user), 60)


@pytest.fixture
def tom(gate):
    """Return what runs a script as tom, who has no notebooks before and after the test."""
    end_all(gate, "tom")
    yield lambda script: login(gate, script, "tom")
    end_all(gate, "tom")


@pytest.fixture(scope="module")
def running(servers):
    """Return node, port and job of a notebook of ada's, which stays for all tests of this file."""
    if SCENARIO != "notebook":
        pytest.skip("shown in the scenario notebook")
    gate = servers["gate"]
    end_all(gate, "ada")
    ada(gate, f"printf '%s\\n' '{PASSWORD}' | fenton-notebook password")
    (notebook,) = told(ada(gate, f"fenton-notebook {SMALL}"))
    yield notebook
    end_all(gate, "ada")


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
    """Return node, port and job of each notebook that the command speaks of."""
    found = re.findall(r"fenton -t (\S+) (\d+) .*\n +https://127\.0\.0\.1:(\d+)\n.*fenton-notebook stop (\d+)", text)
    assert all(port == again for _, port, again, _ in found), text
    return [(node, int(port), job) for node, port, _, job in found]


def listed(gate):
    return told(ada(gate, "fenton-notebook list"))


def test_one_command_gives_a_notebook_that_computes_on_the_node(gate, node, running, tmp_path):
    name, port, job = running
    assert name == "node1" and job in jobs(gate)
    assert listed(gate) == [running]
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


@pytest.mark.once
def test_a_second_one_by_sbatch_and_its_options_ends_with_its_job_and_its_kernel(gate, node, running, tmp_path):
    job = ada(gate, "cd /tmp && sbatch --parsable --mem=200M --time=10 --output=/dev/null $(command -v fenton-notebook)")
    shown = ada(gate, f"scontrol show job {job}")
    assert "TimeLimit=00:10:00" in shown and "Requeue=0" in shown and re.search(r"(Req)?TRES=.*mem=200M", shown), shown
    name, port, _ = eventually(lambda: next((found for found in listed(gate) if found[2] == job), None), 60)
    assert name == "node1" and port != running[1]
    done = login(gate, "fenton-notebook stop")
    assert "You have several notebooks; name one: " in done.stderr and done.returncode == 64
    with tunnel(gate, node, port) as here:
        lab = Notebook(gate, here, tmp_path)
        assert lab.log_in().status_code == 302
        # A kernel that computes, and a program that it has started, when the end comes.
        pids = lab.text(lab.kernel(), "import os, subprocess; print(os.getpid(), subprocess.Popen(['sleep', '1234']).pid)").split()
    assert len(node.docker("ps", "-o", "pid=", "-p", ",".join(pids)).stdout.split()) == 2
    assert ada(gate, f"fenton-notebook stop {job}") == f"Job {job} ends."
    eventually(lambda: job not in jobs(gate), 40)
    eventually(lambda: not node.docker("ps", "-o", "pid=", "-p", ",".join(pids)).stdout.split(), 5)
    assert len(node.docker("sh", "-c", "ls -d /tmp/fenton-notebook-*").stdout.split()) == 1
    assert listed(gate) == [running]


@pytest.mark.once
def test_what_is_ones_own_is_nobody_elses(gate, node, running, tom):
    job = running[2]
    assert ada(gate, f"stat -c '%a %U' {OWN} {OWN}/password {OWN}/authority/ca.key").split("\n") == ["700 ada", "600 ada", "600 ada"]
    for path in ("password", "notebook/privkey.pem", f"logs/{job}.log"):
        assert tom(f"cat {OWN}/{path}").returncode != 0
    assert tom("fenton-notebook list").stdout == "You have no notebooks.\n"
    assert tom(f"fenton-notebook stop {job}").returncode == 64
    assert tom(f"scancel {job}").returncode != 0
    assert job in jobs(gate)
    # Neither the password nor its hash is in what others see of processes and jobs.
    seen = node.docker("ps", "-eo", "args").stdout + tom(f"scontrol show job {job}").stdout
    assert "jupyterlab" in seen and job in seen
    assert PASSWORD not in seen and "argon2" not in seen


@pytest.mark.once
def test_what_the_cluster_has_not_is_said_in_a_sentence_and_nothing_is_sent(gate, running):
    before = jobs(gate)
    for words, sentence in {
        "--cores 999": r"--cores 999: the largest node of partition main, node1, has \d+\.",
        "--memory 99T": r"--memory 99T: the largest node of partition main, node1, has \d+[MG]\.",
        "--partition short --time 1:00:00": r"--time 1:00:00: partition short allows 0:30:00 at most; --partition main has it\.",
        "--gpu hopper": r"--gpu hopper:1: no node of partition main has a GPU\.",
        "--gpus 1": r"--gpu 1: no node of partition main has a GPU\.",
        "--partition nowhere": r"--partition nowhere: there is no such partition; there are main, short\.",
        "--cores many": r"--cores 'many' is not a number of cores, such as 4\.",
        "--mem lots": r"--memory 'lots' is not an amount of memory, such as 8G or 512M\.",
        "--time soon": r"--time 'soon' is not a time as Slurm writes it",
        "start": r"'start' is not a verb",
        "--core 4": r"unrecognized arguments: --core 4",
        "stop 4711": rf"4711 is no notebook of yours; there is {running[2]}\.",
    }.items():
        done = login(gate, f"fenton-notebook {words}")
        assert done.returncode == 64, (words, done.stdout, done.stderr)
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert re.match(rf"fenton-notebook: ({sentence})", done.stderr), done.stderr
    assert jobs(gate) == before


@pytest.fixture
def more_than_is_free(gate, running):
    """Return words for all cores of the node, of which one is taken for twenty minutes."""
    cores = gate.docker("sinfo", "--noheader", "--Node", "--partition=main", "--format=%c").stdout.strip()
    return ["docker", "exec", gate.container, "runuser", "-u", "ada", "--", "fenton-notebook", *SMALL.split(), "--cores", cores]


@pytest.mark.once
def test_while_it_waits_it_says_why_and_ctrl_c_leaves_it_in_the_queue(gate, more_than_is_free):
    before = jobs(gate)
    waits = subprocess.Popen(more_than_is_free, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    said = next(line for line in waits.stdout if "(" in line)
    (job,) = jobs(gate) - before
    assert re.match(rf"Job {job} waits \((Resources|Priority)\), (probably until [\d: -]+|Slurm does not say until when) …$", said), said
    gate.docker("pkill", "-INT", "-u", "ada", "-f", "^/usr/bin/python3 .*/fenton-notebook --cores")
    assert f"Job {job} stays. `fenton-notebook list` says" in waits.communicate(timeout=30)[0]
    assert waits.returncode == 130
    assert re.search(rf"^Job {job} waits \(\w+\)", ada(gate, "fenton-notebook list"), re.M)
    assert ada(gate, f"fenton-notebook stop {job}") == f"Job {job} ends."
    eventually(lambda: jobs(gate) == before)


@pytest.mark.once
def test_at_a_terminal_ctrl_c_asks_whether_to_cancel_it(gate, more_than_is_free):
    before = jobs(gate)
    docker, exec_, *words = more_than_is_free
    screen = Terminal([docker, exec_, "-it", *words])
    screen.expect(r"waits \(\w+\)", 30)
    (job,) = jobs(gate) - before
    screen.send("\x03")
    screen.expect(rf"Leave job {job} in the queue, or cancel it\? \[L/c\]")
    screen.send("c\r")
    screen.expect(f"Job {job} is cancelled")
    assert screen.end() == 130
    eventually(lambda: jobs(gate) == before)


@pytest.mark.once
def test_the_first_use_makes_a_password_and_shows_it_to_a_terminal_only(gate, tom):
    gate.docker("rm", "-rf", OWN.replace("ada", "tom"))
    # By sbatch nobody is asked.
    done = tom("cd && sbatch --parsable --mem=200M --time=10 $(command -v fenton-notebook)")
    job = done.stdout.strip()
    done = tom(f"fenton-notebook {SMALL}")
    assert done.returncode == 78
    assert "You have no password for notebooks yet" in done.stderr
    eventually(lambda: not jobs(gate, "tom"), 40)
    assert "has no password of yours for notebooks" in tom(f"cat slurm-{job}.out").stdout
    assert "Comment=failed: node1 has no password of yours" in tom(f"scontrol show job {job}").stdout

    shown = tom(f"script -qec 'fenton-notebook {SMALL} --no-wait' /dev/null").stdout
    password = re.search(r"shown this once: (\w{24})\r?\n", shown)
    assert password and "is in the queue" in shown, shown
    again = tom(f"script -qec 'fenton-notebook {SMALL} --no-wait' /dev/null").stdout
    assert "is in the queue" in again and "shown this once" not in again
    assert gate.docker("grep", "-rlF", password[1], "/home/tom", "/tmp").stdout == ""


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


@pytest.mark.long
@pytest.mark.once
def test_switched_off_it_is_gone_and_back_again(gate):
    done = gate.playbook("--tags", "notebook", "-e", '{"notebook_enabled": false}')
    assert done.returncode == 0, done.stdout[-3000:]
    ours = "/usr/local/bin/fenton-notebook /usr/local/lib/fenton/notebook /opt/conda/envs/notebook"
    assert gate.docker("sh", "-c", f"ls -d {ours}").stdout == ""
    done = gate.playbook("--tags", "notebook")
    assert done.returncode == 0, done.stdout[-3000:]
    assert ada(gate, "fenton-notebook list")
