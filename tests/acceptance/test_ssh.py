"""After the role ssh nobody logs in with a password, and everything that people do over ssh still works."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

POLICIES = {
    "debian 12": "Hardened Debian 12 (version 3)",
    "debian 13": "Hardened Debian 13 (version 1)",
    "ubuntu 24.04": "Hardened Ubuntu Server 24.04 LTS (version 2)",
    "ubuntu 26.04": "Hardened Ubuntu Server 26.04 LTS (version 1)",
}
WORK = Path(__file__).resolve().parents[2] / ".work"


def release(server):
    lines = dict(line.split("=", 1) for line in server.docker("cat", "/etc/os-release").stdout.splitlines() if "=" in line)
    return f"{lines['ID']} {lines['VERSION_ID'].strip(chr(34))}"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def background(server, *options):
    """Keep an ssh connection open that runs no command."""
    words = ["ssh", *server.ssh_options(), *options, "-o", "ExitOnForwardFailure=yes", "-N", server.address]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def banner(port, patience=10):
    """Return the first line that a server on 127.0.0.1 says, once it answers."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return connection.makefile().readline()
        time.sleep(0.1)
    return ""


@pytest.fixture
def person_with_a_password(server):
    server.docker("useradd", "--create-home", "--shell", "/bin/bash", "mallory")
    server.docker("sh", "-c", "echo mallory:correct-horse | chpasswd")
    yield "mallory"
    server.docker("userdel", "--remove", "mallory")


@pytest.mark.attempt("Lock-out", "a right password instead of a key", "not even asked for")
def test_a_password_is_not_even_asked_for(server, person_with_a_password):
    for user in (person_with_a_password, server.user, "root"):
        tried = server.ssh("true", user=user, options=["-o", "PreferredAuthentications=password,keyboard-interactive"])
        assert tried.returncode == 255
        assert "Permission denied (publickey)." in tried.stderr


def test_root_is_refused_with_the_key_that_let_it_in(server):
    tried = server.ssh("true", user="root")
    assert tried.returncode == 255
    assert "Permission denied (publickey)." in tried.stderr


def test_the_built_in_policy_of_ssh_audit_passes(server):
    audit = Path(sys.executable).parent / "ssh-audit"
    words = [audit, "-P", POLICIES[release(server)], "-p", str(server.port), server.address]
    judged = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert judged.returncode == 0, judged.stdout


def test_a_second_administrator_has_another_key(server):
    second = WORK / "id_second"
    if not second.exists() or server.docker("id", "grace").returncode:
        pytest.skip("this scenario has one administrator")
    assert server.ssh("true", user="grace").returncode == 255
    entered = server.ssh("sudo -n id -u", user="grace", options=["-i", str(second)])
    assert (entered.returncode, entered.stdout.strip()) == (0, "0")


@pytest.mark.once
def test_a_local_tunnel_leads_to_a_service_of_the_server(server):
    port = free_port()
    with background(server, "-L", f"127.0.0.1:{port}:127.0.0.1:{server.port}"):
        assert banner(port).startswith("SSH-2.0-OpenSSH")


