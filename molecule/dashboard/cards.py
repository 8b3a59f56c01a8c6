#!/usr/bin/python3
"""Tell of two cards that nobody has, in the words of nvitop-exporter 1.7.2, on 127.0.0.1:9835.

The file given as argument holds what they do: a line "INDEX UTILISATION MEMORY TEMPERATURE POWER" for each, or the word "gone". Series that
nvitop-exporter has and nobody here asks for are left out.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAMES = ["gpu_utilization_Percentage", "gpu_memory_percent_Percentage", "gpu_temperature_C", "gpu_power_usage_W"]
CARD = "NVIDIA GeForce GTX 1080 Ti"


class Answer(BaseHTTPRequestHandler):
    """Answers one request."""

    def do_GET(self):  # the name is http.server's
        """Tell what the file says now."""
        text = Path(sys.argv[1]).read_text()
        rows = [] if text.startswith("gone") else [line.split() for line in text.splitlines()]
        lines = [f"# TYPE {name} gauge" for name in NAMES]
        for index, *values in rows:
            labels = f'hostname="192.0.2.1",index="{index}",devicename="{CARD}",uuid="GPU-{index}"'
            lines += [f"{name}{{{labels}}} {float(value)}" for name, value in zip(NAMES, values, strict=True)]
        body = ("\n".join(lines) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 9835), Answer).serve_forever()
