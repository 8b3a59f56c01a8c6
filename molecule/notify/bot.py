#!/usr/bin/python3
"""The part of Telegram's Bot API that sends, on loopback over TLS, and strict about all that it receives.

It runs in the scenario's server, and in the unit tests, and keeps everything below its directory:
  bot.json   what is right: {"token": …, "chat": …}
  mode       how it answers: ok, 401, 500, hang, or "429 SECONDS" for one refusal; "400" refuses a text that has the word poison
  arrived    one line of JSON per message that was taken: method, text as a person reads it, bytes and size of a photo
  refused    one line of JSON per request that was not
  hooked     one line of JSON per message that came by apprise's jsons://: title, text, number of pictures
What is checked: https://core.telegram.org/bots/api, "Making requests", sendMessage, sendPhoto, "HTML style".
"""

import base64
import email.parser
import email.policy
import json
import re
import socket
import ssl
import struct
import sys
import threading
import time
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import environ
from pathlib import Path

TAG = re.compile(r"<(/?)(b|i|u|s|code|pre)>")
ENTITY = re.compile(r"&(lt|gt|amp|quot|#[0-9]+|#x[0-9a-fA-F]+);")
MARKDOWN = r"_*[]()~`>#+-=|{}.!"


class Wrong(Exception):
    """A request that is refused; its text is the description."""


def from_html(text):
    """Return what a person reads of *text*, or refuse it as the Bot API does."""
    plain, opened, at = "", [], 0
    while at < len(text):
        if text[at] == "<":
            tag = TAG.match(text, at)
            if not tag:
                raise Wrong(f"can't parse entities: Unsupported start tag at byte offset {at}")
            if not tag[1]:
                opened.append(tag[2])
            elif not opened or opened.pop() != tag[2]:
                raise Wrong(f"can't parse entities: Unmatched end tag at byte offset {at}")
            at = tag.end()
        elif text[at] == "&":
            entity = ENTITY.match(text, at)
            if not entity:
                raise Wrong(f"can't parse entities: unescaped & at byte offset {at}")
            plain += unescape(entity[0])
            at = entity.end()
        elif text[at] == ">":
            raise Wrong(f"can't parse entities: unescaped > at byte offset {at}")
        else:
            plain += text[at]
            at += 1
    if opened:
        raise Wrong(f"can't parse entities: Can't find end tag corresponding to start tag {opened[-1]}")
    return plain


def from_markdown(text):
    """Return what a person reads of *text*; here every reserved character must have its backslash."""
    plain, at = "", 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in MARKDOWN:
            at += 1
        elif text[at] in MARKDOWN:
            raise Wrong(f"can't parse entities: Character '{text[at]}' is reserved and must be escaped")
        plain += text[at]
        at += 1
    return plain


def read_text(fields, name, longest):
    """Return the text of a request as a person reads it.

    :arg fields: dictionary of the request's fields.
    :arg name: ``text`` or ``caption``.
    :arg longest: what the Bot API takes, in UTF-16 code units.
    """
    text = fields.get(name, "")
    parser = {"": str, "HTML": from_html, "MarkdownV2": from_markdown}.get(fields.get("parse_mode", ""))
    if parser is None:
        raise Wrong("unsupported parse_mode")
    plain = parser(text)
    if name == "text" and not plain.strip():
        raise Wrong("message text is empty")
    if len(plain.encode("utf-16-le")) // 2 > longest:
        raise Wrong("message is too long" if name == "text" else "message caption is too long")
    return plain


def read_photo(photo):
    """Return width and height of a PNG in pixels, or refuse it."""
    if not photo.startswith(b"\x89PNG\r\n\x1a\n") or len(photo) > 10_000_000:
        raise Wrong("IMAGE_PROCESS_FAILED")
    width, height = struct.unpack(">II", photo[16:24])
    if width + height > 10_000 or max(width, height) > 20 * min(width, height):
        raise Wrong("PHOTO_INVALID_DIMENSIONS")
    return width, height


