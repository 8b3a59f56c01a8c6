"""Disks: only an empty one is formatted, and whatever stands against it is said in a sentence."""

from pathlib import Path

import pytest
from conftest import load

disks = load(Path(__file__).resolve().parents[2] / "plugins/filter/disks.py")
EMPTY = {
    "there": True, "path": "/dev/sdb", "parts": [], "holders": [], "mounted": [], "swap": False, "type": "", "usage": "", "label": "",
    "uuid": "", "fstab": [], "busy": False, "files": 0, "owner": "root", "group": "root", "mode": "0755",
}  # fmt: skip
DATA = {"device": "/dev/sdb", "mount": "/srv/data"}
EXT4 = {"type": "ext4", "usage": "filesystem", "uuid": "1-2"}
LINE = ["UUID=1-2", "/srv/data", "ext4", "defaults,nofail,x-systemd.device-timeout=10s"]
OURS = {**EMPTY, **EXT4, "label": "fenton-data"}


def steps(disk, found):
    """Return the names of the steps that are due for one disk."""
    return [name for due in disks.disks_due([disk], [found]) for name in ("make", "attach", "own", "remove") if due[name]]


@pytest.mark.parametrize(
    ("disk", "found", "due"),
    [
        (DATA, EMPTY, ["make", "attach"]),
        ({**DATA, "owner": "ada"}, EMPTY, ["make", "attach", "own"]),
        (DATA, OURS, ["attach"]),
        (DATA, {**OURS, "fstab": LINE}, ["attach"]),
        (DATA, {**OURS, "fstab": LINE, "mounted": ["/srv/data"], "busy": True, "files": 3}, []),
        ({**DATA, "mode": "2775"}, {**OURS, "fstab": LINE, "mounted": ["/srv/data"]}, ["own"]),
        ({"uuid": "1-2", "mount": "/srv/data"}, {**EMPTY, **EXT4}, ["attach"]),
        ({**DATA, "state": "absent"}, {**OURS, "fstab": LINE, "mounted": ["/srv/data"]}, ["remove"]),
        ({**DATA, "state": "absent"}, EMPTY, []),
        ({**DATA, "state": "absent"}, {"there": False, "path": "", "fstab": LINE}, ["remove"]),
    ],
)
def test_nothing_is_done_twice_and_nothing_is_left_out(disk, found, due):
    assert disks.disks_refused([disk], [found], "fenton") == []
    assert steps(disk, found) == due
    assert all(entry["mount"] == "/srv/data" for entry in disks.disks_due([disk], [found]))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"there": False, "path": ""}, "/dev/sdb is no disk of fenton"),
        ({**EMPTY, **EXT4, "label": "photos"}, "holds ext4 labelled 'photos' (UUID 1-2), and nothing that holds something is formatted"),
        ({**EMPTY, **EXT4}, "write `uuid: 1-2` in the place of device to mount it as it is"),
        ({**EMPTY, "type": "dos"}, "holds dos, and nothing"),
        ({**EMPTY, "type": "LVM2_member", "usage": "raid", "uuid": "x"}, "holds LVM2_member (UUID x), and nothing"),
        ({**EMPTY, "parts": ["sdb1", "sdb2"], "type": "gpt"}, "holds partitions (sdb1, sdb2)"),
        ({**EMPTY, "holders": ["md0"]}, "holds a part of md0"),
        ({**EMPTY, "swap": True, "type": "swap"}, "holds swap in use"),
        ({**OURS, "mounted": ["/mnt"]}, "mounted at /mnt; unmount it there first"),
        ({**EMPTY, "busy": True}, "/srv/data of fenton has another file system on it"),
        ({**EMPTY, "files": 2}, "/srv/data of fenton has files, which the disk would hide"),
        ({**OURS, "fstab": ["/dev/sdc", *LINE[1:]]}, "/etc/fstab of fenton has /dev/sdc for /srv/data"),
    ],
)
def test_what_holds_something_is_refused_with_what_it_holds(found, said):
    (sentence,) = disks.disks_refused([DATA], [found], "fenton")
    assert sentence.startswith("base_disks: ") and said in sentence
    if found["there"] and found.get("type"):
        assert "make" not in steps(DATA, found)


def test_a_disk_that_is_missing_is_not_called_mounted():
    """The doctor asks the same question as the run, which stops before it."""
    (due,) = disks.disks_due([DATA], [{"there": False, "path": "", "fstab": LINE, "busy": False, "files": 0}])
    assert due["mount"] == "/srv/data" and due["attach"] and not due["make"]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{"mount": "/srv/data"}], "needs either device or uuid"),
        ([{**DATA, "uuid": "1-2"}], "needs either device or uuid"),
        ([{**DATA, "device": "sdb"}], "sdb is no path of a device"),
        ([{**DATA, "mount": "/"}], "'/' is no place for a disk"),
        ([{**DATA, "mount": "/usr/share"}], "'/usr/share' is no place for a disk"),
        ([{**DATA, "mount": "data"}], "'data' is no place for a disk"),
        ([{**DATA, "mount": "/srv/../etc"}], "is no place for a disk"),
        ([{**DATA, "options": ["rw noexec"]}], "'rw noexec' of /dev/sdb is no mount option"),
        ([DATA, {**DATA, "device": "/dev/sdc"}], "/srv/data stands there more than once"),
    ],
)
def test_mistakes_are_said_before_the_host_is_asked(entries, said):
    problems = disks.disk_problems(entries, "fenton")
    assert any(said in problem and "host_vars/fenton/base.yml" in problem for problem in problems), problems


def test_usual_places_are_good_ones():
    for mount in ("/data", "/srv/data", "/var/lib/docker", "/home/ada", "/mnt/one"):
        assert disks.disk_problems([{**DATA, "mount": mount}], "fenton") == []
    assert disks.label_of({"mount": "/srv/photographs"}) == "fenton-photo"
