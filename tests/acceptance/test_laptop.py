"""The laptop's half: every verb of the command, through a gateway, with the network cut and the server changed under it."""

import concurrent.futures
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest
from browser import browser, find, missing, wait
from conftest import ROOT, SCENARIO, eventually, run

VIDEO = "https://www.youtube.com/watch?v=3GRSbr0EYYU"
HOME = "/home/ada"
MOUNT = f"{HOME}/fenton"


class Laptop:
    """A laptop of the scenario, and its owner at the keyboard."""

    def __init__(self, server):
        self.name, self.server = server.name, server

    def words(self, *options, **environment):
        """Return the words that run something as the owner."""
        given = {"HOME": HOME, "PATH": f"{HOME}/.local/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin", "TERM": "xterm", **environment}
        pairs = [word for name, value in given.items() for word in ("-e", f"{name}={value}")]
        return ["docker", "exec", "-u", "ada", "-w", HOME, *options, *pairs, self.server.container]

    def run(self, *command, timeout=60, **environment):
        """Run a command as the owner, with nothing on its input."""
        return run(*self.words(**environment), *command, timeout=timeout)

    def sh(self, script, **options):
        """Run a line of sh as the owner."""
        return self.run("sh", "-c", script, **options)

    def type(self, script, *command):
        """Run a command as the owner with *script* on its input."""
        return run(*self.words("-i"), *command, input=script, timeout=60)

    def unshare(self):
        """End the shared connections, and wait until they have gone."""
        return self.sh(
            "ssh -O exit fenton; ssh -O exit gate; for _ in $(seq 50); do ls ~/.ssh/fenton-* >/dev/null 2>&1 || break; sleep 0.1; done"
        )

    def root(self, script):
        """Run a line of sh as root, past everything."""
        return self.server.docker("sh", "-c", script)


@pytest.fixture(scope="module")
def laptops(servers):
    """Return both laptops, with sshfs."""
    both = [Laptop(servers[name]) for name in ("desk", "train")]
    for it in both:
        if it.root("command -v sshfs").returncode:
            assert it.root("apt-get install -qq --no-install-recommends sshfs").returncode == 0
    return both


@pytest.fixture(scope="module", params=[0, 1], ids=["desk", "train"])
def laptop(request, laptops):
    """Return each laptop in turn, with nothing shared, mounted or tunnelled before and after."""
    it = laptops[request.param]
    yield it
    it.sh("fenton -u; fenton -t off")
    it.unshare()


def on_each(laptops, what):
    """Do something on all laptops at a time, for what is mostly waiting; fail where it fails on one of them."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(what, laptops))


@pytest.fixture(scope="module")
def desk(servers):
    """Return the laptop whose owner is root there."""
    return Laptop(servers["desk"])


@pytest.fixture(scope="module")
def server(servers):
    """Return the server behind the gateway."""
    return servers["fenton"]


@pytest.fixture
def cut(server):
    """Return a function that cuts the server's network; it is mended afterwards."""

    def now():
        rules = "add table inet cut; add chain inet cut in { type filter hook input priority -10; policy drop; }"
        assert server.docker("nft", rules).returncode == 0

    def mend():
        server.docker("nft", "delete", "table", "inet", "cut")

    now.mend = mend
    yield now
    mend()


