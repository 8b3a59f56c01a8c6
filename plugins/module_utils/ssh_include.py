"""One Include line in a person's ssh configuration: what the module ``ssh_include`` writes, and the look that tells whether it has to."""

import fnmatch
import os
import re
import shlex

MARK = b"# Fenton, role client: the servers in config.d come first."
# Says that the file goes when the line goes.
ALONE = b" This file was made for it."
LINE = b"Include config.d/*.conf\n"
OURS = re.compile(rb"^" + re.escape(MARK) + rb"(?:" + re.escape(ALONE) + rb")?\n" + re.escape(LINE), re.M)


def included(text, folder, home):
    """Return the patterns that *text* includes for every host: those before its first Host or Match.

    :arg text: an ssh configuration as bytes.
    :arg folder: directory that a relative pattern begins at.
    :arg home: directory that ``~`` stands for.
    """
    found = []
    for line in text.decode("utf-8", "surrogateescape").splitlines():
        words = re.match(r"\s*([A-Za-z]+)(?:\s*=\s*|\s+)(.*)", line)
        if not words:
            continue
        keyword = words[1].lower()
        if keyword in ("host", "match"):
            break
        if keyword == "include":
            try:
                patterns = shlex.split(words[2], comments=True)
            except ValueError:  # an odd quote; ssh will say so itself
                continue
            found += [re.sub(r"^~(?=/)", lambda _: home, pattern) for pattern in patterns]
    return [os.path.join(folder, pattern) for pattern in found]


def covers(patterns, file):
    """Tell whether one of *patterns* takes in *file*; as in a shell, ``*`` ends at a slash."""
    folder, name = os.path.split(file)
    return any(
        fnmatch.fnmatchcase(folder, os.path.normpath(os.path.dirname(pattern))) and fnmatch.fnmatchcase(name, os.path.basename(pattern))
        for pattern in patterns
    )


def wanted(before, given, home=None):
    """Return the text that the configuration should have; None where there should be no file.

    :arg before: the text that is there, as bytes; None where there is no file.
    :arg given: options of the module.
    :arg home: directory that ``~`` stands for; by default the person's own.
    """
    text, folder = before or b"", os.path.dirname(given["path"])
    home = home or os.path.expanduser("~")

    def complete(text):
        patterns = included(text, folder, home)
        return all(covers(patterns, file) for file in given["files"])

    ours = OURS.findall(text)
    present = given.get("state", "present") == "present"
    if present and len(ours) < 2 and complete(text):
        return before
    rest = OURS.sub(b"", text)
    if not present:
        return None if before is None or (not rest and any(ALONE in block for block in ours)) else rest
    if complete(rest):
        return rest
    alone = before is None or (not rest and any(ALONE in block for block in ours))
    return MARK + (ALONE if alone else b"") + b"\n" + LINE + rest


def read(path):
    """Return the bytes of the file at *path*, also through a link; None where there is none.

    :raises OSError: when it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def at_rest(given):
    """Return the module's answer where there is nothing to do, else None."""
    before = read(given["path"])
    return {"changed": False} if wanted(before, given) == before else None
