"""Print as JSON what is on the disks that are wanted, and at their places; read-only, and without udev, which containers lack.

Standard input: a JSON list of dictionaries with ``device`` or ``uuid``, ``mount``, and those with quotas with ``quota`` or ``quotas``.
"""

import ctypes
import grp
import json
import os
import pwd
import re
import stat
import subprocess
import sys


def said(*words):
    """Return what a program printed, nothing where it is not installed."""
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=15, stdin=subprocess.DEVNULL).stdout.strip()
    except FileNotFoundError:
        return ""


def plain(text):
    """Return a path of fstab or mountinfo without its octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def lines(path):
    """Return the words of each line of a file that is no comment."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line.split() for line in file if line.strip() and not line.startswith("#")]
    except OSError:
        return []


class Limits(ctypes.Structure):
    """What quotactl(2) tells of an account: struct if_nextdqblk of the kernel's include/uapi/linux/quota.h."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("hard", "soft", "space", "files_hard", "files_soft", "files", "time", "files_time")]
    _fields_ += [("valid", ctypes.c_uint32), ("account", ctypes.c_uint32)]


class State(ctypes.Structure):
    """Which quotas a file system keeps: the head of struct fs_quota_statv in include/uapi/linux/dqblk_xfs.h, and room for the rest."""

    _fields_ = [("version", ctypes.c_int8), ("pad", ctypes.c_uint8), ("flags", ctypes.c_uint16), ("rest", ctypes.c_uint8 * 252)]


# Q_GETNEXTQUOTA and Q_XGETQSTATV, for users.
NEXT, STATE = 0x800009 << 8, ((ord("X") << 8) + 8) << 8
# By type of the file system, a module of the kernel and one of its functions; for XFS also one that it has in any case.
NEEDED = {"ext4": ("quota_v2", "v2_check_quota_file", None), "xfs": ("xfs", "xfs_qm_newmount", "xfs_mountfs")}


def ask(command, path, account, answer):
    """Fill *answer* by quotactl(2); return whether the kernel had one."""
    call = ctypes.CDLL(None, use_errno=True).quotactl
    return call(ctypes.c_int(command), path.encode(), ctypes.c_int(account), ctypes.byref(answer)) == 0


def name_of(account):
    """Return the name of an account, or its number where it has none."""
    try:
        return pwd.getpwuid(account).pw_name
    except KeyError:
        return str(account)


def kept(path):
    """Return whether a mounted file system counts what accounts have on it and holds them to limits; and the limits, in KiB and files."""
    state, limits, account, known = State(version=1), Limits(), 0, {}
    flags = state.flags if ask(STATE, path, 0, state) else 0
    while flags & 1 and account < 2**32 - 1 and ask(NEXT, path, account, limits):
        numbers = [limits.soft, limits.hard, limits.files_soft, limits.files_hard]
        if any(numbers):
            known[name_of(limits.account)] = numbers
        account = limits.account + 1
    return {"counted": bool(flags & 1), "enforced": bool(flags & 2), "limits": known}


def able(kind):
    """Return whether the kernel has quotas for this type of file system, or a module with them that it can load."""
    module, proof, other = NEEDED[kind]
    try:
        with open("/proc/kallsyms", encoding="utf-8") as symbols:
            known = {words[2] for words in map(str.split, symbols)} & {proof, other}
    except OSError:
        known = set()
    return proof in known or not known and bool(said("/sbin/modprobe", "--dry-run", "--show-depends", module))


def quotas(disk, found):
    """Return what is to be known of the quotas of a disk; where they are not in use, also what they need."""
    answer = kept(found["path"]) if found["mounted"] else {"counted": False, "enforced": False, "limits": {}}
    kind = found["type"] or disk.get("filesystem", "ext4")
    answer.update(possible=True, prepared=True, preset=kind != "ext4", kernel=os.uname().release)
    if disk.get("quota") or disk.get("quotas"):
        people = {entry.pw_name for entry in pwd.getpwall()}
        answer["strangers"] = sorted(set(disk.get("quotas") or {}) - people)
        if kind in NEEDED and not answer["counted"]:
            answer["possible"] = able(kind)
        if found["type"] == "ext4":
            about = said("dumpe2fs", "-h", found["path"])
            answer["prepared"] = bool(re.search(r"^Filesystem features:.* quota\b", about, re.M))
            answer["preset"] = bool(re.search(r"^Mount options:\s+(.*,)?usrquota\b", about, re.M))
    return answer


MOUNTS = [(words[2], plain(words[4])) for words in lines("/proc/self/mountinfo")]
TABLE = [[plain(word) for word in words] for words in lines("/etc/fstab") if len(words) >= 3]


def device(disk):
    """Return what lies on the block device of *disk*; ``there`` is false where it is none."""
    path = disk.get("device") or said("blkid", "--uuid", disk["uuid"])
    real = os.path.realpath(path) if path else ""
    try:
        about = os.stat(real)
    except OSError:
        about = None
    if about is None or not stat.S_ISBLK(about.st_mode):
        return {"there": False, "path": real}
    number = "%d:%d" % (os.major(about.st_rdev), os.minor(about.st_rdev))
    known = os.path.realpath("/sys/dev/block/" + number)
    holders = os.path.join(known, "holders")
    export = (line.partition("=") for line in said("blkid", "--probe", "--output", "export", real).splitlines())
    found = {key: value for key, _, value in export}
    answer = {
        "there": True,
        "path": real,
        "parts": sorted(name for name in os.listdir(known) if os.path.exists(os.path.join(known, name, "partition"))),
        "holders": sorted(os.listdir(holders)) if os.path.isdir(holders) else [],
        "mounted": sorted({place for other, place in MOUNTS if other == number}),
        "swap": any(os.path.realpath(words[0]) == real for words in lines("/proc/swaps")),
        "type": found.get("TYPE") or found.get("PTTYPE", ""),
        "usage": found.get("USAGE", ""),
        "label": found.get("LABEL", ""),
        "uuid": found.get("UUID", ""),
    }
    return {**answer, "quotas": quotas(disk, answer)}


def place(disk):
    """Return what is at the place where *disk* is to be mounted."""
    mount = disk["mount"]
    entry = next((words for words in TABLE if words[1].rstrip("/") == mount), [])
    answer = {"fstab": entry[:4], "busy": any(other == mount for _, other in MOUNTS), "files": 0, "owner": "", "group": "", "mode": ""}
    try:
        about = os.stat(mount)
        answer["files"] = len(set(os.listdir(mount)) - {"lost+found"})
        answer["mode"] = "%04o" % stat.S_IMODE(about.st_mode)
        answer["owner"] = pwd.getpwuid(about.st_uid).pw_name
        answer["group"] = grp.getgrgid(about.st_gid).gr_name
    except (OSError, KeyError):
        pass
    return answer


print(json.dumps([{**device(disk), **place(disk)} for disk in json.load(sys.stdin)]))
