"""Root is shut out, one administrator is left: nobody else's file, no dead control node and no cut network locks that one out."""

import json
import os
import signal
import subprocess

import pytest
from lockout import ROOT, SAVED, acceptance, doors, eventually, refused, run, script, state

PUT_BACK_BY_ITSELF = "put back by the server itself"
# A file that sshd has not read: whoever has it read makes it true, also who only puts things back.
UNREAD = {
    "AllowUsers without the administrator": ("AllowUsers bob tom", "ada: AllowUsers is bob tom"),
    "DenyUsers with a pattern that fits the administrator": ("DenyUsers a*", "ada: DenyUsers is a*"),
    "DenyGroups with the administrator's group": ("DenyGroups ada", "ada: DenyGroups is ada"),
    "a Match block that takes the administrator's keys away": (
        "Match User ada\n  AuthorizedKeysFile none",
        "ada: AuthorizedKeysFile is none",
    ),
    "a Match block that takes public keys away": ("Match Address 0.0.0.0/0\n  PubkeyAuthentication no", "ada: PubkeyAuthentication is no"),
    "a Match block with a command of its own": ("Match User ada\n  ForceCommand /bin/false", "ada: ForceCommand is /bin/false"),
    "two keys at a time": ("AuthenticationMethods publickey,publickey", "ada: AuthenticationMethods is publickey,publickey"),
    "loopback as the only address": ("ListenAddress 127.0.0.1", "ada: ListenAddress is 127.0.0.1:22"),
}
# Judged by the same lines as their neighbours.
SELDOM = set(UNREAD) - {
    "AllowUsers without the administrator",
    "loopback as the only address",
}
TO_2222 = {"ssh_port": 2222}
DROP_2222 = "nft 'table inet other { chain input { type filter hook input priority -10; tcp dport 2222 drop; }; }'"
CUT = "nft 'table inet cut { chain input { type filter hook input priority -20; iifname != lo drop; }; }'"


@pytest.fixture(scope="module", autouse=True)
def hardened(server):
    """Have the role applied, so that ada on port 22 is the only one who gets in."""
    done = server.playbook()
    assert done.returncode == 0, done.stdout


@pytest.mark.attempt(
    "Lock-out", "somebody else's drop-in that sshd has not read yet: {tried}", "refused before the first change, and not read"
)
@pytest.mark.parametrize(
    ("tried", "text", "words"),
    [pytest.param(name, *rest, id=name, marks=pytest.mark.long if name in SELDOM else ()) for name, rest in UNREAD.items()],
)
def test_a_file_that_sshd_has_not_read_yet_is_not_made_true(server, sockets, foreign, tried, text, words):
    """Before the run the administrator gets in, for sshd does not know of the file; so it must be after the run."""
    assert doors(server) == [("ada", 22)]
    foreign(text)
    refused(server, sockets, TO_2222, words)


@pytest.fixture
def begin(server, sockets, spoil):
    """Return a function that begins to move the port behind a wall that keeps the proof from succeeding.

    It returns the run and the server's state before it. The run is at the point where sshd listens on the
    new port and nobody has confirmed it; after the test it is killed.
    """
    running = []

    def now():
        before = state(server)
        assert before["doors"] == [("ada", 22)]
        spoil(DROP_2222, "nft delete table inet other")
        sources = ["-i", ROOT / "molecule/ssh_refuses_lockout/inventory.yml", "-i", ROOT / "molecule/shared/containers"]
        words = ["ansible-playbook", *sources, acceptance.PLAYBOOK, "-e", json.dumps(TO_2222)]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **sockets}
        quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        running.append(subprocess.Popen(words, cwd=ROOT, env=environment, start_new_session=True, **quiet))
        eventually(lambda: running[0].poll() is not None or server.docker("ss", "-Hltn", "sport = :2222").stdout, 60)
        assert running[0].poll() is None, "the run has ended before its proof"
        return running[0], before

    yield now
    for each in running:
        kill(each)


def kill(run):
    """Kill a run and all that belongs to it."""
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def put_back(server):
    """Tell whether the server has nothing more to put back."""
    return server.docker("test", "-e", SAVED).returncode != 0


