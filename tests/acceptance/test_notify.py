"""Messages from a server: who may send, what arrives, what happens while nothing arrives, and where the secret is not."""

import json
import re
import time

import pytest
from conftest import eventually, in_turn

PLACE = "/var/lib/bot"
UNIT = "fenton-notify.service"
WRONG = "987654321:AAa-token-that-is-quite-wrong_0123456789"


@pytest.fixture(autouse=True)
def _bot(server):
    """Skip where nothing is to be sent, as in the scenario of the whole site."""
    if not server.variables.get("notify_telegram"):
        pytest.skip("shown in the scenario notify")


def lines(server, name="arrived"):
    return [json.loads(line) for line in server.docker("sh", "-c", f"cat {PLACE}/{name} 2>/dev/null").stdout.splitlines()]


def texts(server):
    return [each["text"] for each in lines(server)]


def mode(server, how):
    server.docker("sh", "-c", f"echo {how} >{PLACE}/mode")


def as_user(server, user, script, **options):
    """Run *script* in a login shell of *user*."""
    return server.docker("runuser", "-l", user, "-c", script, **options)


def show(server, name, unit=UNIT):
    return server.docker("systemctl", "show", "-P", name, unit).stdout.strip()


def play(server, *words, tags="notify", **values):
    """Run the role, or with ``tags="verify"`` its promises, with other values and return the finished run."""
    return server.playbook("--tags", tags, "-e", json.dumps(values), *words)


@pytest.fixture
def restored(server):
    """Put everything back as the scenario has it."""
    yield
    server.docker("systemctl", "start", "bot")
    mode(server, "ok")
    done = server.playbook("--tags", "notify")
    assert done.returncode == 0, done.stdout
    eventually(lambda: not server.docker("find", "/var/lib/fenton-notify", "-name", "*.json").stdout, 60)


def test_what_waited_before_the_reboot_arrives_after_it(server):
    """The scenario's reboot comes while the provider is sick, and leaves it so."""
    word = server.docker("cat", f"{PLACE}/left-behind").stdout.strip()
    if not word:
        pytest.skip("there was no reboot yet")
    assert not [each for each in texts(server) if word in each]
    mode(server, "ok")
    eventually(lambda: [each for each in texts(server) if word in each], 60)
    time.sleep(1)
    assert len([each for each in texts(server) if word in each]) == 1


def test_a_person_of_the_group_sends_a_text_and_a_command(server):
    # On a busy machine what has just started needs more than the second for which the command waits; then it says so.
    eventually(lambda: as_user(server, "ada", "notify hello").stderr == "")
    eventually(lambda: texts(server)[-1].endswith("hello"))
    before = len(texts(server))
    done = as_user(server, "ada", "notify 'a_b*c [x](y) <&> 😀'; echo $?; notify -- sh -c 'echo the last line; exit 3'; echo $?")
    assert done.stdout == "0\nthe last line\n3\n"
    assert done.stderr == ""
    eventually(lambda: len(texts(server)) == before + 2)
    text, command = texts(server)[before:]
    assert text == "ada@fenton\na_b*c [x](y) <&> 😀"
    assert re.match(
        r"ada@fenton: failed after 0\.\d s\nsh -c 'echo the last line; exit 3'\nexit status 3, peak memory \d+ MiB\nthe last line$", command
    )
    # The other provider got the same.
    eventually(lambda: [each["title"] for each in lines(server, "hooked")][-1].startswith("ada@fenton: failed after"))
    assert "the last line" in lines(server, "hooked")[-1]["text"]


def test_who_is_not_in_the_group_is_refused_in_one_sentence(server):
    before = len(texts(server))
    done = as_user(server, "tom", "notify hello")
    assert done.returncode == 77
    assert done.stderr == "notify: not sent: tom may not send messages from fenton; an administrator can add you to notify_users\n"
    done = as_user(server, "tom", "notify -- sh -c 'echo runs; exit 4'")
    assert (done.returncode, done.stdout) == (4, "runs\n")
    assert done.stderr.count("\n") == 1
    # Nor does a name in the request help: who it is says the kernel.
    script = (
        "import json, socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/fenton-notify/socket');"
        "s.sendall(json.dumps(dict(user='ada', text='x')).encode()); s.shutdown(1); print(json.loads(s.recv(999))['status'])"
    )
    assert as_user(server, "tom", f'python3 -c "{script}"').stdout == "77\n"
    assert len(texts(server)) == before


