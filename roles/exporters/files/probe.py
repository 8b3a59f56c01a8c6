"""Ask the exporters of this host, and its door, what anybody could ask. Standard input: JSON. Prints JSON.

Asked with ``modules`` (address and path by name) and ``door``: null, or ``port``, ``server_name``, ``ca`` (PEM) and ``token``. The answer
has ``missing`` (of ``series``, those that the node exporter does not tell), ``metrics`` (by module: HTTP status) and ``door``.
"""

import http.client
import json
import re
import socket
import ssl
import sys


def ask(port, path, headers=None, context=None, name=None):
    """Return HTTP status and text of *path* on loopback, over TLS with a *context*; where there is no answer, the sentence why."""
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            line = context.wrap_socket(plain, server_hostname=name) if context else plain
            with line:
                asked = "".join(f"{key}: {value}\r\n" for key, value in (headers or {}).items())
                line.sendall(f"GET {path} HTTP/1.1\r\nHost: {name or 'localhost'}\r\nConnection: close\r\n{asked}\r\n".encode())
                answer = http.client.HTTPResponse(line)
                answer.begin()
                return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__, ""


def door(asked):
    """Return how the door answers to whom."""
    # A given certificate is trusted as it is; it need not end in an authority of this host.
    context = ssl.create_default_context(cadata=asked["ca"])
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN

    def over(path, headers=None):
        return ask(asked["port"], path, headers, context, asked["server_name"])

    right = {"Authorization": f"Bearer {asked['token']}"}
    status, text = over("/proxy?module=node", right)
    plain = ask(asked["port"], "/proxy?module=node", right)
    return {
        "right": status,
        "tells": "node_boot_time_seconds" in text,
        "nothing": over("/proxy?module=node")[0],
        "wrong": over("/proxy?module=node", {"Authorization": f"Bearer {asked['token'][::-1]}"})[0],
        "unknown": over("/proxy?module=nothing-of-that-name", right)[0],
        "itself": over("/metrics")[0],
        # Go's servers answer plain HTTP with 400 and a sentence, and nothing else.
        "plain": plain[0] if "node_" not in plain[1] else "metrics",
    }


def main():
    """Print what was found."""
    asked = json.load(sys.stdin)
    found = {}
    for name, module in asked["modules"].items():
        found[name] = ask(int(module["address"].rpartition(":")[2]), module["path"])
    told = set(re.findall(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)", found["node"][1], re.M))
    print(json.dumps({
        "metrics": {name: status for name, (status, _) in found.items()},
        "missing": [name for name in asked["series"] if name not in told],
        "failed": re.findall(r'^fenton_part_success{part="(\w+)"} 0$', found["node"][1], re.M),
        "door": door(asked["door"]) if asked["door"] else None,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
