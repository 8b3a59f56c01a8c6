"""Small files: what the action ``write_files`` does on the host."""

import os
import shlex
import shutil
import subprocess
import tempfile
import time

from ansible.module_utils.disk import full
from ansible.module_utils.observe import surroundings
from ansible.module_utils.write_files import Refused, found, has, rights, wanted

BACKUPS = "/var/backups/fenton" if os.geteuid() == 0 else os.path.expanduser("~/.local/state/fenton/backups")


def give(path, mode, owner, group):
    """Give the file or directory at *path* its rights; the owner first, for that takes some rights away."""
    os.chown(path, owner, group)
    os.chmod(path, mode)


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
