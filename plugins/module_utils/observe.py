"""Run read-only commands and read files: what the action ``observe`` does on the host."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

AT_A_TIME = 16  # commands; all of a role's, and of all roles' no more than a small server can take


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


def at_rest(entry):
    """Return a module's answer where it would find nothing to do, else None, as where only the module can tell.

    :arg entry: dictionary with one item, the module's name and its arguments.
    """
    ((name, arguments),) = entry.items()
    try:
        return sys.modules["ansible.module_utils." + name].at_rest(arguments)
    except Exception:  # whatever it is, the module will say it better
        return None


def see_all(questions):
    """Look at everything that is asked for, the commands side by side.

    :arg questions: by name the options of the action ``observe``; ``answer`` may hold one more entry like those of ``at_rest``.
    :returns: by name a dict with ``seen``, ``files`` and ``at_rest``, each by name; or with ``answer``, that of :func:`at_rest`.
    """
    environment = surroundings()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        seen = {
            name: {
                word: pool.submit(look, command, given.get("timeout", 20), environment)
                for word, command in given.get("commands", {}).items()
            }
            for name, given in questions.items()
        }
        return {
            name: {"answer": at_rest(given["answer"])}
            if "answer" in given
            else {
                "at_rest": {word: at_rest(entry) is not None for word, entry in given.get("at_rest", {}).items()},
                "files": {word: read(path) for word, path in given.get("files", {}).items()},
                "seen": {word: answer.result() for word, answer in seen[name].items()},
            }
            for name, given in questions.items()
        }