def sentence(done, status):
    """Check that a command ended with *status* and said one sentence, and return that."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert (done.returncode, len(lines)) == (status, 1), done
    assert lines[0].startswith("fenton: ") and lines[0].endswith((".", "-t 8889", "zip", ":data/", ".py"))
    return lines[0]


# The way there


def test_the_laptop_reaches_the_server_only_through_the_gateway(laptop, server):
    straight = ["ssh", "-F", "none", "-o", "ConnectTimeout=3", "-o", "StrictHostKeyChecking=no", server.address, "true"]
    assert laptop.run(*straight).returncode == 255
    assert laptop.type("hostname\n", "fenton").stdout.splitlines()[-1] == "fenton"


def test_a_connection_ends_with_the_status_of_the_shell_there(laptop):
    assert laptop.type("exit 7\n", "fenton").returncode == 7


def test_the_pinned_host_key_is_the_servers(laptop, server):
    """No key was ever taken on trust: known_hosts of the owner has no line."""
    assert laptop.sh("cat ~/.ssh/known_hosts").stdout == ""
    assert server.connection["host_key"] in laptop.sh("cat ~/.config/fenton/fenton.known_hosts").stdout


def test_the_owners_own_configuration_is_there_and_in_force(laptop):
    assert "hostname example.org" in laptop.sh("ssh -G example").stdout
    assert laptop.sh("cat ~/.ssh/config").stdout.count("Include") == 1


def test_every_promise_of_the_role_holds(laptop):
    done = laptop.server.playbook("--tags", "verify")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "changed=0" in done.stdout, done.stdout[-3000:]


# Files


def test_the_home_directory_is_mounted_and_unmounted(laptop, server):
    said = laptop.run("fenton", "-fs")
    assert said.returncode == 0 and MOUNT in said.stdout, said
    laptop.sh("echo from here >~/fenton/note")
    assert server.docker("cat", f"{HOME}/note").stdout == "from here\n"
    assert server.docker("stat", "-c", "%U", f"{HOME}/note").stdout == "ada\n"
    assert "mounted already" in laptop.run("fenton", "-fs").stdout
    assert laptop.run("fenton", "-u").returncode == 0
    assert laptop.sh("ls -A ~/fenton").stdout == ""
    assert "not mounted" in laptop.run("fenton", "-u").stdout


@pytest.fixture
def mounted(laptop):
    """Mount, and unmount afterwards."""
    assert laptop.run("fenton", "-fs").returncode == 0
    yield
    laptop.run("fenton", "-u")


@pytest.mark.once
def test_a_mount_comes_back_after_the_network_was_cut(laptops, cut):
    def mount(laptop):
        assert laptop.run("fenton", "-fs").returncode == 0
        laptop.sh("echo 1 >~/fenton/note-$(hostname)")

    def miss(laptop):
        # The keep-alive of fifteen seconds, once; then the time for connecting.
        for limit in (25, 15):
            begun = time.monotonic()
            assert laptop.sh("cat ~/fenton/note-$(hostname)", timeout=60).returncode != 0
            assert time.monotonic() - begun < limit

    def find_again(laptop):
        assert eventually(lambda: laptop.sh("cat ~/fenton/note-$(hostname)", timeout=60).stdout) == "1\n"

    try:
        on_each(laptops, mount)
        cut()
        on_each(laptops, miss)
        cut.mend()
        on_each(laptops, find_again)
    finally:
        on_each(laptops, lambda laptop: laptop.run("fenton", "-u"))


@pytest.mark.once
@pytest.mark.usefixtures("mounted")
def test_a_mount_outlives_a_restart_of_sshd(laptop, server):
    laptop.sh("echo 2 >~/fenton/note")
    assert server.docker("sh", "-c", "systemctl restart ssh; pkill -u ada sshd; true").returncode == 0
    assert eventually(lambda: laptop.sh("cat ~/fenton/note").stdout) == "2\n"


@pytest.mark.once
@pytest.mark.usefixtures("mounted")
def test_a_dead_mount_is_mounted_again(laptop):
    assert laptop.sh("pkill -9 -u ada -x sshfs").returncode == 0
    assert "not connected" in laptop.sh("ls ~/fenton").stderr
    assert "FAULT" in laptop.run("fenton", "doctor").stdout
    said = laptop.run("fenton", "-fs")
    assert said.returncode == 0 and "no longer answers" in said.stdout, said
    assert laptop.sh("ls -d ~/fenton/.ssh").returncode == 0


@pytest.mark.once
@pytest.mark.usefixtures("mounted")
def test_a_full_disk_there_is_an_error_here(laptop, server):
    small = f"{HOME}/small"
    fill = f"mkdir -p {small} && mount -t tmpfs -o size=1m,uid=$(id -u ada) none {small}"
    assert server.docker("sh", "-c", fill).returncode == 0
    try:
        assert laptop.sh("dd if=/dev/zero of=~/fenton/small/big bs=1M count=4").returncode != 0
    finally:
        server.docker("umount", small)


def test_files_are_copied_both_ways(laptop, server):
    laptop.sh("mkdir -p 'a b/c' && echo 1 >'a b/c/d e' && rm -rf back")
    assert laptop.run("fenton", "-cp", "a b", ":").returncode == 0
    assert server.docker("cat", f"{HOME}/a b/c/d e").stdout == "1\n"
    assert laptop.run("fenton", "-cp", ":a b/c/d e", "back").returncode == 0
    assert laptop.sh("cat back").stdout == "1\n"


ARCHIVE = """
import tarfile, zipfile, io, os
os.makedirs("data", exist_ok=True)
with zipfile.ZipFile("data/many.zip", "w") as file:
    for number in range(200):
        file.writestr(f"{number}.txt", "x")
