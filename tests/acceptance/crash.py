"""Runs of the site that are broken off, and what the next one makes of it: the tools of ``scripts/torture`` and of scenario ``torture``."""

import json
import os
import random
import re
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import state

ROOT = Path(__file__).resolve().parents[2]
TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(.*?)\] \**$")


def processes():
    """Return the processes of this machine: by number, that of the parent and the command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found[int(folder.name)] = parent, (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except (OSError, ValueError):
            continue
    return found


def kill(pid, mark):
    """End a process with SIGKILL, all that it started, and every process whose command line names *mark*.

    Ansible's workers are in sessions of their own, and its ssh masters children of nobody: a group of processes would not hold them.
    """
    os.kill(pid, signal.SIGSTOP)  # else it starts more while its children are being counted
    known = processes()
    family = {pid}
    while more := {child for child, (parent, _) in known.items() if parent in family} - family:
        family |= more
    family |= {child for child, (_, words) in known.items() if mark in words}
    for each in family - {os.getpid()}:
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            continue


@dataclass
class Run:
    """One run of Ansible whose tasks are followed while it goes on."""

    command: list
    environment: dict
    tasks: list = field(default_factory=list)  # (seconds since the start, name)
    text: str = ""

    def __enter__(self):
        # A place of its own for the connections: they are known by it, and no run takes over those of one that was killed.
        self.sockets = tempfile.TemporaryDirectory(prefix="fenton-cp-", dir="/tmp")
        more = {"ANSIBLE_SSH_CONTROL_PATH_DIR": self.sockets.name, "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "true"}
        more |= {"ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [str(word) for word in self.command],
            cwd=ROOT, env={**os.environ, **self.environment, **more}, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        return self

    def __exit__(self, *_):
        kill(self.process.pid, self.sockets.name) if self.process.poll() is None else None
        self.wait()
        for pid, (_, words) in processes().items():
            if self.sockets.name in words:
                os.kill(pid, signal.SIGTERM)
        self.sockets.cleanup()

    def _read(self):
        for line in self.process.stdout:
            self.text += line
            if found := TASK.match(line):
                self.tasks.append((time.monotonic() - self.begun, found[1]))

    def wait(self, timeout=900):
        """Wait for the end and return the exit status."""
        status = self.process.wait(timeout)
        self.reader.join(30)
        self.seconds = time.monotonic() - self.begun
        return status

    def until(self, moment):
        """Wait until so many tasks have begun, and so many seconds more, or the end; return whether it still goes on."""
        number, seconds = moment
        due = None
        while self.process.poll() is None:
            if due is None and len(self.tasks) >= number:
                due = time.monotonic() + seconds
            # A task that was quicker than expected: its end is as good a moment.
            if due is not None and (time.monotonic() >= due or len(self.tasks) > number):
                return True
            time.sleep(0.02)
        return False

    def kill(self):
        """Break it off as a power cut of the laptop would."""
        kill(self.process.pid, self.sockets.name)
        self.wait()

    @property
    def at(self):
        """Which task was the last that began."""
        return self.tasks[-1][1] if self.tasks else "before the first task"

    @property
    def changed(self):
        """How much it changed, by its recap; None without one."""
        found = re.findall(r"^\S+ +: ok=\d+ +changed=(\d+)", self.text, re.M)
        return sum(map(int, found)) if found else None

    @property
    def complaint(self):
        """What it failed with, on one line."""
        found = re.search(r"^(?:fatal|ERROR|\[ERROR\]).*?(?=^\S+ +: ok=|^PLAY RECAP|^TASK |\Z)", self.text, re.M | re.S)
        return " ".join((found[0] if found else self.text[-600:]).split())


def moments(seed, count, tasks, seconds):
    """Return moments of a run, seeded: each a number of tasks that have begun, and seconds after the begin of the last of these.

    :arg tasks: (second of its begin, name) of each task of an undisturbed run.
    :arg seconds: how long that run took.

    Every second moment is chosen by time, so that what takes long gets many, the others by task, so that what is quick gets some; both
    spread over the whole run, one in each part of it. The last task is not among them: the run may end with it.
    """
    chance = random.Random(seed)
    begins = [begun for begun, _ in tasks] if len(tasks) > 1 else [0, seconds]
    found = []
    for number in range(count):
        fraction = (number + chance.random()) / count
        if number % 2:
            index = int(fraction * (len(begins) - 1))
            found.append((index + 1, round(chance.random() * (begins[index + 1] - begins[index]), 2)))
        else:
            at = begins[0] + fraction * (begins[-1] - begins[0])
            index = max(index for index, begun in enumerate(begins[:-1]) if begun <= at)
            found.append((index + 1, round(at - begins[index], 2)))
    return found


@dataclass
class Site:
    """A playbook for the containers of one scenario."""

    scenario: str
    inventory: Path
    playbook: Path
    root: Path = ROOT
    words: tuple = ()

    @property
    def environment(self):
        """The variables for Ansible."""
        return {"FENTON_SCENARIO": self.scenario, "ANSIBLE_CONFIG": str(self.root / "ansible.cfg"), "OS": os.environ.get("OS", "debian13")}

    def command(self, *words, playbook=None):
        """Return the words that run the playbook, or another one."""
        sources = ["-i", self.inventory, "-i", self.root / "molecule/shared/containers"]
        return ["ansible-playbook", *sources, playbook or self.playbook, *(() if playbook else self.words), *words]

    def run(self, *words, playbook=None):
        """Run it to its end and return the run."""
        with Run(self.command(*words, playbook=playbook), self.environment) as done:
            done.status = done.wait()
        return done

    def fresh(self):
        """Remove the containers of the scenario and boot new ones."""
        for name in ("destroy", "create"):
            done = self.run(playbook=ROOT / f"molecule/shared/{name}.yml")
            assert done.status == 0, done.text[-3000:]

    def remove(self):
        """Remove the containers of the scenario."""
        self.run(playbook=ROOT / "molecule/shared/destroy.yml")

    def container(self, host="fenton"):
        """Return the name of a host's container."""
        return f"fenton-{self.scenario}-{host}"

    def sh(self, script, host="fenton", check=True, timeout=300):
        """Run a script in a container, past ssh; return what it prints."""
        words = ["docker", "exec", self.container(host), "bash", "-c", script]
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, errors="replace")
        assert not check or done.returncode == 0, (script, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout.strip()

    def state(self, host="fenton"):
        """Return the state of a host."""
        return state.look("docker", "exec", "-i", self.container(host))

    def differences(self, wanted, host="fenton", patience=20):
        """Return how the state of a host differs from *wanted*; what a service has just been told may take it some seconds."""
        until = time.monotonic() + patience
        while (found := state.differences(wanted, self.state(host))) and time.monotonic() < until:
            time.sleep(2)
        return found


def save(path, value):
    """Write *value* as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
