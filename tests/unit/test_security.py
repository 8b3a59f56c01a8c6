"""docs/security.md knows every unit that a role writes."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Of people, not of the machine: they have the rights of who uses them.
OF_PEOPLE = {"main-session.service", "ipcontroller.service", "ipengines@.service"}


def test_every_unit_has_a_row():
    rows = set(re.findall(r"^\| `([\w@.-]+\.service)` \| [0-9.]+ \| \S", (ROOT / "docs/security.md").read_text(), re.M))
    units = {path.name.removesuffix(".j2") for path in ROOT.glob("roles/*/templates/*.service.j2")}
    assert units - OF_PEOPLE <= rows