with zipfile.ZipFile("data/one.zip", "w") as file:
    file.writestr("one/a.txt", "x")
with tarfile.open("data/some thing.tar.gz", "w:gz") as file:
    for name in ("a", "b"):
        file.addfile(tarfile.TarInfo(name), io.BytesIO())
open("data/broken.zip", "w").write("no")
"""


@pytest.mark.once
def test_archives_are_unpacked_where_they_lie(laptop, server):
    server.docker("sh", "-c", f"rm -rf {HOME}/data")
    assert laptop.type(ARCHIVE, "ssh", "fenton", "python3", "-").returncode == 0
    for name, made in (("data/many.zip", "many"), (":data/one.zip", "one"), (f"{MOUNT}/data/some thing.tar.gz", "some thing")):
        said = laptop.run("fenton", "unzip", name)
        assert (said.returncode, said.stdout) == (0, made + "\n"), said
    listed = server.docker("ls", f"{HOME}/data", f"{HOME}/data/one", f"{HOME}/data/some thing").stdout
    assert "a.txt" in listed and "\nb\n" in listed
    assert server.docker("sh", "-c", f"ls {HOME}/data/many | wc -l").stdout == "200\n"
    for name, why in (
        ("data/many.zip", "many is there already"),
        ("data/broken.zip", "damaged"),
        ("data/none.zip", "no file data/none.zip"),
    ):
        said = laptop.run("fenton", "unzip", name)
        assert said.returncode == 1 and why in said.stderr, said
    assert server.docker("sh", "-c", f"ls -A {HOME}/data | grep unpack").stdout == ""


# tmux


class Terminal:
    """A real terminal with a command in it."""

    def __init__(self, words):
        self.pid, self.file = pty.fork()
        if not self.pid:
            os.execvp(words[0], words)
        self.seen, self.status = "", None

    def expect(self, pattern, seconds=15):
        """Read until *pattern* has come."""
        until = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            ready = select.select([self.file], [], [], max(0, until - time.monotonic()))[0]
            try:
                more = os.read(self.file, 65536) if ready else b""
            except OSError:
                more = b""
            assert more, f"{pattern!r} did not come: {self.seen!r}"
            self.seen += more.decode("utf-8", "replace")
        self.seen = ""

    def send(self, text):
        """Type *text*."""
        os.write(self.file, text.encode())

    def ended(self, seconds):
        """Wait for its end and tell whether it came; read meanwhile, since who cannot write cannot end."""
        until = time.monotonic() + seconds
        while self.status is None and time.monotonic() < until:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.status = os.waitstatus_to_exitcode(status)
            try:
                if select.select([self.file], [], [], 0.1)[0]:
                    self.seen += os.read(self.file, 65536).decode("utf-8", "replace")
            except OSError:  # nobody is at the other end any more
                time.sleep(0.1)
        return self.status is not None

    def end(self):
        """Wait for its end and return the exit status."""
        if self.ended(30):
            return self.status
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return f"it did not end: {self.seen!r}"

    def detach(self):
        """Detach from tmux. For it, keys that a busy machine hands on within a millisecond are a paste; then they are typed again."""
        for _ in range(5):
            self.send("\x02")
            time.sleep(0.5)
            self.send("d")
            if self.ended(5):
                break


def test_one_attaches_to_the_session_that_goes_on(laptop, server):
    terminal = Terminal(laptop.words("-it") + ["fenton", "-jn"])
    terminal.expect(r"\[main\]")
    terminal.send("echo hi-$((40+2))\r")
    terminal.expect("hi-42")
    terminal.detach()
    assert terminal.end() == 0
    assert "main" in server.docker("runuser", "-u", "ada", "--", "tmux", "ls").stdout


@pytest.mark.once
def test_iterm_shows_windows_of_tmux_as_its_own(laptop):
    terminal = Terminal(laptop.words("-it", TERM_PROGRAM="iTerm.app") + ["fenton", "-jn"])
    terminal.expect("%begin")
    terminal.send("detach\n")
    terminal.expect("%exit")
    assert terminal.end() == 0


@pytest.mark.once
def test_an_interactive_login_is_a_terminal(laptop):
    terminal = Terminal(laptop.words("-it") + ["fenton"])
    terminal.expect(r"\$ ")
    terminal.send("tty; exit 3\r")
    terminal.expect("/dev/pts/")
    assert terminal.end() == 3


@pytest.mark.once
def test_what_runs_there_survives_the_laptop(laptop, server):
    server.docker("rm", "-f", f"{HOME}/ran")
    said = laptop.run("fenton", "run", 'sleep 3; echo "it\'s" done >~/ran; exit 5')
    window = re.search(r"window (\d+) \(sleep\)", said.stdout)
    assert said.returncode == 0 and window, said
    laptop.unshare()
    assert eventually(lambda: server.docker("cat", f"{HOME}/ran").stdout) == "it's done\n"
    tmux = ["runuser", "-u", "ada", "--", "tmux"]
    pane = ["capture-pane", "-p", "-t", f"=main:{window[1]}"]
    assert eventually(lambda: "ended with status 5" in server.docker(*tmux, *pane).stdout)
    server.docker(*tmux, "kill-window", "-t", f"=main:{window[1]}")


@pytest.mark.once
def test_words_of_a_command_stay_words(laptop, server):
    assert laptop.run("fenton", "run", "touch", "a  b's", "$HOME").returncode == 0
    assert eventually(lambda: server.docker("ls", f"{HOME}/a  b's", f"{HOME}/$HOME").returncode == 0)
    server.docker("sh", "-c", f"rm -f \"{HOME}/a  b's\" '{HOME}/$HOME'; runuser -u ada -- tmux kill-window -t =main:touch")


# JupyterLab


def test_a_tunnel_leads_to_jupyterlab(laptop):
    said = laptop.run("fenton", "-t")
    assert (said.returncode, said.stdout) == (0, "https://localhost:8888/lab\n"), said
    page = ["curl", "-sS", "--cacert", f"{HOME}/.config/fenton/fenton.pem", "-o", "/dev/null", "-w", "%{http_code}"]
    assert laptop.run(*page, "https://localhost:8888/login").stdout == "200"
    assert laptop.run("fenton", "-t").stdout == said.stdout
    assert laptop.run("fenton", "-t", "9999").stdout == "https://localhost:9999/lab\n"
    # Killed, it is opened again.
    assert laptop.sh("pkill -9 -f '[f]enton-fenton-8888'").returncode == 0
    assert "dead" in laptop.run("fenton", "doctor").stdout
    assert laptop.run("fenton", "-t").returncode == 0
    assert laptop.run(*page, "https://localhost:8888/login").stdout == "200"
    assert "2 tunnel" in laptop.run("fenton", "-t", "off").stdout
    assert laptop.run(*page, "https://localhost:8888/login").returncode == 7


def test_the_gateways_command_opens_a_tunnel_to_what_lies_behind(laptop):
    said = laptop.run("gate", "-t", "fenton", "8894")
    assert (said.returncode, said.stdout) == (0, "https://localhost:8894/lab\n"), said.stderr
    page = ["curl", "-sS", "--noproxy", "*", "--cacert", f"{HOME}/.config/fenton/fenton.pem", "-o", "/dev/null", "-w", "%{http_code}"]
    assert laptop.run(*page, "https://127.0.0.1:8894/api").stdout == "200"
    assert "1 tunnel" in laptop.run("gate", "-t", "fenton", "off").stdout


def test_the_laptop_trusts_the_server_as_far_as_it_was_asked_to(laptop):
    laptop.run("fenton", "-t")
    said = laptop.run("curl", "-sS", "-o", "/dev/null", "https://localhost:8888/login")
    assert said.returncode == (0 if "system" in laptop.server.variables["client_trust"] else 60), said
    laptop.run("fenton", "-t", "off")


@pytest.mark.once
def test_the_owners_browser_shows_no_warning(laptop, server, tmp_path):
    """With the certificates of the laptop's owner, in a browser beside it."""
    if missing():
        pytest.skip(f"no browser here: apt-get install {missing()}")
    assert run("docker", "cp", f"{laptop.server.container}:{HOME}/.pki", tmp_path).returncode == 0
    with browser(tmp_path) as driver:
        driver.get(server.connection["jupyter"]["ada"]["url"])
        assert wait(driver, lambda d: find(d, "#password_input"))


