"""Look first, and run the module only where there is something to do: for our modules whose plugins/module_utils has ``at_rest``.

The look may only say "nothing to do". In every other case, also when it cannot tell, the module itself decides, with all that Ansible
brings for it: checked arguments, check mode, diff.
"""

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import action_loader


class ActionModule(action_loader.get("observe", class_only=True)):
    """What the modules ``write_files``, ``administrators``, ``conda_base`` and ``conda_environment`` are run by."""

    def run(self, tmp=None, task_vars=None):
        """Return the module's answer."""
        ActionBase.run(self, tmp, task_vars)
        name = self._task.action.rpartition(".")[2]
        try:
            answer = self.look(name, "at_rest", self._task.args, task_vars)
        except AnsibleActionFail:
            answer = None
        return answer or self._execute_module(task_vars=task_vars)
