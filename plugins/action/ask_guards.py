"""Ask the guards of all roles at once, as far as they only compute. Options and examples: plugins/modules/ask_guards.py."""

from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

ROLES = Path(__file__).resolve().parents[2] / "roles"


class ActionModule(ActionBase):
    """Evaluate the assertions of the guards on the control node; nothing is run on the host."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Return ``left``, the roles whose guards are not content, or want to look at the host: those are to be run in full."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec={"roles": {"type": "list", "elements": "str", "required": True}})
        guarded = [role for role in args["roles"] if (ROLES / role / "tasks/guard.yml").exists()]
        return {"changed": False, "left": [role for role in guarded if not self._content(role, {}, task_vars, {})]}

    def _content(self, role, below, task_vars, above):
        """Tell whether the guard of *role* has nothing to say; only what it would surely pass counts.

        :arg below: defaults of the roles that include this one; they count for less than the host's variables.
        :arg above: variables of these roles and of the task that includes; they count for more.
        """
        below = {**below, **self._loaded(role, "defaults/main.yml")}
        where = {"role_path": str(ROLES / role), "role_name": role, "ansible_search_path": [str(ROLES / role)]}
        above = {**self._loaded(role, "vars/main.yml"), **above, **where}
        for task in self._loaded(role, "tasks/guard.yml"):
            inner = {**above, **task.get("vars", {})}
            templar = self._templar.copy_with_new_env(available_variables={**below, **task_vars, **inner})
            try:
                if not self._all(templar, task.get("when", [])):
                    continue
                included = task.get("ansible.builtin.include_role", {})
                if included.get("tasks_from") == "guard":
                    passed = self._content(included["name"], below, task_vars, inner)
                else:
                    passed = "ansible.builtin.assert" in task and self._all(templar, task["ansible.builtin.assert"]["that"])
            except AnsibleError:  # the guard itself will say it better
                return False
            if not passed:
                return False
        return True

    def _loaded(self, role, file):
        """Return what stands in a *file* of a *role*, or nothing where there is none."""
        path = ROLES / role / file
        return self._loader.load_from_file(str(path), unsafe=True, trusted_as_template=True) if path.exists() else {}

    @staticmethod
    def _all(templar, conditions):
        """Tell whether all *conditions*, one or a list, hold."""
        return all(templar.evaluate_conditional(each) for each in (conditions if isinstance(conditions, list) else [conditions]))
