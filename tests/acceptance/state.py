"""What state a server is in, and how two of them differ: packages, files, units, accounts, sockets, the firewall.

``scripts/state`` is the command. The looking half runs on the server, by its own Python (3.9 or newer), without anything of ours there;
what must differ between two servers that are alike is left out there, each with its reason in LEFT_OUT.
"""

import hashlib
import json
import os
import pwd
import re
import stat
import subprocess
from pathlib import Path

PLACES = ["/etc", "/usr/local", "/opt", "/root", "/home", "/srv", "/var/lib", "/var/cache/fenton", "/var/spool/cron", "/var/www"]

# By what is looked at, regular expressions of whole names, and why they tell nothing.
LEFT_OUT = {
    "files": {
        r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?": "the accounts are compared one by one, without numbers and passwords",
        r"/etc/ssh/ssh_host_.*_key(\.pub)?": "each server has its own host keys",
        r"/etc/machine-id|/var/lib/dbus/machine-id": "each server has its own",
        r"/etc/(hostname|hosts|resolv\.conf|mtab)": "the container engine writes them; the promise is that the names resolve",
        r"/etc/\.pwd\.lock|/etc/\.updated|/var/\.updated": "empty, or a time",
        r"/etc/ld\.so\.cache": "made from what is there, in the order it came",
        r"/var/lib/(apt|dpkg|ucf|pam|man-db|shells\.state|vim|python|misc|git|sudo|private|wtmpdb)(/.*)?": "logs, copies and lists of the "
        "distribution's tools; the packages are compared one by one",
        r"/var/lib/systemd/(?!linger).*": "clocks, seeds and stamps of systemd",
        r"/var/lib/(prometheus|alertmanager|nginx|slurm.*|mysql|nfs|fail2ban)/.*": "what services have measured and done",
        r"/var/lib/fenton/(metrics|doctor|report).*": "what services have measured and done",
        r".*/__pycache__(/.*)?|.*\.py[co]": "compiled from sources that are compared",
        r".*/\.(bash_history|python_history|lesshst|viminfo|wget-hsts|sudo_as_admin_successful|motd_shown)": "left by people at work",
        r".*/\.ansible(_async)?(/.*)?": "notes of each run about itself; they are small, and every run leaves them",
        r".*/\.cache(/.*)?": "can be thrown away at any time",
        r"/home/[^/]+/\.local/(state|share/Trash|share/jupyter/(runtime|nbsignatures\.db|notebook_secret))(/.*)?": "of running programs",
        r"/home/[^/]+/\.jupyter": "made by JupyterLab when it starts for the second time",
        r"/home/[^/]+/\.(ipython|jupyter)/.*(history\.sqlite|security|migrated|runtime|workspaces).*": "of running programs",
        r"/etc/ssl/certs(/.*)?": "links that the package ca-certificates makes from what is compared",
        r"/srv/fixtures(/.*)?": "the stand-ins of the tests",
        r"/opt/[^/]+/pkgs(/.*)?": "conda's cache of packages",
        r"/opt/[^/]+/(.*/)?ensurepip(/.*)?": "the stand-in for conda copies the server's Python, with what apt has given that by then",
        r"/usr/local/lib/fenton/glances/(pyvenv\.cfg|bin/(?!python)[^/]*)": "of pip, or of uv where that was there in time",
        r"/usr/local/lib/fenton/glances/lib/python[^/]*/site-packages/pip(-[^/]*)?(/.*)?": "only pip brings itself along",
    },
    # Here the thing must be there with owner and mode, but its text is another on every server.
    "texts": {
        r"/etc/fenton/tls/.*|.*\.(pem|key|crt|csr|srl)": "certificates and keys are made on each server",
        r"/etc/(fenton|jupyter|nginx|prometheus|munge|slurm)/.*(passw|htpasswd|token|secret|munge\.key|users).*": "generated secrets",
        r"/etc/jupyter/.*|/etc/fenton/(glances|dashboard|live|notify|istat).*": "hold generated secrets, or sums of them",
        r".*/conda-meta/(history|[^/]*\.json)|.*/envs/\.[^/]*\.json": "hold times; conda's packages are compared by their files",
        r".*\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json|uv_(cache|build)\.json)": "hold times, and where the file came from",
        r"/etc/(mailcap|environment\.d/.*|apt/apt\.conf\.d/01autoremove.*)": "made from what is there, in the order it came",
    },
    "units": {
        r".*\.scope|.*\.(device|swap|slice|mount|automount)|user-runtime-dir@.*|user@.*": "come and go with logins",
        r"(apt-daily|apt-daily-upgrade|dpkg-db-backup|man-db|systemd-tmpfiles-clean|systemd-update-done|ldconfig|systemd-journal-catalog-update"
        r"|systemd-hostnamed|systemd-timedated|systemd-localed|packagekit|polkit|ssh-host-keys|sshd?-keygen|sshd@.*|modprobe@.*"
        r"|systemd-sysusers|systemd-machine-id-commit|systemd-firstboot|systemd-(time-wait-sync|timesyncd)|getty.*)\.service": "run "
        "when their time has come, or at a boot",
        r"(time-(sync|set)|first-boot-complete|network-online|nss-user-lookup|(getty|remote-fs|local-fs)-pre)\.target": "passed at a boot",
        r"systemd-.*\.socket|syslog\.socket": "appear with whoever asked for them last",
    },
    "sockets": {r"(tcp|udp) 127\.0\.0\.11:.*": "the container engine's names", r"udp .*": "of clients that wait for an answer"},
}
# From here on the kernel gives out ports.
EPHEMERAL = 32768


