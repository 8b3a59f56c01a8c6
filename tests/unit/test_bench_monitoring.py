"""What monitoring costs, as benchmarks/monitoring.py reads it from the kernel and says it."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from conftest import load

bench = load(Path(__file__).resolve().parents[2] / "benchmarks/monitoring.py")


def test_processor_time_and_memory_are_read_whatever_a_process_is_called(tmp_path):
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sh")
    with subprocess.Popen([program, "-c", "while :; do :; done"]) as busy:
        try:
            time.sleep(0.5)
            assert 0.1 < bench.ticks(busy.pid, (14, 15)) < 0.6
            assert bench.memory(busy.pid) > 0.05
        finally:
            busy.kill()
    assert bench.ticks(busy.pid, (14, 15)) == bench.memory(busy.pid) == 0
    before = bench.ticks(os.getpid(), (16, 17))
    assert before > 0, "the time of children that were waited for"


@pytest.mark.parametrize(("cpu", "verdict"), [(0.5, ": within the bounds"), (0.7, "NOT within the bounds")])
def test_the_report_adds_up_and_judges(cpu, verdict):
    agents = {"prometheus": {"mib": 100, "cpu_per_minute": cpu}, "smartmon (timer)": {"mib": 0, "cpu_per_minute": 0.05}}
    scrapes = {"node": {"targets": 2, "answering": 1, "samples": 900, "mean": 0.02, "longest": 0.0304}}
    said = "\n".join(bench.report({"minutes": 5, "agents": agents, "scrapes": scrapes}))
    assert f"| **together** | **100** | **{cpu + 0.05}** |" in said
    assert verdict in said
    assert "| node | 2 (1) | 900 | 20.0 | 30.4 |" in said
