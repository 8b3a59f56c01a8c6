#!/usr/bin/python
"""Documentation of the action plugin ``look_ahead``; the work is done in plugins/action/look_ahead.py."""

DOCUMENTATION = r"""
module: look_ahead
short_description: Ask the first questions of all roles in one round trip
description:
  - Goes the way through C(tasks/guard.yml), C(tasks/fetch.yml) and C(tasks/main.yml) of each role, works out what M(observe) and those of
    our modules that look first would ask on that way, with the variables that the role would see, and asks it all at once. A look then
    takes its answer from here, as long as nothing in the run has changed anything on any host; from the first change on it asks again, as
    does a look that works as another user.
  - Followed are C(import_tasks), C(include_tasks) and C(include_role), where C(when) holds, with C(loop) and C(vars), and C(set_fact).
    A task whose condition or words cannot be worked out yet is passed over; any other task, which would do something, ends the way.
  - What a role's first look asks must not depend on what a task before it registers or sets; C(tests/unit/test_look_ahead.py) holds all
    roles to that.
  - The answers go to the variable C(looked_ahead), so register them there, with C(no_log), since those of some roles are secret.
  - Without the callback C(look_ahead), which takes the answers away when something has changed, it asks nothing.
options:
  roles:
    description: The roles that are about to be applied.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Look at what the roles are about
  look_ahead:
    roles: [base, ssh, jupyter]
  register: looked_ahead
  no_log: true
"""

RETURN = r"""
answers:
  description: What was seen, by the name of the question. That of a role's first look is made from its role, its task and what is passed
    to it, any other from its words.
  type: dict
  returned: success
likely:
  description: The tasks, named like a first look, that will find an answer.
  type: list
  elements: str
  returned: success
identity:
  description: Who looked, the user of the connection and whom it became.
  type: list
  elements: str
  returned: success
"""
