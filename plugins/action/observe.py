"""Look at the host in one light round trip. Options and examples: plugins/modules/observe.py.

A module of Ansible brings its whole library and compiles it on the host at every call, some 150 ms of its processor. What only looks
needs none of that: here the looking code itself, plain Python of plugins/module_utils, goes through the open connection to the host's
Python, with the same user and the same become as a module. Why: docs/decisions/0009-look-first.md.

Links to this file serve ``server_facts``, ``write_files``, which writes on the same way, and, looking first, those of our modules that
change things. What ``look_ahead`` has asked already, and nothing in this run can have changed since, is not asked again.
"""

import hashlib
import json
import re
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.action import ActionBase

SOURCES = Path(__file__).resolve().parents[1] / "module_utils"
MARK = "fenton-saw:"
NAME = __name__.rpartition(".")[2]  # under which this file was found
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
    ONLY_LOOKS = NAME in ("observe", "server_facts")  # see callback/in_process.py

    @classmethod
    def finalize_task_arg(cls, name, value, templar, context):
        """Leave what ``observe`` asks as it is written: it is worked out in :meth:`observe`, where it has to be asked."""
        return value if NAME == "observe" else super().finalize_task_arg(name, value, templar, context)

    # What look_ahead has seen. Whether it still counts, its callback sees to.

    @classmethod
    def foreseen(cls, task, task_vars):
        """Tell whether there is, or is likely to be, an answer for this very *task*."""
        ahead = task_vars.get("looked_ahead", {})
        return bool(ahead.get("answers")) and cls.place_of(task) in ahead["likely"]

    @classmethod
    def place_of(cls, task):
        """Return the name of the answer for a *task*; None for one that is in no role, goes to another host, or waits for something."""
        if not task._role or task.delegate_to or task.until:
            return None
        play, role = task._parent._play, task._role
        # What a play or a role is given counts as passed to each of its tasks: look_ahead, in a play of its own, does not see it.
        passed = {**play.get_vars(), **role.get_role_params(), **role.vars, **task.get_vars()}
        passed |= {file: "" for file in play.get_vars_files()}
        # Beside that there is what loops leave: Ansible's, and preflight.yml's over the roles.
        passed = {name: value for name, value in passed.items() if not re.match("_?ansible_|(guard|role)$", str(name))}
        return cls.place(task._role.get_name(), task.name, passed)

    def known(self, name, task_vars):
        """Return the answer of this *name*, where there is one and the user has looked who is about to look; else None."""
        ahead = task_vars.get("looked_ahead", {})
        answer = ahead.get("answers", {}).get(name)
        return answer if answer and ahead["identity"] == self.identity() else None

    @classmethod
    def place(cls, role, name, variables):
        """Return the name of the answer for a task: its own, and what is passed to it, as it is written."""
        return cls.digest(f"{role}: {name}", variables)

    @staticmethod
    def digest(action, given):
        """Return the name of the answer for an *action* with the arguments *given*."""
        try:
            text = json.dumps([action, given], sort_keys=True, default=repr)
        except TypeError:  # keys of several kinds have no order
            text = repr([action, given])
        return hashlib.sha256(text.encode()).hexdigest()

    def identity(self):
        """Return who looks at the host: the user of the connection, and whom it becomes."""
        become = self._connection.become
        user = self._connection.get_option("remote_user") if self._connection.has_option("remote_user") else None
        return [user, become.name, become.get_option("become_user")] if become else [user]

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
        if NAME == "observe":
            return self.observe(task_vars)
        if NAME == "write_files":
            return self.write_files(task_vars)
        if NAME == "server_facts":
            return {"changed": False, "ansible_facts": self.look(NAME, "facts", {}, task_vars)}
        return self.look_first(NAME, task_vars)

    def observe(self, task_vars):
        """Return ``seen``, ``files`` and ``at_rest``."""
        place = self.place_of(self._task)
        answer = self.known(place, task_vars)
        if not answer:
            self._task.args = self._templar.template(self._task.args)
            answer = place and self.known(self.digest("observe", self._task.args), task_vars)
        if answer:
            return {"changed": False, "attempts": 0, **answer}
        _, given = self.validate_argument_spec(
            argument_spec={
                "commands": {"type": "dict", "default": {}},
                "files": {"type": "dict", "default": {}},
                "at_rest": {"type": "dict", "default": {}},
                "timeout": {"type": "int", "default": 20},
            }
        )
        return {"changed": False, **self.ask_all({"": given}, task_vars)[""]}

    def ask_all(self, questions, task_vars):
        """Ask several times what ``observe`` asks, in one round trip, and return the answers by name.

        :arg questions: options of ``observe`` by name.
        """
        asked = (entry for given in questions.values() for entry in (*given.get("at_rest", {}).values(), given.get("answer", {})))
        modules = {module for entry in asked for module in entry}
        return self.look("observe", "see_all", questions, task_vars, modules)

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
        known = self.place_of(self._task) and self.known(self.digest(name, self._task.args), task_vars)
        if known and known["answer"]:
            return {**known["answer"], "attempts": 0}
        try:
            answer = self.look(name, "at_rest", self._task.args, task_vars)
        except AnsibleActionFail:
            answer = None
        return answer or self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val)
