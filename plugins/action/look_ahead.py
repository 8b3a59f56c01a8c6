"""Ask the first questions of all roles in one round trip. Options and examples: plugins/modules/look_ahead.py."""

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import action_loader

FILES = ("ansible.builtin.import_tasks", "ansible.builtin.include_tasks")
LOOKING_FIRST = ("administrators", "conda_base", "conda_environment", "ssh_include")
SAYING = ("ansible.builtin.assert", "ansible.builtin.debug")
# What a role does when it has looked, and what it promises then.
LEFT = ("change.yml", "verify.yml")
# The files of a role that a run comes to, in this order: preflight.yml's, then the role itself.
ENTRIES = ("guard.yml", "fetch.yml", "main.yml")


class ActionModule(ActionBase):
    """Work out the questions on the control node, as ``ask_guards`` does with assertions, and let ``observe`` ask them."""

    TRANSFERS_FILES = False
    ONLY_LOOKS = True  # see callback/in_process.py

    def run(self, tmp=None, task_vars=None):
        """Return ``answers``, by what was asked, ``likely``, the tasks that will ask it, and ``identity``, who asked.

        There are none where nobody would notice that they are out of date (the callback of this name is off), nor for a single question,
        which saves nothing.
        """
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec={"roles": {"type": "list", "elements": "str", "required": True}})
        self._guards, self._observe = (self._other(name) for name in ("ask_guards", "observe"))
        self._host, self._roles = task_vars, args["roles"]
        self._questions, self._likely = {}, {}
        for role in self._roles if task_vars.get("look_ahead_is_watched") else ():
            for entry in ENTRIES:
                self._role, self._sure = role, True
                self._walk(role, entry, {}, {}, {})
        try:
            answers = self._observe.ask_all(self._questions, task_vars) if len(self._questions) > 1 else {}
        except AnsibleError:  # the first look will say it, and this task may not, whose answers are nobody's business
            answers = {}
        # Where a module has something to do it is no look, and not foreseen.
        likely = [place for place, name in self._likely.items() if answers.get(name, {}).get("answer", name in answers)]
        return {"changed": False, "answers": answers, "likely": likely, "identity": self._observe.identity()}

    def _other(self, name):
        """Return another action, of this *name*, that works for this task."""
        return action_loader.get(
            name, task=self._task, connection=self._connection, play_context=self._play_context, loader=self._loader,
            templar=self._templar, shared_loader_obj=self._shared_loader_obj,
        )  # fmt: skip

    def _walk(self, role, file, below, above, given):
        """Take down what the tasks in *file* of *role* ask before anything depends on an answer.

        :arg below: variables that count for less than the host's: defaults of the roles that include this one.
        :arg above: variables that count for more: those of these roles, and what was set on the way.
        :arg given: variables of the tasks that lead here, as they are written.
        :returns: whether the run goes on after this file; a task that cannot be foreseen ends it.
        """
        above = dict(above)
        for task in self._guards.loaded(role, f"tasks/{file}"):
            try:
                if self._file(task) in LEFT and not self._sure:
                    continue
                for inner in self._turns(role, task, below, above, given):
                    templar = self._guards.templar_of(role, below, self._host, {**above, **inner})
                    if not self._guards.all(templar, task.get("when", [])):
                        continue
                    if "ansible.builtin.set_fact" in task:
                        above |= templar.template(task["ansible.builtin.set_fact"])
                        self._sure = False
                    elif not self._step(role, task, below, above, inner, templar):
                        return False
            except Exception:  # it depends on an answer; or it is wrong, and the role itself will say it better
                self._sure = False
        return True

    def _turns(self, role, task, below, above, given):
        """Return the variables that are passed to *task*, for each turn of its loop; see :meth:`_walk`."""
        if "loop" not in task:
            return [{**given, **task.get("vars", {})}]
        items = self._guards.templar_of(role, below, self._host, {**above, **given}).template(task["loop"])
        name = task.get("loop_control", {}).get("loop_var", "item")
        return [{**given, name: item, **task.get("vars", {})} for item in items]

    def _step(self, role, task, below, above, given, templar):
        """Do with one *task*, whose condition holds, what :meth:`_walk` says; return whether the run can be foreseen beyond it."""
        if "delegate_to" in task:
            return False
        if self._file(task):
            return self._walk(role, self._file(task), below, above, given)
        if "ansible.builtin.include_role" in task:
            other, file = (task["ansible.builtin.include_role"].get(word, "main") for word in ("name", "tasks_from"))
            below = {**below, **self._guards.loaded(role, "defaults/main.yml")}
            above = {**self._guards.loaded(role, "vars/main.yml"), **above}
            return self._walk(other, f"{file}.yml", below, above, given)
        place = self._observe.place(role, task["name"], given)
        if "observe" in task:
            # What a role has seen when it ran itself, its entry points know.
            if place not in self._questions and (role == self._role or role not in self._roles):
                asked = templar.template(task["observe"])
                name = self._likely[place] = place if self._sure else self._observe.digest("observe", asked)
                self._questions[name] = asked
            self._sure = False
            return True
        for action in LOOKING_FIRST:
            if action in task:
                arguments = templar.template(task[action])
                name = self._likely[place] = self._observe.digest(action, arguments)
                self._questions[name] = {"answer": {action: arguments}}
                return True
        return any(word in task for word in SAYING)

    @staticmethod
    def _file(task):
        """Return the file of tasks that *task* imports or includes, or None."""
        way = next((task[word] for word in FILES if word in task), None)
        return way["file"] if isinstance(way, dict) else way
