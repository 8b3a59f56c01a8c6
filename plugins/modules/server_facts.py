#!/usr/bin/python
"""Documentation of the action plugin ``server_facts``; the work is done in plugins/module_utils/server_facts.py."""

DOCUMENTATION = r"""
module: server_facts
short_description: Gather the few facts that roles need
description:
  - "Sets these of C(ansible_facts), named and filled as C(ansible.builtin.setup) does it: C(distribution), C(distribution_version),
    C(distribution_major_version), C(architecture), C(nodename), C(hostname), C(fqdn), C(virtualization_type), C(default_ipv4) and
    C(default_ipv6) with C(interface), C(address), C(network) and C(prefix), C(system), and C(user_id),
    C(user_uid), C(user_gid) and C(user_dir) of whom the run logs in as."
  - "C(gpus) is ours alone: a list of NVIDIA's display functions as sysfs shows them, sorted by C(address), each with C(device) (its PCI
    id), C(driver) (the kernel driver that holds it; empty for none; C(vfio-pci) where it belongs to a virtual machine, and is to be left
    alone) and C(architecture): C(maxwell), C(pascal), C(volta), C(turing), C(ampere), C(ada), C(hopper), C(blackwell), C(older) for what
    came before, C(unknown) for ids that the table does not have. A host without PCI has an empty list."
  - "C(glibc) is the version of the C library, such as C(2.36); empty where it is another one."
  - "C(placed) lists what lies in the directories where roles put things: a role that is not wanted and has left nothing there is done."
  - A role that needs another one adds it here. Playbooks of others, which gather with C(setup), serve the roles as well, all but
    C(gpus), C(glibc) and C(placed).
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
