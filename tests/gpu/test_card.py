"""On a machine with a card: detection, decision, nvidia-smi, versions, and a network that is trained on it."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import nvidia
import pytest
import server_facts
import yaml

ROOT = Path(__file__).resolve().parents[2]
VARS = yaml.safe_load((ROOT / "roles/nvidia/vars/main.yml").read_text())
# What nvidia-smi calls the first compute capabilities of each architecture.
CAPABILITIES = {"5": "maxwell", "6": "pascal", "7.0": "volta", "7.5": "turing", "8.0": "ampere", "8.6": "ampere", "8.9": "ada",
                "9": "hopper", "10": "blackwell", "12": "blackwell"}  # fmt: skip
# Each prints the device that computed and the loss before and after.
TRAIN = {
    "torch": """
import torch
torch.manual_seed(0)
device = torch.device("cuda")
x = torch.randn(4096, 32, device=device)
y = (x.sum(1, keepdim=True) > 0).float()
net = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)).to(device)
step, loss_of = torch.optim.Adam(net.parameters(), 1e-2), torch.nn.BCEWithLogitsLoss()
first = loss_of(net(x), y).item()
for _ in range(200):
    step.zero_grad(); loss = loss_of(net(x), y); loss.backward(); step.step()
print(next(net.parameters()).device.type, torch.cuda.get_device_name(0), first, loss.item(), sep="|")
""",
    "jax": """
import jax, jax.numpy as np
key = jax.random.PRNGKey(0)
x = jax.random.normal(key, (4096, 32)); y = (x.sum(1) > 0).astype(float)
loss = lambda w: np.mean(np.logaddexp(0, -(2 * y - 1) * (x @ w)))
w = np.zeros(32); first = float(loss(w)); step = jax.jit(lambda w: w - jax.grad(loss)(w))
for _ in range(200): w = step(w)
device = jax.devices()[0]
print("cuda" if device.platform in ("gpu", "cuda") else device.platform, device.device_kind, first, float(loss(w)), sep="|")
""",
    "tensorflow": """
import tensorflow as tf
tf.keras.utils.set_random_seed(0)
device = tf.config.list_physical_devices("GPU")[0]
x = tf.random.normal((4096, 32)); y = tf.cast(tf.reduce_sum(x, 1) > 0, tf.float32)
net = tf.keras.Sequential([tf.keras.layers.Dense(64, "relu"), tf.keras.layers.Dense(1, "sigmoid")])
net.compile("adam", "binary_crossentropy")
first = net.evaluate(x, y, verbose=0); net.fit(x, y, epochs=20, verbose=0)
on = "cuda" if "GPU" in net.weights[0].value.device else "cpu"
print(on, tf.config.experimental.get_device_details(device)["device_name"], first, net.evaluate(x, y, verbose=0), sep="|")
""",
}


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


def test_detection_costs_next_to_nothing(cards, evidence):
    import timeit

    seconds = timeit.timeit(server_facts.gpus, number=20) / 20
    evidence(f"{seconds * 1000:.2f} ms for all functions of this machine")
    assert seconds < 0.1


@pytest.mark.parametrize("framework", TRAIN)
def test_a_network_is_trained_on_the_card(answers, evidence, framework):
    if not importlib.util.find_spec(framework):
        pytest.skip(f"{framework} is not here")
    done = subprocess.run([sys.executable, "-c", TRAIN[framework]], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    device, name, first, last = done.stdout.strip().splitlines()[-1].split("|")
    evidence(f"{framework} trained on {device} ({name}): loss {float(first):.3f} to {float(last):.3f}")
    assert device == "cuda"
    assert re.search(r"\w", name)
    assert float(last) < float(first) / 2