def told(*words):
    """Return the lines that a command prints; none where it fails or is not there."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", env={**os.environ, "LC_ALL": "C.UTF-8"}, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()


def leave(kind):
    """Return a function that tells whether a name of that kind is left out."""
    known = re.compile("|".join("(?:%s)" % each for each in LEFT_OUT[kind]))
    return lambda name: known.fullmatch(name) is not None


def owners():
    """Return functions that name a user and a group by number; a number without a name stands for itself."""
    import grp

    users = {each.pw_uid: each.pw_name for each in pwd.getpwall()}
    groups = {each.gr_gid: each.gr_name for each in grp.getgrall()}
    return lambda number: users.get(number, str(number)), lambda number: groups.get(number, str(number))


# The networks that a container engine gives away. An address of them in somebody's example may be a server's own, so all are one.
POOLS = re.compile(rb"\b(?:172\.(?:1[6-9]|2\d|3[01])|192\.168)(?:\.\d{1,3}){2}\b")


def own_words():
    """Return what stands for this server alone in texts: its addresses, and that of the way out, by which a container's laptop comes."""
    found = re.findall(r"inet6? ([0-9a-f.:]+)/", "\n".join(told("ip", "addr")))
    found += re.findall(r"default via ([0-9a-f.:]+)", "\n".join(told("ip", "route")))
    return sorted({word for word in found if word not in ("127.0.0.1", "::1")}, key=len, reverse=True)


def text_of(path, size, words):
    """Return a short sum of a file's content, with the server's own addresses, and those of POOLS, taken out of small ones."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        if size < 1 << 18:
            text = POOLS.sub(b"ADDRESS", file.read())
            for word in words:
                text = text.replace(word.encode(), b"ADDRESS")
            total.update(text)
        else:
            for block in iter(lambda: file.read(1 << 20), b""):
                total.update(block)
    return total.hexdigest()[:16]


def files(places=None):
    """Return for each file, directory and link below *places*: kind, mode, owner, group, and its content, or where the link leads."""
    outside, textless, words = leave("files"), leave("texts"), own_words()
    user, group = owners()
    found = {}
    for place in places or PLACES:
        for folder, folders, names in os.walk(place):
            folders[:] = [name for name in folders if not outside(os.path.join(folder, name))]
            for path in [os.path.join(folder, name) for name in names + folders] + ([place] if folder == place else []):
                if outside(path):
                    continue
                try:
                    about = os.lstat(path)
                    kind = stat.S_IFMT(about.st_mode)
                    says = [oct(stat.S_IMODE(about.st_mode))[2:], user(about.st_uid), group(about.st_gid)]
                    if kind == stat.S_IFLNK:
                        says = ["link to", os.readlink(path)]
                    elif kind == stat.S_IFREG:
                        content = "text left out" if textless(path) else text_of(path, about.st_size, words)
                        says = ["file", *says, content if about.st_size else "empty"]
                    elif kind == stat.S_IFDIR:
                        says = ["directory", *says]
                    else:
                        says = ["special", *says]
                except FileNotFoundError:
                    continue
                found[path] = " ".join(says)
    return found


def units(*manager):
    """Return the enabling and the activity of each unit of systemd; of what only runs now and then, whether it has failed."""
    outside, found = leave("units"), {}
    for line in told("systemctl", *manager, "list-unit-files", "--no-legend", "--no-pager", "--plain"):
        name, enabled = line.split()[:2]
        if not outside(name):
            found[name] = enabled
    rows = [line.split()[:4] for line in told("systemctl", *manager, "list-units", "--all", "--no-legend", "--no-pager", "--plain")]
    names = [name for name, loaded, *_ in rows if loaded in ("loaded", "masked") and not outside(name) and name.endswith(".service")]
    shown = told("systemctl", *manager, "show", "-p", "Id,Type,RemainAfterExit,TriggeredBy", *names) if names else []
    about = [dict(line.split("=", 1) for line in part.splitlines()) for part in "\n".join(shown).split("\n\n") if part.strip()]
    listening = {name for name, _, active, _ in rows if active == "active"}
    passing = {
        each["Id"]
        for each in about
        if (each.get("Type") == "oneshot" and each.get("RemainAfterExit") == "no") or listening & set(each.get("TriggeredBy", "").split())
    }
    for name, loaded, active, sub in rows:
        if loaded in ("loaded", "masked") and not outside(name):
            now = ("failed" if active == "failed" else "now and then") if name in passing else "%s %s" % (active, sub)
            now = active if name.endswith((".timer", ".socket", ".path")) else now
            if now not in ("inactive dead", "inactive"):
                found[name] = "%s, %s" % (found.get(name, "no file"), now)
    return found


def accounts():
    """Return users and groups: what they are by name, not by number, for numbers of services are given out in the order of arrival."""
    import grp

    shadow = dict(line.split(":")[:2] for line in Path("/etc/shadow").read_text().splitlines()) if os.geteuid() == 0 else {}
    found = {}
    for each in pwd.getpwall():
        word = shadow.get(each.pw_name, "")
        locked = "locked" if word.startswith(("!", "*")) else "no password" if not word else "password"
        number = str(each.pw_uid) if each.pw_uid >= 1000 else "of the system"
        of = sorted(group.gr_name for group in grp.getgrall() if each.pw_name in group.gr_mem or group.gr_gid == each.pw_gid)
        found["user " + each.pw_name] = " ".join([number, each.pw_dir, each.pw_shell, locked, ",".join(of)])
    for each in grp.getgrall():
        found["group " + each.gr_name] = "there"
    return found


def sockets():
    """Return what listens, with its program; ports that the kernel gives out tell nothing."""
    outside, found = leave("sockets"), {}
    for line in told("ss", "-H", "-tulnp"):
        kind, _, _, _, address = line.split()[:5]
        name = "%s %s" % (kind, address)
        if not outside(name) and int(address.rpartition(":")[2]) < EPHEMERAL:
            found[name] = ",".join(sorted(set(re.findall(r'\("([^"]+)"', line))))
    return found


def rules():
    """Return the lines of the firewall; the container engine's own tables are left out."""
    found, table = {}, ""
    for number, line in enumerate(told("nft", "list", "ruleset")):
        table = line.rstrip(" {") if line.startswith("table") else table
        if table and not table.endswith((" nat", " filter")):
            found["%s %03d" % (table, number)] = re.sub(r" counter packets \d+ bytes \d+", "", line.strip())
    first = min([int(name[-3:]) for name in found], default=0)
    return {"%s %03d" % (name[:-4], int(name[-3:]) - first): text for name, text in found.items()}


