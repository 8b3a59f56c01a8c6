"""The input that role base takes, and its files as the programs that read them understand them."""

import base64
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import load

ROOT = Path(__file__).resolve().parents[2]


OTHERS = [("Ubuntu", "22.04"), ("Ubuntu", "25.10"), ("Debian", "11.9"), ("Fedora", "44")]
RELEASES = [("Debian", "12.15"), ("Debian", "13.7"), ("Ubuntu", "24.04"), ("Ubuntu", "26.04")]


base = load(ROOT / "plugins/test/base.py")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Real public keys, one of each kind that ssh-keygen makes here."""
    folder = tmp_path_factory.mktemp("keys")
    made = {}
    for kind, bits in [("ed25519", "0"), ("rsa", "2048"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521")]:
        file = folder / f"{kind}{bits}"
        size = [] if bits == "0" else ["-b", bits]
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", "ada@home", "-f", file], check=True)
        made[file.name] = file.with_suffix(".pub").read_text().strip()
        made.setdefault("private", file.read_text())
    return made


def blob(*parts):
    return base64.b64encode(b"".join(struct.pack(">I", len(part)) + part for part in parts)).decode()


def test_real_keys_are_taken_with_and_without_options_and_comment(keys):
    for name, key in keys.items():
        if name == "private":
            continue
        kind, data, _ = key.split()
        assert base.ssh_public_key(key), name
        assert base.ssh_public_key(f"{kind} {data}")
        assert base.ssh_public_key(f'from="10.0.0.0/8",command="echo \\"a b\\"" {key}')


def test_hardware_keys_are_taken():
    key = blob(b"sk-ssh-ed25519@openssh.com", b"k" * 32, b"ssh:")
    assert base.ssh_public_key(f"sk-ssh-ed25519@openssh.com {key} token")
    key = blob(b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"\4" + b"p" * 64, b"ssh:")
    assert base.ssh_public_key(f"sk-ecdsa-sha2-nistp256@openssh.com {key}")


def test_what_is_no_key_is_refused(keys):
    kind, data, _ = keys["ed25519" + "0"].split()
    rsa = keys["rsa2048"].split()[1]
    for line in [
        "", None, 7, "ssh-ed25519", "ssh-ed25519 AAAA…", f"{kind} {data[:-8]}", f"{kind} {data[:40]} x", f"ssh-rsa {data}", f"{kind} {rsa}",
        f"{kind}\n{data}", f"{kind} {data}\n{kind} {data}", data, keys["private"], f"ssh-dss {blob(b'ssh-dss', b'p', b'q', b'g', b'y')}",
        f"ssh-rsa {blob(b'ssh-rsa', bytes([1, 0, 1]), bytes([255] * 128))}", f"ssh-ed25519 {blob(b'ssh-ed25519', b'k' * 31)}",
        f"ecdsa-sha2-nistp256 {blob(b'ecdsa-sha2-nistp256', b'nistp384', b'p' * 97)}", "/root/.ssh/id_ed25519.pub",
    ]:  # fmt: skip
        assert not base.ssh_public_key(line), line


@pytest.mark.parametrize("name", ["ada", "_svc", "a", "tom-2", "x" * 32])
def test_names_that_linux_takes(name):
    assert base.unix_user_name(name)


@pytest.mark.parametrize(
    "name", ["", "Ada", "1st", "-a", "a b", "x" * 33, "ada;rm", "ada.l", "root", "www-data", "sudo", None, 7, "ü", "a\n"]
)
def test_names_that_are_refused(name):
    assert not base.unix_user_name(name)


def test_host_and_domain_names():
    assert all(base.host_name(name) for name in ["fenton", "f", "Node-01", "x" * 63])
    assert not any(base.host_name(name) for name in ["", "a.b", "-a", "a-", "a_b", "x" * 64, None, "a\n"])
    assert all(base.domain_name(name) for name in ["lab", "lab.example.org"])
    assert not any(base.domain_name(name) for name in ["", ".org", "a..b", "a b", "x." * 127 + "toolong"])


def test_time_zones_are_looked_up():
    assert base.time_zone("Etc/UTC")
    assert base.time_zone("Europe/Rome")
    assert not any(base.time_zone(name) for name in ["Europe/Rom", "", "../../etc/passwd", None])


def test_time_zones_pass_where_the_control_node_has_no_database(monkeypatch):
    monkeypatch.setattr(base.zoneinfo, "available_timezones", set)
    assert base.time_zone("Europe/Nowhere")
    assert not base.time_zone("../../etc/pass wd")


def test_networks_and_ports():
    assert all(base.network(text) for text in ["10.0.0.0/8", "192.0.2.7", "10.1.2.3/8", "2001:db8::/32", "::1"])
    assert not any(base.network(text) for text in ["10.0.0.300/8", "lab", "10.0.0.0/33", "", 7, None])
    assert base.port(1)
    assert base.port(65535)
    assert not any(base.port(value) for value in [0, 65536, "22", True, None, 2.0])


def play(tmp_path, distribution, version, tasks, files=(), **variables):
    """Run tasks of role base against facts of a release, on this machine and without touching it."""
    facts = {
        "ansible_distribution": distribution, "ansible_distribution_version": version,
        "ansible_distribution_major_version": version.split(".")[0], "ansible_virtualization_type": "kvm", "ansible_nodename": "fenton",
    }  # fmt: skip
    (tmp_path / "library").mkdir(exist_ok=True)
    (tmp_path / "library" / "release.py").write_text(
        "#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\n"
        f"AnsibleModule({{}}, supports_check_mode=True).exit_json(ansible_facts={facts!r})\n"
    )
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": {"fenton": host}}}), encoding="utf-8")
    head = {"hosts": "fenton", "gather_facts": False, "vars_files": list(files)}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{**head, "tasks": [{"release": {}}, *tasks]}]), encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    command = ["ansible-playbook", "-i", tmp_path / "inventory.yml", tmp_path / "play.yml"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60)


def guard(tmp_path, distribution, version, key):
    tasks = [{"ansible.builtin.include_role": {"name": "base", "tasks_from": "guard"}}]
    people = [{"name": "ada", "keys": [key]}]
    return play(tmp_path, distribution, version, tasks, base_administrators=people)


@pytest.mark.parametrize(("distribution", "version"), RELEASES)
def test_the_supported_releases_pass_the_guard(tmp_path, keys, distribution, version):
    done = guard(tmp_path, distribution, version, keys["ed255190"])
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("distribution", "version"), OTHERS)
def test_another_release_is_refused_with_the_supported_ones_named(tmp_path, keys, distribution, version):
    done = guard(tmp_path, distribution, version, keys["ed255190"])
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert f"fenton runs {distribution} {version}, which is not supported" in said
    assert "install Debian 12, Debian 13, Ubuntu 24.04 or Ubuntu 26.04" in said


def render(tmp_path, distribution, version, **variables):
    """Return the role's files, rendered by Ansible itself for a release."""
    template = {"src": str(ROOT / "roles/base/templates/{{ item }}.j2"), "dest": f"{tmp_path}/{{{{ item }}}}"}
    tasks = [
        {
            "ansible.builtin.template": template,
            "loop": ["52fenton-updates", "95-administrators", "needrestart.conf"],
            "vars": variables,
        }
    ]
    files = [str(ROOT / "roles/base" / name) for name in ("defaults/main.yml", "vars/main.yml")]
    done = play(tmp_path, distribution, version, tasks, files)
    assert done.returncode == 0, done.stdout
    return tmp_path


