"""What the role ssh writes for releases that no image here can show, and what its scripts do with ssh.socket."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import load
from ssh_audit.builtin_policies import BUILTIN_POLICIES

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/ssh"
ssh_tests = load(ROOT / "plugins/test/ssh.py")

RELEASES = {
    "debian12": ("Debian", "12", "12.12", "Hardened Debian 12 (version 3)"),
    "debian13": ("Debian", "13", "13.2", "Hardened Debian 13 (version 1)"),
    "ubuntu2404": ("Ubuntu", "24", "24.04", "Hardened Ubuntu Server 24.04 LTS (version 2)"),
    "ubuntu2604": ("Ubuntu", "26", "26.04", "Hardened Ubuntu Server 26.04 LTS (version 1)"),
}
SENT_BY_SSHD_ITSELF = {"ext-info-s", "kex-strict-s-v00@openssh.com"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Return, by release and by whether curve25519 stays, the drop-in as Ansible renders it."""
    directory = tmp_path_factory.mktemp("render")
    every_kex = sorted({name for policy in BUILTIN_POLICIES.values() for name in policy["kex"] or []})
    hosts = {}
    for release, (name, major, version, _) in RELEASES.items():
        for curve in (False, True):
            hosts[f"{release}-{curve}"] = {
                "ssh_curve25519": curve,
                "facts": {"distribution": name, "distribution_major_version": major, "distribution_version": version},
                "penalties": "persourcepenaltyexemptlist none" if release not in ("debian12", "ubuntu2404") else "",
            }
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    inventory = {"all": {"hosts": hosts, "vars": {**defaults, "ansible_connection": "local", "kex": every_kex}}}
    (directory / "hosts.json").write_text(json.dumps(inventory))
    play = f"""
- hosts: all
  gather_facts: false
  vars_files: [{ROLE}/vars/main.yml]
  vars:
    ansible_facts: "{{{{ facts }}}}"
    ssh_administrators: [{{name: ada, keys: [x]}}]
    ssh_allow_users: [ada]
    __ssh_seen:
      seen:
        kex: {{lines: "{{{{ kex }}}}"}}
        settings: {{stdout: "{{{{ penalties }}}}"}}
        connection: {{lines: [root, 192.0.2.7, "50000", 192.0.2.9, "22"]}}
  tasks:
    - ansible.builtin.template:
        src: {ROLE}/templates/00-fenton.conf.j2
        dest: {directory}/{{{{ inventory_hostname }}}}
        mode: "0600"
"""
    (directory / "play.yml").write_text(play)
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    words = [Path(sys.executable).parent / "ansible-playbook", "-i", directory / "hosts.json", directory / "play.yml"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return {host: (directory / host).read_text() for host in hosts}


def value(text, keyword):
    """Return the value of the first line with *keyword*, which is the one that counts; None where there is none."""
    lines = (line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#"))
    return next((line[1] for line in lines if line[0] == keyword), None)


@pytest.mark.parametrize("release", RELEASES)
def test_algorithms_are_those_of_the_release_in_the_order_of_its_policy(rendered, release):
    policy = BUILTIN_POLICIES[RELEASES[release][3]]
    text = rendered[f"{release}-False"]
    assert value(text, "KexAlgorithms").split(",") == [name for name in policy["kex"] if name not in SENT_BY_SSHD_ITSELF]
    assert value(text, "Ciphers").split(",") == policy["ciphers"]
    assert value(text, "MACs").split(",") == policy["macs"]
    allowed = policy["host_keys"] + policy["optional_host_keys"]
    assert set(value(text, "HostKeyAlgorithms").split(",")) <= set(allowed)
    assert bool(value(text, "ModuliFile")) == ("diffie-hellman-group-exchange-sha256" in policy["kex"])


@pytest.mark.parametrize("release", RELEASES)
def test_one_variable_keeps_curve25519(rendered, release):
    kex = value(rendered[f"{release}-True"], "KexAlgorithms").split(",")
    assert "curve25519-sha256" in kex
    # What is safe from quantum computers stays first.
    assert not kex[0].startswith("curve")
    assert len(kex) == len(set(kex))


def test_the_exemption_is_written_only_where_sshd_knows_it(rendered):
    assert value(rendered["debian13-False"], "PerSourcePenaltyExemptList") == "192.0.2.7"
    assert value(rendered["ubuntu2604-False"], "PerSourcePenaltyExemptList") == "192.0.2.7"
    assert value(rendered["debian12-False"], "PerSourcePenaltyExemptList") is None
    assert value(rendered["ubuntu2404-False"], "PerSourcePenaltyExemptList") is None


@pytest.mark.parametrize(
    ("socket_is_active", "calls"),
    [
        (True, ["daemon-reload", "stop ssh.service", "restart ssh.socket"]),
        (False, ["reload-or-restart ssh.service"]),
    ],
)
def test_a_reload_reaches_whoever_holds_the_port(tmp_path, socket_is_active, calls):
    log = tmp_path / "log"
    (tmp_path / "systemctl").write_text(
        f'#!/bin/sh\ncase $1 in is-active) exit {0 if socket_is_active else 3} ;; esac\necho "$*" >>{log}\n'
    )
    (tmp_path / "systemctl").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", ROLE / "files/reload.sh"], env=environment, check=True, timeout=10)
    assert log.read_text().splitlines() == calls


OPEN = {
    "pubkeyauthentication": "yes", "passwordauthentication": "no", "kbdinteractiveauthentication": "no", "authorizedkeysfile": "none KEYS",
    "authorizedkeyscommand": "none", "authenticationmethods": "any", "forcecommand": "none", "permitrootlogin": "no",
    "listenaddress": "[::]:22\nlistenaddress 0.0.0.0:22",
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "nobody in"),
        ({"allowusers": "tom\nallowusers no*@192.0.2.*"}, "nobody in"),
        ({"allowusers": "nobody@198.51.100.1"}, "nobody: AllowUsers is nobody@198.51.100.1"),
        ({"denyusers": "tom"}, "nobody in"),
        ({"denyusers": "no?ody"}, "nobody: DenyUsers is no?ody"),
        # Networks are left to sshd.
        ({"allowusers": "nobody@192.0.2.0/24", "denyusers": "nobody@198.51.100.0/24"}, "nobody in"),
        ({"allowgroups": "sudo\nallowgroups no*"}, "nobody in"),
        ({"allowgroups": "sudo"}, "nobody: AllowGroups is sudo"),
        ({"denygroups": "no*"}, "nobody: DenyGroups is no*"),
        ({"pubkeyauthentication": "no"}, "nobody: PubkeyAuthentication is no"),
        ({"pubkeyauthentication": "no", "passwordauthentication": "yes"}, "nobody in"),
        ({"authorizedkeysfile": "none"}, "nobody: AuthorizedKeysFile is none"),
        ({"authorizedkeysfile": "none", "authorizedkeyscommand": "/usr/bin/keys"}, "nobody in"),
        ({"authenticationmethods": "publickey,password publickey"}, "nobody in"),
        ({"authenticationmethods": "publickey,password"}, "nobody: AuthenticationMethods is publickey,password"),
        ({"forcecommand": "internal-sftp"}, "nobody: ForceCommand is internal-sftp"),
        ({"listenaddress": "192.0.2.9:22"}, "nobody in"),
        ({"listenaddress": "127.0.0.1:22"}, "nobody: ListenAddress is 127.0.0.1:22"),
    ],
)
def test_who_would_get_in_is_told_from_the_files(tmp_path, settings, said):
    (tmp_path / "keys").write_text("ssh-ed25519 AAAA\n")
    told = "".join(f"{name} {value}\n" for name, value in (OPEN | settings).items()).replace("KEYS", str(tmp_path / "keys"))
    (tmp_path / "told").write_text(told)
    (tmp_path / "sshd").write_text(f"#!/bin/sh\ncat {tmp_path}/told\n")
    (tmp_path / "sshd").chmod(0o755)
    connection = "SSH_CONNECTION='192.0.2.7 50000 192.0.2.9 22'; set -- nobody\n"
    script = (
        (ROLE / "files/look-doors.sh").read_text().replace("/usr/sbin/sshd", str(tmp_path / "sshd")).replace("/run/sshd", str(tmp_path))
    )
    done = subprocess.run(["sh", "-c", connection + script], capture_output=True, text=True, timeout=10)
    assert (done.stdout, done.stderr) == (f"{said}\n", "")


@pytest.mark.parametrize(
    ("address", "networks", "expected"),
    [
        ("192.0.2.7", ["192.0.2.0/24"], True),
        ("192.0.2.7", ["192.0.2.7"], True),
        ("192.0.2.7", ["198.51.100.0/24", "2001:db8::/32"], False),
        ("::ffff:192.0.2.7", ["192.0.2.0/24"], True),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("2001:db8::5", ["192.0.2.0/24"], False),
    ],
)
def test_an_address_is_found_in_networks(address, networks, expected):
    assert ssh_tests.within(address, networks) is expected


def test_a_person_without_keys_is_not_keyed():
    assert ssh_tests.keyed({"name": "ada", "keys": ["ssh-ed25519 AAAA"]})
    assert not ssh_tests.keyed({"name": "ada", "keys": []})
    assert not ssh_tests.keyed({"name": "ada"})
