"""Say what a long task is at, so that nobody looks at a silent screen."""

DOCUMENTATION = """
name: heartbeat
type: aggregate
short_description: Say what a long task is at
description:
  - A task that takes longer than 15 seconds is named, and again every 15 seconds until it ends. The default output shows a
    task only when its first result is there.
"""

import threading
import time

from ansible.plugins.callback import CallbackBase

EVERY = 15  # seconds


class CallbackModule(CallbackBase):
    """Watch the current task from a thread of its own."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "heartbeat"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.ended = None

    def _watch(self, name, ended):
        begun = time.monotonic()
        while not ended.wait(EVERY):
            self._display.display(f"    … {name}: {time.monotonic() - begun:.0f} s", color="bright gray")

    def v2_playbook_on_task_start(self, task, is_conditional):
        """Watch this task instead of the last one."""
        self.v2_playbook_on_stats(None)
        self.ended = threading.Event()
        threading.Thread(target=self._watch, args=(task.get_name(), self.ended), daemon=True).start()

    def v2_playbook_on_handler_task_start(self, task):
        """Watch this handler."""
        self.v2_playbook_on_task_start(task, False)

    def v2_playbook_on_stats(self, stats):
        """Watch nothing any more."""
        if self.ended:
            self.ended.set()
