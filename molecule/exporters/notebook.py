#!/usr/bin/python3
"""A page over TLS on port 8888 of loopback, and metrics on 18888: what a JupyterLab shows to a probe and a scrape.

Whatever comes to the metrics is written to /run/notebook, headers too: the secret of the door must never be among it.
"""

import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Page(BaseHTTPRequestHandler):
    """Answers on both ports."""

    def do_GET(self):  # the name is http.server's
        """Answer what the port is for."""
        said = b'{"version": "2"}' if self.server.server_port == 8888 else b"# TYPE kernel_currently_running_total gauge\n"
        if self.server.server_port == 18888:
            said += b'kernel_currently_running_total{type="python3"} 2\n'
            with open("/run/notebook", "a", encoding="utf-8") as file:
                print(self.requestline, self.headers, file=file)
        self.send_response(200 if self.path in ("/api", "/metrics") else 404)
        self.send_header("Content-Type", "application/json" if self.server.server_port == 8888 else "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


def main(chain, key):
    """Serve until the end."""
    page = ThreadingHTTPServer(("127.0.0.1", 8888), Page)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    page.socket = context.wrap_socket(page.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", 18888), Page).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
