"""What the units of a server may do: no more than docs/security.md says."""

import re

from conftest import ROOT

# A row of the table: unit, the highest score, and why it is not lower.
ROW = re.compile(r"^\| `([\w@.-]+\.service)` \| ([0-9.]+) \| \S")
OURS = """
cd /etc/systemd/system
units=$(
  for unit in *.service; do [ -L $unit ] || echo $unit; done
  for dropped in *.service.d; do ls $dropped | grep -q fenton && echo ${dropped%.d}; done
)
for unit in $units; do
  # A template is judged by one of its instances, where there is one.
  case $unit in *@.service) unit=$(systemctl list-units --all --plain --no-legend "${unit%.service}*" | awk 'NR == 1 { print $1 }') ;; esac
  [ -z "$unit" ] || systemctl show -P LoadState $unit | grep -qx loaded && systemd-analyze security --no-pager $unit 2>/dev/null |
    sed -n "s/.*Overall exposure level for \\(.*\\): \\([0-9.]*\\) .*/\\1 \\2/p"
done
"""
# Made by the image of the tests, not by a role.
NOT_OURS = {"ssh-host-keys.service"}


def test_no_unit_may_do_more_than_is_written_down(servers):
    table = {match[1]: float(match[2]) for line in (ROOT / "docs/security.md").read_text().splitlines() if (match := ROW.match(line))}
    assert table
    for server in servers.values():
        scores = dict(line.split() for line in server.docker("sh", "-c", OURS).stdout.splitlines())
        scores = {re.sub(r"@.*\.service", "@.service", unit): float(score) for unit, score in scores.items()}
        too_much = {unit: score for unit, score in scores.items() if unit not in NOT_OURS and score > table.get(unit, 0)}
        assert too_much == {}, f"{server.name}: a row is missing in docs/security.md, or the score is above its own"