@pytest.mark.once
def test_a_service_that_fails_says_so(server):
    unit = "[Unit]\nOnFailure=notify@%n.service\n[Service]\nExecStart=/bin/sh -c 'echo its last words; exit 9'\n"
    before = len(texts(server))
    server.docker("python3", "-c", f"open('/run/systemd/system/demo.service', 'w').write({unit!r})")
    # A journal that comes late knows the unit of a process that has ended, but not the invocation.
    late = "systemctl kill -s STOP systemd-journald; (sleep 1; pkill -CONT systemd-journal) & "
    server.docker("sh", "-c", f"systemctl daemon-reload; {late} systemctl start demo; wait")
    (said,) = eventually(lambda: [each for each in texts(server)[before:] if "demo.service failed" in each])
    assert said.startswith("root@fenton: demo.service failed\nexit-code, exited with 9\n")
    assert "its last words" in said
    server.docker("sh", "-c", "rm /run/systemd/system/demo.service; systemctl daemon-reload; systemctl reset-failed")


@pytest.mark.once
def test_a_picture_of_a_log_goes_along(server):
    log = "epoch,loss,val_loss\\n" + "".join(f"{n},{2 / n},{2.5 / n}\\n" for n in range(1, 40))
    done = as_user(server, "ada", f"printf '{log}' >metrics.csv; notify --log metrics.csv 'epoch 39'")
    assert (done.returncode, done.stderr) == (0, "")
    eventually(lambda: texts(server)[-1].endswith("epoch 39"))
    assert lines(server)[-1]["method"] == "sendPhoto"
    assert lines(server)[-1]["size"] == [900, 340]
    eventually(lambda: lines(server, "hooked")[-1]["pictures"] == [True])
    done = as_user(server, "ada", "notify --log no-such.csv 'all the same'")
    assert done.stderr == "notify: no plot: no-such.csv: No such file or directory\n"
    eventually(lambda: texts(server)[-1].endswith("all the same"))


NOTEBOOK = """
import nbformat, nbclient
cells = ["%%notify training\\nx = 6 * 7\\nx", "print('x is', x)", "import fenton_notify; print(fenton_notify.send('by hand', 'title'))",
         "%%notify\\n1 / 0", "print('not reached')"]
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
try:
    nbclient.NotebookClient(book, kernel_name="python3").execute()
except nbclient.exceptions.CellExecutionError:
    pass
for cell in book.cells:
    print([output.get("text") or output.get("data", {}).get("text/plain") or output.get("ename") for output in cell.outputs])
"""


@pytest.mark.once
def test_the_cell_magic_works_in_an_environment_that_a_person_has_made(server):
    server.docker("python3", "-c", f"open('/home/ada/book.py', 'w').write({NOTEBOOK!r})")
    # Not in a login shell: a server of notebooks has no profile.
    done = server.docker(
        "runuser", "-u", "ada", "--", "env", "-i", "HOME=/home/ada", "PATH=/usr/bin:/bin", "/home/ada/own/bin/python", "/home/ada/book.py"
    )
    shown = done.stdout.splitlines()
    assert shown[:3] == ["['42']", "['x is 42\\n']", "['True\\n']"], done.stdout + done.stderr
    assert "ZeroDivisionError" in shown[3]
    assert shown[4] == "[]"
    eventually(lambda: "cell failed" in texts(server)[-1])
    first, hand, failed = texts(server)[-3:]
    assert re.match(r"ada@fenton: cell finished after 0\.\d s\ntraining$", first)
    assert hand == "ada@fenton: title\nby hand"
    assert failed.endswith("ZeroDivisionError: division by zero")


