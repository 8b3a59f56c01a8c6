"""What roles ask of systemd, on a machine that has only a program of that name."""

import os
import subprocess

import pytest
from units import unit_runs

SYSTEMCTL = """#!/bin/sh
for last; do :; done
echo "$last" >>"$0.asked"
printf '%s\\n' "UnitFileState=$ENABLED" "ActiveState=$ACTIVE" "ActiveEnterTimestamp=${SINCE-Sun 2026-11-22 12:00:00.500000 UTC}"
"""


@pytest.fixture
def runs(tmp_path):
    """Return a function that gives filter and shell some words, with the unit in a state, and tells whether it runs as it should."""
    program = tmp_path / "bin/systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)

    def ask(words, active="active", enabled="enabled", **more):
        environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "ACTIVE": active, "ENABLED": enabled, **more}
        script = f"{unit_runs(words)} && echo as it should; echo $# $1 $about"
        done = subprocess.run(["sh", "-c", script, "sh", "mine"], cwd=tmp_path, env=environment, capture_output=True, text=True)
        # It changes nothing in the shell that asks.
        assert done.stdout.endswith("1 mine\n")
        return done.stdout.startswith("as it should\n")

    return ask


def test_a_unit_runs_as_it_should_when_it_is_active_and_enabled(runs, tmp_path):
    assert runs("some.service")
    assert not runs("some.service", active="inactive")
    assert not runs("some.service", active="activating")
    assert not runs("some.service", enabled="disabled")
    assert not runs("some.service", enabled="")
    assert not runs("some.service", active="", enabled="", SINCE="")
    assert set((tmp_path / "bin/systemctl.asked").read_text().split()) == {"some.service"}


def test_a_unit_that_is_older_than_its_files_does_not(runs, tmp_path):
    start = 1795348800  # the moment above
    for name, when in (("old", start - 5), ("sharp", start + 0.4), ("new", start + 0.6)):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (when, when))
    assert runs("some.service old sharp")
    assert runs("some.service old missing")
    assert not runs("some.service old new")
    assert not runs("some.service n*")
    (tmp_path / "place").mkdir()
    (tmp_path / "new").rename(tmp_path / "place/new")
    os.utime(tmp_path / "place", (start - 5, start - 5))
    assert not runs("some.service place")


def test_words_come_from_the_shell_that_asks(runs):
    assert runs('"$@"')
    assert not runs('"$@"', active="failed")
