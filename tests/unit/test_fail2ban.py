"""What counts as a failed login, and for whom: the filters, on lines as sshd and JupyterLab write them."""

import re
from pathlib import Path

import pytest
from fail2ban import fail2ban_network

ROLE = Path(__file__).resolve().parents[2] / "roles/fail2ban"
# What fail2ban puts for <HOST>, without names.
HOST = r"(?:\[?(?:::f{4,6}:)?(?P<host>[0-9.]{7,15}|(?:[0-9a-fA-F]{1,4}::?|::){1,7}(?:[0-9a-fA-F]{1,4}|(?<=:):))\]?)"
REAL = "203.0.113.9"


def counted(service, line):
    """Return the address that *line* counts against, as fail2ban would find it; None where it does not count."""
    text = (ROLE / f"templates/fenton-{service}.conf.j2").read_text()
    patterns = re.search(r"^failregex = (.*?)\n\n", text, re.M | re.S)[1].split("\n")
    found = [match["host"] for match in (re.search(pattern.strip().replace("<HOST>", HOST), line) for pattern in patterns) if match]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("said", "who"),
    [
        (f"Connection closed by authenticating user ada {REAL} port 40112 [preauth]", REAL),
        (f"Connection reset by authenticating user ada {REAL} port 40112 [preauth]", REAL),
        (f"Connection closed by invalid user  {REAL} port 40112 [preauth]", REAL),
        (f"Disconnecting authenticating user ada {REAL} port 40112: Too many authentication failures [preauth]", REAL),
        (f"Disconnected from invalid user x {REAL} port 40112 [preauth]", REAL),
        ("Connection closed by authenticating user ada 2001:db8::7 port 40112 [preauth]", "2001:db8::7"),
        (f"Failed password for invalid user x from {REAL} port 40112 ssh2", REAL),
        # A name may hold anything but a line's end: it shuts nobody else out.
        (f"Connection closed by invalid user x 192.0.2.1 port 22 [preauth] {REAL} port 40112 [preauth]", REAL),
        (f"Connection closed by invalid user x 192.0.2.1 port 22: y {REAL} port 40112 [preauth]", REAL),
        (f"Failed password for invalid user x from 192.0.2.1 port 22 ssh2 from {REAL} port 40112 ssh2", REAL),
        (f"drop connection #3 from [{REAL}]:40112 on [192.0.2.1]:22 penalty: failed authentication", REAL),
        # Those who are right, who only look, and single keys of an agent.
        (f"Accepted publickey for ada from {REAL} port 40112 ssh2: ED25519 SHA256:x", None),
        (f"Failed publickey for ada from {REAL} port 40112 ssh2: ED25519 SHA256:x", None),
        (f"Connection closed by {REAL} port 40112 [preauth]", None),
        (f"Disconnected from user ada {REAL} port 40112", None),
        (f"Received disconnect from {REAL} port 40112:11: Bye Bye [preauth]", None),
        (f"Invalid user x from {REAL} port 40112", None),
    ],
)
def test_what_counts_at_sshd(said, who):
    # What is dropped is said by the program that listens, all else by one of its own in newer releases.
    for program in ("sshd",) if said.startswith("drop") else ("sshd", "sshd-session"):
        assert counted("ssh", f"fenton {program}[4711]: {said}") == who


@pytest.mark.parametrize(
    ("said", "who"),
    [
        (f"[W 2026-11-21 14:52:57.199 ServerApp] 401 POST /login?next=%2Flab (@{REAL}) 62.23ms referer=None", REAL),
        ("[W 2026-11-21 14:52:57.199 ServerApp] 401 POST /login (@2001:db8::7) 62.23ms referer=None", "2001:db8::7"),
        (f"[W 2026-11-21 14:52:57.199 ServerApp] 401 POST /login?x=(@192.0.2.1) (@{REAL}) 6.00ms referer=None", REAL),
        (f"[W 2026-11-21 14:52:57.199 ServerApp] 401 POST /login (@{REAL}) 6.00ms referer=x 401 POST /login (@192.0.2.1) 1.00ms", REAL),
        # The form without its token, a page without a login, the right password, and lines that somebody else's words are in.
        (f"[W 2026-11-21 14:52:57.199 ServerApp] 403 POST /login (@{REAL}) 1.00ms referer=None", None),
        (f"[W 2026-11-21 14:52:57.199 ServerApp] 403 GET /api/contents (@{REAL}) 1.00ms referer=None", None),
        (f"[I 2026-11-21 14:52:57.199 ServerApp] 302 POST /login (ada@{REAL}) 60.00ms", None),
        ("[W 2026-11-21 14:52:57.199 ServerApp] 404 GET /x (@192.0.2.1) 1.00ms referer=[W x] 401 POST /login (@192.0.2.1) 1.00ms", None),
    ],
)
def test_what_counts_at_jupyter(said, who):
    assert counted("jupyter", f"fenton python[4711]: {said}") == who


@pytest.mark.parametrize(
    ("text", "said"),
    [("192.168.1.7/24", "192.168.1.0/24"), ("192.0.2.7", "192.0.2.7"), ("192.0.2.7/32", "192.0.2.7"), ("2001:DB8:0::/32", "2001:db8::/32")],
)
def test_networks_are_written_as_fail2ban_says_them(text, said):
    assert fail2ban_network(text) == said
