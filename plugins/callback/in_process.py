"""Run what only computes in Ansible's own process, instead of in a fork of it."""

import copy
import functools
import os
import sys

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import action_loader
from ansible.template import Templar

try:
    from ansible._internal._task import TaskContext
    from ansible.executor.process import worker as workers
except ImportError:  # another Ansible, with other ways
    workers = None

DOCUMENTATION = r"""
name: in_process
type: aggregate
short_description: Fork only for what touches a host
description:
  - Ansible runs each task in a fork of itself, which costs three times what most tasks of a second run do. Includes, and actions that
    say of themselves that they need no connection (C(assert), C(set_fact), several of this repository), are carried out in Ansible's own
    process here, by the same code, one after the other. What they load and compile is there for all tasks that follow. So are looks,
    where there is one host only, and those whose answers are known.
  - Without it everything works as before, only slower, and what a program that a lookup starts says on its stderr is not seen
    (docs/decisions/0010-warm-up.md).
"""


@functools.cache
def computes(action):
    """Tell whether an *action* runs on the control node alone."""
    if action in constants._ACTION_ALL_INCLUDES:
        return True
    return not getattr(action_loader.get(action, class_only=True), "_requires_connection", True)


def looks(worker):
    """Tell whether the task of a *worker* only looks, and there is nothing that could go on beside it.

    That is so where there is one host only, and where the answer is known already (M(look_ahead)).
    """
    action = action_loader.get(worker._task.action, class_only=True)
    if getattr(action, "ONLY_LOOKS", False) and len(worker._task_vars["ansible_play_hosts_all"]) == 1:
        return True
    return hasattr(action, "foreseen") and action.foreseen(worker._task, worker._task_vars)


def in_background(worker):
    """Tell whether the task of a *worker* is to go on in the background; that may be a template, and one that cannot be worked out."""
    later = worker._task.async_val
    if not isinstance(later, str):
        return later
    try:
        return Templar(loader=worker._loader, variables=worker._task_vars).template(later)
    except AnsibleError:  # its fork will say it
        return True


class Stream:
    """What writes to a stream as ever, and, as a worker wants to hear, has kept nothing back."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def getvalue(self):
        """Return what a worker would complain of."""
        return ""


def run(worker):
    """Do here what the process of a *worker* does, by its own method.

    Task, host and variables are copies, as in a fork, because it writes into them.
    """
    task = worker._task.copy(exclude_parent=True, exclude_tasks=True)
    task._parent = worker._task._parent
    worker._task, worker._host, worker._task_vars = task, copy.copy(worker._host), dict(worker._task_vars)
    # Since ansible-core 2.20 the context holds more than the task.
    more = {"task_vars": worker._task_vars, "host_name": worker._host.name} if hasattr(TaskContext, "create") else {}
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(Stream, streams)
    try:
        with TaskContext.create(task=task, **more) if more else TaskContext(task):
            worker._run()
    finally:
        sys.stdout, sys.stderr = streams
        workers.current_worker = None


class CallbackModule(CallbackBase):
    """Takes over the start of workers before the first play."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "in_process"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook):
        """Have workers of tasks that only compute run here; all others fork as ever."""
        if workers is None:
            return
        # Ansible keeps them from children of this process; programs that lookups start here need them.
        for number in range(3):
            os.set_inheritable(number, True)
        fork = workers.WorkerProcess.start

        def start(worker):
            task = worker._task
            here = not (task.delegate_to or task.timeout) and (computes(task.action) or looks(worker)) and not in_background(worker)
            return run(worker) if here else fork(worker)

        workers.WorkerProcess.start = start
