"""The command notify and its sender as real processes, against a Bot API on loopback; and what is said of wrong settings."""

import csv
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import yaml
from conftest import load
from notify import notify_problems

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "roles/notify/files"
BOT = ROOT / "molecule/notify/bot.py"
SCHEMES = re.search(r"__notify_schemes: >-\n(.*?)\n\n", (ROOT / "roles/notify/vars/main.yml").read_text(), re.S)[1]
SCHEMES = re.search(r"'(.*)'", SCHEMES, re.S)[1].split()
TOKEN, CHAT = "123456789:AAtoken-of-the-unit-tests_0123456789ab", 4711
RIGHT = {"token": TOKEN, "chat": CHAT}


sender = load(FILES / "notify-sender")
command = load(FILES / "notify")
plot = load(FILES / "notify-plot")
bot = load(BOT)


def until(what, seconds=15):
    end = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < end:
        time.sleep(0.02)
    assert found, f"not within {seconds} s"
    return found


class Place:
    """A bot, a sender and a command that find each other below one directory."""

    def __init__(self, root):
        self.root, self.processes = root, {}
        (root / "bot.json").write_text(json.dumps(RIGHT))
        usage = "-addext keyUsage=critical,keyCertSign,cRLSign"
        new = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        leaf = "-keyout key.pem -out cert.pem -subj /CN=localhost"
        script = (
            f"{new} -keyout ca.key -out ca.pem -subj '/CN=Authority of the bot' {usage} && {new} {leaf}"
            " -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE -CA ca.pem -CAkey ca.key"
        )
        subprocess.run(script, shell=True, cwd=root, check=True, capture_output=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (root / "state").mkdir()
        self.program = root / "notify"
        text = (FILES / "notify").read_text().replace("/run/fenton-notify/socket", str(root / "socket"))
        text = text.replace("/usr/local/lib/fenton/notify-plot", str(root / "plot"))
        # Nobody wants to wait here for what people may not ask for more often than every ten seconds.
        self.program.write_text(text.replace("seconds >= 10 else", "seconds >= 2 else"))
        self.program.chmod(0o755)
        self.configure(RIGHT)

    def configure(self, telegram, urls=()):
        config = {"telegram": {**telegram, "server": f"https://localhost:{self.port}"}, "urls": list(urls)}
        (self.root / "config.json").write_text(json.dumps(config))

    def mode(self, mode):
        (self.root / "mode").write_text(mode)

    def start_bot(self):
        self.processes["bot"] = subprocess.Popen([sys.executable, BOT, self.root, str(self.port)])
        until(lambda: not socket.socket().connect_ex(("127.0.0.1", self.port)))

    def start_sender(self):
        (self.root / "socket").unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self.root / "socket"))
        listening.listen(512)
        pass_it = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.executable, [sys.executable, '-I', *sys.argv[2:]])"
        self.processes["sender"] = subprocess.Popen(
            [sys.executable, "-c", pass_it, str(listening.fileno()), FILES / "notify-sender", self.root / "config.json"],
            env={**os.environ, "STATE_DIRECTORY": str(self.root / "state"), "SSL_CERT_FILE": str(self.root / "ca.pem")},
            stderr=(self.root / "journal").open("a"),
            pass_fds=[listening.fileno()],
        )  # fmt: skip
        listening.close()

    def stop(self, name, number=signal.SIGTERM):
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(10)

    def notify(self, *words, **options):
        options.setdefault("stdin", subprocess.DEVNULL) if "input" not in options else None
        return subprocess.run([self.program, *map(str, words)], capture_output=True, text=True, timeout=60, **options)

    def lines(self, name):
        file = self.root / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def arrived(self):
        return [each["text"] for each in self.lines("arrived")]

    @property
    def journal(self):
        return (self.root / "journal").read_text()


@pytest.fixture
def place(tmp_path):
    found = Place(tmp_path)
    yield found
    for process in found.processes.values():
        process.kill()
        process.wait()


@pytest.fixture
def running(place):
    place.start_bot()
    place.start_sender()
    return place


