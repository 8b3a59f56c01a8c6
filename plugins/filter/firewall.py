"""Filter that writes a service's rule for the firewall, in nftables' language."""

import itertools

from ansible.errors import AnsibleFilterError

DIRECTORY = "/etc/fenton/firewall.d"
RULE = """# Ansible managed
table inet fenton {{
  chain ports {{
{lines}  }}
}}
"""


def ranges(ports):
    """Return sorted numbers as texts, those that follow each other as ``first-last``."""
    found = []
    for _, group in itertools.groupby(enumerate(ports), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in group]
        found.append(f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else str(numbers[0]))
    return found


def port_files(service, port, sources=(), protocol="tcp", note=""):
    """Return the files that open a port, as ``write_files`` takes them: a role compares them in its look, ``open_port`` writes them.

    :arg service: who listens: small letters, digits and ``-_.@``; one service has one rule.
    :arg port: port or list of ports (1 to 65535), as numbers or as texts of digits; a text may be a range, ``8000-8100``.
    :arg sources: addresses and networks that may connect, IPv4 or IPv6; everyone where there are none.
    :arg protocol: ``tcp`` or ``udp``.
    :arg note: what stands behind the service's name in the rule's comment.
    :raises AnsibleFilterError: when a port is no number.
    """
    try:
        spans = [[int(end) for end in str(each).split("-")] for each in (port if isinstance(port, list) else [port])]
        ports = sorted({number for first, *last in spans for number in range(first, (last or [first])[0] + 1)})
    except (TypeError, ValueError):
        raise AnsibleFilterError(f"the port of {service} is no number or list of numbers: {port!r}") from None
    listed = ", ".join(ranges(ports))
    comment = f"{service}, {note}" if note else service
    froms = [f"{'ip6' if ':' in source else 'ip'} saddr {source} " for source in sources or ()] or [""]
    lines = "".join(f'    {start}{protocol} dport {{ {listed} }} accept comment "{comment}"\n' for start in froms)
    return [
        {"dest": DIRECTORY, "state": "directory"},
        {
            "dest": f"{DIRECTORY}/{service}.nft",
            "content": RULE.format(lines=lines),
            # Where base has not been applied there is no nft yet, and the rule waits for it.
            "validate": "/bin/sh -c 'test ! -x /usr/sbin/nft || /usr/sbin/nft -c -f %s'",
        },
    ]


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {"port_files": port_files}
