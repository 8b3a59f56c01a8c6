"""Run the module ``administrators`` only where a look says that there is something to do: plugins/action/look_first.py."""

from ansible.plugins.loader import action_loader

ActionModule = action_loader.get("look_first", class_only=True)
