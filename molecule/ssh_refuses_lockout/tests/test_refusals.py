"""Whatever would lock people out stops the role ssh with a sentence, and the host is as it was before."""

import importlib.util
import json
import os
import shutil
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
os.environ["FENTON_SCENARIO"] = "ssh_refuses_lockout"
spec = importlib.util.spec_from_file_location("acceptance", ROOT / "tests/acceptance/conftest.py")
acceptance = importlib.util.module_from_spec(spec)
spec.loader.exec_module(acceptance)

KEY = (ROOT / ".work/id_ed25519.pub").read_text().strip() if (ROOT / ".work/id_ed25519.pub").exists() else ""
# Somebody's key, whose private half nobody here has.
FOREIGN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl somebody"
ACCOUNTS = """
for name in ada eve tom; do
  id $name >/dev/null 2>&1 || useradd --create-home --shell /bin/bash $name
  install -d -m 0700 -o $name -g $name /home/$name/.ssh
done
printf 'ada ALL=(ALL) NOPASSWD: ALL\\neve ALL=(ALL) NOPASSWD: ALL\\n' >/etc/sudoers.d/test
echo '%s' | tee /home/ada/.ssh/authorized_keys >/home/tom/.ssh/authorized_keys
echo '%s' >/home/eve/.ssh/authorized_keys
chown ada: /home/ada/.ssh/authorized_keys; chown eve: /home/eve/.ssh/authorized_keys; chown tom: /home/tom/.ssh/authorized_keys
"""


@pytest.fixture(scope="module")
def server():
    """Return the server, with three accounts: ada is an administrator, eve has another key, tom no sudo."""
    name, variables = next(iter(acceptance.inventory()["_meta"]["hostvars"].items()))
    server = acceptance.Server(name, variables)
    made = server.docker("sh", "-ec", ACCOUNTS % (KEY, FOREIGN_KEY))
    assert made.returncode == 0, made.stderr
    return server


@pytest.fixture
def sockets(tmp_path_factory):
    """Give each run its own shared connections; a left one would hide that root cannot log in anymore."""
    directory = Path(f"/tmp/fenton-cp-{os.getpid()}")
    yield {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory)}
    for path in directory.glob("*"):
        acceptance.run("ssh", "-o", f"ControlPath={path}", "-O", "exit", "fenton")
    shutil.rmtree(directory, ignore_errors=True)


def state(server):
    """Return what must not differ: effective settings, every file and its text, who listens, whether root and ada get in."""
    looks = (
        "sshd -T | sort",
        "cd /etc/ssh && find . -type f -printf '%p %m %u\\n' | sort; find . -type f -exec sha256sum {} + | sort",
        "ss -Hltn | awk '{print $4}' | sort",
        "ls -d /run/fenton-ssh; systemctl list-timers --all | grep -o 'fenton[^ ]*'",
    )
    seen = server.docker("sh", "-c", "; ".join(looks)).stdout.splitlines()
    return {"seen": seen, "root": server.ssh("true", user="root", port=22).returncode}


def refused(server, sockets, variables, *sentence):
    """Run the role with *variables*; it must fail, say the words of *sentence*, and change nothing."""
    before = state(server)
    assert before["root"] == 0
    done = server.playbook("-e", json.dumps(variables), env=sockets)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0, done.stdout
    for words in sentence:
        assert words in said, done.stdout + done.stderr
    assert state(server) == before
    return said


@pytest.fixture
def foreign(server):
    """Return a function that puts a drop-in of somebody else beside ours; it is gone after the test."""
    path = "/etc/ssh/sshd_config.d/50-foreign.conf"

    def write(text):
        server.docker("sh", "-c", f"printf '%s\\n' '{text}' >{path}")

    yield write
    server.docker("rm", "-f", path)
    server.docker("systemctl", "reload", "ssh")


ADA, EVE, TOM = ({"name": name, "keys": [key]} for name, key in (("ada", KEY), ("eve", FOREIGN_KEY), ("tom", KEY)))


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"ssh_administrators": []}, ["ssh_administrators: there is nobody"]),
        ({"ssh_administrators": [{"name": "ada", "keys": []}]}, ["ssh_administrators: ada without a public key"]),
        ({"ssh_administrators": [{"name": "ada"}]}, ["ssh_administrators: ada without a public key"]),
        ({"ssh_administrators": [{**ADA, "state": "absent"}]}, ["ssh_administrators: there is nobody"]),
        ({"ssh_allow_users": ["bob"]}, ["ssh_allow_users: bob leaves out every administrator", "add one of ada"]),
        ({"ssh_allow_users": ["ada", "bob tom"]}, ['"bob tom" is no name']),
        ({"ssh_port": 0}, ["ssh_port: 0 is not a port"]),
        ({"ssh_port": 65536}, ["ssh_port: 65536 is not a port"]),
        ({"ssh_port": "twenty-two"}, ["ssh_port"]),
        ({"ssh_sources": ["home"]}, ["ssh_sources: home is no address or network"]),
        ({"ssh_sources": ["192.0.2.0/24"]}, ["ssh_sources: 192.0.2.0/24 leaves out this control node"]),
        ({"ssh_allow_groups": ["nobody-is-in-it"]}, ["ada is in none of the groups nobody-is-in-it"]),
        ({"ssh_administrators": [{**ADA, "name": "nadja"}]}, ["nadja has no account"]),
        ({"ssh_administrators": [TOM]}, ["tom may not use sudo"]),
        ({"base_administrators": [EVE]}, ["lets nobody in as eve"]),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_input_that_would_lock_people_out_is_refused(server, sockets, variables, sentence):
    """The sentence names the variable, the value and the line to change."""
    refused(server, sockets, variables, *sentence)


