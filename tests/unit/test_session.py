"""The files of role session, rendered by Ansible itself and run."""

import os
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    variables = {
        "session_users": ["ada", "tom"],
        "session_windows": [{"name": "log", "command": "journalctl -fu 'jupyter@{user}'; echo \"$HOME\""}],
        "session_links": ["https://fenton:8888/", 'it\'s "quoted" $HOME `date`'],
        "__session_lib": str(folder),
        "__session_tls": str(folder / "tls"),
    }
    play = {
        "hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables,
        "tasks": [{
            "ansible.builtin.template": {
                "src": str(ROOT / "roles/session/templates/{{ item }}.j2"), "dest": f"{folder}/{{{{ item }}}}", "mode": "0755",
            },
            "loop": ["banner", "main-session", "fenton-banner.sh", "main-session.service"],
        }],
    }  # fmt: skip
    (folder / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(["ansible-playbook", folder / "play.yml"], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    return folder


def banner(files, path=None):
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]}
    started = time.monotonic()
    done = subprocess.run([files / "banner"], capture_output=True, text=True, env=environment, timeout=20)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout, time.monotonic() - started


def test_links_are_shown_as_they_are_written(files):
    shown, _ = banner(files)
    assert "https://fenton:8888/" in shown
    assert 'it\'s "quoted" $HOME `date`' in shown


@pytest.mark.attempt("Certificates", "few days are left of a certificate", "the login banner says how many, and what to do")
@pytest.mark.parametrize(
    ("wanted", "life", "said"),
    [
        ("{}", 90, ""),
        ("{}", 9, "ends in 8 days: it was not renewed, see systemctl status fenton-certificate"),
        ('{"given": true}', 90, ""),
        ('{"given": true}', 9, "ends in 8 days: put a newer one into tls_certificate and run the playbook"),
        ("{}", -1, "has ended: it was not renewed, see systemctl status fenton-certificate"),
    ],
)
def test_a_certificate_that_ends_soon_is_said_with_what_to_do(files, wanted, life, said):
    place = files / "tls"
    for folder in ("demo", "wanted", "authority"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    (place / "wanted/demo.json").write_text(wanted)
    now = datetime.now(UTC)
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "demo")])
    # Of 60 days at least, so that also the end of a long life is one.
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=60), now + timedelta(days=life, hours=-1))
    (place / "demo/fullchain.pem").write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    shown, _ = banner(files)
    assert [line for line in shown.splitlines() if "certificate" in line] == (
        [f"  tls      the certificate of demo {said}"] if said else []
    )


@pytest.mark.parametrize(
    ("fake", "seen"),
    [
        (
            "echo 'NVIDIA A, 0, 1, 8192, 30'; echo 'NVIDIA B, 99, 8000, 8192, 80'",
            ["NVIDIA A, 0 %", "NVIDIA B, 99 %, 8000 of 8192 MiB, 80 °C"],
        ),
        ("echo 'NVIDIA-SMI has failed because it could not communicate with the driver'; exit 9", []),
        ("exit 12", []),
        ("exec sleep 30", []),
    ],
)  # fmt: skip
def test_the_banner_shows_cards_that_answer_in_time(files, tmp_path, fake, seen):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{fake}\n")
    program.chmod(0o755)
    shown, took = banner(files, tmp_path)
    assert all(text in shown for text in seen)
    assert shown.count("gpu") == len(seen)
    assert took < 15


def test_the_greeting_parses_in_every_login_shell(files):
    for shell in ("sh", "dash", "bash"):
        if shutil.which(shell):
            assert subprocess.run([shell, "-n", files / "fenton-banner.sh"]).returncode == 0


def test_each_user_has_a_window_with_their_name(files, tmp_path):
    """The real script against a tmux and an id that only tell what they are asked."""
    for name, body in {
        "tmux": 'printf "%s\\n" "$*" >>"$ASKED"; [ "$1" != has-session ] && [ "$1" != list-windows ]',
        "id": "echo tom", "systemd-notify": "exit 0",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "ASKED": str(tmp_path / "asked")}
    assert subprocess.run([files / "main-session"], env=environment).returncode == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert "new-session -d -s main" in asked
    assert "new-window -d -t =main: -n log journalctl -fu 'jupyter@tom'; echo \"$HOME\"" in asked
    assert not [line for line in asked if "ada" in line]
