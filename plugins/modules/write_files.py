#!/usr/bin/python
"""Write several small files in one round trip."""

DOCUMENTATION = r"""
module: write_files
short_description: Write several small files in one round trip
description:
  - What C(ansible.builtin.template) does for one file with two calls to the host, for any number of files with one. The texts come
    from the template lookup.
  - Text, owner, group and mode are compared with what is there; a hand edit of any of them is put right.
  - All files that differ are checked before the first is written. A file is replaced whole or not at all, and parent
    directories that are missing are made (root, 0755).
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      dest:
        description: Absolute path on the host.
        type: path
        required: true
      content:
        description: The whole text.
        type: str
        required: true
      mode:
        description: Mode as for C(chmod).
        type: str
        default: "0644"
      owner:
        description: User who owns the file.
        type: str
        default: root
      group:
        description: Group of the file.
        type: str
        default: root
      validate:
        description: Command with C(%s) for a file with the new text; it must succeed, else nothing is written.
        type: str
author: Fenton
"""

EXAMPLES = r"""
- name: service | Describe the service and its settings
  write_files:
    files:
      - {dest: /etc/systemd/system/x.service, content: "{{ lookup('ansible.builtin.template', 'x.service.j2') }}"}
      - {dest: /etc/x.conf, content: "{{ lookup('ansible.builtin.template', 'x.conf.j2') }}", mode: "0600", validate: x --check %s}
"""

RETURN = r"""
written:
  description: Paths whose text was, or in check mode would be, written.
  type: list
  elements: str
  returned: always
"""

import os
import shlex
import tempfile

from ansible.module_utils.basic import AnsibleModule

MANY = {
    "dest": {"type": "path", "required": True},
    "content": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0644"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "validate": {"type": "str"},
}


def text_of(path):
    """Return the text of the file at *path*; None where there is no regular file."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def stage(module, file):
    """Write the new text beside nothing, in the module's own directory, and let the checker of the file see it.

    :arg module: the AnsibleModule; it fails with a sentence when the checker refuses the text.
    :arg file: one entry of ``files``.
    :returns: path of the staged file.
    """
    handle, staged = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as new:
        new.write(file["content"])
    if file["validate"]:
        words = [word.replace("%s", staged) for word in shlex.split(file["validate"])]
        rc, out, err = module.run_command(words)
        if rc:
            said = (err or out).strip().replace(staged, file["dest"])
            module.fail_json(msg="%s would not be valid, so nothing was written: %s" % (file["dest"], said or "exit status %d" % rc))
    return staged


def put(module, file, staged=None):
    """Put a staged file in its place, where one is given, and set owner, group and mode.

    :returns: whether owner, group or mode differed.
    """
    if staged:
        os.makedirs(os.path.dirname(file["dest"]), mode=0o755, exist_ok=True)
        module.atomic_move(staged, file["dest"])
    wanted = {"path": file["dest"], **{key: file[key] for key in ("mode", "owner", "group")}}
    # The rest is what Ansible asks for beside these.
    wanted |= dict.fromkeys(("selevel", "serole", "setype", "seuser", "attributes"), None) | {"secontext": [None, None, None]}
    return module.set_fs_attributes_if_different(wanted, False)


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True, "options": MANY}},
        supports_check_mode=True,
    )
    os.umask(0o022)
    diff, stale, changed = [], [], False
    for file in module.params["files"]:
        present = text_of(file["dest"])
        if present != file["content"]:
            stale.append(file)
            diff.append({"before_header": file["dest"], "after_header": file["dest"], "before": present or "", "after": file["content"]})
    # A checker may not be installed yet where nothing is: check mode passes on a bare host.
    staged = {} if module.check_mode else {file["dest"]: stage(module, file) for file in stale}
    for file in module.params["files"]:
        if file in stale and module.check_mode:
            changed = True
        else:
            changed = put(module, file, staged.get(file["dest"])) or file in stale or changed
    module.exit_json(changed=changed, diff=diff, written=[file["dest"] for file in stale])


if __name__ == "__main__":
    main()
