"""Let unit tests import the plugins as plain modules."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import ansible.module_utils
import pytest

ROOT = Path(__file__).resolve().parents[2]
for kind in ("modules", "callback", "filter", "test", "action"):  # an action goes before the module that documents it
    sys.path.insert(0, str(ROOT / "plugins" / kind))
ansible.module_utils.__path__.append(str(ROOT / "plugins/module_utils"))
# Who is started in the background is made to ignore Ctrl-C, or the end of the terminal, and so would be all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def load(path):
    """Return the Python program at *path*, whatever it is called, as a module."""
    name = f"loaded_{Path(path).stem.replace('-', '_')}"
    loader = SourceFileLoader(name, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def ask():
    """Return a function that runs one module or action on this machine and returns its result."""

    def run(name, arguments, *words, python="python3"):
        done = subprocess.run(
            ["ansible", "localhost", "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={python}"]
            + ["-m", name, *(["-a", json.dumps(arguments, default=str)] if arguments else []), *words],
            capture_output=True, text=True, timeout=60,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
                 "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
        )  # fmt: skip
        return json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"]["localhost"]

    return run
