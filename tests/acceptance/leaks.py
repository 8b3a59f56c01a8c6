"""Secrets of a run in all their forms, and the places where one must not be found."""

import base64
import json
import os
import re
import stat
import subprocess
import sys
import urllib.parse
from contextlib import contextmanager
from pathlib import Path

from conftest import ROOT, eventually, run

# Until the file NAME.stop is there: the command lines of all processes, each once.
SAMPLER = """
import glob, os, sys, time
seen, place = set(), sys.argv[1]
open(place + ".begun", "w").close()
while not os.path.exists(place + ".stop"):
    for name in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(name, "rb") as file:
                seen.add(file.read().replace(b"\\0", b" "))
        except OSError:
            pass
    time.sleep(0.01)
with open(place + ".part", "wb") as file:
    file.write(b"\\n".join(seen))
os.rename(place + ".part", place)
"""
READABLE = """
cd /
exec runuser -u nobody -- grep -rlsaF --exclude-dir=proc --exclude-dir=sys --exclude-dir=fixtures -f - /
"""


def forms(secret):
    """Return how a secret may be written: as it is, for an address, for JSON, as hexadecimal digits, as base64 alone or amid other text."""
    plain = secret.encode()
    found = {secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret), json.dumps(secret)[1:-1], plain.hex()}
    for before in range(3):
        # What stands before moves it by one or two bytes; the characters at the edges belong to the neighbours too.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * before + plain).decode().rstrip("=")
            found.add(text[-(-before * 8 // 6) : len(text) - (1 if (before + len(plain)) % 3 else 0)])
    return {form for form in found if len(form) >= 8}


def private(pem):
    """Return the line of each private key in *pem* that holds a part of nothing but the secret."""
    found = []
    for kind, body in re.findall(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----\s+(.*?)-----END", pem, re.S):
        lines = body.split()
        found.append(lines[-2] if kind.startswith("OPENSSH") else lines[0])
    return found


def keys(server):
    """Return a line of each private key on the server."""
    return private(server.docker("sh", "-c", "grep -rlsa 'PRIVATE KEY-----' /etc /var/lib | xargs -r cat").stdout)


def handed_out(server):
    """Return the passwords and tokens among the artifacts of a server."""
    found = [file.read_text().strip() for file in server.artifacts.glob("*-password-*")]
    for file in server.artifacts.glob("*.json"):
        found += re.findall(r'"(?:token|password|passcode)": "([^"]+)"', file.read_text())
    return found


@contextmanager
def watched(server, place):
    """Look at the command lines of all processes meanwhile, on the server and here; yields the list of what was seen, filled at the end."""
    there, here, seen = "/root/.command-lines", place / "command-lines", []
    local = subprocess.Popen([sys.executable, "-c", SAMPLER, str(here)])
    server.docker("sh", "-c", f"rm -f {there} {there}.*")
    assert run("docker", "exec", "-d", server.container, "python3", "-c", SAMPLER, there).returncode == 0
    eventually(lambda: server.docker("test", "-e", f"{there}.begun").returncode == 0 and (place / "command-lines.begun").exists())
    try:
        yield seen
    finally:
        (place / "command-lines.stop").touch()
        server.docker("touch", f"{there}.stop")
        local.wait(20)
        eventually(lambda: server.docker("test", "-e", there).returncode == 0)
        seen += [here.read_text(errors="replace"), server.docker("cat", there).stdout]
        server.docker("sh", "-c", f"rm -f {there} {there}.*")


def leaks(server, secrets, said, command_lines):
    """Return where secrets were found, by place; a file that others may read is named, the secret never.

    :arg secrets: texts.
    :arg said: what was printed.
    :arg command_lines: texts, from :func:`watched`.
    """
    needles = sorted(set().union(*map(forms, secrets)))
    patterns = "\n".join(needles) + "\n"

    def holds(text):
        return any(needle in text for needle in needles)

    found = {}
    if holds(said):
        found["output"] = sorted({re.sub(r"\S{12,}", "…", line)[:200] for line in said.splitlines() if holds(line)})[:10]
    if any(map(holds, command_lines)):
        found["command lines"] = sorted({line.split()[0] for text in command_lines for line in text.splitlines() if holds(line)})
    journal = server.docker("journalctl", "--no-pager", "-o", "verbose").stdout
    if holds(journal):
        found["journal"] = sorted({line.split("=")[0].strip() for line in journal.splitlines() if holds(line)})
    for name, script in {"logs": "exec grep -rlsaF -f - /var/log --exclude-dir=journal", "readable by all": READABLE}.items():
        seen = run("docker", "exec", "-i", server.container, "sh", "-c", script, input=patterns)
        if seen.stdout:
            found[name] = seen.stdout.split("\n")[:-1]
    for file in [server.artifacts.parent, server.artifacts, *server.artifacts.rglob("*")]:
        mode = stat.S_IMODE(os.stat(file).st_mode)
        if mode & 0o077 and file != server.artifacts.parent:
            found.setdefault("modes", []).append(f"{file.name} {mode:o}")
    git = run("git", "log", "--all", "-p", "--no-color", "--no-ext-diff", cwd=ROOT, errors="replace")
    tree = run("git", "grep", "-lF", "--untracked", "-f", "-", cwd=ROOT, input=patterns)
    if holds(git.stdout) or tree.stdout:
        found["git"] = tree.stdout.split() or ["history"]
    left = run("sh", "-c", f"exec grep -rlsaF -f - {Path.home()}/.ansible /tmp/ansible* {server.artifacts.parents[2]}/logs", input=patterns)
    if left.stdout:
        found["left on the control node"] = left.stdout.split()
    return found
