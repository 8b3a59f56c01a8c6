#!/usr/bin/python
"""Documentation of the action plugin ``ask_guards``; the work is done in plugins/action/ask_guards.py."""

DOCUMENTATION = r"""
module: ask_guards
short_description: Ask the guards of all roles at once, as far as they only compute
description:
  - Reads C(tasks/guard.yml) of each role and evaluates its assertions with the variables that the role would see, all in one task.
  - It only tells which guards have nothing to say. One that objects or cannot be evaluated is to be run in full afterwards, and says
    itself what is wrong.
  - Understood are C(ansible.builtin.assert), C(ansible.builtin.include_role) of another role's guard, C(when) and C(vars). What a guard
    includes by C(ansible.builtin.include_tasks), such as its look at the host, is left, and the rest need not be run again. A guard with
    any other task is left as a whole, unless that task's C(when) does not hold.
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
  description: What is to be run in full.
  type: list
  elements: dict
  returned: success
  contains:
    role: {description: The role., type: str}
    file: {description: "Its file of tasks, C(guard.yml) or one that this includes.", type: str}
"""
