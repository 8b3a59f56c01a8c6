"""Ask the page what anybody could ask it, without a password. Arguments: host name, certificate chain, port. Prints JSON."""

import http.client
import json
import secrets
import socket
import ssl
import sys

# Fewer than what a stranger may ask in one go. Each time it is another stranger who asks, from an address of this host's own: else
# somebody who looks twice within a minute would hear nothing but that he asks too much.
STRANGER = "127." + ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))
PATHS = ["/", "/page.js", "/api/query?query=up", "/live", "/live/api/4/status", "/grafana", "/grafana/api/health", "/nothing"]


def ask(port, path, context, hostname):
    """Return status and headers of *path*, or the sentence of the error."""
    try:
        plain = socket.create_connection(("127.0.0.1", port), 5, (STRANGER, 0))
        with plain, context.wrap_socket(plain, server_hostname=hostname) as tls:
            tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {hostname}\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(tls)
            answer.begin()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__, {}


def speaks_http(port):
    """Tell whether the port answers without TLS."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return plain.recv(5) == b"HTTP/"
    except OSError:
        return False


def old_tls(port):
    """Tell whether the port accepts TLS 1.1 or older."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain):
            return True
    except OSError:
        return False


def main(hostname, chain, port):
    """Print what was found: answers by path, headers of the first one, and what must not be spoken."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trusting.load_verify_locations(chain)
    answers = {path: ask(int(port), path, trusting, hostname) for path in PATHS}
    found = {"status": {path: status for path, (status, _) in answers.items()}, "headers": answers["/"][1]}
    print(json.dumps({**found, "http": speaks_http(int(port)), "old_tls": old_tls(int(port))}))


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore", DeprecationWarning)  # the old versions are asked for on purpose
    main(*sys.argv[1:])
