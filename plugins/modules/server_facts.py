#!/usr/bin/python
"""Documentation of the action plugin ``server_facts``; the work is done in plugins/module_utils/server_facts.py."""

DOCUMENTATION = r"""
module: server_facts
short_description: Gather the few facts that roles need
description:
  - "Sets these of C(ansible_facts), named and filled as C(ansible.builtin.setup) does it: C(distribution), C(distribution_version),
    C(distribution_major_version), C(architecture), C(nodename), C(hostname), C(fqdn), C(virtualization_type), C(default_ipv4) and
    C(default_ipv6) with C(interface), C(address), C(network) and C(prefix), C(system), and C(user_uid),
    C(user_gid) and C(user_dir) of whom the run logs in as."
  - A role that needs another one adds it here. Playbooks of others, which gather with C(setup), serve the roles as well.
author: Fenton
"""

EXAMPLES = r"""
- name: Look at the server
  server_facts:
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  type: dict
  returned: always
"""
