"""The roles' own promises, stated by the same tasks that `make doctor` runs; and that no two servers have a secret in common."""

import hashlib
import json
import os

import pytest
from conftest import SCENARIO, WORK
from leaks import handed_out, keys


def test_every_promise_holds(server):
    done = server.playbook("--tags", "verify")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "changed=0" in done.stdout, done.stdout[-3000:]


@pytest.mark.once
@pytest.mark.attempt(
    "Secrets",
    "fresh installs are compared, those of other scenarios too",
    "they share no host key, no key of a service or an authority, no password and no token",
)
def test_no_two_servers_share_a_secret(servers):
    place = WORK / "fresh"
    place.mkdir(mode=0o700, exist_ok=True)
    system = os.environ.get("OS", "debian13")
    mine = {}
    for server in servers.values():
        # The machine id is left out: systemd gives a container that of the machine below.
        found = {*keys(server), *handed_out(server)}
        assert len(found) > 2, server.name
        mine[f"{SCENARIO} {system} {server.name}"] = sorted(hashlib.sha256(each.encode()).hexdigest() for each in found)
    for name, sums in mine.items():
        (place / f"{name.replace(' ', '-')}.json").write_text(json.dumps({name: sums}))
    # Servers of earlier runs of this very scenario are these.
    all_of_them = {name: sums for file in place.glob("*.json") for name, sums in json.loads(file.read_text()).items()}
    names = sorted(all_of_them)
    shared = [(one, other) for one in mine for other in names if one != other and set(all_of_them[one]) & set(all_of_them[other])]
    assert shared == []
