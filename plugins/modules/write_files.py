#!/usr/bin/python
"""Documentation of the action plugin ``write_files``; the work is done in plugins/module_utils/place_files.py."""

DOCUMENTATION = r"""
module: write_files
short_description: Write several small files, and make directories, in one round trip
description:
  - What C(ansible.builtin.template) does for one file with two calls to the host, for any number of files with one. The texts come
    from the template lookup.
  - Text, owner, group and mode are compared with what is there; a hand edit of any of them is put right.
  - The host needs nothing but Python; no library of Ansible travels there (see C(observe)).
  - A text that is replaced is kept, with its owner and mode, below C(/var/backups/fenton), which only root reads, under the path of the
    file and the time; for who is not root, below C(~/.local/state/fenton/backups). Of each file the last three are kept.
  - All files that differ are checked before the first is written. A file is replaced whole or not at all, and parent
    directories that are missing are made (0755), by who writes.
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      dest:
        description: Absolute path on the host.
        type: path
        required: true
      state:
        description: C(directory) makes one.
        choices: [file, directory]
        default: file
        type: str
      content:
        description: The whole text of a file.
        type: str
      mode:
        description: Octal mode. Where none is given it is C(0644), C(0755) for a directory.
        type: str
      owner:
        description: User who owns the file; who writes it where none is given, which is root under C(become).
        type: str
      group:
        description: Group of the file; that of who writes it where none is given.
        type: str
      validate:
        description: Command with C(%s) for a file with the new text; it must succeed, else nothing is written.
        type: str
author: Fenton
"""

EXAMPLES = r"""
- name: service | Describe the service and its settings
  write_files:
    files:
      - {dest: /etc/x, state: directory, mode: "0711"}
      - {dest: /etc/systemd/system/x.service, content: "{{ lookup('ansible.builtin.template', 'x.service.j2') }}"}
      - {dest: /etc/x/x.conf, content: "{{ lookup('ansible.builtin.template', 'x.conf.j2') }}", mode: "0600", validate: x --check %s}
"""

RETURN = r"""
written:
  description: Paths whose text was, or in check mode would be, written.
  type: list
  elements: str
  returned: always
kept:
  description: By path, where the text lies that was there before.
  type: dict
  returned: always
"""