PEOPLE = {"base_administrators": [{"name": "ada"}, {"name": "tom", "sudo": "password"}, {"name": "eve", "state": "absent"}]}


@pytest.mark.parametrize(("distribution", "version"), RELEASES[1:3])
def test_the_files_are_read_by_their_programs(tmp_path, distribution, version):
    files = render(tmp_path, distribution, version, **PEOPLE)
    updates = subprocess.run(["apt-config", "-c", files / "52fenton-updates", "dump"], capture_output=True, text=True)
    origins = [line for line in updates.stdout.splitlines() if line.startswith("Unattended-Upgrade::Origins-Pattern:: ")]
    assert origins
    assert all(f"origin={distribution}" in line and "ecurity" in line for line in origins)
    assert 'Unattended-Upgrade::Automatic-Reboot "false";' in updates.stdout
    assert subprocess.run(["perl", "-c", files / "needrestart.conf"], capture_output=True).returncode == 0
    rules = (files / "95-administrators").read_text().splitlines()[1:]
    assert rules == ["ada ALL=(ALL:ALL) NOPASSWD: ALL", "tom ALL=(ALL:ALL) ALL"]
    if shutil.which("visudo"):
        assert subprocess.run(["visudo", "-c", "-f", files / "95-administrators"], capture_output=True).returncode == 0


def test_what_an_interrupted_installation_brought_along_is_known():
    whole = "\nStart-Date: 1\nCommandline: apt-get install jq\nInstall: jq:amd64 (1.7), libjq1:amd64 (1.7, automatic)\nEnd-Date: 2\n"
    broken = "\nStart-Date: 3\nInstall: mc:amd64 (4), libssh2:amd64 (1, automatic), mc-data:amd64 (4, automatic)\nUpgrade: a (1, 2)\n"
    finish = load(ROOT / "roles/base/files/finish_packages.py")
    assert finish.unasked(whole + broken) == ["libssh2:amd64", "mc-data:amd64"]
    assert finish.unasked(broken + whole) == []
    assert finish.unasked("") == []