ALL = "_*[]()~`>#+-=|{}.!<&\"'\\ äöü 😀 </pre></b> &lt; \x1b[31mred\x1b[0m\ttab"


def test_a_text_arrives_as_it_was_written(running):
    for text in (ALL, "two\nlines", "a", "-", "ends with a backslash\\"):
        done = running.notify("-", input=text)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    assert running.notify("several", "words").returncode == 0
    until(lambda: len(running.arrived) == 6)
    host = socket.gethostname().split(".")[0]
    shown = ALL.replace("\x1b", "")
    assert running.arrived == [
        f"root@{host}\n{text}" for text in (shown, "two\nlines", "a", "-", "ends with a backslash\\", "several words")
    ]
    assert running.lines("refused") == []


@pytest.mark.parametrize("text", ["x" * 20000, "<" * 5000, "😀" * 5000, "&" * 4096, "line & line\n" * 1000])
def test_what_is_too_long_is_cut_to_what_telegram_takes(running, text):
    done = running.notify("-", input=text)
    assert (done.returncode, done.stderr) == (0, "")
    (arrived,) = until(lambda: running.arrived)
    assert arrived.endswith("…") or len(text) < 4096
    assert running.lines("refused") == []
    body = arrived.partition("\n")[2].rstrip("…")
    assert len(body) > 700
    assert text.startswith(body)


