"""What tests from outside need: the scenario's servers, reached as a person would reach them."""

import functools
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".work"
SCENARIO = os.environ.get("FENTON_SCENARIO", "default")
LONG = bool(os.environ.get("LONG"))
# The scenario "default" is the whole site.
PLAYBOOK = next(file for file in (ROOT / "molecule" / SCENARIO / "converge.yml", ROOT / "site.yml") if file.exists())
sys.path.insert(0, str(ROOT / "plugins" / "action"))
sys.path.insert(0, str(Path(__file__).parent))

from check_inputs import roles  # noqa: E402


def run(*words, timeout=120, **options):
    """Run a command on the control node and return the finished process; text in, text out, no terminal."""
    options.setdefault("stdin", subprocess.DEVNULL) if "input" not in options else None
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout, **options)


def eventually(what, seconds=30):
    """Return what *what* returns as soon as that is true; fail after so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.3)
    return pytest.fail(f"not within {seconds} s")


@functools.cache
def inventory():
    """Return what Ansible itself makes of the scenario's inventory."""
    sources = ["-i", ROOT / "molecule" / SCENARIO / "inventory.yml", "-i", ROOT / "molecule/shared/containers"]
    done = run("ansible-inventory", *sources, "--list", "--export", cwd=ROOT, env={**os.environ, "FENTON_SCENARIO": SCENARIO})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@dataclass
class Server:
    """One server of the scenario."""

    name: str
    variables: dict

    @property
    def address(self):
        return self.variables["ansible_host"]

    @property
    def container(self):
        return self.variables["container"]

    @property
    def artifacts(self):
        return WORK / "artifacts" / SCENARIO / self.name

    @property
    def connection(self):
        """What the run handed out."""
        file = self.artifacts / "connection.json"
        return json.loads(file.read_text()) if file.exists() else {}

    @property
    def port(self):
        return int(self.connection.get("ssh_port", 22))

    @property
    def user(self):
        return self.connection.get("ssh_user", "root")

    def docker(self, *words, **options):
        """Run a command in the container, past ssh: for looking, and for breaking things."""
        return run("docker", "exec", self.container, *words, **options)

    def ssh_options(self, user=None, port=None):
        """Return the words after ``ssh`` that log in from the control node: generated key, pinned host key, no sharing."""
        return [
            *("-F", "none", "-o", "BatchMode=yes", "-o", "ControlPath=none", "-o", "ConnectTimeout=10"),
            *("-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={WORK}/known_hosts.{SCENARIO}"),
            *("-o", f"HostKeyAlias={self.name}", "-i", str(WORK / "id_ed25519"), "-o", f"Port={port or self.port}"),
            *("-o", f"User={user or self.user}"),
        ]

    def ssh(self, *command, user=None, port=None, options=(), **rest):
        """Log in and run a command."""
        return run("ssh", *self.ssh_options(user, port), *options, self.address, *command, **rest)

    def playbook(self, *words, **rest):
        """Run the scenario's playbook again, with more words."""
        sources = ["-i", ROOT / "molecule" / SCENARIO / "inventory.yml", "-i", ROOT / "molecule/shared/containers"]
        environment = {**os.environ, "FENTON_SCENARIO": SCENARIO, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **rest.pop("env", {})}
        return run("ansible-playbook", *sources, PLAYBOOK, "-l", self.name, *words, cwd=ROOT, env=environment, timeout=600, **rest)

    def mends(self, role, how, look=None):
        """Spoil something, and fail unless the next run of *role* puts it right.

        :arg how: script that spoils it.
        :arg look: script that shows it: not as before once it is spoiled, as before after the run.
        """
        self.mends_all(role, {how: (how, look)})

    def mends_all(self, roles, edits):
        """Spoil several things, and fail unless the next run puts each of them right.

        :arg roles: their roles, joined by commas.
        :arg edits: by name, scripts as for :meth:`mends`.
        """

        def seen():
            return {name: self.docker("bash", "-c", look).stdout for name, (_, look) in edits.items() if look}

        before = seen()
        for how, _ in edits.values():
            spoiled = self.docker("bash", "-c", how)
            assert spoiled.returncode == 0, (how, spoiled.stderr)
        after = seen()
        assert [name for name in before if after[name] == before[name]] == [], "an edit that changes nothing proves nothing"
        done = self.playbook("--tags", roles)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr
        assert "changed=0" not in done.stdout
        assert seen() == before


