"""What the tests of this scenario share: the server, who gets in, what sshd is set to."""

import contextlib
import importlib.util
import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
os.environ["FENTON_SCENARIO"] = "ssh_refuses_lockout"
spec = importlib.util.spec_from_file_location("acceptance", ROOT / "tests/acceptance/conftest.py")
acceptance = importlib.util.module_from_spec(spec)
spec.loader.exec_module(acceptance)
eventually, run = acceptance.eventually, acceptance.run

KEY = (ROOT / ".work/id_ed25519.pub").read_text().strip() if (ROOT / ".work/id_ed25519.pub").exists() else ""
# Somebody's key, whose private half nobody here has.
FOREIGN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl somebody"
ADA, EVE, TOM = ({"name": name, "keys": [key]} for name, key in (("ada", KEY), ("eve", FOREIGN_KEY), ("tom", KEY)))
ACCOUNTS = """
for name in ada eve tom; do
  id $name >/dev/null 2>&1 || useradd --create-home --shell /bin/bash $name
  install -d -m 0700 -o $name -g $name /home/$name/.ssh
done
printf 'ada ALL=(ALL) NOPASSWD: ALL\\neve ALL=(ALL) NOPASSWD: ALL\\n' >/etc/sudoers.d/test
echo '%s' | tee /home/ada/.ssh/authorized_keys >/home/tom/.ssh/authorized_keys
echo '%s' >/home/eve/.ssh/authorized_keys
chown ada: /home/ada/.ssh/authorized_keys; chown eve: /home/eve/.ssh/authorized_keys; chown tom: /home/tom/.ssh/authorized_keys
# Many logins fail here on purpose; sshd must not take that for an attack before the role makes its exception.
if sshd -T | grep -q ^persourcepenalties; then
  echo 'PerSourcePenalties no' >/etc/ssh/sshd_config.d/90-test.conf
  systemctl reload ssh
fi
"""
SAVED = "/var/lib/fenton-ssh"


def make_server():
    """Return the server, with three accounts: ada is an administrator, eve has another key, tom no sudo."""
    name, variables = next(iter(acceptance.inventory()["_meta"]["hostvars"].items()))
    server = acceptance.Server(name, variables)
    made = server.docker("sh", "-ec", ACCOUNTS % (KEY, FOREIGN_KEY))
    assert made.returncode == 0, made.stderr
    return server


def settings(server):
    """Return what sshd is set to by all files together."""
    return server.docker("sh", "-c", "sshd -T | sort").stdout.splitlines()


def doors(server, ports=(22,)):
    """Return the users and ports by which the control node gets in and becomes root, by new logins."""
    tried = [(user, port) for user in ("root", "ada") for port in ports]
    become = '[ "$(id -u)" = 0 ] || sudo -n true'
    return [way for way in tried if server.ssh(become, user=way[0], port=way[1]).returncode == 0]


def state(server):
    """Return what must not differ: effective settings, every file and its text, who listens, what is armed, who gets in."""
    looks = (
        "sshd -T | sort",
        "cd /etc/ssh && find . -type f -printf '%p %m %u\\n' | sort; find . -type f -exec sha256sum {} + | sort",
        # But the engine's own server for names, whose port is another one after a restart.
        "ss -Hltn | awk '{print $4}' | grep -v ^127.0.0.11: | sort",
        f"ls -d {SAVED}; systemctl list-timers --all | grep -o 'fenton[^ ]*'",
    )
    # The logins first: one of them may start an sshd that waits behind a socket.
    return {"doors": doors(server), "seen": server.docker("sh", "-c", "; ".join(looks)).stdout.splitlines()}


def refused(server, sockets, variables, *sentence):
    """Run the role with *variables*; it must fail, say the words of *sentence*, change nothing, and leave a door open.

    :returns: what it said, on one line.
    """
    before = state(server)
    assert before["doors"], "nobody gets in before the run: this shows nothing"
    done = server.playbook("-e", json.dumps(variables), env=sockets)
    said = " ".join((done.stdout + done.stderr).split())
    # The server's own timer may be just about to put it back.
    with contextlib.suppress(pytest.fail.Exception):
        eventually(lambda: state(server) == before, 10)
    assert state(server) == before, done.stdout + done.stderr
    assert done.returncode != 0, done.stdout
    for words in sentence:
        assert words in said, done.stdout + done.stderr
    return said


def script(server, text):
    """Run *text* on the server, past ssh; it must succeed."""
    done = server.docker("bash", "-ec", text)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