class Bot(ThreadingHTTPServer):
    """The server and what it knows."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, root, address):
        self.root, self.lock, self.not_before = Path(root), threading.Lock(), 0.0
        super().__init__(address, Api)

    def handle_error(self, request, client_address):
        """Say nothing of who goes away in the middle."""

    def mode(self):
        """Return how it answers now."""
        file = self.root / "mode"
        return file.read_text().strip() if file.exists() else "ok"

    def note(self, name, **what):
        """Put a line at the end of the file *name*."""
        with self.lock, (self.root / name).open("a") as file:
            file.write(json.dumps({**what, "at": time.time()}) + "\n")


class Api(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):  # the name is http.server's
        """Answer as the Bot API does."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        mode = self.server.mode()
        if self.path == "/hook":
            return self.hook(json.loads(body))
        if mode == "hang":
            time.sleep(3600)
        return self.say(*self.decide(body, mode))

    def hook(self, given):
        """Take what apprise sends to an address of one's own, behind a password."""
        right = json.loads((self.server.root / "bot.json").read_text()).get("hook", "")
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(right.encode()).decode():
            return self.say(401, {"description": "Unauthorized"})
        pictures = [base64.b64decode(each["base64"])[:8] == b"\x89PNG\r\n\x1a\n" for each in given["attachments"]]
        self.server.note("hooked", title=given["title"], text=given["message"], pictures=pictures)
        return self.say(200, {})

    def say(self, status, answer):
        """Send an answer."""
        if status != 200:
            self.server.note("refused", status=status, description=answer["description"])
        said = json.dumps({"ok": status == 200, **answer}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def decide(self, body, mode):
        """Return status and answer."""
        path = re.fullmatch(r"/bot([0-9]+:[A-Za-z0-9_-]+)/(\w+)", self.path)
        if not path or path[2] not in ("getChat", "sendMessage", "sendPhoto"):
            return 404, {"error_code": 404, "description": "Not Found"}
        right = json.loads((self.server.root / "bot.json").read_text())
        if path[1] != right["token"] or mode == "401":
            return 401, {"error_code": 401, "description": "Unauthorized"}
        if mode == "500":
            return 500, {"error_code": 500, "description": "Internal Server Error"}
        if time.monotonic() < self.server.not_before:
            self.server.note("too_early")
        if mode.startswith("429"):
            seconds = int(mode.split()[1])
            self.server.not_before = time.monotonic() + seconds
            (self.server.root / "mode").write_text("ok")
            return 429, {
                "error_code": 429, "description": f"Too Many Requests: retry after {seconds}", "parameters": {"retry_after": seconds},
            }  # fmt: skip
        try:
            fields, photo = self.fields(body)
            if str(fields.get("chat_id")) != str(right["chat"]):
                raise Wrong("chat not found")
            if path[2] == "getChat":
                return 200, {"result": {"id": right["chat"], "type": "private"}}
            if path[2] == "sendMessage":
                text, size = read_text(fields, "text", 4096), None
            else:
                text, size = read_text(fields, "caption", 1024), read_photo(photo)
            if mode == "400" and "poison" in text:
                raise Wrong("can't parse entities: poison")
        except Wrong as wrong:
            return 400, {"error_code": 400, "description": f"Bad Request: {wrong}"}
        self.server.note("arrived", method=path[2], text=text, raw=fields.get("text", fields.get("caption")), size=size)
        return 200, {"result": {"message_id": 1, "date": int(time.time()), "chat": {"id": right["chat"]}}}

    def fields(self, body):
        """Return the fields of a request as texts, and its photo."""
        kind = self.headers.get("Content-Type", "")
        if kind.split(";")[0] == "application/json":
            return json.loads(body), None
        if not kind.startswith("multipart/form-data"):
            raise Wrong("neither JSON nor a form")
        parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        fields = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parsed.iter_parts()}
        photo = fields.pop("photo", b"")
        return {name: value.decode() for name, value in fields.items()}, photo

    def log_message(self, *words):
        """Say nothing: what would be printed stands in the journal, where the tests look for what must not be there."""


def main():
    """Serve until the end: ``bot.py DIRECTORY [PORT]``."""
    root = Path(sys.argv[1])
    server = Bot(root, ("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 8443))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(root / "cert.pem", root / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    if "NOTIFY_SOCKET" in environ:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(b"READY=1", environ["NOTIFY_SOCKET"])
    server.serve_forever()


if __name__ == "__main__":
    main()
