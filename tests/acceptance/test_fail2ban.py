"""Who guesses is shut out for some minutes, from another machine; who may never be shut out is not, and nobody is for long."""

import contextlib
import json
import re

import pytest
from conftest import SCENARIO, eventually, run

TRIES = 6
ALONE = SCENARIO == "fail2ban"
# As long as sshd itself refuses an address for the failures it has seen, fail2ban sees none; older releases know no penalties.
NO_PENALTIES = "/etc/ssh/sshd_config.d/zz-no-penalties.conf"
# One login with each password of the line: status and what the page says.
GUESS = """
import http.cookiejar, ssl, sys, urllib.error, urllib.parse, urllib.request
context = ssl._create_unverified_context()
for password in sys.argv[2:]:
    jar = http.cookiejar.CookieJar()
    steps = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(jar)]
    opener = urllib.request.build_opener(*steps)
    try:
        opener.open(sys.argv[1] + "/login", timeout=5)
        form = urllib.parse.urlencode({"_xsrf": next(c.value for c in jar if c.name == "_xsrf"), "password": password}).encode()
        print(opener.open(sys.argv[1] + "/login?next=/api/status&x=(@192.0.2.99)", form, timeout=5).status)
    except urllib.error.HTTPError as refused:
        print(refused.code)
    except OSError as refused:
        print("shut out", refused)
"""


