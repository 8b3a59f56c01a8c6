"""Take away what was seen ahead as soon as something changes."""

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: look_ahead
type: aggregate
short_description: Take away what was seen ahead as soon as something changes
description:
  - M(look_ahead) asks the questions of all roles before the first of them works. What it has seen counts until a task changes something,
    fails or cannot reach its host, on whichever host that is; then this callback takes all answers away, and each look asks anew.
  - It says to M(look_ahead) that it is there; without it that asks nothing.
"""

NONE = {"answers": {}, "likely": [], "identity": []}


class CallbackModule(CallbackBase):
    """Watches all results."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "look_ahead"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.variables, self.hosts = None, set()

    def v2_playbook_on_play_start(self, play):
        """Say to the hosts of the play that somebody watches."""
        self.variables = play.get_variable_manager()
        for host in self.variables._inventory.get_hosts(play.hosts, order=play.order):
            if host.name not in self.hosts:
                self.hosts.add(host.name)
                self.variables.set_nonpersistent_facts(host.name, {"look_ahead_is_watched": True})

    def _forget(self):
        for host in self.hosts:
            self.variables.set_nonpersistent_facts(host, {"looked_ahead": NONE})

    def v2_runner_on_ok(self, result):
        """Forget all where something has changed."""
        if result._result.get("changed"):
            self._forget()

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """Forget all: nobody knows how far it came."""
        self._forget()

    def v2_runner_on_unreachable(self, result):
        """Forget all: nobody knows how far it came."""
        self._forget()
