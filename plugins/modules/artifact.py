#!/usr/bin/python
"""Documentation of the action plugin ``artifact``; the work is done in plugins/action/artifact.py."""

DOCUMENTATION = r"""
module: artifact
short_description: Hand results of a run to people on the control node
description:
  - Writes below C(artifacts/<host>/) of the repository, or of C(artifacts_dir) where that variable is set (a relative one is
    below the repository). Directories get mode 0700, files 0600. Files with the right text are left alone.
options:
  connection:
    description: Keys that are merged into C(connection.json); what other roles wrote there stays. One without a value is written only where
      it had one.
    type: dict
    default: {}
  files:
    description: Texts by plain file name.
    type: dict
    default: {}
  passwords:
    description:
      - "Users by service: lists of dictionaries with C(name) and, where the password is given, C(password). Of all others the password is
        kept in C(<service>-password-<name>), and made where there is none. Files of users who are gone, or whose password is now given,
        are removed."
      - They are written before any host knows them, so a run that is killed leaves passwords that the next run uses.
      - Set C(no_log).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Hand out the authority's certificate
  artifact:
    connection: {ca: ca.pem}
    files: {ca.pem: "{{ __tls_authority.content | b64decode }}"}

- name: Decide on the passwords, and hand them out
  artifact:
    passwords: {jupyter: "{{ jupyter_users }}"}
  register: __jupyter_handed
  no_log: true
"""

RETURN = r"""
path:
  description: Directory of the host.
  type: str
  returned: always
written:
  description: Names of the files that were not right.
  type: list
  elements: str
  returned: always
removed:
  description: Names of the files of passwords that are no longer true.
  type: list
  elements: str
  returned: always
passwords:
  description: The password of each user, by name.
  type: dict
  returned: when O(passwords) is given
"""
