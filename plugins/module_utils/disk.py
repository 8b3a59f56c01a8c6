"""What to say where a disk is full."""

import errno
import os


def full(error, *paths):
    """Return what helps against *error*, an OSError: where a disk is full, which, and how much is free."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return "free the disk or mend the file system, and run again"
    said = []
    for path in paths:
        while path and not os.path.isdir(path):
            path = os.path.dirname(path)
        if path:
            about = os.statvfs(path)
            while not os.path.ismount(path):
                path = os.path.dirname(path)
            said.append("%s (%d MB of %d free)" % (path, about.f_bavail * about.f_frsize >> 20, about.f_blocks * about.f_frsize >> 20))
    return "the disk is full: %s; make room there and run again, the next run goes on" % ", ".join(sorted(set(said)))
