"""Ask a cluster on which hosts it computes: probe.py PROFILE SECONDS HOST...; exit status 1 and a line where names are missing.

With a number instead of names, so many engines are expected, wherever they are.
"""

import socket
import sys
import time

import ipyparallel

profile, seconds, *wanted = sys.argv[1:]
until = time.monotonic() + float(seconds)
hosts = []
client = ipyparallel.Client(profile=profile, timeout=float(seconds))
while time.monotonic() < until:
    if client.ids:
        hosts = client[:].apply(socket.gethostname).get(timeout=float(seconds))
    missing = set(wanted) - set(hosts) if not wanted[0].isdigit() else set(range(max(0, int(wanted[0]) - len(hosts))))
    if not missing:
        break
    time.sleep(0.5)
print(" ".join(sorted(set(hosts))))
sys.exit(1 if missing else 0)
