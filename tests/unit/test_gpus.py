"""NVIDIA's cards as sysfs shows them, and the table of their architectures held against pci.ids."""

import time
from pathlib import Path

import pytest
import yaml
from ansible.module_utils import server_facts as facts

HERE = Path(__file__).parent
TREES = yaml.safe_load((HERE / "sysfs_trees.yml").read_text())
FAMILIES = {
    "GK": "older", "GM": "maxwell", "GP": "pascal", "GV": "volta", "TU": "turing",
    "GA": "ampere", "AD": "ada", "GH": "hopper", "GB": "blackwell",
}  # fmt: skip
CHIPS = [line.split() for line in (HERE / "pci_chips.txt").read_text().splitlines() if not line.startswith("#")]
FOUND = {
    "none": [],
    "gtx_1080": [("0000:01:00.0", "1b80", "pascal", "nouveau")],
    "two_cards": [("0000:03:00.0", "2204", "ampere", "nvidia"), ("0000:82:00.0", "1b80", "pascal", "nvidia")],
    "rtx_2080": [("0000:01:00.0", "1e87", "turing", "nvidia")],
    "rtx_4090": [("0000:01:00.0", "2684", "ada", "")],
    "h200": [("0000:18:00.0", "2335", "hopper", "nvidia"), ("0001:18:00.0", "2335", "hopper", "nvidia")],
    "rtx_5090": [("0000:01:00.0", "2b85", "blackwell", "nvidia")],
    "amd_and_intel": [],
    "passthrough": [("0000:01:00.0", "2204", "ampere", "vfio-pci"), ("0000:02:00.0", "1b80", "pascal", "nvidia")],
    "newer_than_the_table": [("0000:01:00.0", "3f02", "unknown", "")],
}


def tree(folder, text):
    """Make a tree like /sys/bus/pci/devices from its description and return its path.

    :arg folder: where to make it.
    :arg text: lines of address, vendor:device, class and, where one holds the function, driver.
    """
    for line in text.splitlines():
        address, ids, kind, *driver = line.split()
        vendor, _, device = ids.partition(":")
        function = folder / "devices" / address
        function.mkdir(parents=True)
        for name, value in {"vendor": vendor, "device": device, "class": kind}.items():
            (function / name).write_text(f"0x{value}\n")
        for name in driver:
            (folder / "drivers" / name).mkdir(parents=True, exist_ok=True)
            (function / "driver").symlink_to(f"../../drivers/{name}")
    return folder / "devices"


@pytest.mark.parametrize("name", TREES)
def test_cards_are_found_in_a_tree(tmp_path, name):
    keys = ("address", "device", "architecture", "driver")
    assert facts.gpus(tree(tmp_path, TREES[name])) == [dict(zip(keys, card, strict=True)) for card in FOUND[name]]


def test_a_machine_without_pci_has_none(tmp_path):
    assert facts.gpus(tmp_path / "devices") == []


def test_a_card_that_is_taken_out_meanwhile_is_none(tmp_path):
    root = tree(tmp_path, TREES["gtx_1080"])
    (root / "0000:01:00.0/class").unlink()
    assert facts.gpus(root) == []


def test_every_chip_of_pci_ids_has_its_architecture():
    assert sum(len(ids) for _, *ids in CHIPS) > 600
    wrong = [(chip, device, facts.architecture(device)) for chip, *ids in CHIPS for device in ids
             if facts.architecture(device) != FAMILIES[chip[:2]]]  # fmt: skip
    assert wrong == []


def test_the_table_is_in_order_and_without_overlap():
    for (_, last, _), (first, _, _) in zip(facts.ARCHITECTURES, facts.ARCHITECTURES[1:], strict=False):
        assert last < first
    names = {name for _, _, name in facts.ARCHITECTURES}
    assert names == set(FAMILIES.values())
    documented = (HERE.parents[1] / "plugins/modules/server_facts.py").read_text()
    assert all(f"C({name})" in documented for name in names | {"unknown"})


def test_it_costs_next_to_nothing(tmp_path):
    """A big server has some hundred functions; the fact is part of every run."""
    root = tree(tmp_path, "\n".join(f"0000:{bus:02x}:00.0 8086:0d57 060000" for bus in range(256)))
    begun = time.perf_counter()
    facts.gpus(root)
    assert time.perf_counter() - begun < 0.1
