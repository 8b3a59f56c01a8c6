#!/usr/bin/python
"""Run several read-only commands in one round trip."""

DOCUMENTATION = r"""
module: observe
short_description: Run several read-only commands in one round trip
description:
  - Runs each command on the host and returns exit status and output of all of them under their names.
  - A command that fails, or is not there, does not fail the task. What the answers mean is for the caller to judge,
    usually with C(promise).
  - It never reports a change and runs in check mode too, so the commands must only look.
options:
  commands:
    description: Commands by name. A list is run as it is; a string is given to C(/bin/sh).
    type: dict
    required: true
  files:
    description: Paths by name; their text is returned under C(files). A missing file gives an empty text.
    type: dict
    default: {}
  timeout:
    description: Seconds that one command may take. One that takes longer is ended and returns 124.
    type: int
    default: 20
author: Fenton
"""

EXAMPLES = r"""
- name: verify | Look at sshd
  observe:
    commands:
      settings: [/usr/sbin/sshd, -T]
      listening: ss -Hltn 'sport = :22'
  register: __ssh_seen
"""

RETURN = r"""
seen:
  description: By name of the command, its C(rc), C(stdout) (stripped), C(stderr) and C(lines).
  type: dict
  returned: always
files:
  description: By name of the file, its text.
  type: dict
  returned: always
"""

import os
import subprocess

from ansible.module_utils.basic import AnsibleModule


def look(command, timeout):
    """Run one command and return what it said.

    :arg command: list of arguments, or a string for ``/bin/sh``.
    :arg timeout: seconds after which the command is ended; it then counts as exit status 124.
    :returns: dict with ``rc``, ``stdout``, ``stderr`` and ``lines``. A program that does not exist gives rc 127.
    """
    environment = dict(os.environ, LC_ALL="C.UTF-8")
    environment["PATH"] = environment.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
    try:
        done = subprocess.run(
            command if isinstance(command, str) else [str(word) for word in command],
            shell=isinstance(command, str),
            capture_output=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
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


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "commands": {"type": "dict", "required": True},
            "files": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    module.exit_json(
        changed=False,
        seen={name: look(command, module.params["timeout"]) for name, command in module.params["commands"].items()},
        files={name: read(path) for name, path in module.params["files"].items()},
    )


if __name__ == "__main__":
    main()
