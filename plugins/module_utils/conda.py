"""What the modules for conda share: being alone at something, running a program, writing a file whole, taking back loose permissions."""

import contextlib
import fcntl
import os
import re
import stat
import subprocess
import tempfile
import time
from urllib.parse import urlsplit

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


class Failed(Exception):
    """Something went wrong; the text is the sentence for the person who runs the play."""


def conceal(module, address):
    """Have *module*, an ``AnsibleModule``, print the password in *address* nowhere, if it has one."""
    password = urlsplit(address).password
    if password:
        module.no_log_values.add(password)


def _locked(path):
    """Return the file at *path*, made and locked, or None where somebody holds it."""
    file = open(path, "a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it before has removed it, and what was opened here may be that one.
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None


@contextlib.contextmanager
def alone(path, patience=3600):
    """Hold the lock at *path* while the block runs; a process that ends, however it ends, lets go of it.

    :arg path: of a file for this alone, gone afterwards.
    :arg patience: seconds to wait for who holds it.
    :raises Failed: when it is still held then.
    """
    until = time.monotonic() + patience
    while (file := _locked(path)) is None:
        if time.monotonic() > until:
            text = "another run has been at work for %d minutes; `fuser %s` on the server names it, end it and run again"
            raise Failed(text % (patience // 60, path))
        time.sleep(0.1)
    with file:
        try:
            yield
        finally:
            os.unlink(path)


def taken(path):
    """Tell whether somebody holds the lock at *path*."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def behind():
    """Go behind what runs in front, where Ansible runs this task in the background.

    :returns: what the record of the job, which Ansible leaves on the host, is to say beside the answer: there no arguments, which are long.
    """
    if "ANSIBLE_ASYNC_DIR" not in os.environ:
        return {}
    os.nice(10)
    return {"invocation": {}}


def environment(**more):
    """Return the variables a child gets: a plain system, the system's certificate authorities, and *more*.

    Nothing of the caller's Python or conda gets through, since that would change which files are found.
    """
    kept = {name: value for name, value in os.environ.items() if not re.match(r"(CONDA|PYTHON|PIP|MAMBA|VIRTUAL_ENV|CI$)", name)}
    kept.update(PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL="C.UTF-8", UV_SYSTEM_CERTS="1")
    kept.setdefault("HOME", "/root")
    if os.path.exists(CERTIFICATES):
        kept.update(PIP_CERT=CERTIFICATES, CONDA_SSL_VERIFY=CERTIFICATES)
    kept.update(more)
    return kept


def run(words, what, cwd="/", **more):
    """Run a program to its end and return what it printed.

    :arg words: the command, a list.
    :arg what: what was to be done, as it reads in "… failed".
    :arg more: variables for its environment.
    :raises Failed: when it exits with another status than 0, with the last lines it said.
    """
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        umask=0o022,
    )
    if done.returncode:
        said = [line for line in (done.stderr.strip() or done.stdout.strip()).splitlines() if line.strip()]
        command = " ".join(map(str, words[:6]))
        raise Failed("%s failed: `%s` ended with status %d and said: %s" % (what, command, done.returncode, "\n".join(said[-15:])))
    return done.stdout


def read(path):
    """Return the text of a file, or an empty text where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""


def kept(path, text):
    """Tell whether one of our files is as it should be: its text, readable by all, writable by its owner alone, which is who asks."""
    if os.path.islink(path) or not os.path.isfile(path) or read(path) != text:
        return False
    about = os.stat(path)
    return (stat.S_IMODE(about.st_mode), about.st_uid) == (0o644, os.geteuid())


def write(path, text, mode=0o644):
    """Replace the file at *path* by *text*, whole or not at all; directories above it are made (0755)."""
    folder = os.path.dirname(path)
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for folder in reversed(missing):
        os.mkdir(folder)
        os.chmod(folder, 0o755)
    handle, part = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".fenton-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(part, mode)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def tighten(folder):
    """Let nobody but the owner write below *folder*, and let root own it when root asks; packages bring modes of their own.

    :returns: how many files had to be changed.
    """
    changed = 0
    root = os.geteuid() == 0
    for base, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(base, name))]
        for path in [base] + [os.path.join(base, name) for name in files + links]:
            found = os.lstat(path)
            if root and (found.st_uid or found.st_gid):
                os.lchown(path, 0, 0)
                changed += 1
            if not stat.S_ISLNK(found.st_mode):
                # Readable by all, as far as the owner may; writable by the owner only.
                mode = stat.S_IMODE(found.st_mode)
                wanted = (mode | 0o444 | (0o111 if mode & 0o100 else 0)) & ~0o022
                if mode != wanted:
                    os.chmod(path, wanted)
                    changed += 1
    return changed
