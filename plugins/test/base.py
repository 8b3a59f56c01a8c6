"""Tests for what an administrator writes into the inventory: names, keys, networks, time zones."""

import base64
import binascii
import ipaddress
import re
import struct
import zoneinfo

_TYPES = {
    "ssh-ed25519": ("key",),
    "ssh-rsa": ("exponent", "modulus"),
    "ecdsa-sha2-nistp256": ("curve", "point"),
    "ecdsa-sha2-nistp384": ("curve", "point"),
    "ecdsa-sha2-nistp521": ("curve", "point"),
    "sk-ssh-ed25519@openssh.com": ("key", "application"),
    "sk-ecdsa-sha2-nistp256@openssh.com": ("curve", "point", "application"),
}
_POINT_BYTES = {"nistp256": 65, "nistp384": 97, "nistp521": 133}
# Accounts and groups that Debian and Ubuntu create themselves.
_TAKEN = set(
    "root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc nobody sudo adm tty disk kmem dialout fax voice"
    " cdrom floppy tape audio dip operator src shadow utmp video sasl plugdev staff users nogroup input kvm render sgx crontab messagebus"
    " sshd syslog systemd-journal systemd-network systemd-resolve systemd-timesync".split()
)


def unix_user_name(name):
    """Tell whether *name* can be the account of a person: what ``useradd`` takes, and no account or group of the system.

    :arg name: the name; anything but text is refused.
    """
    return isinstance(name, str) and bool(re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", name)) and name not in _TAKEN


def host_name(name):
    """Tell whether *name* is one label of a host name after RFC 1123: letters, digits, inner hyphens, at most 63."""
    return isinstance(name, str) and bool(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", name))


def domain_name(name):
    """Tell whether *name* is a domain: labels after RFC 1123 joined by dots, at most 253 characters."""
    return isinstance(name, str) and len(name) <= 253 and all(host_name(label) for label in name.split("."))


def time_zone(name):
    """Tell whether *name* is in the time zone database of the control node."""
    if not isinstance(name, str):
        return False
    try:
        return bool(zoneinfo.ZoneInfo(name))
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        # To list all of them takes fifty times as long; only a control node without a database leaves it to the server to say.
        return not zoneinfo.available_timezones() and bool(re.fullmatch(r"[A-Za-z0-9_+/-]+", name))


def network(text):
    """Tell whether *text* is an IPv4 or IPv6 address or network (``10.0.0.0/8``, ``2001:db8::/32``)."""
    try:
        ipaddress.ip_network(text, strict=False)
    except (TypeError, ValueError):
        return False
    return isinstance(text, str)


def port(number):
    """Tell whether *number* is a port: a whole number from 1 to 65535."""
    return isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= 65535


def python_version(value):
    """Tell whether *value* is a version of Python from 3.9 on: ``3.13`` or ``3.13.5``. Without quotes YAML makes 3.1 of 3.10."""
    return bool(re.fullmatch(r"3\.(9|[1-9][0-9])(\.[0-9]+)?", str(value)))


def _fields(blob):
    """Return the length-prefixed strings that *blob* consists of.

    :raises ValueError: when the lengths do not add up.
    """
    fields = []
    while blob:
        if len(blob) < 4:
            raise ValueError("cut off")
        (size,) = struct.unpack(">I", blob[:4])
        if size > len(blob) - 4:
            raise ValueError("cut off")
        fields.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return fields


def _words(line):
    """Return the words of a line of ``authorized_keys``; blanks inside double quotes do not part words."""
    return re.findall(r'(?:[^\s"]|"(?:\\.|[^"\\])*")+', line)


def ssh_public_key(line):
    """Tell whether *line* is a public key that sshd takes, as in a ``.pub`` file or with options before it.

    :arg line: one line of text. Its base64 part is decoded, its inner type compared with the outer one and its parts measured;
        RSA needs 2048 bits. DSA, certificates and private keys are refused.
    """
    if not isinstance(line, str) or "\n" in line.strip() or "\r" in line.strip():
        return False
    words = _words(line)
    at = next((number for number, word in enumerate(words[:2]) if word in _TYPES), None)
    if at is None or len(words) < at + 2:
        return False
    kind = words[at]
    try:
        inner, *parts = _fields(base64.b64decode(words[at + 1], validate=True))
    except (binascii.Error, ValueError):
        return False
    names = _TYPES[kind]
    if inner != kind.encode() or len(parts) != len(names):
        return False
    part = dict(zip(names, parts, strict=True))
    curve = part.get("curve", b"").decode("ascii", "replace")
    return (
        ("key" not in part or len(part["key"]) == 32)
        and ("curve" not in part or (kind.split("@")[0].endswith(curve) and len(part["point"]) == _POINT_BYTES.get(curve)))
        and ("modulus" not in part or int.from_bytes(part["modulus"], "big").bit_length() >= 2048)
    )


class TestModule:
    """What Ansible asks for."""

    def tests(self):
        """Return the tests by name."""
        return {
            "unix_user_name": unix_user_name,
            "host_name": host_name,
            "domain_name": domain_name,
            "time_zone": time_zone,
            "network": network,
            "port": port,
            "python_version": python_version,
            "ssh_public_key": ssh_public_key,
        }
