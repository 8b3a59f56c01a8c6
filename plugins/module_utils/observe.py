"""Run read-only commands and read files: what the action ``observe`` does on the host."""

import os
import re
import subprocess
import sys
import threading


def way_here(pid="self"):
    """Return how the control node came in: ``SSH_CONNECTION`` and, as ``SSH_USER``, who logged in; nothing where it came otherwise.

    sudo takes both away, so they are looked for in the processes that lead here.

    :arg pid: the process to begin with.
    """
    while pid and pid != "1":
        variables = dict(pair.partition("=")[::2] for pair in read("/proc/%s/environ" % pid).split("\0"))
        if "SSH_CONNECTION" in variables:
            return {"SSH_CONNECTION": variables["SSH_CONNECTION"], "SSH_USER": variables.get("USER", "")}
        pid = "".join(re.findall(r"^PPid:\s*(\d+)", read("/proc/%s/status" % pid), re.M))
    return {}


def surroundings():
    """Return the environment of the commands: that of the run, with every directory of programs and the way here."""
    found = dict(os.environ, LC_ALL="C.UTF-8", **way_here())
    found["PATH"] = found.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
    return found


def look(command, timeout, environment=None):
    """Run one command and return what it said.

    :arg command: list of arguments, a string for ``/bin/sh``, or either under ``run`` beside a text ``stdin``.
    :arg timeout: seconds after which the command is ended; it then counts as exit status 124.
    :arg environment: its variables; those of this process by default.
    :returns: dict with ``rc``, ``stdout``, ``stderr`` and ``lines``. A program that does not exist gives rc 127.
    """
    stdin = ""
    if isinstance(command, dict):
        command, stdin = command["run"], command.get("stdin", "")
    try:
        done = subprocess.run(
            command if isinstance(command, str) else [str(word) for word in command],
            shell=isinstance(command, str),
            capture_output=True,
            timeout=timeout,
            input=stdin.encode(),
            env=environment,
        )
        rc, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        rc, out, err = 124, error.stdout or b"", b"no answer within %d s" % timeout
    except OSError as error:
        rc, out, err = 127, b"", str(error).encode()
    out = out.decode("utf-8", "replace").strip()
    return {"rc": rc, "stdout": out, "stderr": err.decode("utf-8", "replace").strip(), "lines": out.splitlines()}


def read(path):
    """Return the text of the file at *path*, or an empty text where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def rests(entry):
    """Tell whether a module would find nothing to do; what only the module can tell counts as something.

    :arg entry: dictionary with one item, the module's name and its arguments.
    """
    ((name, arguments),) = entry.items()
    try:
        return sys.modules["ansible.module_utils." + name].at_rest(arguments) is not None
    except Exception:  # whatever it is, the module will say it better
        return False


def see(given):
    """Look at everything that is asked for, the commands side by side.

    :arg given: the options of the action ``observe``.
    :returns: dict with ``seen``, ``files`` and ``at_rest``, each by name.
    """
    seen, environment = {}, surroundings()

    def one(name, command):
        seen[name] = look(command, given["timeout"], environment)

    threads = [threading.Thread(target=one, args=item) for item in given["commands"].items()]
    for thread in threads:
        thread.start()
    rest = {name: rests(entry) for name, entry in given["at_rest"].items()}
    texts = {name: read(path) for name, path in given["files"].items()}
    for thread in threads:
        thread.join()
    return {"seen": seen, "files": texts, "at_rest": rest}