def test_bytes_that_are_no_text_arrive_as_something(running):
    done = subprocess.run([running.program, b"\xff\xfe", b"\xc3"], capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "?" in until(lambda: running.arrived)[0]


def test_a_command_keeps_its_status_and_its_output(running):
    assert running.notify("--", "sh", "-c", "exit 3").returncode == 3
    done = running.notify("--", "sh", "-c", "echo out; echo err >&2; cat", input="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\nin\n", "err\n")
    assert running.notify("--", "no-such-command").returncode == 127
    assert running.notify("--", "/etc/passwd").returncode == 126
    until(lambda: len(running.arrived) == 4)
    first, second, third, _ = running.arrived
    assert re.search(r": failed after 0\.\d s\nsh -c 'exit 3'\nexit status 3, peak memory \d+ MiB$", first)
    assert "finished after" in second
    assert sorted(second.splitlines()[-3:]) == ["err", "in", "out"]
    assert "command not found" in third


def test_output_is_not_changed_by_a_byte(running):
    script = "import os; d = bytes(range(256)) * 4000; os.write(1, d); os.write(2, d[::-1])"
    done = subprocess.run([running.program, "--", sys.executable, "-c", script], capture_output=True, timeout=30)
    data = bytes(range(256)) * 4000
    assert done.stdout == data
    assert done.stderr == data[::-1]
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done"
    done = subprocess.run([running.program, "--", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    assert done.stdout.decode().split("\n")[:4] == ["out 1", "err 1", "out 2", "err 2"]


def test_a_command_finds_its_environment_and_signals_as_ever(running):
    script = (
        "import os, signal; print(sorted(os.environb.items())); print(signal.getsignal(13), signal.pthread_sigmask(0, []));"
        "print(sorted(os.listdir('/proc/self/fd')))"
    )
    given = {"PATH": os.environ["PATH"], "ODD": "a=b\nc", "PYTHONUNBUFFERED": "1"}
    words = [sys.executable, "-I", "-c", script]
    plain = subprocess.run(words, capture_output=True, env=given, stdin=subprocess.DEVNULL)
    through = subprocess.run([running.program, "--", *words], capture_output=True, env=given, stdin=subprocess.DEVNULL)
    assert through.stdout == plain.stdout
    assert b"LC_CTYPE" not in subprocess.run([running.program, "--", "env"], capture_output=True, env=given).stdout


def test_a_reader_that_ends_early_ends_the_command(running):
    begun = time.monotonic()
    done = subprocess.run(f"{running.program} -- yes | head -n 2", shell=True, capture_output=True, text=True, timeout=20)
    assert done.stdout == "y\ny\n"
    until(lambda: running.arrived)
    assert "ended by SIGPIPE" in running.arrived[0]
    assert time.monotonic() - begun < 15


def test_what_stays_in_the_background_is_not_waited_for(running):
    begun = time.monotonic()
    assert running.notify("--", "sh", "-c", "sleep 60 & echo here").stdout == "here\n"
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_command(running, number):
    script = f"trap 'echo caught; exit 5' {number.name[3:]}; echo ready; while :; do sleep 0.05; done"
    process = subprocess.Popen([running.program, "--", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    try:
        assert process.communicate(timeout=10)[0] == "caught\n"
    finally:
        process.kill()
    assert process.returncode == 5


def test_who_waits_sees_the_signal_that_ended_the_command(running):
    process = subprocess.Popen([running.program, "--", "sleep", "60"])
    time.sleep(0.5)
    process.terminate()
    assert process.wait(10) == -signal.SIGTERM
    assert "ended by SIGTERM" in until(lambda: running.arrived)[0]
    assert running.notify("--", "sh", "-c", "kill -9 $$").returncode == -9


def at_a_terminal(words, keys=b"", size=(30, 97), wait=b"ready", resize=None):
    """Run *words* at a terminal of their own, type *keys* when *wait* was printed, and return status and what was shown."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(words[0], words)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    shown, typed = b"", False
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        shown += part
        if wait in shown and not typed:
            typed = True
            if resize:
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *resize, 0, 0))
            os.write(master, keys)
    _, status = os.waitpid(pid, 0)
    os.close(master)
    return os.waitstatus_to_exitcode(status), shown.decode()


def test_at_a_terminal_a_command_sees_a_terminal(running):
    script = "import os, sys; input('ready'); print(*(os.isatty(n) for n in range(3)), os.get_terminal_size(1), '\\x1b[31mred', end='')"
    status, shown = at_a_terminal([str(running.program), "--", sys.executable, "-c", script], b"\n")
    assert status == 0
    assert "True True True os.terminal_size(columns=97, lines=30) \x1b[31mred" in shown
    assert until(lambda: running.arrived)[0].endswith("red")


def test_keys_and_the_size_of_the_window_reach_the_command(running):
    script = "trap 'echo caught' INT; echo ready; for n in $(seq 12); do sleep 0.05; done; exit 7"
    status, shown = at_a_terminal([str(running.program), "--", "sh", "-c", script], b"\x03")
    assert status == 7
    assert "caught\r\n" in shown
    assert "\r\r" not in shown
    # What the key's signal would not reach without notify, it does not reach below it: so nothing gets it twice.
    script = "echo ready; sleep 0.7; exit 8"
    assert at_a_terminal([str(running.program), "--", "setsid", "sh", "-c", script], b"\x03")[0] == 8
    script = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGWINCH, lambda *_: None if os.get_terminal_size(1).columns != 50 else sys.exit(9))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.1)"
    )
    assert at_a_terminal([str(running.program), "--", sys.executable, "-c", script], resize=(20, 50))[0] == 9


def test_job_control_works_as_without(running):
    interactive = ["bash", "--norc", "--noprofile", "-i"]
    keys = f"{running.program} -- sh -c 'echo rea''dy; sleep 1; echo e''nd'\n".encode()
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(interactive[0], interactive)
    shown = b""

    def see(what):
        nonlocal shown
        while what not in shown:
            shown += os.read(master, 65536)
        shown = shown.partition(what)[2]

    os.write(master, keys)
    see(b"ready\r\n")
    os.write(master, b"\x1a")
    see(b"Stopped")
    os.write(master, b"fg\n")
    see(b"end\r\n")
    os.write(master, b"echo status $?\n")
    see(b"status 0")
    os.write(master, b"exit\n")
    os.waitpid(pid, 0)
    os.close(master)


def test_with_the_bot_down_nothing_is_held_up_and_nothing_is_lost(place):
    place.start_sender()
    begun = time.monotonic()
    done = place.notify("--", "sh", "-c", "exit 3")
    assert time.monotonic() - begun < 15
    assert done.returncode == 3
    assert done.stderr == "notify: the message waits and is sent later: Telegram cannot be reached (Connection refused)\n"
    assert place.notify("second").returncode == 0
    place.start_bot()
    until(lambda: len(place.arrived) == 2)
    assert "failed" in place.arrived[0]
    assert "second" in place.arrived[1]
    assert "takes messages again" in place.journal


def test_messages_arrive_once_each_in_order_over_restarts(place):
    place.start_sender()
    for number in range(30):
        assert place.notify(f"number {number}.").returncode == 0
    place.stop("sender", signal.SIGKILL)
    place.start_sender()
    for number in range(30, 60):
        assert place.notify(f"number {number}.").returncode == 0
    place.start_bot()
    until(lambda: len(place.arrived) > 10)
    place.stop("sender")
    place.start_sender()
    until(lambda: len(place.arrived) >= 60, 60)
    time.sleep(0.3)
    assert [re.search(r"number (\d+)\.", each)[1] for each in place.arrived] == [str(number) for number in range(60)]
    assert place.journal.count("cannot be reached") <= 3, "the journal has a line for each reason, not for each try"
    assert list((place.root / "state").glob("*/*")) == []


def test_a_wrong_token_keeps_what_waits_for_the_right_one(place):
    place.start_bot()
    wrong = f"{TOKEN[:-1]}x"
    place.configure({**RIGHT, "token": wrong})
    place.start_sender()
    done = place.notify("hello")
    assert done.returncode == 0
    assert done.stderr == "notify: the message waits and is sent later: Telegram answers 401 (Unauthorized)\n"
    assert place.notify("--check").stdout == "messages wait and are sent later: Telegram answers 401 (Unauthorized)\n"
    assert wrong not in place.journal
    place.stop("sender")
    place.configure(RIGHT)
    place.start_sender()
    until(lambda: place.arrived)
    assert place.notify("--check").stdout == "messages go out\n"
    assert place.lines("arrived")[0]["method"] == "sendMessage"


def test_a_wrong_chat_is_told_without_sending(place):
    place.start_bot()
    place.configure({**RIGHT, "chat": 1})
    place.start_sender()
    done = place.notify("--check")
    assert done.returncode == 69
    assert "chat not found" in done.stdout
    assert place.arrived == []


def test_too_many_requests_wait_for_as_long_as_telegram_says(running):
    running.mode("429 2")
    begun = time.monotonic()
    assert "retry after 2" in running.notify("patience").stderr
    assert running.notify("and more").returncode == 0
    until(lambda: len(running.arrived) == 2)
    assert time.monotonic() - begun >= 2
    assert running.lines("too_early") == []
    assert "patience" in running.arrived[0]


def test_a_message_that_telegram_refuses_holds_up_no_other(running):
    running.mode("400")
    assert running.notify("poison").returncode == 0
    assert running.notify("good").returncode == 0
    until(lambda: running.arrived)
    assert "good" in running.arrived[0]
    assert re.search(r"message 0+1 is given up: answers 400 \(Bad Request: can't parse entities: poison\)", running.journal)


@pytest.mark.parametrize(("mode", "said"), [("500", "answers 500 (Internal Server Error)"), ("hang", "has not answered yet")])
def test_a_sick_server_holds_nobody_up(running, mode, said):
    running.mode(mode)
    begun = time.monotonic()
    done = running.notify("--", "sh", "-c", "exit 4")
    assert time.monotonic() - begun < 15
    assert done.returncode == 4
    assert done.stderr == f"notify: the message waits and is sent later: Telegram {said}\n"


def test_without_a_sender_the_command_runs_all_the_same(place):
    done = place.notify("--", "sh", "-c", "echo out; exit 6")
    assert (done.returncode, done.stdout) == (6, "out\n")
    assert done.stderr == "notify: not sent: the sender cannot be reached (No such file or directory)\n"
    assert place.notify("text").returncode == 69
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(place.root / "socket"))
        deaf.listen()
        begun = time.monotonic()
        done = place.notify("--", "sh", "-c", "exit 6")
        assert done.returncode == 6
        assert time.monotonic() - begun < 15
        assert "the sender does not answer" in done.stderr


def test_a_flood_is_stopped_for_its_account_alone(running, monkeypatch):
    text = (FILES / "notify-sender").read_text()
    assert "BURST, A_MINUTE = 300, 20" in text
    state = running.root / "flood"
    state.mkdir()
    one = sender.Sender({"telegram": {**RIGHT, "server": "https://localhost:1"}, "urls": []}, state)
    for _ in range(sender.BURST):
        one.take("ada", {"text": "x"}, b"")
    with pytest.raises(sender.Refused, match="more than 300 messages"):
        one.take("ada", {"text": "x"}, b"")
    one.take("tom", {"text": "x"}, b"")
    monkeypatch.setattr(sender, "WAITING_OF_ONE", 300)
    one.allowance.clear()
    with pytest.raises(sender.Refused, match="too many messages wait"):
        one.take("ada", {"text": "x"}, b"")


@pytest.mark.parametrize(
    "sent",
    [b"", b"\n", b"[]\n", b"{", b'{"text": ""}\n', b'{"lines": 5}\n', b'{"title": "\\n", "text": " "}\n', b"\xff\n", b"x" * 3_000_000],
)
def test_the_sender_refuses_what_is_no_message(running, sent):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(running.root / "socket"))
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        try:
            assert json.loads(connection.recv(65536))["status"] == 64
        except ConnectionResetError:
            assert len(sent) > 2_000_000
    assert running.notify("still there").returncode == 0
    until(lambda: running.arrived)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "there is nothing to send"),
        ([" "], "there is nothing to send"),
        (["--"], "there is no command after --"),
        (["--evry", "30m", "--", "true"], "there is no option --evry"),
        (["--every", "soon", "--", "true"], "--every soon: not a time"),
        (["--every", "1s", "--", "true"], "less than 10 s"),
        (["--every"], "--every needs a value"),
        (["--every", "30m", "text"], "--every needs a command"),
        (["--mail", "ada"], "with --mail the words are"),
    ],
)
def test_wrong_words_get_one_sentence(place, words, said):
    done = place.notify(*words)
    assert done.returncode == 64
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_is_help():
    done = subprocess.run([FILES / "notify", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--every" in done.stdout


def test_mail_and_units_have_their_own_words(running):
    assert running.notify("--mail", "-s", "Slurm Job_id=7 Ended", "ada", input="body\n").returncode == 0
    (text,) = until(lambda: running.arrived)
    assert text.endswith(": Slurm Job_id=7 Ended\nbody")
    given = {**os.environ, "MONITOR_SERVICE_RESULT": "exit-code", "MONITOR_EXIT_CODE": "exited", "MONITOR_EXIT_STATUS": "3"}
    assert running.notify("--unit", "demo.service", env=given).returncode == 0
    until(lambda: len(running.arrived) == 2)
    assert "demo.service failed\nexit-code, exited with 3" in running.arrived[1]


def test_progress_is_told_with_a_picture(running):
    (running.root / "plot").write_text("#!/bin/sh\nprintf '\\211PNG\\r\\n\\032\\n\\0\\0\\0\\rIHDR\\0\\0\\0\\100\\0\\0\\0\\100'")
    (running.root / "plot").chmod(0o755)
    script = "echo begun; sleep 3; printf '1%%\\r50%%\\r100%%\\n'"
    assert running.notify("--every", "2s", "--log", "x.csv", "--", "sh", "-c", script).returncode == 0
    until(lambda: len(running.arrived) == 2)
    going, ended = running.lines("arrived")
    assert re.search(r"still running after 2\.\d s\n.*\nbegun$", going["text"], re.S)
    assert ended["text"].endswith("begun\n100%")
    assert [each["method"] for each in (going, ended)] == ["sendPhoto"] * 2


def test_a_picture_that_is_refused_takes_no_text_along(running):
    (running.root / "plot").write_text("#!/bin/sh\necho no picture")
    (running.root / "plot").chmod(0o755)
    assert running.notify("--log", "x.csv", "epoch 3").returncode == 0
    until(lambda: running.arrived)
    assert running.lines("arrived")[0]["method"] == "sendMessage"


def test_gpus_are_counted_as_nvidia_smi_shows_them(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\necho {os.getpid()}, GPU-a, 1024; echo {os.getpid()}, GPU-b, 2048; echo 1, GPU-c, 512; echo x, y, [N/A]\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    gpu = command.Gpu(os.getpid())
    assert gpu.look() == {"GPU-a": 1024, "GPU-b": 2048}
    gpu.hours, gpu.cards, gpu.memory = 4.13, {"GPU-a", "GPU-b"}, gpu.look()
    assert gpu.said() == ["GPU 4.1 h on 2 cards", "GPU memory 2.0 GiB"]
    assert command.Gpu(1).said() == []


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59, "59 s"), (3600, "1 h"), (3661, "1 h 1 min"), (7980, "2 h 13 min"), (200000, "2 d 7 h")],
)
def test_durations_are_for_people(seconds, shown):
    assert command.span(seconds) == shown


def test_last_lines_are_what_a_person_sees():
    tail = command.Tail()
    tail.add(b"one\n\x1b[32mgreen\x1b[0m\n 10%\r 50%\r100%\r\n\n\x1b]0;title\x07two\xff" + b"\n" * 5)
    assert tail.lines() == ["one", "green", "100%", "two�"]
    tail.add(b"x" * 1_000_000)
    assert len(tail.data) < 70_000
    assert tail.lines() == ["x" * 200]


CSV = {
    "Keras": (
        "epoch,accuracy,loss,val_accuracy,val_loss\n0,0.5,2,0.4,2.5\n1,0.7,1,0.6,1.5\n", "epoch",
        [["accuracy", "val_accuracy"], ["loss", "val_loss"]],
    ),
    "Lightning": ("epoch,step,train_loss,val_loss\n0,1,,2\n0,2,1.5,\n1,3,1.0,nan\n", "epoch", [["step"], ["train_loss"], ["val_loss"]]),
    "no axis, semicolons, words": ("loss;what\n1;a\n2;b\n", "row", [["loss"]]),
    "one column": ("step\n1\n2\n", "row", [["step"]]),
    "short rows, not finite, a byte order mark": ("\ufeffepoch,loss\n1\n2,inf\n3,0.5\n", "epoch", [["loss"]]),
}  # fmt: skip


@pytest.mark.parametrize("name", CSV)
def test_a_log_becomes_panels(tmp_path, name):
    text, axis, panels = CSV[name]
    (tmp_path / "log.csv").write_text(text)
    found, across = plot.curves(plot.read(tmp_path / "log.csv"))
    assert across == axis
    assert [[curve for curve, _ in panel] for panel in found] == panels


@pytest.mark.parametrize("text", ["", "\n", "epoch,loss\n", "only,words\na,b\n", "\0\0\0"])
def test_a_log_without_numbers_is_refused(tmp_path, text):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(ValueError, match="has no numbers below a line of names"):
        plot.read(tmp_path / "log.csv")


def test_a_large_log_is_read_from_its_end_and_thinned(tmp_path):
    with (tmp_path / "log.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss"])
        writer.writerows((step, 1000.0 if step == 999_000 else 1 / step) for step in range(1, 1_000_000))
    begun = time.monotonic()
    ((curve,),), _ = plot.curves(plot.read(tmp_path / "log.csv"))
    points = plot.thinned(curve[1])
    assert points[-1][0] == 999_999
    assert (999_000, 1000.0) in points, "a spike is what one wants to see"
    assert len(points) <= plot.POINTS + 2
    assert time.monotonic() - begun < 8
    assert plot.ticks(0.13, 0.97) == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_the_callback_follows_what_keras_calls(monkeypatch):
    """The protocol of keras.callbacks.Callback (Keras 3.15): set_params, on_train_begin, on_epoch_end(epoch, logs), on_train_end."""

    class Callback:
        params, model = None, None

        def set_params(self, params):
            self.params = params

    keras = type(sys)("keras")
    keras.callbacks = type("callbacks", (), {"Callback": Callback})
    monkeypatch.setitem(sys.modules, "keras", keras)
    module, sent = load(FILES / "fenton_notify.py"), []
    monkeypatch.setattr(module, "send", lambda text, title="": sent.append(f"{title} | {text}"))
    callback = module.KerasCallback(every="1h", name="net")
    callback.set_params({"epochs": 3})
    callback.on_train_begin()
    for epoch in range(3):
        if epoch == 1:
            callback._told -= 3601
        callback.on_epoch_end(epoch, {"loss": 1 / (epoch + 1), "odd": object()})
    callback.on_train_end()
    assert sent == ["net: epoch 2 of 3 after 0.0 s | loss 0.5", "net: trained 3 epochs after 0.0 s | loss 0.3333"]


def test_the_module_never_raises(monkeypatch):
    module = load(FILES / "fenton_notify.py")
    monkeypatch.setattr(module, "COMMAND", "/no/such/command")
    with pytest.warns(RuntimeWarning, match="not sent"):
        assert module.send("x") is False


# Settings


def test_right_settings_raise_no_problem():
    assert notify_problems({}, [], SCHEMES) == []
    assert notify_problems(RIGHT, ["ntfys://ntfy.example.org/topic", "mailtos://a:b@example.org?to=c"], SCHEMES) == []
    assert notify_problems({**RIGHT, "chat": "-1001234567890", "server": "https://bot.example.org:8081/x"}, [], SCHEMES) == []


@pytest.mark.parametrize(
    ("telegram", "urls", "said"),
    [
        ({"chat": 1}, [], "notify_telegram: there is no token"),
        ({**RIGHT, "token": "secret-nonsense"}, [], "notify_telegram: the token is not what @BotFather gives"),
        ({**RIGHT, "token": f"bot{TOKEN}"}, [], "the token is not what @BotFather gives"),
        ({**RIGHT, "token": f"{TOKEN}\n"}, [], "the token is not what @BotFather gives"),
        ({"token": TOKEN}, [], "the chat '' is not an integer"),
        ({**RIGHT, "chat": "@ada"}, [], "the chat '@ada' is not an integer"),
        ({**RIGHT, "chat": "1.5"}, [], "the chat '1.5' is not an integer"),
        ({**RIGHT, "server": "http://bot.example.org"}, [], "would get the token in the clear"),
        ({**RIGHT, "server": "https://user:secret-nonsense@bot.example.org"}, [], "is not an address"),
        ({}, ["ntfyy://secret-nonsense"], "notify_urls: apprise knows no ntfyy:// (entry 1)"),
        ({}, ["ntfys://a/b", "https://hooks.example.org/secret-nonsense"], "apprise knows no https:// (entry 2)"),
        ({}, ["secret-nonsense"], "notify_urls: entry 1 does not begin with a scheme"),
        ({}, ["ntfys://"], "notify_urls: entry 1 does not begin with a scheme"),
        ({}, ["mailtos://a:secret-nonsense b@example.org"], "has a blank in it"),
        ({}, ["ntfys://secret-nonsense"] * 2, "is there twice"),
    ],
)
def test_a_wrong_setting_gets_one_sentence_without_the_secret(telegram, urls, said):
    found = notify_problems(telegram, urls, SCHEMES)
    assert len(found) == 1, found
    assert said in found[0]
    assert "group_vars/all/notify.yml" in found[0]
    assert "secret-nonsense" not in found[0].replace("https://user:secret-nonsense@", "")
    assert TOKEN not in found[0]


def test_the_bot_of_the_tests_is_strict():
    for text in ("a < b", "a & b", "<b>x", "x</b>", "<i>x</b>", "a > b", "<script>"):
        with pytest.raises(bot.Wrong):
            bot.from_html(text)
    for text in ("a_b", "1.5", "(x)", "[x", "*"):
        with pytest.raises(bot.Wrong):
            bot.from_markdown(text)
    assert bot.from_html("<b>a &lt; &amp; &gt;</b>") == "a < & >"
    with pytest.raises(bot.Wrong):
        bot.read_text({"text": "😀" * 2049}, "text", 4096)
    assert bot.read_text({"text": "😀" * 2048}, "text", 4096)


def test_the_role_is_off_at_first():
    off = {"notify_telegram": {}, "notify_urls": [], "notify_users": []}
    assert yaml.safe_load((ROOT / "roles/notify/defaults/main.yml").read_text()) == off
