"""Write what a run did as JSON: seconds and tasks per role, calls to the host, promises, changes, failures.

``FENTON_REPORT`` names the file; without it the callback does nothing. ``make demo``, ``make doctor`` and ``make bench``
read it.
"""

DOCUMENTATION = """
name: report
type: aggregate
short_description: Write what a run did as JSON
description:
  - Writes the file that the environment variable E(FENTON_REPORT) names; without it, does nothing.
"""

import json
import os
import time

from ansible.plugins.callback import CallbackBase

# Actions that stay on the control node.
CONTROL = {
    "add_host", "artifact", "ask_guards", "ask_promises", "assert", "check_inputs", "debug", "fail", "group_by", "import_role",
    "import_tasks", "include_role", "include_tasks", "include_vars", "meta", "pause", "promise", "set_fact", "validate_argument_spec",
}  # fmt: skip


class CallbackModule(CallbackBase):
    """Collect while the play runs, write at its end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "report"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.path = os.environ.get("FENTON_REPORT")
        self.disabled = not self.path
        self.begun = self.last = time.monotonic()
        self.started = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self.role = None
        self.roles, self.promises, self.failures = {}, [], []

    def _account(self):
        """Put the seconds since the last task on the account of its role."""
        now = time.monotonic()
        if self.role is not None:
            self.roles[self.role]["seconds"] += now - self.last
        self.last = now

    def v2_playbook_on_task_start(self, task, is_conditional):
        """Open the account of the task's role."""
        self._account()
        self.role = task._role.get_name() if task._role else "play"
        entry = self.roles.setdefault(self.role, {"seconds": 0.0, "tasks": 0, "on_host": 0, "calls": 0, "changed": 0})
        entry["tasks"] += 1

    def v2_playbook_on_handler_task_start(self, task):
        """Open the account of the handler's role."""
        self.v2_playbook_on_task_start(task, False)

    def _count(self, result, failed=False):
        task, data = result._task, result._result
        entry = self.roles[self.role]
        # What look_ahead has asked needs no attempt any more.
        items = [item for item in data.get("results", [data]) if isinstance(item, dict) and not item.get("skipped")]
        items = [item for item in items if item.get("attempts") != 0]
        if task.action.rpartition(".")[2] not in CONTROL and task.delegate_to not in ("localhost", "127.0.0.1") and items:
            entry["on_host"] += 1
            entry["calls"] += len(items)
        entry["changed"] += bool(data.get("changed"))
        for promise in data.get("promises", []):
            self.promises.append({"host": result._host.get_name(), "role": self.role, **promise})
        if failed:
            text = "the answer is hidden" if task.no_log else str(data.get("msg", ""))
            self.failures.append({"host": result._host.get_name(), "role": self.role, "task": task.get_name(), "msg": text})

    def v2_runner_on_ok(self, result):
        """Count a task that went well."""
        self._count(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """Count a task that failed."""
        self._count(result, failed=not ignore_errors)

    def v2_runner_on_unreachable(self, result):
        """Count a host that does not answer."""
        self._count(result, failed=True)

    def v2_playbook_on_stats(self, stats):
        """Write the file."""
        self._account()
        self.role = None
        for entry in self.roles.values():
            entry["seconds"] = round(entry["seconds"], 2)
        report = {
            "started": self.started,
            "seconds": round(time.monotonic() - self.begun, 2),
            "hosts": {host: stats.summarize(host) for host in sorted(stats.processed)},
            "roles": self.roles,
            "promises": self.promises,
            "failures": self.failures,
        }
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)
            file.write("\n")
