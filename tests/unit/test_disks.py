"""Disks: only an empty one is formatted, and whatever stands against it is said in a sentence."""

from pathlib import Path

import pytest
from conftest import load

disks = load(Path(__file__).resolve().parents[2] / "plugins/filter/disks.py")
EMPTY = {
    "there": True, "path": "/dev/sdb", "parts": [], "holders": [], "mounted": [], "swap": False, "type": "", "usage": "", "label": "",
    "uuid": "", "fstab": [], "busy": False, "files": 0, "owner": "root", "group": "root", "mode": "0755",
    "quotas": {
        "counted": False, "enforced": False, "limits": {}, "possible": True, "prepared": True, "preset": False, "kernel": "6.1.0-1",
        "strangers": [],
    },
}  # fmt: skip
DATA = {"device": "/dev/sdb", "mount": "/srv/data"}
EXT4 = {"type": "ext4", "usage": "filesystem", "uuid": "1-2"}
LINE = ["UUID=1-2", "/srv/data", "ext4", "defaults,nofail,x-systemd.device-timeout=90s"]
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


# Quotas


QUOTAS = {**DATA, "quota": "1G", "quotas": {"tom": "2G", "eve": "none"}}
MOUNTED = {**OURS, "fstab": LINE, "mounted": ["/srv/data"], "busy": True}
G = 1024**2
LIMITS = {"ada": [G, G, 0, 0], "tom": [2 * G, 2 * G, 0, 0]}
PEOPLE = ["ada", "tom", "eve"]


def keeping(found=MOUNTED, **state):
    """Return what the look finds where quotas are in force, but for *state*."""
    return {**found, "quotas": {**EMPTY["quotas"], "counted": True, "enforced": True, "preset": True, "limits": LIMITS, **state}}


def test_quotas_are_made_with_the_file_system_and_switched_on_by_its_line():
    (due,) = disks.disks_due([QUOTAS], [EMPTY])
    assert due["made"] == "-L fenton-data -O quota -E quotatype=usrquota" and due["preset"] and due["line"] == ["UUID=?", *LINE[1:]]
    (due,) = disks.disks_due([{**QUOTAS, "filesystem": "xfs"}], [EMPTY])
    assert due["made"] == "-L fenton-data" and not due["preset"] and "uquota" in due["line"][3].split(",")
    (due,) = disks.disks_due([DATA], [EMPTY])
    assert due["made"] == "-L fenton-data" and "quota" not in due["line"][3]


@pytest.mark.parametrize(
    ("disk", "found", "lines", "enforce"),
    [
        pytest.param(QUOTAS, keeping(limits={}), "ada {0} {0} 0 0\ntom {1} {1} 0 0\n".format(G, 2 * G), False, id="a new disk"),
        pytest.param(QUOTAS, keeping(enforced=False), "", True, id="switched off by hand"),
        pytest.param(QUOTAS, keeping(limits={**LIMITS, "tom": [5, 5, 0, 0]}), f"tom {2 * G} {2 * G} 0 0\n", False, id="a size by hand"),
        pytest.param(QUOTAS, keeping(limits={**LIMITS, "1007": [5, 5, 0, 0]}), "1007 0 0 0 0\n", False, id="somebody who is gone"),
        pytest.param(
            {**QUOTAS, "quota_soft": 50}, keeping(),
            f"ada {G // 2} {G} 0 0\ntom {G} {2 * G} 0 0\n", False, id="a week's notice",
        ),
        pytest.param(DATA, keeping(), "ada 0 0 0 0\ntom 0 0 0 0\n", False, id="taken out"),
    ],
)  # fmt: skip
def test_limits_that_differ_are_set(disk, found, lines, enforce):
    (due,) = disks.quotas_due([disk], [found], PEOPLE)
    assert (due["mount"], due["lines"], due["enforce"]) == ("/srv/data", lines, enforce)


@pytest.mark.parametrize(
    ("disk", "found"),
    [
        pytest.param(QUOTAS, keeping(), id="as they should be"),
        pytest.param(QUOTAS, EMPTY, id="not mounted yet"),
        pytest.param(QUOTAS, {"there": False, "path": ""}, id="missing"),
        pytest.param({**QUOTAS, "state": "absent"}, keeping(), id="on its way out"),
        pytest.param(DATA, {**OURS, "fstab": LINE, "mounted": ["/srv/data"]}, id="none asked for"),
        pytest.param(DATA, keeping(enforced=False), id="none in force"),
        pytest.param({**DATA, "options": ["usrquota"]}, keeping(), id="those of the owner"),
    ],
)
def test_limits_that_are_right_or_not_ours_stay(disk, found):
    assert disks.quotas_due([disk], [found], PEOPLE) == []


UNABLE = {**EMPTY, "quotas": {**EMPTY["quotas"], "possible": False}}
XFS = {**QUOTAS, "filesystem": "xfs"}


@pytest.mark.parametrize(
    ("disk", "found", "said"),
    [
        (QUOTAS, UNABLE, "the kernel of fenton, 6.1.0-1, has no quotas for ext4 (module quota_v2"),
        (XFS, UNABLE, "has no quotas for xfs; start fenton with a kernel"),
        (QUOTAS, keeping(counted=False, prepared=False), "`umount /srv/data`, then `e2fsck -fp /dev/sdb && tune2fs"),
        (QUOTAS, keeping(OURS, counted=False, prepared=False), "when nobody needs it, `e2fsck -fp /dev/sdb"),
        (
            XFS,
            keeping({**MOUNTED, "type": "xfs"}, counted=False, enforced=False),
            "is mounted without quotas; when nobody needs it, `umount",
        ),
        (QUOTAS, keeping(enforced=False, preset=False), "is mounted without quotas; when nobody needs it, `umount /srv/data` there"),
        (QUOTAS, keeping(strangers=["tim", "tom"]), "names tim, and fenton has no such account"),
        ({**QUOTAS, "uuid": "1-2", "device": None}, {**MOUNTED, "type": "btrfs"}, "is btrfs, and quotas are for ext4 and xfs"),
    ],
)
def test_quotas_that_cannot_be_are_refused_with_what_helps(disk, found, said):
    (sentence,) = disks.disks_refused([disk], [found], "fenton", PEOPLE)
    assert sentence.startswith("base_disks: ") and said in sentence


def test_quotas_that_can_be_are_not_refused():
    for disk, found in ((QUOTAS, EMPTY), (XFS, EMPTY), (QUOTAS, keeping()), (QUOTAS, keeping(counted=False)), (QUOTAS, {**OURS})):
        assert disks.disks_refused([disk], [found], "fenton", PEOPLE) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"quota": "100 GB"}, "quota of /dev/sdb is '100 GB', which is no size"),
        ({"quota": "none"}, "quota of /dev/sdb is 'none', which is no size"),
        ({"quotas": {"tom": "much"}}, "quotas.tom of /dev/sdb is 'much'"),
        ({"quotas": {"root": "1G"}}, "names 'root', no account of a person"),
        ({"quota": "1G", "quota_soft": 0}, "quota_soft of /dev/sdb is 0"),
        ({"quota": "1G", "options": ["noatime", "usrquota"]}, "usrquota of /dev/sdb comes by itself with quota"),
    ],
)
def test_mistakes_in_quotas_are_said_before_the_host_is_asked(more, said):
    problems = disks.disk_problems([{**DATA, **more}], "fenton")
    assert any(said in problem and "host_vars/fenton/base.yml" in problem for problem in problems), problems
