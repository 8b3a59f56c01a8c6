"""Small files: what the action ``write_files`` does on the host, and the look that tells whether it has anything to do."""

import grp
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
import time

from ansible.module_utils.disk import full
from ansible.module_utils.observe import surroundings

BACKUPS = "/var/backups/fenton" if os.geteuid() == 0 else os.path.expanduser("~/.local/state/fenton/backups")


class Refused(Exception):
    """Why nothing was written; its text is a sentence."""


def found(file):
    """Return what is there in the place of one entry of ``files``: the text of a file, or for a directory a word; None where it is not."""
    path = file["dest"]
    if os.path.islink(path):
        return None
    if file.get("state") == "directory":
        return "directory\n" if os.path.isdir(path) else None
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8", errors="surrogateescape") as text:
        return text.read()


def wanted(file):
    """Return what is wanted in the place of one entry of ``files``, as :func:`found` would find it."""
    return "directory\n" if file.get("state") == "directory" else file["content"]


def number(name, look, mine):
    """Return the number of a user or a group that is given by name or number, or *mine* where none is given.

    :raises KeyError: when there is none of that name.
    """
    if not name:
        return mine
    return int(name) if name.isdigit() else look(name)[2]


def rights(file):
    """Return mode, owner and group that one entry of ``files`` is to have, as numbers.

    Where none is given they are 0644, or 0755 for a directory, and who writes: root, or the account that is no root.

    :raises Refused: when there is no such user or group, or the mode is not octal.
    """
    try:
        mode = int(file.get("mode") or ("0755" if file.get("state") == "directory" else "0644"), 8)
        return mode, number(file.get("owner"), pwd.getpwnam, os.geteuid()), number(file.get("group"), grp.getgrnam, os.getegid())
    except (KeyError, ValueError) as error:
        said = "%s cannot have the rights that it is to have, so nothing was written: %s" % (file["dest"], error.args[0])
        raise Refused(said) from None


def has(path):
    """Return mode, owner and group of what is at *path*, as numbers."""
    about = os.stat(path)
    return stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid


def give(path, mode, owner, group):
    """Give the file or directory at *path* its rights; the owner first, for that takes some rights away."""
    os.chown(path, owner, group)
    os.chmod(path, mode)


def rests(file):
    """Tell whether one entry of ``files`` is on the host as it should be: text, mode, owner and group."""
    return found(file) == wanted(file) and has(file["dest"]) == rights(file)


def at_rest(given):
    """Return the answer of :func:`write` where there is nothing to do, else None."""
    return {"changed": False, "written": [], "kept": {}, "diff": []} if all(map(rests, given["files"])) else None


def check(file):
    """Let the checker of one entry of ``files`` see its new text, in a directory that only who writes can enter.

    :raises Refused: when the text is not as it should be.
    """
    with tempfile.TemporaryDirectory(prefix="fenton-") as place:
        staged = os.path.join(place, os.path.basename(file["dest"]))
        with open(staged, "w", encoding="utf-8", errors="surrogateescape") as new:
            new.write(file["content"])
        words = [word.replace("%s", staged) for word in shlex.split(file["validate"])]
        try:
            done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, env=surroundings())
            rc, said = done.returncode, (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        except OSError as error:
            rc, said = 127, str(error)
    if rc:
        said = said.replace(staged, file["dest"]) or "exit status %d" % rc
        raise Refused("%s would not be valid, so nothing was written: %s" % (file["dest"], said))


def keep(path):
    """Keep a copy of the file at *path*, which is about to be replaced, and return where.

    Not beside it: some directories are read by programs that take every file for a setting.
    """
    os.makedirs(BACKUPS, exist_ok=True)
    os.chmod(BACKUPS, 0o700)
    copy = "%s%s.%s" % (BACKUPS, path, time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime()))
    folder, name = os.path.split(copy)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    shutil.copy2(path, copy)
    about = os.stat(path)
    os.chown(copy, about.st_uid, about.st_gid)
    # The times sort as texts do.
    older = sorted(other for other in os.listdir(folder) if len(other) == len(name) and other[:-18] == name[:-18])
    for other in older[:-3]:
        os.unlink(os.path.join(folder, other))
    return copy


def replace(file):
    """Put the text of one entry of ``files`` in its place, with its rights from the first moment on: whole, or not at all."""
    folder, name = os.path.split(file["dest"])
    begin = ".%s.fenton-" % name
    # What a run left behind that was killed here.
    for other in os.listdir(folder):
        if other.startswith(begin):
            os.unlink(os.path.join(folder, other))
    handle, new = tempfile.mkstemp(dir=folder, prefix=begin)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as text:
            text.write(file["content"])
        give(new, *rights(file))
        os.replace(new, file["dest"])
    except BaseException:
        os.unlink(new)
        raise


def put(file):
    """Put one entry of ``files`` in its place, and return where the text lies that was there before, if there was one.

    :raises OSError: when that is not possible.
    """
    path, kept = file["dest"], None
    os.makedirs(path if file["state"] == "directory" else os.path.dirname(path), mode=0o755, exist_ok=True)
    if file["state"] == "file":
        if os.path.isfile(path) and not os.path.islink(path):
            kept = keep(path)
        replace(file)
    return kept


def write(given):
    """Bring all files to what is wanted, in the order of the list, and change only what differs.

    :arg given: the options of the action ``write_files``, and ``check_mode``.
    :returns: the answer of a module; with ``failed`` and a sentence where it was not possible.
    """
    os.umask(0o022)
    stale, diff, kept, changed = [], [], {}, False
    for file in given["files"]:
        before = found(file)
        if before != wanted(file):
            stale.append(file)
            diff.append({"before_header": file["dest"], "after_header": file["dest"], "before": before or "", "after": wanted(file)})
    # What would be written need not be possible yet: what checks it, or owns it, may come by the same run.
    there = [file for file in given["files"] if not (given["check_mode"] and file in stale)]
    try:
        due = {file["dest"]: rights(file) for file in there}
        for file in there:
            if file in stale and file["validate"]:
                check(file)
        for file in there:
            old = put(file) if file in stale else None
            if old:
                kept[file["dest"]] = old
            if has(file["dest"]) != due[file["dest"]]:
                changed = True
                if not given["check_mode"]:
                    give(file["dest"], *due[file["dest"]])
    except Refused as error:
        return {"failed": True, "msg": str(error)}
    except OSError as error:
        places = [tempfile.gettempdir(), BACKUPS, *(os.path.dirname(file["dest"]) for file in stale)]
        return {"failed": True, "msg": full("%s cannot be written: %s" % (", ".join(file["dest"] for file in stale), error), *places)}
    return {"changed": changed or bool(stale), "diff": diff, "written": [file["dest"] for file in stale], "kept": kept}
