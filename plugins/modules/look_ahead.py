#!/usr/bin/python
"""Documentation of the action plugin ``look_ahead``; the work is done in plugins/action/look_ahead.py."""

DOCUMENTATION = r"""
module: look_ahead
short_description: Ask the first questions of all roles in one round trip
description:
  - Goes the way through C(tasks/main.yml) of each role to its first M(observe), which is the role's look, and asks all of these at once,
    with the variables that the roles would see. The look itself then takes its answer from here, as long as nothing in the run has changed
    anything on any host; from the first change on it asks again, as does a look that works as another user.
  - Followed are C(import_tasks) and C(include_tasks) where their C(when) holds; C(assert) and C(debug) are passed over. Where there is
    anything else before the look, or its way or words cannot be worked out yet, the role asks itself, when its turn comes.
  - What a look asks must not depend on what a task before it registers or sets; C(tests/unit/test_look_ahead.py) holds all roles to it.
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
  description: What M(observe) would return, by C(role) and name of its task.
  type: dict
  returned: success
identity:
  description: Who looked, the user of the connection and whom it became.
  type: list
  elements: str
  returned: success
"""
