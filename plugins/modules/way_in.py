#!/usr/bin/python
"""Documentation of the action plugin ``way_in``; the work is done in plugins/action/way_in.py."""

DOCUMENTATION = r"""
module: way_in
short_description: Find the user and the port by which the control node gets into a host
description:
  - A fresh server lets in root, or the image's own user, on port 22. After the first run root is out and the port may
    have moved. This finds what holds now, by real logins with the host's own connection settings.
  - The user and the port that the inventory gives come first, then O(users) and O(ports), then what images ship with.
    The first login that can also become root is taken; where the first one can, that is the only attempt, and its
    shared connection serves the rest of the run.
  - User and port that the last run handed out (C(connection.json) of M(artifact)) are candidates too, the port before
    O(ports), so that it can be changed in the inventory alone, the user after O(users).
  - It changes nothing, also in check mode. Give what it returns to C(ansible.builtin.set_fact), which alone may
    overrule the inventory.
  - A host that is not reached over ssh (C(connection) local, docker …) is left alone; RV(user) and RV(port) are then
    absent.
options:
  users:
    description: Users to try after the inventory's, in this order.
    type: list
    elements: str
    default: []
  ports:
    description: Ports to try after the inventory's, in this order.
    type: list
    elements: int
    default: []
  prove:
    description:
      - Try exactly O(users) on O(ports) by a new connection that is not shared, and fail if none of them logs in and
        becomes root.
    type: bool
    default: false
  root:
    description:
      - Whether a login that can become root is wanted. C(false) is for an account on somebody else's host, which takes failed logins
        for an attack; only the user and port of the inventory are tried, and no sudo.
    type: bool
    default: true
  timeout:
    description: Seconds to wait for an answer of each port.
    type: int
    default: 5
author: Fenton
"""

EXAMPLES = r"""
- name: Find the way in
  way_in:
    users: "{{ base_administrators | map(attribute='name') }}"
    ports: ["{{ ssh_port }}"]
  register: __way

- name: Take it for the rest of the run
  ansible.builtin.set_fact:
    ansible_user: "{{ __way.user }}"
    ansible_port: "{{ __way.port }}"
  when: __way.user is defined
"""

RETURN = r"""
user:
  description: The user who gets in.
  type: str
  returned: for hosts that are reached over ssh
port:
  description: The port that answers.
  type: int
  returned: for hosts that are reached over ssh
attempts:
  description: Number of connections that were made.
  type: int
  returned: for hosts that are reached over ssh
"""
