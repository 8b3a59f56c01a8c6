"""Print as JSON what is on the disks that are wanted, and at their places; read-only, and without udev, which containers lack.

Standard input: a JSON list of dictionaries with ``device`` or ``uuid``, and ``mount``.
"""

import grp
import json
import os
import pwd
import re
import stat
import subprocess
import sys


def said(*words):
    """Return what a program printed."""
    return subprocess.run(words, capture_output=True, text=True, timeout=15, stdin=subprocess.DEVNULL).stdout.strip()


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
    return {
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
