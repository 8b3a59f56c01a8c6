#!/usr/bin/python
"""Write several small files, and make directories, in one round trip."""

DOCUMENTATION = r"""
module: write_files
short_description: Write several small files, and make directories, in one round trip
description:
  - What C(ansible.builtin.template) does for one file with two calls to the host, for any number of files with one. The texts come
    from the template lookup.
  - Text, owner, group and mode are compared with what is there; a hand edit of any of them is put right. Where all is right, this
    is found by a look (see C(observe)), and the module itself does not travel.
  - A text that is replaced is kept, with its owner and mode, below C(/var/backups/fenton), which only root reads, under the path of the
    file and the time; for who is not root, below C(~/.local/state/fenton/backups). Of each file the last three are kept.
  - All files that differ are checked before the first is written. A file is replaced whole or not at all, and parent
    directories that are missing are made (0755), by who writes.
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
      state:
        description: C(directory) makes one.
        choices: [file, directory]
        default: file
        type: str
      content:
        description: The whole text of a file.
        type: str
      mode:
        description: Mode as for C(chmod). Where none is given it is C(0644), C(0755) for a directory.
        type: str
      owner:
        description: User who owns the file; who writes it where none is given, which is root under C(become).
        type: str
      group:
        description: Group of the file; that of who writes it where none is given.
        type: str
      validate:
        description: Command with C(%s) for a file with the new text; it must succeed, else nothing is written.
        type: str
author: Fenton
"""

EXAMPLES = r"""
- name: service | Describe the service and its settings
  write_files:
    files:
      - {dest: /etc/x, state: directory, mode: "0711"}
      - {dest: /etc/systemd/system/x.service, content: "{{ lookup('ansible.builtin.template', 'x.service.j2') }}"}
      - {dest: /etc/x/x.conf, content: "{{ lookup('ansible.builtin.template', 'x.conf.j2') }}", mode: "0600", validate: x --check %s}
"""

RETURN = r"""
written:
  description: Paths whose text was, or in check mode would be, written.
  type: list
  elements: str
  returned: always
kept:
  description: By path, where the text lies that was there before.
  type: dict
  returned: always
"""

import os
import shlex
import shutil
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.disk import full
from ansible.module_utils.write_files import belongs, found, mode

BACKUPS = "/var/backups/fenton" if os.geteuid() == 0 else os.path.expanduser("~/.local/state/fenton/backups")
MANY = {
    "dest": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["file", "directory"], "default": "file"},
    "content": {"type": "str"},
    "mode": {"type": "str"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "validate": {"type": "str"},
}


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


def keep(path):
    """Keep a copy of the file at *path*, which is about to be replaced, and return where.

    Not beside it: some directories are read by programs that take every file for a setting.
    """
    os.makedirs(BACKUPS, exist_ok=True)
    os.chmod(BACKUPS, 0o700)
    copy = "%s%s.%s" % (BACKUPS, path, time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime()))
    folder, name = os.path.split(copy)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    shutil.copy2(path, copy)
    about = os.stat(path)
    os.chown(copy, about.st_uid, about.st_gid)
    # The times sort as texts do.
    older = sorted(other for other in os.listdir(folder) if len(other) == len(name) and other[:-18] == name[:-18])
    for other in older[:-3]:
        os.unlink(os.path.join(folder, other))
    return copy


def attributes(module, file):
    """Set owner, group and mode of what is there, and return whether any of them differed."""
    owner, group = belongs(file)
    wanted = {"path": file["dest"], "mode": mode(file), "owner": owner, "group": group}
    wanted |= dict.fromkeys(("selevel", "serole", "setype", "seuser", "attributes"), None) | {"secontext": [None, None, None]}
    return module.set_fs_attributes_if_different(wanted, False)


def write(module, stale):
    """Write the files that differ, and return where the texts lie that were there before.

    :raises OSError: when that is not possible; each file is then whole, the old one or the new.
    """
    kept = {}
    staged = {file["dest"]: stage(module, file) for file in stale if file["state"] == "file"}
    for file in stale:
        directory = file["dest"] if file["state"] == "directory" else os.path.dirname(file["dest"])
        os.makedirs(directory, mode=0o755, exist_ok=True)
        if file["state"] == "file":
            if os.path.isfile(file["dest"]) and not os.path.islink(file["dest"]):
                kept[file["dest"]] = keep(file["dest"])
            module.atomic_move(staged[file["dest"]], file["dest"])
    return kept


def main():
    """Run as an Ansible module."""
    options = {"type": "list", "elements": "dict", "required": True, "options": MANY, "required_if": [["state", "file", ["content"]]]}
    module = AnsibleModule(argument_spec={"files": options}, supports_check_mode=True)
    os.umask(0o022)
    files, diff, stale, kept, changed = module.params["files"], [], [], {}, False
    for file in files:
        before, after = found(file), file["content"] if file["state"] == "file" else "directory\n"
        if before != after:
            stale.append(file)
            diff.append({"before_header": file["dest"], "after_header": file["dest"], "before": before or "", "after": after})
    try:
        if not module.check_mode:
            kept = write(module, stale)
        for file in files:
            if not (module.check_mode and file in stale):
                changed = attributes(module, file) or changed
    except OSError as error:
        places = [module.tmpdir, BACKUPS, *(os.path.dirname(file["dest"]) for file in stale)]
        module.fail_json(msg=full("%s cannot be written: %s" % (", ".join(file["dest"] for file in stale), error), *places))
    module.exit_json(changed=changed or bool(stale), diff=diff, written=[file["dest"] for file in stale], kept=kept)


if __name__ == "__main__":
    main()
