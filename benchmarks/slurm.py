#!/usr/bin/env python3
"""Render slurm.conf for a large cluster as the role does it, and say how long that took: ``benchmarks/slurm.py [NODES] >slurm.conf``.

What the controller says of it: copy it to a controller, ``time /usr/local/lib/fenton/slurm-check slurm.conf``.
"""

import sys
import time
from pathlib import Path

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import filter_loader, init_plugin_loader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "plugins/filter"))
import slurm  # noqa: E402

# Three kinds of nodes, as slurmd -C prints them.
KINDS = (
    "CPUs=32 Boards=1 SocketsPerBoard=2 CoresPerSocket=8 ThreadsPerCore=2 RealMemory=128683",
    "CPUs=128 Boards=1 SocketsPerBoard=2 CoresPerSocket=64 ThreadsPerCore=1 RealMemory=515842",
    "CPUs=64 Boards=1 SocketsPerBoard=1 CoresPerSocket=32 ThreadsPerCore=2 RealMemory=257721",
)


def cluster(size):
    """Return the names of so many nodes, and what each says of itself."""
    seen = {}
    for number in range(size):
        cards = [f"/dev/nvidia{card}" for card in range(4)] if number % 3 == 2 else []
        seen[f"node{number:04}"] = {
            "hardware": f"NodeName=node{number:04} {KINDS[number % 3]}",
            "address": f"10.{number >> 8}.{number & 255}.1",
            "node": {},
            "devices": cards,
            "gpus": [{"architecture": "ampere", "driver": "nvidia"}] * len(cards),
        }
    return list(seen), seen


def render(names, seen, present=""):
    """Return slurm.conf for these nodes.

    :arg present: the slurm.conf that is there; what it has of nodes that say nothing stays.
    """
    loader = DataLoader()
    loader.set_basedir(str(ROOT / "roles/slurm"))
    known = {
        "ansible_managed": "Ansible", "slurm_options": {}, "slurm_cluster_name": "big", "slurm_controller": "gate", "slurm_cgroups": False,
        "slurm_accounting": False, "slurm_accounts": [], "slurm_partitions": [{"name": "main"}, {"name": "half", "nodes": names[::2]}],
        "__slurm_controller_address": "10.255.0.1", "__slurm_lib": "/usr/local/lib/fenton", "__slurm_srun_ports": [60001, 60300],
        "__slurm_node_lines": slurm.node_lines(names, seen, present),
    }  # fmt: skip
    return Templar(loader=loader, variables=known).template(trust_as_template((ROOT / "roles/slurm/templates/slurm.conf.j2").read_text()))


def main():
    """Run the program."""
    init_plugin_loader()
    filter_loader.add_directory(str(ROOT / "plugins/filter"))
    names, seen = cluster(int(sys.argv[1]) if sys.argv[1:] else 1000)
    started = time.perf_counter()
    text = render(names, seen)
    first = time.perf_counter()
    again = render(names, {}, text)
    print(
        f"{len(names)} nodes: {first - started:.2f} s from what they say, {time.perf_counter() - first:.2f} s from the file",
        file=sys.stderr,
    )
    assert again == text
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
