"""The comparer of end states: it finds what was changed by hand, and leaves out, with a reason each, what must differ. And its moments."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/acceptance"))

import crash  # noqa: E402
import state  # noqa: E402


@pytest.fixture
def place(tmp_path):
    """Return a directory as a run may have left it."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/a.conf").write_text("a = 1\n")
    (tmp_path / "conf.d/b.conf").write_text("b = 1\n")
    (tmp_path / "link").symlink_to("conf.d")
    return tmp_path


CHANGES = {
    "a text": lambda place: (place / "conf.d/a.conf").write_text("a = 2\n"),
    "a mode": lambda place: (place / "conf.d/a.conf").chmod(0o600),
    "a mode of a directory": lambda place: (place / "conf.d").chmod(0o700),
    "a file that is gone": lambda place: (place / "conf.d/a.conf").unlink(),
    "a file more": lambda place: (place / "conf.d/.ansible_tmpx").write_text(""),
    "half a file": lambda place: (place / "conf.d/a.conf").write_text(""),
    "a link that leads elsewhere": lambda place: ((place / "link").unlink(), (place / "link").symlink_to("/")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_changed_by_hand_is_found_once(place, change):
    before = {"files": state.files([str(place)])}
    assert state.differences(before, {"files": state.files([str(place)])}) == []
    change(place)
    assert len(state.differences(before, {"files": state.files([str(place)])})) == 1


def test_a_difference_names_kind_thing_and_both_ends():
    one, other = {"packages": {"zip": "3.0 ii"}}, {"packages": {"zip": "3.0 iU", "zoo": "1 ii"}, "units": {}}
    assert state.differences(one, other) == ["packages: zip: 3.0 ii → 3.0 iU", "packages: zoo: not there → 1 ii"]


@pytest.mark.parametrize(
    ("kind", "out", "kept"),
    [
        ("files", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/sshd_config"),
        ("files", "/opt/conda/lib/python3.13/__pycache__/os.cpython-313.pyc", "/opt/conda/lib/python3.13/os.py"),
        ("files", "/home/tom/.local/share/jupyter/runtime/x.json", "/home/tom/.local/share/jupyter/kernels/x/kernel.json"),
        ("files", "/var/lib/dpkg/status", "/var/lib/systemd/linger/tom"),
        ("texts", "/etc/fenton/tls/jupyter/privkey.pem", "/etc/fenton/firewall.nft"),
        ("units", "session-c7.scope", "jupyter@tom.service"),
        ("units", "apt-daily.service", "apt-daily.timer"),
        ("sockets", "tcp 127.0.0.11:33629", "tcp 0.0.0.0:8888"),
    ],
)
def test_what_must_differ_is_left_out_and_nothing_beside_it(kind, out, kept):
    assert state.leave(kind)(out)
    assert not state.leave(kind)(kept)


def test_everything_that_is_left_out_has_a_reason():
    assert all(len(reason) > 5 for entries in state.LEFT_OUT.values() for reason in entries.values())


def test_the_server_s_own_address_is_no_difference(tmp_path):
    about = tmp_path / "one"
    about.write_text("https://172.18.0.2:8888/\n")
    one = state.text_of(about, 20, ["172.18.0.2"])
    about.write_text("https://172.19.0.3:8888/\n")
    assert state.text_of(about, 20, ["172.19.0.3"]) == one


def test_an_address_that_stands_in_somebodys_example_is_no_difference_either(tmp_path):
    """A container may be given just that one."""
    (tmp_path / "a").write_text("see http://192.168.0.1/ and 198.51.100.7\n")
    size = (tmp_path / "a").stat().st_size
    assert state.text_of(tmp_path / "a", size, []) == state.text_of(tmp_path / "a", size, ["192.168.0.1"])
    assert state.text_of(tmp_path / "a", size, []) != state.text_of(tmp_path / "a", size, ["198.51.100.7"])


def test_the_state_of_this_machine_can_be_taken(tmp_path):
    found = state.look("env", places=[str(tmp_path)])
    assert {"packages", "files", "units", "accounts", "sockets", "rules"} <= set(found)
    assert f"user {'root'}" in found["accounts"]
    assert list(found["files"]) == [str(tmp_path)]


def test_moments_are_the_same_for_a_seed_and_spread_over_the_run():
    tasks = [(float(begin), f"task {number}") for number, begin in enumerate([1, 2, 3, 40, 41, 42, 43, 44])]
    found = crash.moments(7, 20, tasks, 50)
    assert found == crash.moments(7, 20, tasks, 50) != crash.moments(8, 20, tasks, 50)
    assert {number for number, _ in found} >= {1, 2, 3, 4, 7}
    # By time most fall into the task that takes long.
    assert sum(number == 3 for number, _ in found[::2]) >= 6
    ends = [begin for begin, _ in tasks[1:]] + [50]
    assert max(number for number, _ in found) < len(tasks)
    assert all(0 <= pause <= ends[number - 1] - tasks[number - 1][0] for number, pause in found)


def test_a_run_is_killed_with_all_that_it_started_in_whatever_session(tmp_path):
    program = f"setsid sleep 1000 & setsid sh -c ': {tmp_path}; sleep 2000' & echo 'TASK [one | Sleep] ****'; wait"
    with crash.Run(["sh", "-c", program], {}) as run:
        assert run.until((1, 0.1))
        crash.kill(run.process.pid, str(tmp_path))
        assert run.wait() == -9
    assert run.at == "one | Sleep"
    mine = [words for _, words in crash.processes().values() if words.startswith(("sleep 1000", "sleep 2000")) or str(tmp_path) in words]
    assert [words for words in mine if str(os.getpid()) not in words] == []
