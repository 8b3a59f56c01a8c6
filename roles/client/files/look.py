"""Look at a laptop: what the role has put there, and what would be in its way. Reads JSON, prints JSON, changes nothing.

A mount whose server is away would hold up everybody who touches it, so the table of mounts is read before any path is.
"""

import glob
import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys

MARK = "role client"


def text(path):
    """Return the text of the file at *path*, empty where there is none to read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def said(*words):
    """Return what a program printed, empty where it failed."""
    try:
        done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, timeout=10)
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
    except (OSError, subprocess.TimeoutExpired):
        return ""


def mounted():
    """Return the type of file system by mount point."""
    table = text("/proc/self/mounts")
    if table:
        rows = (line.split(" ") for line in table.splitlines())
        return {re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), row[1]): row[2] for row in rows}
    return dict(re.findall(r"^.* on (.*) \((\w+)", said("mount"), re.M))


def settings(path):
    """Return the lines ``KEY='value'`` of a file of ours; nothing where it is somebody else's."""
    found = text(path)
    lines = re.findall(r"^([A-Z_]+)='(.*)'$", found, re.M) if MARK in found else []
    return {key: value.replace("'\\''", "'") for key, value in lines}


def state_of_mount(path, home, table):
    """Return what is in the way of a mount at *path*, in words, or that it is ``missing``, ``free``, ``mounted`` or waits ``on demand``."""
    if path.startswith(home + "/"):  # the table has no links
        path = os.path.realpath(home) + path[len(home) :]
    if path in table:
        kind = table[path]
        return "on demand" if kind == "autofs" else "mounted" if is_ours(kind) else "is a mount of its own (%s)" % kind
    above = next((point for point, kind in table.items() if is_ours(kind) and path.startswith(point + "/")), None)
    if above:
        return "lies inside another mount, " + above
    if os.path.islink(path) and not os.path.exists(path):
        return "is a link that leads nowhere"
    if not os.path.exists(path):
        parent = os.path.dirname(path)
        while not os.path.exists(parent):
            parent = os.path.dirname(parent)
        return "missing" if os.access(parent, os.W_OK) else "is not there, and only root can make it"
    if not os.path.isdir(path):
        return "is not a directory"
    try:
        return "is not empty" if os.listdir(path) else "free"
    except OSError:
        return "cannot be read"


def is_ours(kind):
    """Tell whether *kind* is a file system as sshfs mounts it."""
    return "sshfs" in kind or kind in ("macfuse", "osxfuse", "fuse-t")


def state_of_key(path):
    """Return ``good``, or what is wrong with the private key at *path*; its public half is enough where an agent holds it."""
    if os.access(path, os.R_OK) and os.path.isfile(path):
        return "can be read by others" if os.stat(path).st_mode & 0o077 else "good"
    if os.path.lexists(path):
        return "cannot be read"
    return "good" if os.access(path + ".pub", os.R_OK) else "is not there"


def in_the_way(command, own):
    """Return what *command* means to a shell already, beside the paths *own*; empty where it means nothing."""
    for folder in os.environ.get("PATH", "").split(":"):
        path = os.path.join(folder, command)
        if folder and os.path.realpath(path) not in own and os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    word = said("bash", "-c", 'type -t -- "$1"', "-", command).strip()
    return "a word of the shell" if word in ("builtin", "keyword") else ""


def databases(home):
    """Return the certificate databases of the person's browsers."""
    patterns = [
        ".pki/nssdb", "snap/chromium/current/.pki/nssdb", ".mozilla/firefox/*", "snap/firefox/common/.mozilla/firefox/*",
        ".config/mozilla/firefox/*", ".var/app/org.mozilla.firefox/.mozilla/firefox/*", "Library/Application Support/Firefox/Profiles/*",
    ]  # fmt: skip
    found = (path for pattern in patterns for path in sorted(glob.glob(os.path.join(home, pattern))))
    return [path for path in found if os.path.exists(os.path.join(path, "cert9.db"))]


def fingerprint(pem):
    """Return the SHA-256 of the first certificate in *pem*, empty where there is none."""
    block = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.S)
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(block[0])).hexdigest() if block else ""
    except ValueError:
        return ""


def browsers(home, wanted):
    """Return what is to be done in the databases: those where certificates are to be put, and to be taken out.

    :arg wanted: PEM text by nickname.
    """
    put, drop = [], []
    # A database knows a certificate by one name only, also where servers share their authority.
    once = {fingerprint(pem): name for name, pem in reversed(wanted.items())}
    wanted = {name: wanted[name] for name in once.values()}
    for base in databases(home):
        listed = re.findall(r"^(fenton [a-z][a-z0-9_-]*) +\S*,\S*,\S*\s*$", said("certutil", "-L", "-d", "sql:" + base), re.M)
        for name in sorted(set(listed) | set(wanted)):
            there = fingerprint(said("certutil", "-L", "-d", "sql:" + base, "-n", name, "-a")) if name in listed else ""
            if name in listed and there != fingerprint(wanted.get(name, "")):
                drop.append([base, name])
            if name in wanted and there != fingerprint(wanted[name]):
                put.append([base, name])
    if sys.platform != "darwin" and not os.path.exists(os.path.join(home, ".pki/nssdb/cert9.db")):
        put += [[os.path.join(home, ".pki/nssdb"), name] for name in wanted]
    return {"put": put, "drop": drop}


