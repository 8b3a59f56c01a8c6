"""The server of this scenario, and what puts it back after each test."""

import os
import shutil
from pathlib import Path

import pytest
from lockout import acceptance, make_server, run, script

FOREIGN = "/etc/ssh/sshd_config.d"


def pytest_collection_modifyitems(config, items):
    """Leave out, without ``LONG=1``, what is marked ``long``."""
    out = [item for item in items if item.get_closest_marker("long") and not acceptance.LONG]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


@pytest.fixture(scope="session")
def server():
    """Return the server, with its three accounts."""
    return make_server()


@pytest.fixture
def sockets():
    """Give each run its own shared connections; a left one would hide that root cannot log in anymore."""
    directory = Path(f"/tmp/fenton-cp-{os.getpid()}")
    yield {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory)}
    for path in directory.glob("*"):
        run("ssh", "-o", f"ControlPath={path}", "-O", "exit", "fenton")
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def foreign(server):
    """Return a function that puts a drop-in of somebody else beside ours, which sshd has not read yet; it is gone after the test."""
    written = []

    def write(text, name="50-foreign"):
        written.append(f"{FOREIGN}/{name}.conf")
        script(server, f"printf '%s\\n' '{text}' >{written[-1]}")

    yield write
    server.docker("rm", "-f", *written)
    server.docker("systemctl", "restart", "ssh")  # which waits until it listens


@pytest.fixture
def spoil(server):
    """Return a function that runs a script on the server, and after the test another one that mends it."""
    mends = []

    def now(how, mend):
        mends.append(mend)
        script(server, how)

    yield now
    for mend in reversed(mends):
        script(server, mend)