def test_a_broken_file_of_somebody_else_stops_it_first(server, sockets, foreign):
    """The sentence carries what sshd itself says about the line."""
    foreign("NoSuchOption yes")
    refused(server, sockets, {}, "50-foreign.conf", "NoSuchOption", "nothing was changed")


def test_a_port_of_somebody_else_is_named(server, sockets, foreign):
    """Ports add up in sshd; the first one does not win."""
    foreign("Port 2200")
    refused(server, sockets, {}, "would also listen on 2200", "50-foreign.conf")


def test_a_match_block_that_lets_passwords_in_has_everything_put_back(server, sockets, foreign):
    """A Match block overrules every drop-in."""
    foreign("Match User tom\n  PasswordAuthentication yes")
    refused(server, sockets, {}, "sshd was put back as it was", "tom passwordauthentication yes")


def test_an_administrator_whom_the_new_configuration_shuts_out_has_everything_put_back(server, sockets, foreign):
    """Only the login after the change can show it."""
    # sshd reads this file only when the role reloads it: the login before the change works, the one after it does not.
    foreign("DenyUsers ada")
    refused(server, sockets, {"ssh_port": 2222}, "sshd was put back as it was", "lets nobody in as ada")


def save(patience):
    """Do on the server what a run does just before it changes anything: save what is there, and start the timer."""
    done = acceptance.run(
        *("ansible", "-i", ROOT / "molecule/ssh_refuses_lockout/inventory.yml", "-i", ROOT / "molecule/shared/containers"),
        *("fenton", "-m", "ansible.builtin.shell", "-a", "cmd={{ lookup('ansible.builtin.template', script) }}"),
        *("-e", f"script={ROOT}/roles/ssh/templates/save.sh.j2", "-e", f"@{ROOT}/roles/ssh/vars/main.yml"),
        *("-e", f"role_path={ROOT}/roles/ssh", "-e", f"__ssh_patience={patience}"),
        cwd=ROOT / "roles/ssh",
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_that_is_cut_off_is_put_back_by_the_host_itself(server):
    """The control node may die between change and proof."""
    # A run that got as far as writing the drop-in; the five minutes are seconds here.
    before = state(server)
    save(patience="6s")
    assert "fenton-ssh-put-back.timer" in server.docker("systemctl", "list-timers", "--all").stdout
    server.docker(
        "sh", "-c", "echo 'Port 2222' >/etc/ssh/sshd_config.d/00-fenton.conf; rm /etc/ssh/ssh_host_rsa_key.pub; systemctl reload ssh"
    )
    assert server.ssh("true", user="root", port=22).returncode == 255
    for _ in range(60):
        if server.docker("test", "-e", "/run/fenton-ssh").returncode:
            break
        time.sleep(0.5)
    assert state(server) == before


def test_what_could_not_be_put_back_stays_saved(server):
    """Then the timer, or the next run, can try again."""
    before = state(server)
    save(patience="5min")
    # A directory in the place of a file that was not there is more than the script takes away.
    server.docker("mkdir", "/etc/ssh/sshd_config.d/00-fenton.conf")
    assert server.docker("sh", "/run/fenton-ssh/put-back").returncode == 1
    assert server.docker("test", "-e", "/run/fenton-ssh/before").returncode == 0
    server.docker("rmdir", "/etc/ssh/sshd_config.d/00-fenton.conf")
    assert server.docker("sh", "/run/fenton-ssh/put-back").returncode == 0
    server.docker("systemctl", "stop", "fenton-ssh-put-back.timer")
    assert state(server) == before


def test_the_same_host_takes_good_input(server, sockets):
    """So it was the input, not the host, that was refused before."""
    done = server.playbook(env=sockets)
    assert done.returncode == 0, done.stdout
    assert server.ssh("true", user="root").returncode == 255
    assert server.ssh("sudo -n true", user="ada").returncode == 0
