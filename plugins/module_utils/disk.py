"""What to say where a disk is full."""

import errno
import os
import re

# As libraries, uv, conda, the shell and the quota say it.
WORDS = re.compile(r"No space left|[Nn]ot enough (free )?(disk )?space|Disk quota exceeded|os error 28|NoSpaceLeft|ENOSPC|Errno 28")
LOW = 8 << 20


def disk(path):
    """Return the mount point of the file system where *path* is, or would be, its size and what is free there, in bytes."""
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    about = os.statvfs(path)
    path = os.path.realpath(path)
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path, about.f_blocks * about.f_frsize, about.f_bavail * about.f_frsize


def full(error, *paths):
    """Return *error* as text, and where it says that a disk is full, or one of them is, also which, and what to do.

    :arg error: an exception, or what a program said.
    :arg paths: where was written; empty ones are left out.
    """
    found = sorted({disk(path) for path in paths if path})
    low = [each for each in found if each[2] < LOW]
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or WORDS.search(str(error)) or low:
        # What was begun has been removed again; so one that was full may have room now.
        said = ", ".join("%s (%d MB, %d of them free now)" % (path, size >> 20, free >> 20) for path, size, free in low or found)
        return "%s; the disk is full: %s; make room there and run again, the next run goes on" % (error, said)
    return str(error)
