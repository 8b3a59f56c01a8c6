#!/usr/bin/python
"""Documentation of the action plugin ``observe``; the work is done in plugins/module_utils/observe.py."""

DOCUMENTATION = r"""
module: observe
short_description: Run several read-only commands in one round trip
description:
  - Runs each command on the host and returns exit status and output of all of them under their names.
  - A command that fails, or is not there, does not fail the task. What the answers mean is for the caller to judge,
    usually with C(promise).
  - It never reports a change and runs in check mode too, so the commands must only look.
  - The host needs nothing but Python; no library of Ansible travels there, so this costs a third of what a module does.
options:
  commands:
    description:
      - Commands by name. A list is run as it is; a string is given to C(/bin/sh); where a command reads its standard input, a dictionary
        holds the command under C(run) and the text under C(stdin). They run side by side.
      - Where the run came by ssh, C(SSH_CONNECTION) tells from where and to where as sshd(8) has it, and C(SSH_USER) who logged in, also
        where sudo has taken the variables of the login away.
    type: dict
    default: {}
  files:
    description: Paths by name; their text is returned under C(files). A missing file gives an empty text.
    type: dict
    default: {}
  at_rest:
    description:
      - By a name, one of the modules C(write_files), C(ssh_include), C(administrators), C(conda_base) and C(conda_environment) with its
        arguments. Whether it would find nothing to do is returned under C(at_rest).
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
at_rest:
  description: By name, whether that module would find nothing to do.
  type: dict
  returned: always
"""
