#!/usr/bin/python3
"""A mail server and a webhook on loopback, for the scenario: ``sink.py DIRECTORY``.

The mail server (port 2525) takes mails after STARTTLS and a login as ada; the webhook (port 8025) takes any JSON. Both keep what arrives
below the directory, a line of JSON each: ``mails`` (from, to, subject, text) and ``hooked`` (path, body).
"""

import base64
import email
import email.policy
import json
import socketserver
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(sys.argv[1])
LOGIN = base64.b64encode(b"\0ada\0password-of-the-mail").decode()


def note(name, **what):
    """Put a line at the end of the file *name*."""
    with (ROOT / name).open("a") as file:
        file.write(json.dumps({**what, "at": time.time()}) + "\n")


class Mail(socketserver.StreamRequestHandler):
    """One session; what RFC 5321 and 3207 want in this order, and nothing else."""

    def say(self, line):
        """Send a line."""
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self):
        """Take mails."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ROOT / "cert.pem", ROOT / "key.pem")
        secret = known = False
        sender, to = "", []
        self.say("220 sink")
        while line := self.rfile.readline().decode().strip():
            word = line.upper()
            if word.startswith("EHLO"):
                self.say("250-sink\r\n250-" + ("AUTH PLAIN" if secret else "STARTTLS") + "\r\n250 8BITMIME")
            elif word == "STARTTLS":
                self.say("220 go on")
                self.request = context.wrap_socket(self.request, server_side=True)
                self.rfile, self.wfile, secret = self.request.makefile("rb"), self.request.makefile("wb", 0), True
            elif word.startswith("AUTH PLAIN"):
                known = secret and line.split()[2] == LOGIN
                self.say("235 welcome" if known else "535 no")
            elif word == "NOOP":
                self.say("250 ok")
            elif not known:
                self.say("530 log in first")
            elif word.startswith("MAIL FROM:"):
                sender, to = line[10:].split()[0].strip("<>"), []
                self.say("250 ok")
            elif word.startswith("RCPT TO:"):
                to.append(line[8:].strip("<>"))
                self.say("250 ok")
            elif word == "DATA":
                self.say("354 go on")
                lines = []
                while (data := self.rfile.readline()) != b".\r\n":
                    lines.append(data.removeprefix(b"."))
                mail = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
                note("mails", sender=sender, to=to, subject=mail["Subject"], text=mail.get_content())
                self.say("250 taken")
            else:
                self.say("221 bye" if word == "QUIT" else "500 what")


class Hook(BaseHTTPRequestHandler):
    """One call."""

    def do_POST(self):  # the name is http.server's
        """Take it."""
        note("hooked", path=self.path, body=json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words):
        """Say nothing."""


class Mails(socketserver.ThreadingTCPServer):
    """The mail server."""

    allow_reuse_address = daemon_threads = True


threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", 8025), Hook).serve_forever, daemon=True).start()
Mails(("127.0.0.1", 2525), Mail).serve_forever()
