"""Start TensorBoard as JupyterLab would and ask it who it is: ``python3 ask_board.py PROGRAM``.

Prints the first line of the answer and the mode of the socket, or why there is none.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time

with tempfile.TemporaryDirectory() as home:
    path = os.path.join(home, "socket")
    started = subprocess.Popen([sys.argv[1], path], env={**os.environ, "HOME": home}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for _ in range(200):
            if os.path.exists(path) or started.poll() is not None:
                break
            time.sleep(0.1)
        if started.poll() is not None:
            sys.exit(started.stderr.read().decode("utf-8", "replace")[-600:])
        mode = os.stat(path).st_mode & 0o777
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(20)
            link.connect(path)
            link.sendall(b"GET /data/environment HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = b"".join(iter(lambda: link.recv(65536), b""))
    finally:
        started.kill()
        started.wait()
print(f"{answer.splitlines()[0].decode()}, socket {mode:o}")
