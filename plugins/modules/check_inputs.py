#!/usr/bin/python
"""Documentation of the action plugin ``check_inputs``; the work is done in plugins/action/check_inputs.py."""

DOCUMENTATION = r"""
module: check_inputs
short_description: Check every variable before the first change
description:
  - Reads which roles the playbooks on the command line apply to the host, and validates the variables that are set against
    the argument specs of these roles.
  - Refuses variables that begin with a role's name but are in none of its specs, and names that are almost a known one.
  - Refuses values that need an undefined variable, such as one that a vault should hold.
  - All that is wrong is said at once, each in a sentence with the file and line that sets the variable.
"""

EXAMPLES = r"""
- name: Check the variables of all roles
  check_inputs:
  register: checked
"""

RETURN = r"""
roles:
  description: The roles that the host is about to get, in order.
  type: list
  elements: str
  returned: success
fetching:
  description: Those of them that have something to fetch before the first change.
  type: list
  elements: str
  returned: success
beginning:
  description: Those of them that have something to do beside the installation of packages.
  type: list
  elements: str
  returned: success
"""