@pytest.mark.once
def test_other_ports_are_tunnelled_too(laptop):
    said = laptop.run("fenton", "-t", "2222:22")
    assert "port 22 on fenton" in said.stdout, said
    assert laptop.sh("head -c 7 </dev/null | bash -c 'exec 3<>/dev/tcp/127.0.0.1/2222; head -c 7 <&3'").stdout == "SSH-2.0"
    laptop.run("fenton", "-t", "off")


@pytest.mark.once
def test_the_browser_opens_it_or_the_address_is_printed(laptop):
    assert laptop.run("fenton", "-o").stdout.splitlines()[0] == "https://localhost:8888/lab"
    laptop.sh("mkdir -p ~/fake && printf '#!/bin/sh\\necho \"$1\" >~/opened\\n' >~/fake/xdg-open && chmod +x ~/fake/xdg-open")
    path = f"{HOME}/fake:{HOME}/.local/bin:/usr/local/bin:/usr/bin:/bin"
    assert laptop.run("fenton", "-o", PATH=path, DISPLAY=":0").returncode == 0
    assert laptop.sh("cat opened").stdout == "https://localhost:8888/lab\n"
    laptop.run("fenton", "-t", "off")


@pytest.mark.once
def test_the_video(laptop):
    assert laptop.run("fenton", "jesus", "christ").stdout == VIDEO + "\n"


