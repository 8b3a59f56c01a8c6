#!/usr/bin/python
"""Let a person's ssh configuration include the files of config.d, and touch nothing else of it."""

DOCUMENTATION = r"""
module: ssh_include
short_description: Let a person's ssh configuration include the files of config.d
description:
  - Puts one line C(Include config.d/*.conf), with a comment above it, at the top of the file; there it holds for all hosts and goes before
    whatever else says something about the same host. Where a line that somebody else wrote includes the files already, nothing is done.
  - Everything else stays as it is, byte for byte. With O(state=absent) the file is what it was before, and gone if it was made here.
  - A link stays a link; what it leads to is changed.
options:
  path:
    description: The configuration, C(~/.ssh/config). Its directory is made (0700) where it is missing.
    type: path
    required: true
  files:
    description: Files beside it that must be included.
    type: list
    elements: path
    default: []
  state:
    description: Whether the line is to be there.
    choices: [present, absent]
    default: present
    type: str
author: Fenton
"""

EXAMPLES = r"""
- name: alias | Let ssh read the alias
  ssh_include:
    path: /home/ada/.ssh/config
    files: [/home/ada/.ssh/config.d/fenton.conf]
"""

import os
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ssh_include import read, wanted


def write(path, text):
    """Replace the file at *path*, or the one that a link there leads to, whole or not at all; no *text* removes it.

    :raises OSError: when that is not possible; the file is then as it was.
    """
    path = os.path.realpath(path)
    if text is None:
        os.unlink(path)
        return
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".config.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
        if os.path.exists(path):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "files": {"type": "list", "elements": "path", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    path = module.params["path"]
    try:
        before = read(path)
        after = wanted(before, module.params)
        if after != before and not module.check_mode:
            write(path, after)
    except OSError as error:
        what = "put `Include config.d/*.conf` at its top" if module.params["state"] == "present" else "take the Include line out"
        module.fail_json(msg="%s cannot be changed (%s), so it stays as it is; %s yourself" % (path, error.strerror, what))
    texts = [(text or b"").decode("utf-8", "replace") for text in (before, after)]
    module.exit_json(changed=after != before, diff={"before_header": path, "after_header": path, "before": texts[0], "after": texts[1]})


if __name__ == "__main__":
    main()
