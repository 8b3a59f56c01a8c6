#!/usr/bin/python
"""Make the accounts of administrators what a list says, in one round trip."""

DOCUMENTATION = r"""
module: administrators
short_description: Make the accounts of administrators what a list says
description:
  - Everyone in O(present) has an account with a home, a shell that lets in, the O(groups), and exactly the listed keys.
  - Everyone in O(absent) has no keys, no groups beyond the own one, an account that is locked and expired, no lingering and no
    process. Services of the system that run under the account are stopped and switched off when it is locked; what is started under it
    later is left alone. Home and files stay. Names without an account are left alone.
  - Someone removed earlier and present again gets the account back as it was.
options:
  present:
    description: By name, the list of public keys (lines of C(authorized_keys)).
    type: dict
    default: {}
  absent:
    description: Names of those who are to go.
    type: list
    elements: str
    default: []
  groups:
    description: Groups that everyone in O(present) belongs to, beside those they are in. They must exist.
    type: list
    elements: str
    default: []
author: Fenton
"""

EXAMPLES = r"""
- name: Make the accounts
  administrators:
    present: {ada: ["ssh-ed25519 AAAA… ada@home"]}
    absent: [tom]
    groups: [sudo]
"""

RETURN = r"""
done:
  description: What was, or in check mode would be, done, one sentence each.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.administrators import apply
from ansible.module_utils.basic import AnsibleModule


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "present": {"type": "dict", "default": {}, "no_log": False},
            "absent": {"type": "list", "elements": "str", "default": []},
            "groups": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    done = apply(module, module.params)
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