# How it is


def test_the_status(laptop):
    said = laptop.run("fenton", "status")
    assert said.returncode == 0, said
    rows = dict(line.split(maxsplit=1) for line in said.stdout.splitlines())
    assert set(rows) == {"up", "load", "memory", "disk", "gpu", "people", "kernels", "certificate"}
    assert 380 < int(rows["certificate"].split()[0]) < 398
    assert rows["kernels"] == "0" and "GiB" in rows["memory"]


def test_the_doctor_finds_all_well(laptop):
    said = laptop.run("fenton", "doctor")
    assert said.returncode == 0 and "All is well" in said.stdout and "FAULT" not in said.stdout, said
    assert re.search(r"chain whole, for localhost, 39\d days left", said.stdout), said


@pytest.mark.once
@pytest.mark.parametrize("warm", [True, pytest.param(False, marks=pytest.mark.long)], ids=["with a shared connection", "without"])
def test_a_dead_server_gives_one_sentence_and_never_a_hang(laptops, cut, warm):
    def begin(laptop):
        laptop.unshare()
        assert not warm or laptop.run("fenton", "status").returncode == 0

    def timed(laptop, *verb):
        begun = time.monotonic()
        return laptop.run("fenton", *verb), time.monotonic() - begun

    def complain(laptop):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            verbs = (["status"], [], ["-jn"], ["-fs"], ["-t", "8890"], ["-cp", ":x", "y"])
            for done, seconds in pool.map(lambda verb: timed(laptop, *verb), verbs):
                assert "does not answer on port 22 through gate" in sentence(done, 69)
                assert seconds < 11, done
        doctor = laptop.run("fenton", "doctor")
        assert doctor.returncode == 1 and "does not answer" in doctor.stdout

    on_each(laptops, begin)
    cut()
    on_each(laptops, complain)


@pytest.mark.once
def test_a_dead_gateway_gives_one_sentence(laptops, servers):
    def complain(laptop):
        begun = time.monotonic()
        sentence(laptop.run("fenton", "status"), 69)
        assert time.monotonic() - begun < 11

    on_each(laptops, Laptop.unshare)
    assert run("docker", "pause", servers["gate"].container).returncode == 0
    try:
        on_each(laptops, complain)
    finally:
        run("docker", "unpause", servers["gate"].container)


@pytest.mark.once
def test_another_host_key_is_refused(laptop, server):
    laptop.unshare()
    change = "cd /etc/ssh && mkdir kept && mv ssh_host_* kept/ && ssh-keygen -q -A && systemctl restart ssh"
    assert server.docker("sh", "-c", change).returncode == 0
    try:
        for verb in (["status"], [], ["-fs"], ["-t", "8890"]):
            assert "another host key" in sentence(laptop.run("fenton", *verb), 76)
        assert "another host key" in laptop.run("fenton", "doctor").stdout
    finally:
        server.docker("sh", "-c", "cd /etc/ssh && rm ssh_host_* && mv kept/* . && rmdir kept && systemctl restart ssh")
    assert laptop.run("fenton", "status").returncode == 0


