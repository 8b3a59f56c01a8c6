"""Finish an installation that was interrupted; one that still goes on, for who began it was cut off, is waited for."""

import fcntl
import os
import subprocess
import sys
import time

KEEP = "--force-confold"
PATIENCE = 600

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
    # dpkg is told that the lock is ours.
    done = subprocess.run(["dpkg", "--configure", "-a", KEEP], env={**os.environ, "DPKG_FRONTEND_LOCKED": "1"})
words = ["apt-get", "--yes", "--fix-broken", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=" + KEEP, "install"]
# What dpkg cannot configure may want a package that apt fetches.
sys.exit(subprocess.run(words).returncode)
