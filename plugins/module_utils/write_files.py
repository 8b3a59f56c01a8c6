"""Small files: what the module ``write_files`` compares, and the look that tells whether it has anything to do."""

import grp
import os
import pwd
import stat


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


def mode(file):
    """Return the mode of one entry of ``files`` as a text of octal digits, or what stands there."""
    return file.get("mode") or ("0755" if file.get("state") == "directory" else "0644")


def belongs(file):
    """Return owner and group of one entry of ``files`` as texts; where none is given, who writes: root, or the account that is no root."""
    return file.get("owner") or str(os.geteuid()), file.get("group") or str(os.getegid())


def rests(file):
    """Tell whether one entry of ``files`` is on the host as it should be: text, mode, owner and group."""
    if found(file) != ("directory\n" if file.get("state") == "directory" else file["content"]):
        return False
    about, (owner, group) = os.stat(file["dest"]), belongs(file)
    return (
        stat.S_IMODE(about.st_mode) == int(mode(file), 8)
        and owner in (str(about.st_uid), pwd.getpwuid(about.st_uid).pw_name)
        and group in (str(about.st_gid), grp.getgrgid(about.st_gid).gr_name)
    )


def at_rest(given):
    """Return the module's answer where there is nothing to do, else None."""
    return {"changed": False, "written": [], "kept": {}, "diff": []} if all(map(rests, given["files"])) else None