@pytest.mark.once
def test_after_a_login_every_python_finds_the_module(server):
    for python in ("/usr/bin/python3", "/home/ada/own/bin/python"):
        done = as_user(server, "ada", f"{python} -c 'import fenton_notify; print(fenton_notify.__file__)'")
        assert done.stdout == "/usr/local/lib/fenton/python/fenton_notify.py\n"


@pytest.mark.once
def test_there_is_a_manual_page(server):
    done = server.docker("sh", "-c", "MANWIDTH=100 man --warnings notify | cat; man -w notify")
    assert "tell how a command ended" in done.stdout
    assert done.stderr == ""


@pytest.mark.once
def test_mail_like_calls_work(server):
    done = server.docker("sh", "-c", "echo body | /usr/local/lib/fenton/notify-mail -s 'Slurm Job_id=7 Ended' ada; echo $?")
    assert done.stdout == "0\n"
    eventually(lambda: texts(server)[-1] == "root@fenton: Slurm Job_id=7 Ended\nbody")


@pytest.mark.once
def test_with_the_bot_down_the_command_is_not_held_up_and_two_hundred_messages_arrive_in_order(server, restored):
    server.docker("systemctl", "stop", "bot")
    before = len(texts(server))
    script = "time -p notify -- sh -c 'exit 3'; echo $?; for n in $(seq 200); do notify number $n. || echo lost $n; done"
    done = as_user(server, "ada", script, timeout=180)
    assert done.stdout == "3\n"
    assert float(re.search(r"real ([\d.]+)", done.stderr)[1]) < 3
    warned = [line for line in done.stderr.splitlines() if line.startswith("notify:")]
    assert len(warned) == 201, "one line each"
    assert "the message waits and is sent later: Telegram cannot be reached (" in warned[0]
    server.docker("systemctl", "kill", "--signal=KILL", UNIT)
    server.docker("systemctl", "start", "bot")
    eventually(lambda: len(texts(server)) >= before + 201, 90)
    time.sleep(1)
    assert [re.search(r"number (\d+)\.", each)[1] for each in texts(server)[before + 1 :]] == [str(n) for n in range(1, 201)]


@pytest.mark.once
def test_a_signal_reaches_the_command(server):
    script = (
        "notify -- sh -c 'trap \"echo caught; exit 5\" {0}; echo ready >/tmp/ready; while :; do sleep 0.1; done' & "
        "until [ -e /tmp/ready ]; do sleep 0.1; done; rm /tmp/ready; kill -{0} $!; wait $!; echo $?"
    )
    for name in ("TERM", "INT"):
        # In the background of a script a shell lets SIGINT be ignored, so there is one that has job control.
        done = as_user(server, "ada", f"set -m; {script.format(name)}")
        assert done.stdout.endswith("caught\n5\n"), done.stdout + done.stderr


@pytest.mark.once
def test_a_wrong_token_is_told_and_shown_nowhere(server, restored):
    before = len(texts(server))
    telegram = {**server.variables["notify_telegram"], "token": WRONG}
    done = play(server, "-vvv", "--diff", notify_telegram=telegram)
    assert done.returncode == 0, done.stdout
    assert WRONG not in done.stdout + done.stderr
    said = as_user(server, "ada", "notify with a wrong token; echo $?; sleep 1")
    assert said.stdout == "0\n"
    assert "Telegram answers 401 (Unauthorized)" in said.stderr
    doctor = play(server, tags="verify", notify_telegram=telegram)
    assert doctor.returncode != 0
    assert "Messages go out" in doctor.stdout
    assert "Unauthorized" in doctor.stdout
    assert WRONG not in doctor.stdout
    shown = server.docker(
        "sh", "-c",
        "journalctl --no-pager -o export; systemctl status --no-pager -l 'fenton-notify*'; systemctl show fenton-notify.service; ps axeww;"
        " for user in tom ada; do runuser -u $user -- grep -rahs . /etc /run /tmp /var/lib /var/log /usr/local; done;"
        " for pid in $(pgrep -f notify-sender); do cat /proc/$pid/environ /proc/$pid/cmdline; done",
        errors="replace",
    )  # fmt: skip
    assert "fenton-notify" in shown.stdout
    for secret in (WRONG, server.variables["notify_telegram"]["token"], "password-of-the-hook"):
        # The bot's own service knows it, and the kernel's list of the tests' own words is no leak.
        assert secret not in shown.stdout
    # What waited for the right token arrives with it.
    assert server.playbook("--tags", "notify").returncode == 0
    eventually(lambda: [each for each in texts(server)[before:] if "with a wrong token" in each], 20)


