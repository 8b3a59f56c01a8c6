"""Say why a run did nothing, where Ansible itself does not."""

import atexit
import os
from pathlib import Path

import yaml
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: nothing_done
type: aggregate
short_description: Say why a run did nothing
description:
  - With an inventory in which there is no host, a run skips every play and ends well. With this callback it says so, with the line to add,
    and ends with status 4.
  - When a file of variables is not YAML, Ansible says what it met there, and not in which file. This callback says file and line.
  - Neither costs anything in a run that does something.
"""


class _Loader(yaml.SafeLoader):
    """Refuses what YAML refuses, and a key that stands twice; tags such as ``!vault`` pass."""

    def construct_mapping(self, node, deep=False):
        """Return the mapping, unless a key is there twice."""
        seen = {}
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there already", key.start_mark)
            seen[key.value] = True
        return super().construct_mapping(node, deep)


_Loader.add_multi_constructor("!", lambda loader, suffix, node: getattr(node, "value", None))
_Loader.add_constructor("tag:yaml.org,2002:map", lambda loader, node: loader.construct_mapping(node, deep=True))


def broken(directories):
    """Return a sentence for each file of variables below *directories* that cannot be read.

    :arg directories: of playbooks and inventories; only their ``group_vars`` and ``host_vars`` are looked into.
    """
    said = []
    for directory in dict.fromkeys(Path(each) for each in directories):
        files = (file for kind in ("group_vars", "host_vars") for file in sorted((directory / kind).rglob("*")))
        for file in files:
            if file.suffix not in (".yml", ".yaml", ".json", "") or not file.is_file():
                continue
            try:
                text = file.read_text(encoding="utf-8")
                found = None if text.startswith("$ANSIBLE_VAULT") else yaml.load(text, Loader=_Loader)
            except (OSError, UnicodeDecodeError) as error:
                said.append(f"{file} cannot be read: {error}")
            except yaml.YAMLError as error:
                mark = getattr(error, "problem_mark", None)
                line = f" line {mark.line + 1}" if mark else ""
                said.append(f"{file}{line} is not YAML ({getattr(error, 'problem', error)}); correct it there or in the line above")
            else:
                if not isinstance(found, dict | None):
                    said.append(f"{file} line 1 is a {type(found).__name__} and not variables; write `name: value` lines there")
    return said


class CallbackModule(CallbackBase):
    """Look at the end whether any host took part."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "nothing_done"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.sources, self.directories, self.ended = [], [], False

    def v2_playbook_on_start(self, playbook):
        """Listen for the end."""
        self.directories.append(playbook._basedir)
        atexit.register(self._broke_off, os.getpid())

    def v2_playbook_on_play_start(self, play):
        """Remember where the hosts come from."""
        inventory = play.get_variable_manager()._inventory
        self.sources = [str(source) for source in getattr(inventory, "_sources", None) or ()]

    def v2_playbook_on_stats(self, stats):
        """Fail where there was nobody."""
        self.ended = True
        if stats.processed or stats.dark:
            return
        where = ", ".join(self.sources) or "inventory/hosts.yml"
        self._display.error(
            f"nothing was done: {where} has no host in the groups that this playbook is for; write the name and ansible_host of one "
            "under gpu_servers, cpu_servers or another group there, as inventory/hosts.yml shows.",
            wrap_text=False,
        )
        raise SystemExit(4)

    def _broke_off(self, pid):
        if self.ended or pid != os.getpid():
            return
        for said in broken([*self.directories, *(Path(source).parent for source in self.sources)]):
            self._display.error(said, wrap_text=False)