@pytest.mark.long
@pytest.mark.once
def test_a_key_that_is_not_known_there_is_refused(laptops):
    def refused(laptop):
        laptop.unshare()
        laptop.sh("mv ~/.ssh/id_ed25519 ~/key && ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519")
        try:
            # sshd refuses whoever failed before, for some seconds; that has a sentence of its own.
            said = eventually(lambda: [done for done in [laptop.run("fenton", "status")] if "hangs up" not in done.stderr], 60)[0]
            assert "gate does not let ada in" in sentence(said, 77)
            for _ in range(3):
                laptop.run("ssh", "-o", "BatchMode=yes", "gate", "true")
            assert "gate hangs up at once" in sentence(laptop.run("fenton", "status"), 69)
        finally:
            laptop.sh("mv ~/key ~/.ssh/id_ed25519; ssh-keygen -y -f ~/.ssh/id_ed25519 >~/.ssh/id_ed25519.pub")
        assert eventually(lambda: laptop.run("fenton", "status").returncode == 0, 60)

    on_each(laptops, refused)


# Bad input

BAD = {
    "no such verb": (["frobnicate"], 64, '"frobnicate" is not a verb'),
    "one word too many": (["status", "now"], 64, '"now" is one too many'),
    "no port": (["-t", "70000"], 64, "70000 is not a port"),
    "port is a word": (["-t", "http"], 64, "http is not a port"),
    "nothing to copy": (["-cp", "x"], 64, "-cp needs what to copy"),
    "a file that is not there": (["-cp", "no-such-file", ":"], 64, "no-such-file is not there"),
    "both here": (["-cp", "a", "b"], 64, "are both here"),
    "both there": (["-cp", ":a", ":b"], 64, "both :a and :b are there"),
    "nothing to run": (["run"], 64, "run needs a command"),
    "nothing to unpack": (["unzip"], 64, "unzip needs one archive"),
}


@pytest.mark.once
@pytest.mark.parametrize("case", BAD)
def test_wrong_words_get_one_sentence(laptop, case):
    words, status, text = BAD[case]
    assert text in sentence(laptop.run("fenton", *words), status)


@pytest.mark.once
def test_a_server_that_was_never_set_up(laptop):
    laptop.sh("mkdir -p ~/other && cp $(command -v fenton) ~/other/forge")
    said = laptop.sh("~/other/forge status")
    assert said.returncode == 78 and "there is no /home/ada/.config/fenton/forge.conf; run `ansible-playbook" in said.stderr
    assert laptop.sh("~/other/forge --version; rm -r ~/other").stdout.startswith("forge ")


@pytest.mark.once
def test_a_key_that_cannot_be_read(laptop):
    laptop.sh("chmod 000 ~/.ssh/id_ed25519")
    assert "cannot be read; `chmod 600" in sentence(laptop.run("fenton"), 77)
    laptop.sh("chmod 600 ~/.ssh/id_ed25519; mkdir ~/kept; mv ~/.ssh/id_ed25519* ~/kept/")
    assert "is not there" in sentence(laptop.run("fenton"), 77)
    laptop.sh("mv ~/kept/* ~/.ssh/; rmdir ~/kept")


@pytest.mark.once
def test_a_mount_path_that_is_not_empty(laptop):
    laptop.sh("mkdir -p ~/fenton && echo mine >~/fenton/mine")
    assert "is not empty" in sentence(laptop.run("fenton", "-fs"), 73)
    assert laptop.sh("cat ~/fenton/mine && rm ~/fenton/mine").stdout == "mine\n"


@pytest.mark.once
def test_a_mount_path_that_is_a_file(laptop):
    laptop.sh("rmdir ~/fenton; echo mine >~/fenton")
    assert "is not a directory" in sentence(laptop.run("fenton", "-fs"), 73)
    assert laptop.sh("cat ~/fenton && rm ~/fenton").stdout == "mine\n"


@pytest.mark.once
def test_a_mount_path_inside_another_mount(laptop):
    laptop.sh("mkdir -p ~/outer && sshfs gate: ~/outer && sed -i 's|^MOUNT=.*|MOUNT=/home/ada/outer/in|' ~/.config/fenton/fenton.conf")
    try:
        assert "lies in /home/ada/outer, which is itself a mount" in sentence(laptop.run("fenton", "-fs"), 73)
    finally:
        laptop.sh(f"fusermount3 -u ~/outer; sed -i \"s|^MOUNT=.*|MOUNT='{MOUNT}'|\" ~/.config/fenton/fenton.conf")


