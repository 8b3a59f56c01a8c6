"""Finish an installation that was interrupted; one that still goes on, for who began it was cut off, is waited for."""

import fcntl
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HISTORY = Path("/var/log/apt/history.log")
KEEP = "--force-confold"
PATIENCE = 600


def unasked(history):
    """Return the packages that an interrupted installation brought along by itself; apt notes that for good only at its end.

    :arg history: text of apt's log ``history.log``; an installation that came to its end has a last line that says when.
    """
    last = history.strip().split("\n\n")[-1]
    installed = "" if "\nEnd-Date: " in last else "".join(re.findall(r"^Install: (.*)$", last, re.M))
    return re.findall(r"(\S+) \([^)]*, automatic\)", installed)


def main():
    """Wait for the lock, let dpkg and apt finish, and return the exit status."""
    with open("/var/lib/dpkg/lock-frontend", "a") as lock:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > until:
                    text = "another program has installed packages for %d minutes; `ps -C apt-get,dpkg` on the server shows it"
                    sys.exit(text % (PATIENCE // 60))
                time.sleep(0.5)
        names = unasked(HISTORY.read_text(encoding="utf-8", errors="replace") if HISTORY.exists() else "")
        # dpkg is told that the lock is ours.
        subprocess.run(["dpkg", "--configure", "-a", KEEP], env={**os.environ, "DPKG_FRONTEND_LOCKED": "1"})
    words = ["apt-get", "--yes", "--fix-broken", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=" + KEEP, "install"]
    # What dpkg cannot configure may want a package that apt fetches.
    status = subprocess.run(words).returncode
    # Those that were not installed after all are passed over by apt-mark, with a sentence.
    if names and status == 0:
        subprocess.run(["apt-mark", "auto", *names], stdout=subprocess.DEVNULL)
    return status


if __name__ == "__main__":
    sys.exit(main())
