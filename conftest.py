"""What all tests share: what was tried against the servers, and what came of it, is kept for ``scripts/reliability``."""

import json
import os
import time
from pathlib import Path

import pytest

TRIED = Path(__file__).parent / ".work/attempts.jsonl"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Write a line for each test that is marked ``attempt(subject, attempt, outcome)``, when it has run."""
    report = yield
    for mark in item.iter_markers("attempt"):
        if report.when == "call" and not report.skipped:
            fill = getattr(item, "callspec", None)
            subject, tried, outcome = (text.format(**(fill.params if fill else {})) for text in mark.args)
            entry = {"subject": subject, "attempt": tried, "outcome": outcome, "passed": report.passed}
            entry |= {"os": os.environ.get("OS", "debian13"), "date": time.strftime("%Y-%m-%d"), "test": item.nodeid}
            TRIED.parent.mkdir(exist_ok=True)
            with TRIED.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
    return report
