"""Ask the file system whether this account may use so much: ``python room.py DIRECTORY GIB``. Prints a sentence's middle where it may not.

A quota is known to the file system alone, so the room is asked for in a file without a name, which is gone with this program. Where the
file system cannot do that, what is free on it is all that is known. Nothing is asked once conda is there.
"""

import ctypes
import errno
import os
import sys

place, wanted = os.path.abspath(sys.argv[1]), int(sys.argv[2]) << 30


def ask(folder, size):
    """Return why *folder* does not take *size* bytes, or an empty text."""
    try:
        handle = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            return os.strerror(error.errno)
    else:
        with os.fdopen(handle, "wb") as file:
            libc = ctypes.CDLL(None, use_errno=True)
            libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
            if libc.fallocate(file.fileno(), 0, 0, size) == 0:
                return ""
            if ctypes.get_errno() in (errno.ENOSPC, errno.EDQUOT):
                return os.strerror(ctypes.get_errno())
    about = os.statvfs(folder)
    free = about.f_bavail * about.f_frsize
    return "" if free >= size else "%.1f GiB are free" % (free / 2**30)


if wanted and not os.path.exists(os.path.join(place, "conda-meta", "fenton.installer")):
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    why = "the account may not write there" if not os.access(place, os.W_OK) else ask(place, wanted)
    if why:
        print("%s: %s" % (place, why))