def packages():
    """Return version and state of each package, and which were asked for."""
    found = {}
    for line in told("dpkg-query", "-W", "-f", "${binary:Package} ${Version} ${db:Status-Abbrev}\n"):
        name, rest = line.split(" ", 1)
        if not rest.strip().endswith("un"):
            found[name] = rest.strip()
    for name in told("apt-mark", "showmanual"):
        found[name] = found.get(name, "") + ", asked for"
    for number, line in enumerate(told("dpkg", "--audit")):
        found["dpkg --audit, line %d" % number] = line
    return found


def take(places=None):
    """Return the state of this server: by kind, what is there by name."""
    people = [each for each in pwd.getpwall() if 1000 <= each.pw_uid < 60000 and os.path.isdir("/run/user/%d/systemd" % each.pw_uid)]
    found = {"packages": packages(), "files": files(places), "units": units()}
    found |= {"accounts": accounts(), "sockets": sockets(), "rules": rules()}
    for each in people:
        found["units of " + each.pw_name] = units("--user", "--machine", each.pw_name + "@")
    found["crontabs"] = {name: "there" for name in told("sh", "-c", "ls /var/spool/cron/crontabs 2>/dev/null")}
    return found


def differences(before, after):
    """Return how *after* differs from *before*, both as :func:`take` returns them: one line each, in order; none where they are alike."""
    found = []
    for kind in sorted({*before, *after}):
        one, other = before.get(kind, {}), after.get(kind, {})
        for name in sorted({*one, *other}):
            if one.get(name) != other.get(name):
                found.append(f"{kind}: {name}: {one.get(name, 'not there')} → {other.get(name, 'not there')}")
    return found


def look(*command, places=None):
    """Return the state of a server.

    :arg command: words that run a program there as root, such as ``docker exec -i NAME``.
    :arg places: directories to look through; PLACES where none are given.
    :raises RuntimeError: where that could not be done, with what was said.
    """
    program = Path(__file__).read_text(encoding="utf-8") + f"\nprint(json.dumps(take({places!r})))\n"
    done = subprocess.run([*command, "python3", "-I", "-"], input=program, capture_output=True, text=True, timeout=180)
    if done.returncode:
        raise RuntimeError("%s: %s" % (" ".join(command), done.stderr.strip()[-1000:]))
    return json.loads(done.stdout)