@pytest.mark.once
def test_a_remote_tunnel_leads_back_to_the_control_node(server):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(15)

    def answer():
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            connection.sendall(b"hello from home\n")
            connection.close()

    threading.Thread(target=answer, daemon=True).start()
    there = 18022
    with background(server, "-R", f"127.0.0.1:{there}:127.0.0.1:{listener.getsockname()[1]}"):
        time.sleep(1)
        heard = server.ssh(f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{there}; head -n1 <&3'")
    listener.close()
    assert heard.stdout == "hello from home\n", heard.stderr


@pytest.mark.once
def test_the_server_serves_as_a_jump_host(server, tmp_path):
    configuration = tmp_path / "config"
    common = [word for word in server.ssh_options()[2:] if word not in ("-o", "-i")]
    pairs = [word.split("=", 1) for word in common if "=" in word]
    text = "\n".join(f"  {name} {value}" for name, value in pairs)
    configuration.write_text(
        f"Host hop\n  HostName {server.address}\n  IdentityFile {WORK}/id_ed25519\n{text}\n"
        f"Host target\n  HostName 127.0.0.1\n  IdentityFile {WORK}/id_ed25519\n{text}\n"
    )
    words = ["ssh", "-F", str(configuration), "-J", "hop", "target", "id -un"]
    jumped = subprocess.run(words, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert jumped.stdout.strip() == server.user, jumped.stderr
    through = server.ssh(options=["-W", f"127.0.0.1:{server.port}"])
    assert through.stdout.startswith("SSH-2.0-OpenSSH"), through.stderr


@pytest.mark.once
def test_sftp_carries_files_there_and_back(server, tmp_path):
    (tmp_path / "there").write_bytes(os.urandom(300_000))
    batch = f"put {tmp_path}/there fenton-sftp-test\nget fenton-sftp-test {tmp_path}/back\nrm fenton-sftp-test\n"
    words = ["sftp", *server.ssh_options(), "-b", "-", server.address]
    carried = subprocess.run(words, input=batch, capture_output=True, text=True, timeout=30)
    assert carried.returncode == 0, carried.stderr
    assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes()


@pytest.mark.once
def test_the_agent_goes_along_to_a_second_hop(server, tmp_path):
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL)
    environment = {**os.environ, "SSH_AUTH_SOCK": str(tmp_path / "agent")}
    try:
        while not (tmp_path / "agent").exists():
            time.sleep(0.05)
        subprocess.run(["ssh-add", "-q", str(WORK / "id_ed25519")], env=environment, check=True, timeout=10)
        hop = f"ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p {server.port} 127.0.0.1 id -un"
        hopped = server.ssh(hop, options=["-A"], env=environment)
        alone = server.ssh(hop, options=["-a"], env=environment)
    finally:
        agent.terminate()
    assert hopped.stdout.strip() == server.user, hopped.stderr
    assert alone.returncode == 255


def test_what_was_handed_out_leads_in(server):
    pinned = (WORK / f"known_hosts.{os.environ.get('FENTON_SCENARIO', 'default')}").read_text()
    assert server.connection["host"] == server.address
    # The key that the server had before is the one people have pinned.
    assert server.connection["host_key"] in pinned
    assert server.ssh("sudo -n true").returncode == 0


@pytest.mark.attempt("Lock-out", "twelve logins from the control node fail in a row", "the next good one is let in")
@pytest.mark.once
def test_failed_logins_do_not_shut_the_control_node_out(server):
    for _ in range(12):
        assert server.ssh("true", user="nobody-here").returncode == 255
    assert server.ssh("true").returncode == 0


def test_no_way_back_is_left_armed(server):
    assert server.docker("test", "-e", "/var/lib/fenton-ssh").returncode == 1
    assert "fenton-ssh-put-back" not in server.docker("systemctl", "list-timers", "--all").stdout


@pytest.fixture
def sockets():
    """Return an environment with shared connections of its own; a socket's path must be short."""
    directory = Path(f"/tmp/fenton-cp-{os.getpid()}")
    yield {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory)}
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.once
@pytest.mark.skipif(os.environ.get("FENTON_SCENARIO") != "ssh", reason="a whole playbook each; once is enough")
class TestAnotherPort:
    """One run moves the port, the next finds it, a third moves it back; no shared connection helps them."""

    def cut(self, server, sockets):
        """End the shared connections, so that the next run must find its way anew."""
        for path in Path(sockets["ANSIBLE_SSH_CONTROL_PATH_DIR"]).glob("*"):
            subprocess.run(["ssh", "-o", f"ControlPath={path}", "-O", "exit", server.address], capture_output=True)

    def listening(self, server):
        return set(re.findall(r":(\d+)\s", server.docker("ss", "-Hltn").stdout))

    @pytest.mark.attempt(
        "Lock-out", "sshd moves to another port, and back", "in one run each; the run in between finds the new port by itself"
    )
    def test_the_port_moves_and_later_runs_follow(self, server, sockets):
        assert server.ssh("true", options=["-o", "KexAlgorithms=curve25519-sha256"]).returncode == (
            0 if release(server) in ("debian 12", "ubuntu 24.04") else 255
        )
        wanted = ["-e", '{"ssh_port": 2222, "ssh_curve25519": true}']
        try:
            moved = server.playbook(*wanted, env=sockets)
            assert moved.returncode == 0, moved.stdout
            assert "2222" in self.listening(server)
            assert "22" not in self.listening(server)
            assert server.port == 2222
            assert server.ssh("true", options=["-o", "KexAlgorithms=curve25519-sha256"]).returncode == 0
            self.cut(server, sockets)
            again = server.playbook(*wanted, env=sockets)
            assert again.returncode == 0, again.stdout
            assert re.search(r"changed=0 ", again.stdout), again.stdout
        finally:
            self.cut(server, sockets)
            back = server.playbook(env=sockets)
            self.cut(server, sockets)
        assert back.returncode == 0, back.stdout
        assert server.port == 22
        assert "2222" not in self.listening(server)
        assert server.ssh("true").returncode == 0
