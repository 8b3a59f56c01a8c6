#!/usr/bin/python
"""Documentation of the action plugin ``ask_guards``; the work is done in plugins/action/ask_guards.py."""

DOCUMENTATION = r"""
module: ask_guards
short_description: Ask the guards of all roles at once, as far as they only compute
description:
  - Reads C(tasks/guard.yml) of each role and evaluates its assertions with the variables that the role would see, all in one task.
  - It only tells which guards have nothing to say. One that objects, cannot be evaluated, or looks at the host is to be run in full
    afterwards, and says itself what is wrong.
  - Understood are C(ansible.builtin.assert), C(ansible.builtin.include_role) of another role's guard, C(when) and C(vars). A guard with
    any other task is left, unless that task's C(when) does not hold.
options:
  roles:
    description: The roles to ask, in order.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Ask the guards of all roles
  ask_guards:
    roles: [base, ssh, jupyter]
  register: guards
"""

RETURN = r"""
left:
  description: Those whose guards are to be run in full.
  type: list
  elements: str
  returned: success
"""
