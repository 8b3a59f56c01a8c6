#!/usr/bin/python3
"""A provider of dynamic names on loopback: a dyndns2 server over TLS that checks what it receives, and the DNS that shows it.

It runs in the scenario's server and keeps everything below its directory:
  ipv4, ipv6     what the address checks answer; without the file they answer 503
  accounts.json  what is right: {"name": {"username": …, "password": …}}
  zone.json      what the names lead to, by name and family
  requests       one line of JSON per update that arrived: hostname, myip, answer
  asked          one line per address check: the family
"""

import base64
import ipaddress
import json
import os
import socket
import socketserver
import ssl
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else "/var/lib/provider")
RESOLVER = Path("/etc/resolv.conf")
LOCK = threading.Lock()


def load(name):
    """Return what the JSON file *name* holds, or an empty dictionary."""
    file = ROOT / name
    return json.loads(file.read_text()) if file.exists() else {}


def note(name, line):
    """Put *line* at the end of the file *name*."""
    with (ROOT / name).open("a") as file:
        file.write(line + "\n")


def update(query, authorization):
    """Return status and answer for one update, after the published dyndns2 protocol, and keep what is good.

    :arg query: dictionary of the parameters.
    :arg authorization: the header of that name.
    """
    account = load("accounts.json").get(query.get("hostname"))
    sent = base64.b64decode(authorization.partition("Basic ")[2]).decode()
    known = [f"{each['username']}:{each['password']}" for each in load("accounts.json").values()]
    if sent not in known:
        return 401, "badauth"
    if "." not in query.get("hostname", ""):
        return 200, "notfqdn"
    if account is None:
        return 200, "nohost"
    if sent != f"{account['username']}:{account['password']}":
        return 200, "!yours"
    try:
        address = ipaddress.ip_address(query.get("myip", ""))
    except ValueError:
        return 200, "dnserr"
    zone = load("zone.json")
    before = zone.setdefault(query["hostname"], {}).get(str(address.version))
    zone[query["hostname"]][str(address.version)] = str(address)
    (ROOT / "zone.json").write_text(json.dumps(zone))
    return 200, f"{'nochg' if before == str(address) else 'good'} {address}"


class Web(BaseHTTPRequestHandler):
    """Answers updates and address checks."""

    def do_GET(self):  # the name is http.server's
        """Answer one request."""
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        if url.path == "/nic/update":
            with LOCK:
                status, answer = update(query, self.headers.get("Authorization", ""))
                seen = {name: query.get(name) for name in ("hostname", "myip")}
                note("requests", json.dumps({**seen, "answer": answer}))
        elif url.path in ("/ipv4", "/ipv6"):
            note("asked", url.path[1:])
            file = ROOT / url.path[1:]
            status, answer = (200, file.read_text()) if file.exists() else (503, "no address\n")
        else:
            status, answer = 404, "no such page"
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *words):
        """Say nothing: what would be printed stands in the journal, where the tests look for what must not be there."""


class Names(socketserver.BaseRequestHandler):
    """Answers for the names of the zone, and asks the former resolver for all others."""

    def handle(self):
        """Answer one question."""
        question, sock = self.request
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        (kind,) = struct.unpack(">H", question[at + 1 : at + 3])
        known = load("zone.json").get(".".join(labels).lower())
        if known is None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
                upstream.settimeout(5)
                upstream.sendto(question, ((ROOT / "resolver").read_text(), 53))
                sock.sendto(upstream.recv(4096), self.client_address)
            return
        address = known.get({1: "4", 28: "6"}.get(kind))
        data = ipaddress.ip_address(address).packed if address else b""
        head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, int(bool(data)), 0, 0)
        answer = struct.pack(">HHHIH", 0xC00C, kind, 1, 5, len(data)) + data if data else b""
        sock.sendto(head + question[12 : at + 5] + answer, self.client_address)


def main():
    """Serve until the end."""
    now = RESOLVER.read_text()
    if "nameserver 127.0.0.1\n" not in now:
        first = next(line.split()[1] for line in now.splitlines() if line.startswith("nameserver"))
        (ROOT / "resolver").write_text(first)
        RESOLVER.write_text("nameserver 127.0.0.1\n")
    socketserver.ThreadingUDPServer.allow_reuse_address = True
    names = socketserver.ThreadingUDPServer(("127.0.0.1", 53), Names)
    threading.Thread(target=names.serve_forever, daemon=True).start()
    web = ThreadingHTTPServer(("127.0.0.1", 8443), Web)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ROOT / "cert.pem", ROOT / "key.pem")
    web.socket = context.wrap_socket(web.socket, server_side=True)
    if "NOTIFY_SOCKET" in os.environ:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    web.serve_forever()


if __name__ == "__main__":
    main()
