"""What the units of a server may do: no more than docs/security.md says."""

import re

import pytest
from conftest import ROOT, SCENARIO

# A row of the table: unit, the highest score, and why it is not lower.
ROW = re.compile(r"^\| `([\w@.-]+\.service)` \| ([0-9.]+) \| \S")
OURS = """
cd /etc/systemd/system
units=$(
  for unit in *.service; do [ ! -L $unit ] && head -n 1 $unit | grep -q '^# Ansible managed' && echo $unit; done
  # A drop-in that only says when to start again makes a unit not ours.
  for dropped in *.service.d; do grep -Eqs '^(ExecStart|NoNewPrivileges)=' $dropped/fenton.conf && echo ${dropped%.d}; done
)
for unit in $units; do
  # A template is judged by one of its instances, where there is one.
  case $unit in *@.service) unit=$(systemctl list-units --all --plain --no-legend "${unit%.service}*" | awk 'NR == 1 { print $1 }') ;; esac
  [ -z "$unit" ] || systemctl show -P LoadState $unit | grep -qx loaded && systemd-analyze security --no-pager $unit 2>/dev/null |
    sed -n "s/.*Overall exposure level for \\(.*\\): \\([0-9.]*\\) .*/\\1 \\2/p"
done
"""


def test_no_unit_may_do_more_than_is_written_down(servers):
    table = {match[1]: float(match[2]) for line in (ROOT / "docs/security.md").read_text().splitlines() if (match := ROW.match(line))}
    assert table
    for server in (one for one in servers.values() if "container" in one.variables):
        scores = dict(line.split() for line in server.docker("sh", "-c", OURS).stdout.splitlines())
        scores = {re.sub(r"@.*\.service", "@.service", unit): float(score) for unit, score in scores.items()}
        too_much = {unit: score for unit, score in scores.items() if score > table.get(unit, 0)}
        assert too_much == {}, f"{server.name}: a row is missing in docs/security.md, or the score is above its own"


@pytest.mark.once
@pytest.mark.long
@pytest.mark.skipif(SCENARIO != "default", reason="shown on the whole site")
def test_lynis_finds_nothing_that_is_not_excused(server):
    wanted = "apt-get install -qy --no-install-recommends lynis && lynis audit system --quick --no-colors --cronjob"
    assert server.docker("sh", "-c", wanted, timeout=300).returncode == 0
    report = server.docker("cat", "/var/log/lynis-report.dat").stdout
    found = set(re.findall(r"^(?:suggestion|warning)\[\]=([A-Z0-9-]+)\|", report, re.M))
    rows = [line.split("|")[1] for line in (ROOT / "docs/security.md").read_text().splitlines() if line.startswith("| `")]
    server.docker("apt-get", "purge", "-qy", "lynis")
    assert "SSH-7408" in found
    assert found <= set(re.findall(r"`([A-Z0-9-]+)`", " ".join(rows)))
