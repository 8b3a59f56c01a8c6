#!/usr/bin/python
"""Documentation of the action plugin ``promise``; the work is done in plugins/action/promise.py."""

DOCUMENTATION = r"""
module: promise
short_description: State whether a promise of a role holds
description:
  - The name of the task is the promise, a sentence. All conditions in O(that) must be true.
  - A promise that does not hold fails the task, with what was seen and what to do about it.
  - In a role they stand in C(tasks/promises.yml), and C(ask_promises) evaluates all of them in one task.
options:
  that:
    description: Conditions, as for C(ansible.builtin.assert).
    type: list
    elements: raw
    required: true
  seen:
    description: What was observed; shown when the promise does not hold. Never a secret.
    type: raw
  cure:
    description: The command to run or the line to change when the promise does not hold.
    type: str
    required: true
author: Fenton
"""

EXAMPLES = r"""
- name: promises | Nobody logs in with a password
  promise:
    that: "'passwordauthentication no' in __ssh_seen.seen.settings.lines"
    cure: Run `ansible-playbook site.yml -l {{ inventory_hostname }} --tags ssh`
"""
