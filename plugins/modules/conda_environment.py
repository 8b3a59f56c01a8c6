#!/usr/bin/python
"""Make a conda environment what it should be, and change only what differs."""

DOCUMENTATION = r"""
module: conda_environment
short_description: Make a conda environment what it should be
description:
  - Compares Python, the conda packages, the pip packages and the Jupyter kernel of a shared environment with what is wanted and
    changes only what differs. What is there is read from the environment itself (C(conda-meta/*.json), C(*.dist-info) with the files
    and sizes in C(RECORD)), so a change or a loss by hand is found. conda is not started just to look.
  - "What is damaged is repaired: a pip package is installed anew, an environment whose conda part is incomplete or whose creation
    was interrupted is built anew. While it is rebuilt the old one stands aside; if the new one fails, the old one is put back."
  - Packages of conda are never removed for being absent from O(requirements); a package of pip that is not in it is.
  - One at a time changes an environment; a second waits, and then finds nothing left to do. So a task with C(async) and C(poll=0) may
    begin, and a later one with the same options wait for it and tell what went wrong. In the background it also waits for C(conda_base),
    which may have been begun there before it.
options:
  prefix:
    description: Prefix of the conda distribution. The environment lives in C(envs/) below it.
    type: path
    required: true
  name:
    description: Name of the environment and of its kernel.
    type: str
    required: true
  state:
    description: Whether it should be there.
    choices: [present, absent]
    default: present
    type: str
  python:
    description: Version of Python, C(3.13) or C(3.13.5). A change rebuilds the environment.
    type: str
  conda:
    description: Packages that conda installs, as it writes them (C(ffmpeg), C(r-base=4.4)). One that is taken off the list is removed.
    type: list
    elements: str
    default: []
  requirements:
    description: Text of a requirements file in which each package has one version and hashes. Without it pip packages are left alone.
    type: str
  kernel:
    description: Name under which Jupyter shows the environment; empty for no kernel.
    type: str
    default: ""
  kernels:
    description: Directory of the kernels that all users see.
    type: path
    default: /usr/local/share/jupyter/kernels
  index:
    description: Where pip packages come from, the address of a package index; empty for what the host is set up for.
    type: str
    default: ""
  uv:
    description: The uv program.
    type: path
    required: true
author: Fenton
"""

EXAMPLES = r"""
- name: Make the environment for statistics
  conda_environment:
    prefix: /opt/conda
    name: statistics
    python: "3.13"
    conda: [r-base=4.4]
    requirements: "{{ lookup('ansible.builtin.file', 'locks/statistics.txt') }}"
    kernel: Statistics
    uv: /usr/local/lib/fenton/uv/bin/uv
"""

RETURN = r"""
differences:
  description: What differed, one sentence each.
  type: list
  elements: str
  returned: always
"""

import contextlib
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.conda import Failed, alone, behind, conceal, read, taken
from ansible.module_utils.conda_base import lock as lock_of_base
from ansible.module_utils.conda_base import marker
from ansible.module_utils.conda_environment import KERNELS, Builder, lock
from ansible.module_utils.disk import full


def lines(listing):
    """Return a listing as text for a diff."""
    return "".join(line + "\n" for line in listing)


def attend(builder, check_mode):
    """Bring the environment to what is wanted, unless only asked for what would be done.

    :returns: what differed, as sentences, and the diff.
    :raises Failed: with a sentence.
    """
    differences = builder.differences()
    before, kernel = builder.now.listing(), builder.kernel_file()
    after = builder.expected() if differences else before
    texts = [(builder.path, lines(before), lines(after))]
    if builder.kernel_differs():
        texts.append((kernel[0], read(kernel[0]), kernel[1]))
    if not check_mode and (differences or os.path.lexists(builder.aside)):
        builder.apply()
        texts[0] = (builder.path, texts[0][1], lines(builder.now.listing()))
    return differences, [
        {"before_header": path, "after_header": path, "before": old, "after": new} for path, old, new in texts if differences
    ]


def wait(prefix, uv, grace=20, patience=3600):
    """Wait for the distribution and for uv, which may have been begun in the background just before.

    :arg grace: seconds in which that must have come so far that it holds its lock.
    :arg patience: seconds that it may take. Whatever is not there then is what the environment fails at.
    """
    begun = time.monotonic()
    while (past := time.monotonic() - begun) < patience:
        at_work = taken(lock_of_base(prefix))
        if not at_work and (past > grace or (os.path.exists(marker(prefix)) and os.access(uv, os.X_OK))):
            return
        time.sleep(0.1)


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "python": {"type": "str"},
            "conda": {"type": "list", "elements": "str", "default": []},
            "requirements": {"type": "str"},
            "kernel": {"type": "str", "default": ""},
            "kernels": {"type": "path", "default": KERNELS},
            "index": {"type": "str", "default": ""},
            "uv": {"type": "path", "required": True},
        },
        required_if=[["state", "present", ["python"]]],
        supports_check_mode=True,
    )
    conceal(module, module.params["index"])
    os.umask(0o022)
    record = behind()
    if record:
        wait(module.params["prefix"], module.params["uv"])
    try:
        with contextlib.nullcontext() if module.check_mode else alone(lock(module.params)):
            differences, diff = attend(Builder(module.params), module.check_mode)
    except Failed as error:
        module.fail_json(msg=full(error, module.params["prefix"]), **record)
    except OSError as error:
        text = "environment %s: %s; mend the file system, and run again" % (module.params["name"], error)
        module.fail_json(msg=full(text, module.params["prefix"]), **record)
    module.exit_json(changed=bool(differences), differences=differences, diff=diff, **record)


if __name__ == "__main__":
    main()
