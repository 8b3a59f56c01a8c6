"""State whether a promise of a role holds. Options and examples: plugins/modules/promise.py."""

import os

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Evaluate the conditions on the control node; nothing is run on the host."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Return a result with ``promise`` = name, holds, broken conditions, what was seen, and the cure.

        With ``FENTON_DOCTOR`` in the environment a broken promise does not fail the task: the doctor goes on to the next.
        """
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec={
                "that": {"type": "raw", "required": True},  # as a list it would split a condition at its commas
                "seen": {"type": "raw"},
                "cure": {"type": "str", "required": True},
            }
        )
        conditions = args["that"] if isinstance(args["that"], list) else [args["that"]]
        broken = [str(condition) for condition in conditions if not self._templar.evaluate_conditional(condition)]
        verdict = {"name": self._task.get_name(), "holds": not broken, "broken": broken, "cure": args["cure"].strip()}
        if broken and args["seen"] is not None:
            verdict["seen"] = args["seen"]
        result = {"changed": False, "promise": verdict}
        if broken:
            result["failed"] = "FENTON_DOCTOR" not in os.environ
            result["msg"] = f"This promise does not hold: {verdict['name']}. {verdict['cure']}"
        return result
