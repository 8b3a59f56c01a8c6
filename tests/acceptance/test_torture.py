"""Runs that are broken off: whatever happened, the next one ends like one that nothing happened to. At length: scripts/torture."""

import concurrent.futures
import os
import random
import re
import shutil
import subprocess

import crash
import pytest
from conftest import LONG, ROOT, WORK

# A commit that has these roles, and what changed since in between.
OLD = "c076720"
SEED = int(os.environ.get("SEED", 0)) or random.SystemRandom().randrange(1, 10**6)
KILLED = ["one", "two", "three"]
SITE = crash.Site("torture", ROOT / "molecule/torture/inventory.yml", ROOT / "molecule/torture/converge.yml")
# Too little for an environment.
FILL = "mount -t tmpfs -o size=60m,mode=755 tmpfs /opt"
# Files of each role that somebody edits.
EDITED = [
    *("/etc/apt/apt.conf.d/52fenton-updates", "/etc/fenton/firewall.nft", "/etc/ssh/sshd_config.d/00-fenton.conf", "/etc/tmux.conf"),
    *("/etc/profile.d/fenton-banner.sh", "/etc/systemd/system/fenton-metrics.service"),
]
DELETED = "/etc/needrestart/conf.d/fenton.conf"
ROOM = "mount -o remount,size=2g /opt"


def shallow():
    """Tell whether the older commit is missing here, as in a shallow clone or an unpacked archive."""
    done = subprocess.run(["git", "cat-file", "-e", f"{OLD}:site.yml"], cwd=ROOT, capture_output=True)
    return done.returncode != 0


def before():
    """Return the older commit's files, beside what this one has made."""
    tree = WORK / "torture/old"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    pack = subprocess.run(["git", "archive", OLD], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", tree], input=pack, check=True)
    (tree / ".work").symlink_to(WORK)
    (tree / "molecule/fixtures/build").symlink_to(ROOT / "molecule/fixtures/build")
    shutil.copytree(ROOT / "molecule/torture", tree / "molecule/torture")
    # Variables that it did not know, and would refuse.
    inventory = tree / "molecule/torture/inventory.yml"
    inventory.write_text(re.sub(r" *base_earlyoom: .*\n", "", inventory.read_text()))
    return tree


@pytest.fixture(scope="module")
def undisturbed():
    """Return the first run that nothing happens to, and the state that it ends with."""
    run = SITE.run("-l", "fresh")
    assert run.status == 0, run.text[-4000:]
    return run, SITE.state("fresh")


def killed(host, moment, whole):
    """End the host's first run at that moment, and return when that was."""
    with crash.Run(SITE.command("-l", host), SITE.environment) as run:
        assert run.until(moment), "it ended before it could be killed: " + run.text[-2000:]
        run.kill()
    return f"after {run.seconds:.1f} s, {len(run.tasks)} of {len(whole.tasks)} tasks: {run.at}"


def full(host):
    """Let a first run find no room on the disk of the environments, make room, and return what the run said."""
    SITE.sh(FILL, host)
    run = SITE.run("-l", host)
    SITE.sh(ROOM, host)
    assert run.status, "a disk that should be full is not"
    return run.complaint


def made_before(host):
    """Let the older commit do the first run."""
    tree = before()
    site = crash.Site("torture", tree / "molecule/torture/inventory.yml", tree / "molecule/torture/converge.yml", root=tree)
    run = site.run("-l", host)
    assert run.status == 0, run.text[-4000:]
    return f"made by {OLD}"


@pytest.fixture(scope="module")
def disturbed(undisturbed, pytestconfig):
    """Return, by host, what happened to its first run, or to what that had made."""
    whole, _ = undisturbed
    moments = crash.moments(SEED, len(KILLED), whole.tasks, whole.seconds)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = {host: pool.submit(killed, host, moment, whole) for host, moment in zip(KILLED, moments, strict=True)}
        runs["full"] = pool.submit(full, "full")
        if LONG and not shallow():
            runs["old"] = pool.submit(made_before, "old")
        found = {host: run.result() for host, run in runs.items()}
    # So that it is known to see something: what a run has made that was killed is not all.
    assert SITE.differences(undisturbed[1], KILLED[0], patience=0) != []
    with pytestconfig.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print(f"\nseed {SEED}", *(f"{host}: {found[host]}" for host in KILLED), sep="\n  ")
    SITE.sh("; ".join(f"echo '# by hand' >>{path}" for path in EDITED) + f"; rm {DELETED}", "fresh")
    return found | {"fresh": "edited by hand"}


@pytest.fixture(scope="module")
def after(disturbed):
    """Return the one further run, of all of these hosts."""
    run = SITE.run("-l", ",".join(disturbed))
    print(run.text[-1500:])
    return run


def ends_alike(host, undisturbed, disturbed, after):
    assert after.status == 0, (disturbed[host], after.complaint)
    assert SITE.differences(undisturbed[1], host) == [], disturbed[host]


@pytest.mark.attempt(
    "Killed runs",
    "`ansible-playbook` is killed at a random moment of a first run: {part} of it",
    "the next run ends like an undisturbed one",
)
@pytest.mark.parametrize(("host", "part"), list(zip(KILLED, ["the first third", "the second third", "the last third"], strict=True)))
def test_a_run_that_is_killed_is_finished_by_the_next(undisturbed, disturbed, after, host, part):
    ends_alike(host, undisturbed, disturbed, after)


@pytest.mark.attempt(
    "Storage", "the disk of the environments runs full in the middle of a run", "a stop that names the disk, and how full it is"
)
def test_a_full_disk_stops_a_run_with_a_sentence(disturbed):
    assert "No space left" in disturbed["full"] or "disk is full" in disturbed["full"], disturbed["full"]
    assert "the disk is full: /opt (" in disturbed["full"]
    assert "make room there and run again" in disturbed["full"]


@pytest.mark.attempt("Storage", "a run on a disk that has room again, after one that stopped", "it ends like an undisturbed run")
def test_when_there_is_room_again_the_next_run_goes_on(undisturbed, disturbed, after):
    ends_alike("full", undisturbed, disturbed, after)


@pytest.mark.attempt(
    "Old runs", "somebody edits our files by hand, and deletes one", "they are as before; what they held lies in /var/backups/fenton"
)
def test_files_edited_by_hand_are_put_right_and_what_they_held_is_kept(undisturbed, disturbed, after):
    ends_alike("fresh", undisturbed, disturbed, after)
    for path in EDITED:
        assert SITE.sh(f"tail -n 1 /var/backups/fenton{path}.*", "fresh").splitlines()[-1] == "# by hand"
    assert SITE.sh("stat -c '%a %U' /var/backups/fenton", "fresh") == "700 root"


@pytest.mark.long
@pytest.mark.skipif(shallow(), reason="the older commit is not in this clone, which is shallow")
@pytest.mark.attempt("Old runs", "a server made by an older commit of this repository", "the present one makes it what a fresh one is")
def test_a_server_made_by_an_older_commit_becomes_like_a_fresh_one(undisturbed, disturbed, after):
    ends_alike("old", undisturbed, disturbed, after)


@pytest.mark.attempt("Killed runs", "one more run after the one that finished a broken one", "nothing is left to do")
def test_nothing_is_left_to_do_after_that(after):
    assert after.status == 0, after.complaint
    again = SITE.run("-l", ",".join([*KILLED, "full", "fresh"]))
    assert (again.status, again.changed) == (0, 0), again.text[-4000:]
