"""Small files: what the action ``write_files`` compares. What writes them is place_files.py, which a look need not bring along."""

import grp
import os
import pwd
import stat


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


def rests(file):
    """Tell whether one entry of ``files`` is on the host as it should be: text, mode, owner and group."""
    return found(file) == wanted(file) and has(file["dest"]) == rights(file)


def at_rest(given):
    """Return the answer of ``place_files.write`` where there is nothing to do, else None."""
    return {"changed": False, "written": [], "kept": {}, "diff": []} if all(map(rests, given["files"])) else None
