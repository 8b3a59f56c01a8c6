"""On a machine with a card: detection, decision, nvidia-smi, versions, and a network that is trained on it."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import nvidia
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
VARS = yaml.safe_load((ROOT / "roles/nvidia/vars/main.yml").read_text())
# What nvidia-smi calls the first compute capabilities of each architecture.
CAPABILITIES = {"5": "maxwell", "6": "pascal", "7.0": "volta", "7.5": "turing", "8.0": "ampere", "8.6": "ampere", "8.9": "ada",
                "9": "hopper", "10": "blackwell", "12": "blackwell"}  # fmt: skip
# What the role tensorflow trains with, and the module that says whether a framework is here.
TRAIN = ROOT / "roles/tensorflow/files/train.py"
FRAMEWORKS = {"pytorch": "torch", "jax": "jax", "tensorflow": "tensorflow"}


def test_nvidia_smi_names_every_card_that_sysfs_shows(cards, answers, evidence):
    assert {card["address"] for card in cards} == {answer["address"] for answer in answers}
    evidence(f"{cards} {answers}")


def test_the_architecture_is_the_one_that_the_card_says(cards, answers, evidence):
    done = subprocess.run(
        ["nvidia-smi", "--query-gpu=pci.bus_id,compute_cap", "--format=csv,noheader"], capture_output=True, text=True, check=True
    )
    for line in done.stdout.splitlines():
        bus, capability = line.split(", ")
        address = f"{int(bus.partition(':')[0], 16):04x}:{bus.partition(':')[2].lower()}"
        found = next(card["architecture"] for card in cards if card["address"] == address)
        said = CAPABILITIES.get(capability) or CAPABILITIES.get(capability.partition(".")[0])
        evidence(f"{address}: compute capability {capability}, table {found}")
        assert found == said


def test_the_branch_that_runs_is_one_that_the_table_allows(cards, answers, evidence):
    rows = [VARS["__nvidia_architectures"][card["architecture"]] for card in cards]
    branch = int(answers[0]["driver"].partition(".")[0])
    tables = {"open_from": VARS["__nvidia_open_from"], "open_only_from": VARS["__nvidia_open_only_from"]}
    evidence(f"branch {branch} runs; the table has {nvidia.module_for(branch, rows, tables) or 'no'} module for it")
    assert nvidia.module_for(branch, rows, tables)


def test_module_and_library_are_of_the_same_version(cards, answers, evidence):
    texts = {
        name: Path(path)
        for name, path in {"module_version": "/sys/module/nvidia/version", "proc_version": "/proc/driver/nvidia/version"}.items()
    }
    module = nvidia.loaded({name: path.read_text() if path.exists() else "" for name, path in texts.items()})
    evidence(f"module {module}, nvidia-smi {answers[0]['driver']}")
    assert module == answers[0]["driver"]
    assert nvidia.why_reboot(cards, module, answers[0]["driver"]) == ""


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_network_is_trained_on_the_card(answers, evidence, framework):
    if not importlib.util.find_spec(FRAMEWORKS[framework]):
        pytest.skip(f"{framework} is not here")
    done = subprocess.run([sys.executable, TRAIN, framework], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    evidence(said)
    assert said["gpu"]
    assert said["device"] in {answer["name"] for answer in answers}
    assert said["last"] < said["first"] / 2
