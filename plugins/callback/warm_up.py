"""Load once what every task would load for itself."""

import copy
import gc
import sys

from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader, lookup_loader, test_loader

DOCUMENTATION = r"""
name: warm_up
type: aggregate
short_description: Load filters, tests and lookups before the first task
description:
  - Ansible runs each task in a fork of itself, and each fork loads the plugins that its templates need. What the parent has loaded
    before, all forks have. And what the parent has made, their garbage collectors need not walk through, which would copy its memory.
  - Without it everything works as before, only slower (docs/decisions/0010-warm-up.md).
"""


class CallbackModule(CallbackBase):
    """Does its work when it is made, before the first play."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "warm_up"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook):
        """Ask for one plugin of each kind; the loader then has them all."""
        filter_loader.get("present")
        test_loader.get("match")
        for name in ("template", "file"):
            lookup_loader.get(name)
        # For each template the lookup copies all variables deeply, 5 ms and more, and then only adds its own to the copy.
        lookup = sys.modules.get("ansible.plugins.lookup.template")
        if hasattr(lookup, "deepcopy"):
            lookup.deepcopy = copy.copy

    def v2_playbook_on_play_start(self, play):
        """Take what there is now out of the collector's sight."""
        gc.freeze()
