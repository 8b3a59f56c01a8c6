"""Gather what roles need to know of a server. Options and examples: plugins/modules/server_facts.py."""

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import action_loader


class ActionModule(action_loader.get("observe", class_only=True)):
    """Return the facts as ``ansible_facts``."""

    def run(self, tmp=None, task_vars=None):
        """Return the facts."""
        ActionBase.run(self, tmp, task_vars)
        return {"changed": False, "ansible_facts": self.look("server_facts", "facts", {}, task_vars)}