def in_turn(table):
    """Return cases of :meth:`Server.mends_all` from a table of names and scripts, or of names and scripts with what shows them.

    With ``LONG=1`` each is spoiled alone, so that none is repaired for its neighbour's sake; else every second one together.
    """
    edits = {name: edit if isinstance(edit, tuple) else (edit, None) for name, edit in table.items()}
    lots = [[name] for name in edits] if LONG else [list(edits)[::2], list(edits)[1::2]]
    return [pytest.param({name: edits[name] for name in lot}, id="; ".join(lot)) for lot in lots]


def fits(name):
    """Tell whether ``test_<name>.py`` fits the scenario.

    A file named for a role fits where the scenario applies that role to the server ``fenton``, and in a scenario of its name; a scenario
    named for a claim has a file of its name, which belongs to it alone; other files fit everywhere else. In the whole site on the system of
    the roles' own scenarios their files would show the same again, so they wait for ``LONG=1``; the promises are asked there all the same.
    """
    claims = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")} - {path.name for path in ROOT.glob("roles/*")}
    if SCENARIO in claims - {"default"} or name in claims:
        return name == SCENARIO
    if not (ROOT / "roles" / name).is_dir() or name == SCENARIO:
        return True
    if SCENARIO == "default" and os.environ.get("OS") == "debian13" and not LONG and (ROOT / "molecule" / name).is_dir():
        return False
    there = "fenton" in inventory()["_meta"]["hostvars"]
    return there and name in roles([PLAYBOOK], "fenton", inventory_groups())


def pytest_configure(config):
    """Take files that do not fit off the command line, where molecule names all of them: to read them takes a second."""
    config.args[:] = [each for each in config.args if not each.endswith(".py") or fits(Path(each).stem.removeprefix("test_"))]


def pytest_collection_modifyitems(config, items):
    """Leave out the files that do not fit, however they came, and without ``LONG=1`` what is marked ``long``."""
    files = {item.path.stem for item in items if fits(item.path.stem.removeprefix("test_"))}
    chosen = [item for item in items if item.path.stem in files and (LONG or not item.get_closest_marker("long"))]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def inventory_groups():
    """Return the groups that have hosts in the scenario's inventory."""
    return [name for name, group in inventory().items() if name == "all" or group.get("hosts") or group.get("children")]


@pytest.fixture(scope="session")
def servers():
    """All servers of the scenario, by name."""
    return {name: Server(name, variables) for name, variables in inventory()["_meta"]["hostvars"].items()}


@pytest.fixture(scope="session")
def server(servers):
    """Return the server of a scenario that has one, or its first."""
    return next(iter(servers.values()))


def seen(item):
    """Return the file that says that a test marked ``once`` has passed on these servers; they go, and it goes with them."""
    return WORK / "artifacts" / SCENARIO / "seen" / hashlib.sha256(item.nodeid.encode()).hexdigest()


def pytest_runtest_setup(item):
    """Leave out, after the reboot, what is marked ``once``: it breaks things, or takes long, and a reboot makes no difference to it."""
    if item.get_closest_marker("once") and seen(item).exists():
        pytest.skip("seen before the reboot")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Note what has been seen; show the journal of the server when a test fails."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.passed and item.get_closest_marker("once"):
        seen(item).parent.mkdir(parents=True, exist_ok=True)
        seen(item).touch()
    if report.when == "call" and report.failed and "container" in getattr(item.funcargs.get("server"), "variables", {}):
        journal = item.funcargs["server"].docker("journalctl", "-n", "40", "--no-pager", "-p", "notice")
        report.sections.append(("journal of the server", journal.stdout))
