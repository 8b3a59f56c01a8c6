"""State whether what a role promises holds. Options and examples: plugins/modules/promise.py and ask_promises.py, a link to this file."""

import os
from pathlib import Path

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Evaluate the conditions on the control node; nothing is run on the host."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Return ``promises``, a list of dictionaries: name, whether it holds, the conditions that do not, what was seen, and the cure.

        A broken promise fails the task, which then returns nothing but the broken ones. With ``FENTON_DOCTOR`` in the environment it does
        not: the doctor goes on to the next role.
        """
        super().run(tmp, task_vars)
        if self._task.action == "promise":
            _, promise = self.validate_argument_spec(
                argument_spec={
                    "that": {"type": "raw", "required": True},  # as a list it would split a condition at its commas
                    "seen": {"type": "raw"},
                    "cure": {"type": "str", "required": True},
                }
            )
            verdicts = [self._verdict(self._task.name, promise, self._templar)]
        else:
            self.validate_argument_spec(argument_spec={})
            verdicts = list(self._all(Path(task_vars["role_path"]) / "tasks/promises.yml", task_vars))
        broken = [verdict for verdict in verdicts if not verdict["holds"]]
        if not broken or "FENTON_DOCTOR" in os.environ:
            return {"changed": False, "promises": verdicts}
        words = [f"This promise does not hold: {verdict['name']}. {verdict['cure']}" for verdict in broken]
        return {"failed": True, "msg": "\n".join(words), "promises": broken}

    def _all(self, path, task_vars):
        """Yield the verdicts on the promises that stand, as tasks, in the file at *path*.

        :raises AnsibleActionFail: when a task there is no promise, or has more than ``when`` and ``vars``.
        """
        for task in self._loader.load_from_file(str(path), unsafe=True, trusted_as_template=True):
            more = task.keys() - {"name", "promise", "when", "vars"}
            if more or not task.keys() >= {"name", "promise"} or not {"that", "cure"} <= task["promise"].keys() <= {"that", "seen", "cure"}:
                raise AnsibleActionFail(
                    f"{path}: {task.get('name', task)!r} is not only a promise; what else is to be done belongs in verify.yml"
                )
            templar = self._templar.copy_with_new_env(available_variables={**task_vars, **task.get("vars", {})})
            if all(templar.evaluate_conditional(each) for each in as_list(task.get("when", []))):
                promise = {"seen": None, **task["promise"], "cure": templar.template(task["promise"]["cure"]) or ""}
                yield self._verdict(templar.template(task["name"]), promise, templar)

    @staticmethod
    def _verdict(name, promise, templar):
        """Return what is to be said of one *promise*. A condition that cannot be evaluated does not hold."""
        broken = []
        for condition in as_list(promise["that"]):
            try:
                if not templar.evaluate_conditional(condition):
                    broken.append(str(condition))
            except AnsibleError as error:
                broken.append(f"{condition} ({error})")
        verdict = {"name": name.rpartition(" | ")[2], "holds": not broken, "broken": broken, "cure": promise["cure"].strip()}
        if broken and promise["seen"] is not None:
            try:
                verdict["seen"] = templar.template(promise["seen"])
            except AnsibleError as error:
                verdict["seen"] = str(error)
        return verdict


def as_list(given):
    """Return one or several conditions as a list."""
    return given if isinstance(given, list) else [given]
