"""Ask the guards of all roles at once, as far as they only compute. Options and examples: plugins/modules/ask_guards.py."""

from pathlib import Path

from ansible.plugins.action import ActionBase

ROLES = Path(__file__).resolve().parents[2] / "roles"


class ActionModule(ActionBase):
    """Evaluate the assertions of the guards on the control node; nothing is run on the host."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Return ``left``, role and file of what is to be run: guards that are not content, and parts that look at the host."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec={"roles": {"type": "list", "elements": "str", "required": True}})
        guarded = [role for role in args["roles"] if (ROLES / role / "tasks/guard.yml").exists()]
        left = [{"role": role, "file": file} for role in guarded for file in self._left(role, {}, task_vars, {})]
        return {"changed": False, "left": left}

    def _left(self, role, below, task_vars, above):
        """Return the files of *role* that are to be run: none, those that its guard includes, or the guard itself, where only it can tell.

        :arg below: defaults of the roles that include this one; they count for less than the host's variables.
        :arg above: variables of these roles and of the task that includes; they count for more.
        """
        files = []
        below = {**below, **self.loaded(role, "defaults/main.yml")}
        above = {**self.loaded(role, "vars/main.yml"), **above}
        for task in self.loaded(role, "tasks/guard.yml"):
            inner = {**above, **task.get("vars", {})}
            templar = self.templar_of(role, below, task_vars, inner)
            try:
                if not self.all(templar, task.get("when", [])):
                    continue
                included = task.get("ansible.builtin.include_role", {})
                if "ansible.builtin.include_tasks" in task:
                    files.append(task["ansible.builtin.include_tasks"])
                    passed = "vars" not in task
                elif included.get("tasks_from") == "guard":
                    passed = not self._left(included["name"], below, task_vars, inner)
                else:
                    passed = "ansible.builtin.assert" in task and self.all(templar, task["ansible.builtin.assert"]["that"])
            except Exception:  # whatever it is, the guard itself will say it better
                passed = False
            if not passed:
                return ["guard.yml"]
        return files

    def templar_of(self, role, below, task_vars, above):
        """Return what templates as a task of *role* would.

        :arg below: variables that count for less than the host's, beside the role's defaults.
        :arg above: variables that count for more, beside the role's own.
        """
        where = {"role_path": str(ROLES / role), "role_name": role, "ansible_search_path": [str(ROLES / role)]}
        low, high = self.loaded(role, "defaults/main.yml"), self.loaded(role, "vars/main.yml")
        return self._templar.copy_with_new_env(available_variables={**below, **low, **task_vars, **high, **above, **where})

    def loaded(self, role, file):
        """Return what stands in a *file* of a *role*, or nothing where there is none."""
        path = ROLES / role / file
        return self._loader.load_from_file(str(path), unsafe=True, trusted_as_template=True) if path.exists() else {}

    @staticmethod
    def all(templar, conditions):
        """Tell whether all *conditions*, one or a list, hold."""
        return all(templar.evaluate_conditional(each) for each in (conditions if isinstance(conditions, list) else [conditions]))
