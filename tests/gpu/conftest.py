"""What needs a real card: run `FENTON_GPU=1 pytest -s tests/gpu` on a machine that has one, any Linux with Python and pytest.

Without a card all of it skips, with its reason; with FENTON_GPU=1 in the environment that is a failure instead.
"""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "plugins/module_utils"), str(ROOT / "plugins/filter")]


def lacking(reason):
    """Skip, or fail where somebody said that there is a card."""
    (pytest.fail if os.environ.get("FENTON_GPU") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def cards():
    """Return the cards of this machine as the fact ``gpus`` has them."""
    import server_facts

    found = [card for card in server_facts.gpus() if card["driver"] != "vfio-pci"]
    return found or lacking("sysfs shows no NVIDIA card here")


@pytest.fixture(scope="session")
def answers(cards):
    """Return what nvidia-smi says of each card, as the role reads it."""
    import nvidia

    if not shutil.which("nvidia-smi"):
        lacking("there is no nvidia-smi here")
    query = "--query-gpu=pci.bus_id,name,driver_version,persistence_mode,memory.total"
    done = subprocess.run(["nvidia-smi", query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=60)
    if done.returncode:
        lacking(f"nvidia-smi: {done.stdout.strip() or done.stderr.strip()}")
    return nvidia.nvidia_smi_cards(done.stdout)


@pytest.fixture(scope="session")
def evidence():
    """Return a function that prints a line to keep, with the date."""

    def say(text):
        print(f"\nevidence {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {text}")

    return say
