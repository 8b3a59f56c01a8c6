"""Filter that writes networks as fail2ban says them again."""

import ipaddress


def fail2ban_network(text):
    """Return the address or network *text* without the bits of a host: ``192.168.1.7/24`` is ``192.168.1.0/24``, one address stays alone.

    :arg text: IPv4 or IPv6 address or network.
    :raises ValueError: when it is neither.
    """
    network = ipaddress.ip_network(text, strict=False)
    return str(network if network.num_addresses > 1 else network.network_address)


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {"fail2ban_network": fail2ban_network}