@pytest.mark.once
def test_a_port_that_is_taken(laptop):
    holder = subprocess.Popen([*laptop.words(), "python3", "-m", "http.server", "--bind", "127.0.0.1", "8888"], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: laptop.run("curl", "-s", "http://127.0.0.1:8888").returncode == 0)
        assert "port 8888 is in use" in sentence(laptop.run("fenton", "-t"), 73)
    finally:
        laptop.sh("pkill -f 'http.server --bind'")
        holder.wait()


@pytest.mark.once
def test_no_sshfs(laptop):
    laptop.root("chmod 000 $(command -v sshfs); mv $(command -v sshfs) /root/sshfs")
    try:
        assert "sshfs is not installed; `sudo apt install sshfs`" in sentence(laptop.run("fenton", "-fs"), 78)
    finally:
        laptop.root("mv /root/sshfs /usr/bin/sshfs; chmod 755 /usr/bin/sshfs")


# What a shell and a person see of it


@pytest.mark.once
def test_help_version_and_manual(laptop):
    assert laptop.run("fenton", "--help").stdout.startswith("Usage: fenton")
    assert laptop.run("fenton", "--version").stdout.startswith("fenton (Fenton) ")
    assert "fenton.1" in laptop.run("man", "-w", "fenton").stdout


@pytest.mark.once
def test_shells_complete_its_verbs(laptop):
    found = "$(ls ~/.local/share/bash-completion/completions/fenton /usr/local/share/bash-completion/completions/fenton 2>/dev/null)"
    bash = f". {found}; COMP_WORDS=(fenton d) COMP_CWORD=1; _fenton; echo ${{COMPREPLY[@]}}"
    assert laptop.run("bash", "-c", bash).stdout == "doctor\n"
    assert "doctor" in laptop.run("fish", "-c", "complete -C 'fenton d'").stdout
    zsh = "autoload -U compinit; compinit -u; whence -v _fenton"
    assert "_fenton is" in laptop.run("zsh", "-c", f"fpath=(~/.local/share/zsh/site-functions $fpath); {zsh}").stdout


# What IDEs do


@pytest.mark.once
def test_an_ide_uploads_and_runs_with_the_interpreter_there(laptop):
    batch = "-mkdir project\nput /etc/hostname project/name.txt\nget project/name.txt back.txt\n"
    assert laptop.type(batch, "sftp", "-q", "-b", "-", "fenton").returncode == 0
    assert laptop.sh("cmp back.txt /etc/hostname").returncode == 0
    python = "/opt/conda/envs/jupyter/bin/python"
    said = laptop.run(
        "ssh", "fenton", f"cd project && {python} -u -c 'import sys; print(open(\"name.txt\").read().strip(), sys.executable)'"
    )
    assert said.stdout.split() == [laptop.name, python], said


DEBUGGER = """
import json, socket, sys
wire = socket.create_connection(("127.0.0.1", 5678), 20)
file = wire.makefile("rb")
def send(number, command, **arguments):
    body = json.dumps({"seq": number, "type": "request", "command": command, "arguments": arguments}).encode()
    wire.sendall(b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)
def read():
    size = int(file.readline().split(b":")[1])
    file.readline()
    return json.loads(file.read(size))
send(1, "initialize", adapterID="python", linesStartAt1=True, pathFormat="path")
send(2, "attach", justMyCode=True)
while True:
    told = read()
    if told.get("event") == "initialized":
        send(3, "setBreakpoints", source={"path": "/home/ada/program.py"}, breakpoints=[{"line": 2}])
        send(4, "configurationDone")
    elif told.get("event") == "stopped":
        send(5, "stackTrace", threadId=told["body"]["threadId"])
    elif told.get("command") == "stackTrace":
        send(6, "evaluate", expression="secret * 2", frameId=told["body"]["stackFrames"][0]["id"])
    elif told.get("command") == "evaluate":
        print(told["body"]["result"])
        send(7, "disconnect", terminateDebuggee=False)
        break
"""