def let_time_pass(server):
    """Do what the timer does when its five minutes are over, and wait until nothing is left to put back."""
    script(server, "systemctl is-active fenton-ssh-put-back.timer; systemctl start fenton-ssh-put-back.service")
    eventually(lambda: server.docker("test", "-e", SAVED).returncode)
    script(server, "systemctl stop fenton-ssh-put-back.timer")  # it has done its work


@pytest.mark.attempt("Lock-out", "the control node dies (SIGKILL) between the change and its confirmation", PUT_BACK_BY_ITSELF)
def test_a_run_that_is_killed_is_put_back_by_the_host_itself(server, begin):
    """The timer is the server's own."""
    killed, before = begin()
    kill(killed)
    let_time_pass(server)
    assert state(server) == before


@pytest.mark.long
@pytest.mark.attempt("Lock-out", "the network is cut between the change and its confirmation", PUT_BACK_BY_ITSELF)
def test_a_network_that_is_cut_is_the_same(server, begin):
    """And the run that goes on when the network is back does not claim that it succeeded, nor break what was put back."""
    cut, before = begin()
    script(server, CUT)
    try:
        let_time_pass(server)
    finally:
        script(server, "nft delete table inet cut")
    assert cut.wait(120) != 0
    assert state(server) == before


@pytest.mark.long
@pytest.mark.attempt(
    "Lock-out", "the control node dies, and the server is reset before its timer fires", "put back at boot, before sshd starts"
)
def test_a_reset_in_between_puts_it_back_too(server, begin):
    """What was never confirmed does not outlive a boot."""
    killed, before = begin()
    kill(killed)
    assert run("docker", "restart", "--time", "5", server.container).returncode == 0
    assert eventually(lambda: doors(server), 60) == [("ada", 22)]
    script(server, DROP_2222)  # which is taken away after the test
    assert state(server) == before
    assert server.docker("sh", "-c", "ls /etc/systemd/system/*/fenton* /etc/systemd/system/fenton-ssh*").stdout == ""


@pytest.mark.attempt(
    "Lock-out", "the connection stands still until the server has put it back, and then goes on", "the run notices and fails"
)
@pytest.mark.parametrize("patience", ["1ms", *(pytest.param(f"{number}ms", marks=pytest.mark.long) for number in range(150, 1200, 150))])
def test_a_run_that_comes_too_late_changes_nothing(server, sockets, patience):
    """Else it would go on without anybody who puts back."""
    refused(server, sockets, TO_2222 | {"__ssh_patience": patience}, "put back")


@pytest.mark.long
@pytest.mark.attempt(
    "Lock-out", "files in /etc/ssh are from next year, because a clock was wrong", "read once; the next run changes nothing"
)
def test_a_wrong_clock_does_not_confuse_it(server, sockets, spoil):
    """What is newer than sshd counts as not read."""
    spoil(
        "touch -d 'next year' /etc/ssh/sshd_config /etc/ssh/sshd_config.d",
        "touch /etc/ssh/sshd_config /etc/ssh/sshd_config.d; systemctl reload ssh",
    )
    for changed in (True, False):
        done = server.playbook(env=sockets)
        assert done.returncode == 0, done.stdout
        assert ("changed=0 " not in done.stdout) == changed, done.stdout
        assert doors(server) == [("ada", 22)]


@pytest.mark.long
@pytest.mark.attempt(
    "Lock-out", "sshd was started by ssh.socket, which has been stopped, so that it cannot reload", "restarted; sessions go on"
)
def test_an_sshd_that_cannot_reload_is_restarted(server, sockets, spoil):
    """It would end with "Cannot bind any address"."""
    spoil("systemctl stop ssh; systemctl start ssh.socket", "systemctl stop ssh.socket; systemctl restart ssh")
    assert doors(server) == [("ada", 22)]
    script(server, "systemctl stop ssh.socket; touch /etc/ssh/sshd_config")
    done = server.playbook(env=sockets)
    assert done.returncode == 0, done.stdout
    assert doors(server) == [("ada", 22)]
