"""The input that role base takes, and its files as the programs that read them understand them."""

import base64
import importlib.util
import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def plugin(kind, name):
    spec = importlib.util.spec_from_file_location(f"plugin_{kind}_{name}", ROOT / "plugins" / kind / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


base = plugin("test", "base")


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


@pytest.mark.parametrize("name", ["", "Ada", "1st", "-a", "a b", "x" * 33, "ada;rm", "ada.l", "root", "www-data", "sudo", None, 7, "ü", "a\n"])
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
    assert base.time_zone("Europe/Rome")
    assert not base.time_zone("../../etc/pass wd")


def test_networks_and_ports():
    assert all(base.network(text) for text in ["10.0.0.0/8", "192.0.2.7", "10.1.2.3/8", "2001:db8::/32", "::1"])
    assert not any(base.network(text) for text in ["10.0.0.300/8", "lab", "10.0.0.0/33", "", 7, None])
    assert base.port(1)
    assert base.port(65535)
    assert not any(base.port(value) for value in [0, 65536, "22", True, None, 2.0])
