"""Tests for what decides whether somebody still gets in: keys and sources."""

import ipaddress


def within(address, networks):
    """Tell whether *address* lies in one of *networks*.

    :arg address: IPv4 or IPv6 address, also with a zone (``fe80::1%eth0``); ``::ffff:192.0.2.1`` counts as IPv4.
    :arg networks: list of addresses and networks.
    :raises ValueError: if one of them is neither.
    """
    address = ipaddress.ip_address(address.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)


def keyed(person):
    """Tell whether the entry *person* of a list of administrators has a public key."""
    return bool(person.get("keys"))


class TestModule:
    """What Ansible asks for."""

    def tests(self):
        """Return the tests by name."""
        return {"keyed": keyed, "within": within}
