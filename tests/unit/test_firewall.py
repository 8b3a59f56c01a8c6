"""The rule that opens a port: what nftables makes of it."""

import pytest
from ansible.errors import AnsibleFilterError
from firewall import port_files


def accepts(*words, **options):
    """Return the lines of the rule that let something in."""
    return [line.strip() for line in port_files(*words, **options)[1]["content"].splitlines() if "accept" in line]


def test_everyone_may_connect_where_no_source_is_named():
    assert accepts("web", 443) == ['tcp dport { 443 } accept comment "web"']


def test_one_line_per_source_and_the_ports_in_order():
    assert accepts("web", [8443, "443", 443], ["10.0.0.0/8", "2001:db8::/32"]) == [
        'ip saddr 10.0.0.0/8 tcp dport { 443, 8443 } accept comment "web"',
        'ip6 saddr 2001:db8::/32 tcp dport { 443, 8443 } accept comment "web"',
    ]


def test_ports_that_follow_each_other_are_one_range():
    assert accepts("jobs", [6818, "60001-60002", 6817, 60003, 60002, 70]) == [
        'tcp dport { 70, 6817-6818, 60001-60003 } accept comment "jobs"'
    ]


def test_protocol_and_note():
    assert accepts("mosh", 60001, protocol="udp", note="for now") == ['udp dport { 60001 } accept comment "mosh, for now"']


@pytest.mark.parametrize("port", ["http", None, [22, "x"], "1-x"])
def test_what_is_no_port_is_refused_with_the_name_of_the_service(port):
    with pytest.raises(AnsibleFilterError, match="the port of web is no number"):
        port_files("web", port)
