"""Knock as the app does, with a passcode that is wrong, and tell what came back: probe.py PORT prints JSON."""

import json
import re
import secrets
import socket
import ssl
import sys

ADDRESS = ("127.0.0.1", int(sys.argv[1]))
found = {"tls": "", "answers": [], "numbers": False, "old_tls": False, "plain": False}


def context(oldest):
    """Return settings of TLS that take any certificate: who answers is not the question here."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode, made.minimum_version = False, ssl.CERT_NONE, oldest
    return made


def say(connection, request):
    """Send a request and return the answer, up to its end."""
    connection.sendall(request.encode())
    said = b""
    while b"</isr>" not in said and (part := connection.recv(65536)):
        said += part
    return said.decode("utf-8", "replace")


with socket.create_connection(ADDRESS, timeout=5) as plain:
    plain.settimeout(2)
    try:
        found["plain"] = b"isr" in (plain.sendall(b'<isr type="100" protocol="2"></isr>') or plain.recv(1024))
    except OSError:
        pass

with socket.create_connection(ADDRESS, timeout=5) as raw:
    old = context(ssl.TLSVersion.TLSv1)
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    # Else this very library would refuse, and nothing be learnt.
    old.set_ciphers("ALL:@SECLEVEL=0")
    try:
        found["old_tls"] = bool(old.wrap_socket(raw).version())
    except (OSError, ssl.SSLError):
        pass

with socket.create_connection(ADDRESS, timeout=5) as raw, context(ssl.TLSVersion.TLSv1_2).wrap_socket(raw) as connection:
    found["tls"] = connection.version()
    who = f'uuid="{secrets.token_hex(8)}" name="doctor" version="1"'
    wrong = f'<isr type="102" code="{secrets.token_hex(16)}"></isr>'
    requests = ['<isr type="100" protocol="3"></isr>', f'<isr type="101" {who}></isr>', wrong]
    for request in requests:
        found["answers"] += re.findall(r'<isr type="(\d+)"', say(connection, request))
    found["numbers"] = "<stat" in say(connection, '<isr type="103"><stat type="load" samples="0"></stat></isr>')
print(json.dumps(found))
