"""Ask each server of this host what anybody could ask it. Arguments: host name, certificate chain, ports. Prints JSON."""

import http.client
import json
import socket
import ssl
import sys


def status(port, path, context, hostname):
    """Return the HTTP status of *path* over TLS, or the sentence of the error."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain, server_hostname=hostname) as tls:
            tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {hostname}\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(tls)
            answer.begin()
            return answer.status
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__


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


def main(hostname, chain, ports):
    """Print what was found, by port."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trusting.load_verify_locations(chain)
    found = {
        port: {
            "version": status(int(port), "/api", trusting, hostname),
            "no_cookie": status(int(port), "/api/contents", trusting, hostname),
            "empty_token": status(int(port), "/api/contents?token=", trusting, hostname),
            "http": speaks_http(int(port)),
            "old_tls": old_tls(int(port)),
        }
        for port in ports
    }
    print(json.dumps(found))


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore", DeprecationWarning)  # the old versions are asked for on purpose
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
