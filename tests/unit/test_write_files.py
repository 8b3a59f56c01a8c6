"""write_files: what the host does for it, and twice as a play uses it, on the control node."""

import getpass
import grp
import os
import shutil
from pathlib import Path

import pytest
from ansible.module_utils import place_files

ROOT = Path(__file__).resolve().parents[2]
ME = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}


BACKUPS = Path("/var/backups/fenton") if os.geteuid() == 0 else Path("~/.local/state/fenton/backups").expanduser()


@pytest.fixture
def write(tmp_path):
    """Return a function that does what the host does and returns its answer; what it has kept goes."""
    mask = os.umask(0o022)

    def run(*files, check=False):
        given = [{"state": "file", "validate": None, **ME, **file, "dest": str(file["dest"])} for file in files]
        return place_files.write({"files": given, "check_mode": check})

    yield run
    os.umask(mask)
    shutil.rmtree(f"{BACKUPS}{tmp_path}", ignore_errors=True)


@pytest.fixture
def play(ask):
    """Return a function that runs the action and returns its result."""

    def run(*files, check=False):
        return ask("write_files", {"files": [{**ME, **file} for file in files]}, "--diff", *(["--check"] if check else []))

    return run


def test_a_play_writes_and_in_check_mode_does_not(play, tmp_path):
    file = {"dest": tmp_path / "a/one", "content": "1\n", "mode": "0600", "validate": "test -f %s"}
    first, second, third = play(file, check=True), play(file), play(file)
    assert (first["changed"], second["changed"], third["changed"]) == (True, True, False)
    assert (first["written"], first["diff"][0]["after"]) == ([str(tmp_path / "a/one")], "1\n")
    assert (tmp_path / "a/one").stat().st_mode & 0o777 == 0o600
    assert "would not be valid" in play({**file, "content": "2\n", "validate": "false %s"})["msg"]


def test_files_are_written_once_with_their_modes_and_parents(write, tmp_path):
    files = [{"dest": tmp_path / "a/b/one", "content": "1\n", "mode": "0600"}, {"dest": tmp_path / "two", "content": "zwei ü\n"}]
    first, second = write(*files), write(*files)
    assert (first["changed"], second["changed"]) == (True, False)
    assert (tmp_path / "a/b/one").read_text() == "1\n"
    assert (tmp_path / "a/b/one").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "two").read_text() == "zwei ü\n"
    assert (tmp_path / "two").stat().st_mode & 0o777 == 0o644


def test_a_hand_edit_of_text_or_mode_is_put_right(write, tmp_path):
    file = {"dest": tmp_path / "one", "content": "right\n"}
    write(file)
    (tmp_path / "one").write_text("wrong\n")
    result = write(file)
    assert result["changed"]
    assert (result["diff"][0]["before"], result["diff"][0]["after"]) == ("wrong\n", "right\n")
    (tmp_path / "one").chmod(0o666)
    result = write(file)
    assert result["changed"]
    assert result["written"] == []
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o644


def test_a_link_is_replaced_not_followed(write, tmp_path):
    (tmp_path / "target").write_text("theirs\n")
    (tmp_path / "one").symlink_to(tmp_path / "target")
    assert write({"dest": tmp_path / "one", "content": "ours\n"})["changed"]
    assert (tmp_path / "target").read_text() == "theirs\n"
    assert not (tmp_path / "one").is_symlink()


def test_nothing_is_written_when_one_text_is_refused(write, tmp_path):
    good = {"dest": tmp_path / "good", "content": "echo\n", "validate": "sh -n %s"}
    bad = {"dest": tmp_path / "bad", "content": "if\n", "validate": "sh -n %s"}
    result = write(good, bad)
    assert result["failed"]
    assert f"{tmp_path}/bad would not be valid, so nothing was written" in result["msg"]
    assert not (tmp_path / "good").exists()


@pytest.mark.parametrize(
    ("rights", "said"),
    [
        ({"owner": "nobody-of-this-name"}, "name not found: 'nobody-of-this-name'"),
        ({"group": "none-of-this-name"}, "name not found: 'none-of-this-name'"),
        ({"mode": "u=rw,go=r"}, "'u=rw,go=r'"),
    ],
)
def test_nothing_is_written_when_one_cannot_have_its_rights(write, tmp_path, rights, said):
    good, bad = ({"dest": tmp_path / name, "content": "x\n"} for name in ("good", "bad"))
    message = write(good, {**bad, **rights})["msg"]
    assert f"{tmp_path}/bad cannot have the rights that it is to have, so nothing was written" in message
    assert said in message
    assert list(tmp_path.iterdir()) == []


def test_a_file_needs_a_text(play, tmp_path):
    assert "content" in play({"dest": tmp_path / "one"})["msg"]


def test_what_a_killed_run_left_beside_a_file_goes_with_the_next(write, tmp_path):
    (tmp_path / ".one.fenton-abcdefgh").write_text("hal")
    (tmp_path / ".two.fenton-abcdefgh").write_text("of another file")
    write({"dest": tmp_path / "one", "content": "whole\n"})
    assert sorted(each.name for each in tmp_path.iterdir()) == [".two.fenton-abcdefgh", "one"]


def test_where_nothing_can_be_written_all_stays_and_a_sentence_says_why(write, tmp_path):
    (tmp_path / "file").write_text("no directory\n")
    result = write({"dest": tmp_path / "file/one", "content": "x\n"})
    assert f"{tmp_path}/file/one cannot be written: " in result["msg"]
    assert (tmp_path / "file").read_text() == "no directory\n"


def test_a_file_has_its_rights_before_it_has_its_name(monkeypatch, tmp_path):
    seen = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda new, old: (seen.append(os.stat(new).st_mode & 0o777), replace(new, old)))
    files = [{"dest": str(tmp_path / "secret"), "state": "file", "content": "x\n", "mode": "0640", "validate": None}]
    mask = os.umask(0)
    try:
        assert place_files.write({"files": files, "check_mode": False})["changed"]
    finally:
        os.umask(mask)
    assert seen == [0o640]


def test_check_mode_says_what_it_would_write_and_needs_no_checker(write, tmp_path):
    result = write({"dest": tmp_path / "new/one", "content": "x\n", "validate": "/no/checker %s"}, check=True)
    assert result["changed"]
    assert list(tmp_path.iterdir()) == []
    write({"dest": tmp_path / "two", "content": "x\n"})
    assert not write({"dest": tmp_path / "two", "content": "x\n"}, check=True)["changed"]
    assert write({"dest": tmp_path / "two", "content": "x\n", "mode": "0600"}, check=True)["changed"]
    assert (tmp_path / "two").stat().st_mode & 0o777 == 0o644


def test_what_was_there_is_kept_three_times_with_its_mode_and_no_more(write, tmp_path):
    one = tmp_path / "secret"
    file = {"dest": one, "content": "right\n", "mode": "0600"}
    assert write(file)["kept"] == {}
    for number in range(4):
        one.write_text(f"by hand {number}\n")
        kept = Path(write(file)["kept"][str(one)])
        assert kept.read_text() == f"by hand {number}\n"
        assert kept.stat().st_mode & 0o777 == 0o600
        kept.rename(kept.with_name(f"secret.2026-01-0{number + 1}T000000Z"))
    assert BACKUPS.stat().st_mode & 0o777 == 0o700
    one.write_text("by hand 4\n")
    write(file)
    texts = [each.read_text() for each in sorted(kept.parent.iterdir())]
    assert texts == ["by hand 2\n", "by hand 3\n", "by hand 4\n"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["secret"]