class Stranger:
    """Another machine on the server's network."""

    def __init__(self, server, name):
        self.server, self.container = server, f"{server.container}-{name}"
        about = json.loads(run("docker", "inspect", server.container).stdout)[0]
        network = next(iter(about["NetworkSettings"]["Networks"]))
        run("docker", "rm", "--force", self.container)
        words = ["--name", self.container, "--network", network, "--label", f"fenton.scenario={SCENARIO}-strangers"]
        started = run("docker", "run", "--detach", *words, "--entrypoint", "sleep", about["Config"]["Image"], "3600")
        assert started.returncode == 0, started.stderr
        told = run("docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self.container)
        self.address = told.stdout.strip()
        self.docker("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/key")

    def docker(self, *words):
        return run("docker", "exec", self.container, *words)

    def ssh(self, user="root"):
        """Try to log in with a key that opens nothing; return what ssh says."""
        options = "-o BatchMode=yes -o ConnectTimeout=4 -o StrictHostKeyChecking=no -i /root/key".split()
        return self.docker("ssh", *options, "-p", self.server.port, f"{user}@{self.server.address}", "true").stderr

    def guess(self, port, *passwords):
        """Try passwords at the JupyterLab on *port*; return the answers."""
        return self.docker("python3", "-c", GUESS, f"https://{self.server.address}:{port}", *passwords).stdout.splitlines()

    def is_out(self, service):
        """Tell whether fail2ban shuts this machine out of *service*."""
        return self.address in self.server.docker("fail2ban-client", "get", f"fenton-{service}", "banip").stdout.split()

    def is_in_the_firewall(self, service):
        return self.address in self.server.docker("nft", "list", "set", "inet", "f2b-table", f"addr-set-fenton-{service}").stdout


def told(server, *words):
    """Return what fail2ban's client prints, or nothing where it does not answer."""
    done = server.docker("fail2ban-client", *words)
    return done.stdout if done.returncode == 0 else ""


def failures(server):
    """Return how many failed logins by ssh were counted since fail2ban started."""
    found = re.search(r"Total failed:\s+(\d+)", told(server, "status", "fenton-ssh"))
    return int(found[1]) if found else 0


@pytest.fixture
def stranger(server):
    """Return a machine that nobody has seen: addresses come again, and what was counted for them goes, also from the journal."""
    server.docker("fail2ban-client", "unban", "--all")
    server.docker("sh", "-c", "systemctl stop fail2ban; sleep 1; journalctl --quiet --rotate --vacuum-time=1s; systemctl start fail2ban")
    eventually(lambda: told(server, "ping"))
    one = Stranger(server, "stranger")
    yield one
    server.docker("fail2ban-client", "unban", "--all")
    run("docker", "rm", "--force", one.container)


@pytest.fixture
def neighbour(server):
    one = Stranger(server, "neighbour")
    yield one
    run("docker", "rm", "--force", one.container)


@pytest.fixture
def no_penalties(server):
    """Have sshd judge nobody by itself, as it is in Debian 12 and Ubuntu 24.04."""
    knows = "persourcepenalties" in server.docker("sshd", "-T").stdout

    def reread():
        """Have sshd read its files again; it starts itself anew, and nobody listens meanwhile."""
        server.docker("sh", "-c", "systemctl reload ssh; sleep 1")
        eventually(lambda: server.docker("ssh-keyscan", "-t", "ed25519", "-p", server.port, "127.0.0.1").stdout)

    if knows:
        server.docker("sh", "-c", f"echo 'PerSourcePenalties no' >{NO_PENALTIES}")
        reread()
    yield
    if knows:
        server.docker("rm", NO_PENALTIES)
        reread()


@(lambda test: test) if ALONE else pytest.mark.once
@pytest.mark.attempt("Intrusion", "six ssh logins with a wrong key from one address", "shut out for ten minutes, others are not")
def test_who_guesses_at_ssh_is_shut_out_and_nobody_else(server, stranger, neighbour, no_penalties):
    assert "Permission denied" in neighbour.ssh()
    for number in range(TRIES):
        stranger.ssh("root" if number % 2 else "somebody 192.0.2.98 port 22 [preauth]")
    eventually(lambda: stranger.is_out("ssh") or (stranger.ssh() and None))
    assert stranger.is_in_the_firewall("ssh")
    assert re.search("refused|timed out", stranger.ssh())
    assert "Permission denied" in neighbour.ssh()
    assert server.ssh("true").returncode == 0
    # Nobody shuts out others by what is sent along.
    assert "192.0.2.98" not in server.docker("fail2ban-client", "banned").stdout
    # A firewall that is loaded anew, and a restart, leave it so.
    if server.docker("test", "-e", "/etc/systemd/system/fenton-firewall.service").returncode == 0:
        assert server.docker("systemctl", "reload", "fenton-firewall").returncode == 0
        assert stranger.is_in_the_firewall("ssh")
    assert server.docker("systemctl", "restart", "fail2ban").returncode == 0
    eventually(lambda: stranger.is_in_the_firewall("ssh"))
    assert re.search("refused|timed out", stranger.ssh())
    assert server.docker("fail2ban-client", "unban", stranger.address).returncode == 0
    assert "Permission denied" in stranger.ssh()


@pytest.mark.once
@pytest.mark.attempt("Intrusion", "twelve wrong ssh logins from the control node", "it is never shut out")
def test_the_control_node_is_never_shut_out(server, stranger, no_penalties):
    for _ in range(2 * TRIES):
        assert "Permission denied" in server.ssh("true", user="mallory").stderr
    # What comes before it in the journal has been read by then.
    eventually(lambda: stranger.ssh() and stranger.is_out("ssh"))
    assert server.ssh("true").returncode == 0
    assert server.docker("fail2ban-client", "get", "fenton-ssh", "banip").stdout.split() == [stranger.address]


@pytest.mark.once
@pytest.mark.attempt("Intrusion", "connecting to sshd without a login, as scanners of host keys do", "nobody is shut out for that")
def test_who_only_looks_is_not_shut_out(server, stranger, no_penalties):
    for _ in range(4):
        stranger.docker("ssh-keyscan", "-p", server.port, server.address)
    # One after the other, each until it is counted: with a journal that is as good as empty fail2ban may begin after the first of them.
    for _ in range(2 * TRIES):
        before = failures(server)
        if before >= TRIES - 1:
            break
        assert "Permission denied" in stranger.ssh()
        with contextlib.suppress(pytest.fail.Exception):
            eventually(lambda before=before: failures(server) > before, 10)
    assert failures(server) >= TRIES - 1
    assert not stranger.is_out("ssh")


@pytest.mark.once
@pytest.mark.attempt("Intrusion", "six wrong passwords at JupyterLab's login from one address", "shut out for ten minutes, others are not")
def test_who_guesses_at_jupyter_is_shut_out_and_nobody_else(server, stranger, neighbour):
    users = server.connection.get("jupyter")
    if not users:
        pytest.skip("this scenario has no JupyterLab")
    name, port = next((name, entry["port"]) for name, entry in users.items())
    password = (server.artifacts / users[name]["password_file"]).read_text().removesuffix("\n")
    assert neighbour.guess(port, "wrong", password) == ["401", "200"]
    answers = stranger.guess(port, *(f"guess {number}" for number in range(TRIES)))
    assert answers[: TRIES - 1] == ["401"] * (TRIES - 1)
    eventually(lambda: stranger.is_out("jupyter"))
    assert "shut out" in stranger.guess(port, password)[0]
    assert neighbour.guess(port, password) == ["200"]
    assert "192.0.2.99" not in server.docker("fail2ban-client", "banned").stdout
    # Out of JupyterLab, not out of ssh.
    assert "Permission denied" in stranger.ssh()
    assert server.docker("fail2ban-client", "unban", stranger.address).returncode == 0
    assert stranger.guess(port, password) == ["200"]


@pytest.mark.long
@pytest.mark.once
@pytest.mark.skipif(not ALONE, reason="shown in the scenario fail2ban")
def test_what_is_changed_by_hand_is_put_right(server):
    server.mends(
        "fail2ban",
        "sed -i 's/^bantime = 600/bantime = 999999/' /etc/fail2ban/jail.d/fenton.local; systemctl restart fail2ban",
        "until fail2ban-client ping >/dev/null 2>&1; do sleep 0.2; done; fail2ban-client get fenton-ssh bantime",
    )
    server.mends("fail2ban", "systemctl disable --now fail2ban", "systemctl is-active fail2ban; systemctl is-enabled fail2ban")


@pytest.mark.once
@pytest.mark.skipif(not ALONE, reason="shown in the scenario fail2ban")
@pytest.mark.attempt("Bad input", "{variable}: {value}", "refused before the first change: {sentence}")
@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("fail2ban_tries", 0, "0 is not a number from 3 to 100"),
        ("fail2ban_minutes", 100000, "100000 is not a number from 1 to 1440"),
        ("fail2ban_never_ban", ["192.168.1.0/33"], "neither an address nor a network"),
        ("fail2ban_ports", {"ssh": [70000]}, "holds what is no port"),
    ],
)
def test_bad_input_is_refused_before_anything_changes(server, variable, value, sentence):
    done = server.playbook("-e", json.dumps({variable: value}))
    told = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert f"{variable}: " in told
    assert sentence in told
    assert "changed=0" in told


@pytest.mark.once
@pytest.mark.long
@pytest.mark.skipif(not ALONE, reason="shown in the scenario fail2ban")
def test_switched_off_it_is_gone_and_everybody_is_let_in_again(server, stranger, no_penalties):
    eventually(lambda: stranger.ssh() and stranger.is_out("ssh"))
    try:
        done = server.playbook("-e", json.dumps({"fail2ban_ports": {}}))
        assert done.returncode == 0, done.stdout
        assert "Permission denied" in stranger.ssh()
        assert server.docker("test", "-e", "/etc/systemd/system/fail2ban.service.d").returncode
        assert "changed=0" in server.playbook("-e", json.dumps({"fail2ban_ports": {}})).stdout
    finally:
        assert server.playbook().returncode == 0
