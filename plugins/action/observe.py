"""Look at the host in one light round trip. Options and examples: plugins/modules/observe.py.

A module of Ansible brings its whole library and compiles it on the host at every call, some 150 ms of its processor. What only looks
needs none of that: here the looking code itself, plain Python of plugins/module_utils, goes through the open connection to the host's
Python, with the same user and the same become as a module. Why: docs/decisions/0009-look-first.md.

Links to this file serve ``server_facts``, ``write_files``, which writes on the same way, and, looking first, those of our modules that
change things.
"""

import json
import re
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.action import ActionBase

SOURCES = Path(__file__).resolve().parents[1] / "module_utils"
MARK = "fenton-saw:"
PROGRAM = """
import json, sys, types
if sys.version_info < (3, 9):
    sys.exit("it is Python %d.%d, and 3.9 or newer is needed" % sys.version_info[:2])
for name in ("ansible", "ansible.module_utils"):
    sys.modules[name] = types.ModuleType(name)
texts, name, function, given = json.loads({payload!r})
for file, text in texts.items():
    module = sys.modules["ansible.module_utils." + file] = types.ModuleType("ansible.module_utils." + file)
    exec(compile(text, file + ".py", "exec"), module.__dict__)
print({mark!r} + json.dumps(getattr(sys.modules["ansible.module_utils." + name], function)(given)))
"""


def with_what_it_imports(name):
    """Return the sources that the file *name* of plugins/module_utils needs, and its own: text by name, in the order to load."""
    text, found = (SOURCES / f"{name}.py").read_text(encoding="utf-8"), {}
    for other in re.findall(r"^from ansible\.module_utils\.(\w+) import", text, re.M):
        found |= with_what_it_imports(other)
    return {**found, name: text}


class ActionModule(ActionBase):
    """Looks, under each of its names."""

    TRANSFERS_FILES = False
    _supports_async = True

    def look(self, name, function, given, task_vars, more=()):
        """Run one function on the host and return its answer.

        :arg name: file in plugins/module_utils, without ``.py``; it may import others there and the standard library.
        :arg function: its function; it takes one dictionary and returns something that JSON can hold.
        :arg given: the dictionary.
        :arg task_vars: variables of the task; they name the host's Python.
        :arg more: further files of plugins/module_utils that are to be there.
        :raises AnsibleActionFail: when the host has no Python, or the function raises.
        :raises AnsibleConnectionFailure: when the host cannot be reached.
        """
        python = self._templar.template(task_vars.get("ansible_python_interpreter", "auto"))
        python = "/usr/bin/python3" if python.startswith("auto") else python
        texts = {}
        for file in (*sorted(more), name):
            texts |= with_what_it_imports(file)
        payload = json.dumps([texts, name, function, given])
        program = PROGRAM.format(payload=payload, mark=MARK)
        done = self._low_level_execute_command(f"{python} -I -", in_data=program.encode(), sudoable=True)
        before, found, said = done["stdout"].rpartition(MARK)
        if done["rc"] or not found:
            words = (to_text(done["stderr"]) or before).strip().splitlines() or [f"exit status {done['rc']}"]
            host = task_vars["inventory_hostname"]
            other = f"set ansible_python_interpreter of {host} in the inventory to one that is there"
            advice = f"; install python3 there, or {other}" if done["rc"] in (126, 127) else ""
            advice = f"; {other}" if "3.9 or newer" in words[-1] else advice
            raise AnsibleActionFail(f"{host}: {python} could not look ({words[-1]}){advice}")
        return json.loads(said)

    def run(self, tmp=None, task_vars=None):
        """Do what the name says that this file was found under."""
        super().run(tmp, task_vars)
        name = self._task.action.rpartition(".")[2]
        if name == "observe":
            return self.observe(task_vars)
        if name == "write_files":
            return self.write_files(task_vars)
        if name == "server_facts":
            return {"changed": False, "ansible_facts": self.look(name, "facts", {}, task_vars)}
        return self.look_first(name, task_vars)

    def observe(self, task_vars):
        """Return ``seen``, ``files`` and ``at_rest``."""
        _, given = self.validate_argument_spec(
            argument_spec={
                "commands": {"type": "dict", "default": {}},
                "files": {"type": "dict", "default": {}},
                "at_rest": {"type": "dict", "default": {}},
                "timeout": {"type": "int", "default": 20},
            }
        )
        modules = {module for entry in given["at_rest"].values() for module in entry}
        return {"changed": False, **self.look("observe", "see", given, task_vars, modules)}

    def write_files(self, task_vars):
        """Return the answer of the host, which has compared and, unless in check mode, written."""
        file = {"dest": {"required": True}, "state": {"choices": ["file", "directory"], "default": "file"}}
        file |= {"content": {}, "mode": {}, "owner": {}, "group": {}, "validate": {}}
        files = {"type": "list", "elements": "dict", "required": True, "options": file, "required_if": [["state", "file", ["content"]]]}
        _, given = self.validate_argument_spec(argument_spec={"files": files})
        return self.look("place_files", "write", {**given, "check_mode": self._task.check_mode}, task_vars)

    def look_first(self, name, task_vars):
        """Return the module's answer: from a look where there is nothing to do, else from the module itself.

        The look may only say "nothing to do". In every other case, also when it cannot tell, the module decides, with all that Ansible
        brings for it: checked arguments, check mode, diff.
        """
        try:
            answer = self.look(name, "at_rest", self._task.args, task_vars)
        except AnsibleActionFail:
            answer = None
        return answer or self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val)