@pytest.mark.once
def test_a_debugger_is_reached_through_the_port_forward_of_an_ide(laptop):
    laptop.type("secret = 21\nprint(secret)\n", "ssh", "fenton", "cat >program.py")
    debugged = "/opt/conda/envs/jupyter/bin/python -m debugpy --listen 127.0.0.1:5678 --wait-for-client program.py"
    words = [*laptop.words(), "ssh", "-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes", "-L", "127.0.0.1:5678:127.0.0.1:5678"]
    there = subprocess.Popen([*words, "fenton", debugged], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        eventually(lambda: "5678" in laptop.run("ssh", "fenton", "ss -tln").stdout)
        said = laptop.type(DEBUGGER, "python3", "-")
        assert said.stdout == "42\n", said
        assert there.wait(timeout=20) == 0 and there.stdout.read() == "21\n"
    finally:
        laptop.run("ssh", "fenton", "pkill -f '[d]ebugpy'")
        there.kill()


@pytest.mark.once
def test_remote_ssh_of_vs_code_finds_what_it_needs(laptop):
    """A script on the shell's input, and a server on a loopback port there that is reached through a SOCKS forward."""
    script = "mkdir -p ~/.vscode-server && cd ~/.vscode-server && echo served >page && exec python3 -m http.server --bind 127.0.0.1 3999\n"
    words = [*laptop.words("-i"), "ssh", "-T", "-o", "ControlPath=none", "-D", "127.0.0.1:1080", "fenton", "bash"]
    there = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    there.stdin.write(script)
    there.stdin.flush()
    page = ["curl", "-sS", "--socks5-hostname", "127.0.0.1:1080", "http://127.0.0.1:3999/page"]
    try:
        assert eventually(lambda: laptop.run(*page).stdout) == "served\n"
    finally:
        laptop.run("ssh", "fenton", "pkill -f 'http.server --bind'")
        there.kill()


# Changes; the last ones, since they rebuild what the others need


def again(laptop, *words):
    """Run the site for one laptop, and return its recap as numbers."""
    done = laptop.server.playbook(*words)
    assert done.returncode == 0, done.stdout[-3000:]
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", done.stdout[done.stdout.rindex("PLAY RECAP") :])}


@pytest.mark.long
@pytest.mark.once
def test_a_workstation_mounts_by_itself(desk):
    again(desk, "-e", "client_automount=true")
    try:
        assert desk.sh("ls -d ~/fenton/.ssh").returncode == 0
        assert "fuse.sshfs" in desk.sh("mount").stdout
    finally:
        again(desk)
    assert "sshfs" not in desk.sh("mount").stdout


@pytest.mark.once
def test_removal_leaves_nothing(laptop):
    laptop.sh("fenton -u; fenton -t off; rmdir ~/fenton")
    laptop.unshare()
    again(laptop, "-e", "client_state=absent")
    left = (
        "grep -rl 'role client' ~ /usr/local /etc 2>/dev/null; ls -d ~/.ssh/config.d ~/.config/fenton 2>/dev/null; command -v fenton gate"
    )
    assert laptop.sh(left).stdout == ""
    assert laptop.sh("cat ~/.ssh/config").stdout == "Host example\n  HostName example.org"
    assert again(laptop, "-e", "client_state=absent")["changed"] == 0
    again(laptop)
    assert laptop.type("true\n", "fenton").returncode == 0


@pytest.mark.once
def test_a_changed_address_is_followed_by_the_next_run(desk, server, servers):
    """The server moves; the pinned key stays good, and one run tells the laptop where it is."""
    network, others = f"fenton-{SCENARIO}-yard", [servers[name].container for name in ("train", "desk")]
    desk.unshare()
    # Others take its old address and whatever else is free below it, so the server gets a new one.
    run("docker", "network", "disconnect", network, server.container)
    for container in (*others, server.container):
        assert run("docker", "network", "connect", network, container).returncode == 0
    try:
        # The old address leads to a laptop, whose host key is not the one that is pinned.
        assert desk.run("fenton", "status").returncode == 76
    finally:
        for container in others:
            run("docker", "network", "disconnect", network, container)
    sources = ["-i", ROOT / "molecule/laptop/inventory.yml", "-i", ROOT / "molecule/shared/containers"]
    environment = {**os.environ, "FENTON_SCENARIO": SCENARIO, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = run("ansible-playbook", *sources, ROOT / "site.yml", "-l", "fenton,desk", cwd=ROOT, env=environment, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:]
    assert desk.run("fenton", "doctor").returncode == 0