def test_the_sender_has_no_rights_and_rests(server):
    as_user(server, "ada", "notify hello")
    process = show(server, "MainPID")
    status = server.docker("cat", f"/proc/{process}/status").stdout
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    assert server.docker("ps", "-o", "user:20=", "-p", process).stdout.strip() == "fenton-notify"
    exposure = server.docker("systemd-analyze", "security", "--no-pager", UNIT).stdout.splitlines()[-1]
    assert float(re.search(r"([\d.]+) OK", exposure)[1]) < 2.5, exposure


@pytest.mark.once
def test_an_address_that_apprise_refuses_stops_the_run(server, restored):
    done = play(server, notify_urls=["twilio://secret-nonsense"])
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "notify_urls: entry 1, twilio://: apprise on fenton does not take it for an address" in said
    assert "secret-nonsense" not in done.stdout + done.stderr
    assert "twilio" not in server.docker("cat", "/etc/fenton/notify.json").stdout


HALF = {
    "a run that was killed before the start": "systemctl disable --now fenton-notify.socket",
    "a sender that does not start at boot": "systemctl disable fenton-notify.service",
    "settings that all can read": "chmod 644 /etc/fenton/notify.json",
    "edited settings": "sed -i s/1234/4321/ /etc/fenton/notify.json",
    "one more member": "usermod -aG notify tom",
    "one member fewer": "gpasswd -d ada notify",
    "a group that is gone": "groupdel notify",
    "an edited program": "echo '# edited' >>/usr/local/lib/fenton/notify-sender",
    "a command that is gone": "rm /usr/local/bin/notify",
    "a unit that is gone": "rm /etc/systemd/system/fenton-notify.socket",
    "a package that is gone": "dpkg --remove python3-pil",
    "an account that is gone": "systemctl stop fenton-notify.service; userdel fenton-notify",
}


@pytest.mark.once
@pytest.mark.parametrize("edits", in_turn(HALF))
def test_the_next_run_finishes_or_repairs(server, edits):
    server.mends_all("notify", edits)
    assert server.docker("stat", "-c", "%a %U %G", "/etc/fenton/notify.json").stdout == "640 root fenton-notify\n"
    assert server.docker("getent", "group", "notify").stdout.strip().endswith(":ada")
    assert as_user(server, "ada", "notify repaired").returncode == 0
    assert as_user(server, "tom", "notify repaired").returncode == 77


@pytest.mark.once
def test_nothing_is_left_to_do_after_that(server):
    assert "changed=0" in server.playbook("--tags", "notify").stdout


@pytest.mark.long
@pytest.mark.once
def test_without_settings_all_of_it_goes(server, restored):
    done = play(server, notify_telegram={}, notify_urls=[])
    assert done.returncode == 0, done.stdout
    traces = (
        "find / -xdev -name '*notify*' -not -path '/proc/*' -not -path '/usr/bin/systemd-notify'"
        " -not -path '/usr/lib/*' -not -path '/usr/share/*' -not -path '/home/*'"
        " -not -path '/sys/*' -not -path '/run/log/*' -not -path '/var/lib/dpkg/*'; getent passwd fenton-notify; getent group notify;"
        " systemctl list-units --all --no-legend 'fenton-notify*' 'notify@*'; ls /usr/local/etc/ipython/ipython_config.py"
    )
    assert server.docker("sh", "-c", traces).stdout == ""
    assert play(server, tags="verify", notify_telegram={}, notify_urls=[]).returncode == 0
    assert "changed=0" in play(server, notify_telegram={}, notify_urls=[]).stdout
