"""What can be wrong with an account on a cluster of others, and whether there is room for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from account import account_problems
from ipyparallel import ipyparallel_job_problems

ROOT = Path(__file__).resolve().parents[2]
ROOM = ROOT / "roles/account/files/room.py"
FINE = {
    "host": "hpcc", "groups": ["hpc_accounts"], "uid": 1000, "glibc": "2.34", "needed": "2.28", "port": 21000, "password": "",
    "room": {"rc": 0, "stdout": "", "stderr": ""},
}  # fmt: skip


def test_an_account_that_will_do():
    assert account_problems(FINE) == []
    assert account_problems({**FINE, "glibc": "2.28"}) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"groups": ["servers", "hpc_accounts"]}, ["in servers and in hpc_accounts"]),
        ({"uid": 0}, ["logs in as root", "servers"]),
        ({"glibc": "2.17"}, ["glibc 2.17", "2.28 or newer", "ansible_host of hpcc"]),
        ({"glibc": "2.9"}, ["glibc 2.9"]),
        ({"glibc": ""}, ["is not glibc"]),
        ({"port": 80}, ["account_port: 80", "group_vars/hpc_accounts/account.yml"]),
        ({"password": "short"}, ["account_password", "fewer than 12"]),
        (
            {"room": {"rc": 0, "stdout": "/home/ada: Disk quota exceeded", "stderr": ""}},
            ["/home/ada: Disk quota exceeded", "anaconda_prefix"],
        ),
        ({"room": {"rc": 127, "stdout": "", "stderr": "[Errno 2] python3"}}, ["could not be asked for room"]),
    ],
)
def test_each_mistake_is_one_sentence(given, words):
    (said,) = account_problems({**FINE, **given})
    assert all(word in said for word in words), said
    assert "'short'" not in said


def test_what_jobs_ask_for_is_complained_about_in_the_accounts_own_words():
    (said,) = ipyparallel_job_problems({"memory": "much"}, "account_jobs", "group_vars/hpc_accounts/account.yml")
    assert said.startswith("account_jobs: ") and said.endswith("group_vars/hpc_accounts/account.yml."), said


def room(*words):
    """Return what room.py prints."""
    done = subprocess.run([sys.executable, ROOM, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_room_is_asked_of_the_file_system_and_nothing_is_left(tmp_path):
    assert room(tmp_path / "not/there/yet", 0) == ""
    assert room(tmp_path / "not/there/yet", 1 << 20).startswith(f"{tmp_path}: ")
    assert list(tmp_path.iterdir()) == []


def test_where_conda_is_there_no_room_is_asked_for(tmp_path):
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta/fenton.installer").write_text("x")
    assert room(tmp_path, 1 << 20) == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_of_others_is_refused():
    assert "may not write" in room("/usr/local/nothing", 1)
