"""Work that goes on after logout, and a greeting that disturbs nobody."""

import json
import os
import select
import subprocess
import time

import pytest

USER = "ada"


def tmux(server, *words):
    return server.ssh("tmux", *(f"'{word}'" for word in words), user=USER)


def windows(server):
    return tmux(server, "list-windows", "-t", "=main", "-F", "#{window_name}").stdout.split()


def login(server, typed, *words):
    """Log in on a terminal, type the pieces of *typed* as a person would, and return what the screen showed."""
    command = ["ssh", *server.ssh_options(USER), "-tt", server.address, *words]
    environment = {**os.environ, "TERM": "xterm-256color"}  # a job of a CI has none
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        # Nobody types before the screen shows something.
        select.select([process.stdout], [], [], 20)
        shown = os.read(process.stdout.fileno(), 65536)
        try:
            for piece in typed:
                time.sleep(0.7)  # tmux takes what comes in one burst for pasted text, not for a key
                process.stdin.write(piece.encode())
                process.stdin.flush()
            shown += process.communicate(timeout=20)[0]
        except BrokenPipeError:
            shown += process.stdout.read()
        except subprocess.TimeoutExpired:
            process.kill()
            shown += process.communicate()[0]
            raise AssertionError(shown.decode("utf-8", "replace")) from None
        return shown.decode("utf-8", "replace")


def test_everyone_finds_a_session_with_a_window_on_the_journal(server):
    for name in server.variables["session_users"]:
        found = server.ssh("tmux list-panes -s -t =main -F '#{window_name} #{pane_start_command}'", user=name)
        assert f"journalctl -fu jupyter@{name}" in found.stdout, found.stderr
    assert "notebook" in windows(server)


@pytest.fixture(scope="module", autouse=True)
def alone():
    """Skip in scenarios of other roles, whose people are others."""
    if os.environ.get("FENTON_SCENARIO") != "session":
        pytest.skip("shown in the scenario session")


@pytest.mark.once
def test_the_window_follows_what_the_service_says(server):
    server.docker("systemd-run", "--unit", f"jupyter@{USER}", "--wait", "sh", "-c", "echo the-server-says-hello; sleep 1")
    for _ in range(50):
        if "the-server-says-hello" in tmux(server, "capture-pane", "-p", "-t", "=main:notebook").stdout:
            return
        time.sleep(0.1)
    raise AssertionError(tmux(server, "capture-pane", "-p", "-t", "=main:notebook").stdout)


@pytest.mark.once
def test_work_goes_on_after_logout(server):
    shown = login(server, ["echo started-$((40+2)); sleep 3001 &\n", "\002", "d"], "tmux", "new", "-A", "-s", "main")
    assert "started-42" in shown
    time.sleep(1)
    assert server.docker("pgrep", "-u", USER, "-f", "^sleep 3001").returncode == 0
    assert server.ssh("nohup sleep 3002 >/dev/null 2>&1 &", user=USER).returncode == 0
    time.sleep(1)
    assert server.docker("pgrep", "-u", USER, "-f", "^sleep 3002").returncode == 0
    server.docker("pkill", "-u", USER, "sleep")


@pytest.mark.once
def test_a_terminal_program_may_drive_the_session(server):
    shown = login(server, ["detach\n"], "tmux", "-CC", "new", "-A", "-s", "main")
    assert "%begin" in shown
    assert "%exit" in shown


@pytest.mark.once
def test_changed_lists_leave_what_runs_alone(server):
    before = server.docker("pgrep", "-u", USER, "-x", "tmux: server").stdout
    more = [*server.variables["session_windows"], {"name": "load", "command": "while :; do cat /proc/loadavg; sleep 9; done"}]
    done = server.playbook("--tags", "session", "-e", json.dumps({"session_windows": more, "session_users": [USER]}))
    assert done.returncode == 0, done.stdout
    for _ in range(150):  # logind gives a manager ten seconds before it ends
        if not server.docker("pgrep", "-u", "tom").stdout:
            break
        time.sleep(0.1)
    assert server.docker("pgrep", "-u", "tom").stdout == ""
    for _ in range(30):
        if "load" in windows(server):
            break
        time.sleep(0.1)
    assert windows(server).count("load") == 1
    assert windows(server).count("notebook") == 1
    assert server.docker("pgrep", "-u", USER, "-x", "tmux: server").stdout == before
    assert server.playbook("--tags", "session").returncode == 0
    tmux(server, "kill-window", "-t", "=main:load")


@pytest.mark.once
def test_a_session_that_somebody_ends_comes_back(server):
    tmux(server, "kill-server")
    for _ in range(80):
        if "notebook" in windows(server):
            return
        time.sleep(0.1)
    raise AssertionError(server.docker("journalctl", "-n", "20", "_COMM=main-session").stdout)


def test_the_banner_is_shown_once_and_says_how_the_server_is(server):
    shown = login(server, ["bash -l\n", "exit\n", "exit\n"])
    for word in ("load ", "memory ", "disk ", *server.variables["session_links"]):
        assert word in shown
    assert shown.count("  memory ") == 1
    assert "gpu" not in shown


@pytest.mark.once
def test_the_banner_says_that_a_reboot_is_due(server):
    assert "reboot" not in login(server, ["exit\n"])
    server.docker("touch", "/run/reboot-required")
    assert "reboot" in login(server, ["exit\n"])
    server.docker("rm", "/run/reboot-required")


@pytest.mark.once
def test_a_driver_that_hangs_does_not_hold_up_the_login(server):
    fake = "#!/bin/sh\necho 'NVIDIA X, 7, 100, 8192, 41'\nexec sleep 60\n"
    server.docker("sh", "-c", f'printf "{fake}" >/usr/local/bin/nvidia-smi; chmod +x /usr/local/bin/nvidia-smi')
    try:
        started = time.monotonic()
        shown = login(server, ["exit\n"])
        assert "NVIDIA X, 7 %, 100 of 8192 MiB, 41 °C" in shown
        assert time.monotonic() - started < 20
    finally:
        server.docker("sh", "-c", "rm -f /usr/local/bin/nvidia-smi; pkill -f '^sleep 60'")


@pytest.mark.once
def test_programs_are_not_greeted(server, tmp_path):
    assert server.ssh("true", user=USER).stdout == ""
    assert "memory" not in login(server, [], "true")
    options = server.ssh_options(USER)
    (tmp_path / "file").write_text("content")
    target = f"{server.address}:copied"
    for command in (
        ["scp", *options, tmp_path / "file", target],
        ["sftp", *options, "-b", "-", server.address],
    ):
        done = subprocess.run(command, input="ls copied\n", capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        assert "memory" not in done.stdout + done.stderr
    assert server.ssh("cat", "copied", user=USER).stdout == "content"


@pytest.mark.once
def test_an_unknown_user_is_refused(server):
    done = server.playbook("--tags", "session", "-e", json.dumps({"session_users": ["ada", "nadia"]}))
    assert done.returncode != 0
    assert "has no account nadia" in " ".join(done.stdout.split())