def keychain(folder, trusting, wanted):
    """Return what is to be done in the keychain of macOS: commands whose certificate is missing, and SHA-256 of those to take out.

    :arg folder: where the certificates lie that were put in.
    :arg trusting: commands of which the settings say that their certificate is in.
    :arg wanted: PEM text by command.
    """
    there = said("security", "find-certificate", "-a", "-Z").lower()
    new = {name: fingerprint(pem) for name, pem in wanted.items()}
    old = [fingerprint(text(os.path.join(folder, name + ".pem"))) for name in trusting]
    return {
        "put": [name for name in new if new[name] not in there],
        "drop": [print for print in old if print and print in there and print not in new.values()],
    }


def waits(unit):
    """Tell whether systemd waits for somebody who looks into the directory of *unit*, now and from boot on, with what the files say."""
    known = said("systemctl", "show", "-p", "ActiveState,UnitFileState,NeedDaemonReload", unit, unit.replace(".automount", ".mount"))
    return "ActiveState=active" in known and "UnitFileState=enabled" in known and "NeedDaemonReload=yes" not in known


def look(given):
    """Return all that the role wants to know."""
    home, table, commands = given["home"], mounted(), {server["command"]: server for server in given["servers"]}
    folder, wanted = os.path.join(home, ".config/fenton"), given["paths"]
    found = {os.path.basename(path)[: -len(".conf")]: settings(path) for path in sorted(glob.glob(folder + "/*.conf"))}
    installed = {name: known for name, known in found.items() if known}
    gone = {
        name: known.get("MOUNT", "") for name, known in installed.items()
        if name not in commands or commands[name]["mount"] != known.get("MOUNT")
    }  # fmt: skip

    names = given["own"] + given["root"]
    ours = {name.replace("{}", command) for command in installed for name in names}
    # Of every server that is or was: what is there under each name that this role gives to files, and not where it belongs now.
    left = {
        owner: [
            path for command in sorted(set(installed) | set(commands)) for path in (name.replace("{}", command) for name in given[owner])
            if path not in wanted and (MARK in text(path) or path.startswith(folder + "/") and os.path.lexists(path))
        ]
        for owner in ("own", "root")
    }  # fmt: skip
    left["units"] = [path for path in sorted(glob.glob("/etc/systemd/system/*mount")) if path not in wanted and MARK in text(path)]

    off = [unit for unit in given["units"] if not waits(unit)]
    mounts = {name: state_of_mount(server["mount"], home, table) for name, server in commands.items()}
    for name, state in mounts.items():
        if state == "mounted" and commands[name]["unit"] + ".automount" in off:
            mounts[name] = "is mounted already, and systemd cannot wait below that"

    busy = {
        name: path for name, path in gone.items() if is_ours(table.get(path, ""))
        and not any(f"Where={path}\n" in text(unit) for unit in left["units"])  # what systemd mounted it also unmounts
    }  # fmt: skip

    bundle = "".join(text("/etc/ssl/certs/ca-certificates.crt").split())
    bodies = {name: "".join(re.findall("-----BEGIN CERTIFICATE-----([^-]*)", pem)[:1]) for name, pem in given["trusted"].items()}
    apple = sys.platform == "darwin"
    return {
        "gone": [name for name in installed if name not in commands],
        "left": left,
        "foreign": [path for path in sorted(set(wanted) - ours) if os.path.lexists(path) and MARK not in text(path)],
        "taken": {name: path for name in commands if name not in installed for path in [in_the_way(name, wanted)] if path},
        "mounts": mounts,
        "busy": busy,
        "former_mounts": [
            path for name, path in gone.items() if path not in [server["mount"] for server in commands.values()] and name not in busy
            and state_of_mount(path, home, table) in ("free", "on demand", "mounted")
        ],
        "keys": {path: state_of_key(path) for path in sorted({server["identity"] for server in commands.values()})},
        "sshfs": shutil.which("sshfs", path=os.environ.get("PATH", "") + ":/opt/homebrew/bin") or "",
        "certutil": shutil.which("certutil") or "",
        "macfuse": any(map(os.path.exists, ("/Library/Filesystems/macfuse.fs", "/Library/Application Support/fuse-t"))),
        "untrusted": [] if apple else [name for name, body in bodies.items() if "".join(body.split()) not in bundle],
        "orphans": [path for path in sorted(glob.glob("/etc/ssl/certs/fenton-*.pem")) if not os.path.exists(path)],
        "keychain": keychain(folder, [name for name in installed if "system" in installed[name].get("TRUST", "")], given["trusted"])
        if apple else {"put": [], "drop": []},
        "browsers": browsers(home, given["browsers"]),
        "off": off,
    }  # fmt: skip


if __name__ == "__main__":
    json.dump(look(json.load(sys.stdin)), sys.stdout)
