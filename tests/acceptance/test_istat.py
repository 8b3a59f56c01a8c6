"""A server for the app iStat View: who gets in, who does not, what a run does with a source that is wrong, new, or half built."""

import json
import re
import socket
import threading

import pytest
from conftest import eventually, in_turn

UNIT = "fenton-istat.service"
PLACE = "/var/lib/istatserver"
PROGRAM = "/usr/local/lib/fenton/istat/bin/istatserver"
# What the app says first: who it is, the passcode if it has one, and that it wants to see the load.
KNOCK = """
import re, socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
name, device, *code = sys.argv[1:]
said = [f'<isr type="100" protocol="3"></isr>', f'<isr type="101" uuid="{device}" name="{device}" version="1"></isr>']
said += [f'<isr type="102" code="{each}"></isr>' for each in code]
said += ['<isr type="103"><stat type="load" samples="0"></stat></isr>']
with context.wrap_socket(socket.create_connection((name, 5109), timeout=5)) as connection:
    for each in said:
        connection.sendall(each.encode())
        heard = b""
        while b"</isr>" not in heard:
            heard += connection.recv(65536) or exit("it hung up")
        found = re.search(rb'<isr type="([0-9]+)"', heard)[1].decode()
        print(found, "numbers" if b"<stat" in heard else "nothing")
"""


@pytest.fixture(autouse=True)
def _istat(server):
    """Skip where it is switched off, as in the scenario of the whole site."""
    if not server.variables.get("istat_enabled"):
        pytest.skip("shown in the scenario istat")


@pytest.fixture
def knock(servers, server):
    """Return a function that does from the phone what the app does, and returns what came back."""

    def run(device, *code):
        done = servers["phone"].docker("python3", "-c", KNOCK, server.name, device, *code)
        return done.stdout.splitlines() or done.stderr.splitlines()[-1:]

    return run


def passcode(server):
    return (server.artifacts / "istat-passcode").read_text().strip()


def show(server, name):
    return server.docker("systemctl", "show", "-P", name, UNIT).stdout.strip()


def version(server):
    return re.search(r"version (\S+),", server.docker(PROGRAM, "-v").stdout)[1]


def play(server, *words, tags="istat", **values):
    """Run the role, or with ``tags="verify"`` its promises, with other values and return the finished run."""
    return server.playbook("--tags", tags, "-e", json.dumps(values), *words)


def state(server):
    """Return what a run could have changed."""
    places = "/etc /usr /home /var/lib/dpkg /var/lib/istatserver /var/cache"
    files = f"find {places} -xdev -type f -not -name '*.db' -printf '%p %s %m %T@\\n' | sort"
    return server.docker("sh", "-c", f"{files}; cat /etc/passwd; systemctl show -P MainPID {UNIT}").stdout


@pytest.fixture
def restored(server):
    """Put everything back as the scenario has it."""
    yield
    done = server.playbook("--tags", "istat")
    assert done.returncode == 0, done.stdout


def test_the_passcode_that_was_handed_out_opens_it_and_no_other(server, knock):
    assert knock("stranger") == ["100 nothing", "101 nothing", "104 nothing"]
    assert knock("stranger", "12345") == ["100 nothing", "101 nothing", "102 nothing", "104 nothing"]
    assert re.fullmatch("[a-z2-9]{12}", passcode(server))
    assert knock("ada", passcode(server)) == ["100 nothing", "101 nothing", "103 nothing", "104 numbers"]
    # It is asked for once.
    assert knock("ada") == ["100 nothing", "101 nothing", "104 numbers"]


def test_only_its_sources_reach_the_port(server, knock):
    assert len(knock("stranger")) == 3
    assert server.docker("ss", "-Hltn", "sport = :5109").stdout.split()[3] == "0.0.0.0:5109"
    with pytest.raises(OSError):
        socket.create_connection((server.address, 5109), timeout=2).close()


def test_it_runs_as_its_own_account_without_rights(server):
    process = show(server, "MainPID")
    status = server.docker("cat", f"/proc/{process}/status").stdout
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    assert server.docker("ps", "-o", "user:20=", "-p", process).stdout.strip() == "fenton-istat"
    assert server.docker("readlink", f"/proc/{process}/exe").stdout.strip() == PROGRAM
    exposure = server.docker("systemd-analyze", "security", "--no-pager", UNIT).stdout.splitlines()[-1]
    assert float(re.search(r"([\d.]+) OK", exposure)[1]) < 3, exposure
    # It writes where it has to, and cannot put other settings in the place of ours.
    files = server.docker("sh", "-c", f"cd {PLACE} && stat -c '%n %a %U %G' . *").stdout.splitlines()
    assert {". 1770 root fenton-istat", "istatserver.conf 640 root fenton-istat", "key.pem 600 fenton-istat fenton-istat"} <= set(files)
    assert server.docker("runuser", "-u", "fenton-istat", "--", "rm", "-f", f"{PLACE}/istatserver.conf").returncode != 0


def test_the_passcode_is_shown_nowhere(server):
    done = play(server, "-vvv", "--diff")
    assert "changed=0" in done.stdout
    shown = server.docker(
        "sh", "-c",
        f"journalctl --no-pager -o export; systemctl show {UNIT}; ps axeww;"
        " runuser -u nobody -- grep -rahs . /etc /run /tmp /var/lib /var/log /usr/local",
        errors="replace",
    )  # fmt: skip
    assert UNIT in shown.stdout
    assert passcode(server) not in shown.stdout + done.stdout + done.stderr
    assert (server.artifacts / "istat-passcode").stat().st_mode & 0o777 == 0o600


@pytest.mark.once
def test_bad_input_is_refused_in_sentences_and_changes_nothing(server):
    wrong = {
        "istat_checksum": "abc", "istat_passcode": "no blanks, please", "istat_sources": ["nonsense"], "istat_port": 22,
        "istat_url": "github.com/x.tar.gz",
    }  # fmt: skip
    before = state(server)
    done = play(server, **wrong)
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    for sentence in [
        'istat_checksum: "abc" is not a sha256',
        "istat_passcode: it must have 5 to 64 letters",
        'istat_sources: "nonsense" is not an address or network',
        "istat_port: port 22 of fenton is taken by sshd; choose another in group_vars/all/istat.yml",
        'istat_url: "github.com/x.tar.gz" is not an address',
    ]:
        assert sentence in said, done.stdout
    assert "no blanks, please" not in done.stdout
    done = play(server, istat_checksum="", istat_sources=[])
    said = " ".join(done.stdout.split())
    assert "curl -L http://phone:8000/istatserverlinux-1.2.0.tar.gz | sha256sum" in said
    assert "istat_sources: it is empty, which would open port 5109 to all the world" in said
    assert state(server) == before


@pytest.mark.once
@pytest.mark.parametrize("wrong", [{"istat_checksum": "0" * 64}, {"istat_url": "http://phone:8000/none.tar.gz"}])
def test_another_source_than_the_pinned_one_is_refused_before_the_first_change(server, wrong):
    before = state(server)
    # With something to do for the role before it, which must not be done.
    done = play(server, tags="base,istat", base_timezone="Asia/Tokyo", **wrong)
    assert done.returncode != 0
    assert "changed=0" in done.stdout
    said = " ".join(done.stdout.split())
    assert "cannot be had, or has another sha256 than group_vars/all/istat.yml says" in said
    assert ("0" * 64 if "istat_checksum" in wrong else "404") in said
    assert state(server) == before


@pytest.mark.attempt(
    "Killed runs",
    "a program that is being built from source is killed",
    "the old one goes on, the next run builds the new one",
)
@pytest.mark.long
@pytest.mark.once
def test_a_build_that_is_killed_leaves_the_old_server_and_the_next_run_builds_the_new_one(server, knock, restored):
    before, code, ended = show(server, "MainPID"), passcode(server), []
    run = threading.Thread(target=lambda: ended.append(play(server, istat_version="1.2.1")))
    run.start()
    eventually(lambda: server.docker("pkill", "-KILL", "-x", "make").returncode == 0, 60)
    run.join()
    assert ended[0].returncode != 0
    assert show(server, "MainPID") == before
    assert version(server) == "1.2.0"
    done = play(server, istat_version="1.2.1")
    assert done.returncode == 0, done.stdout
    assert version(server) == "1.2.1"
    assert show(server, "MainPID") != before
    assert passcode(server) == code
    assert knock("ada", code)[-1] == "104 numbers"
    assert server.docker("sh", "-c", "ls -d /var/cache/fenton-istat* /usr/local/lib/fenton/istat.new").stdout == ""
    assert "changed=0" in play(server, istat_version="1.2.1").stdout


@pytest.mark.long
@pytest.mark.once
def test_a_new_passcode_sends_away_who_had_the_old_one(server, knock, restored):
    assert knock("ada", passcode(server))[-1] == "104 numbers"
    assert play(server, istat_passcode="given-by-hand").returncode == 0
    assert knock("ada")[-1] == "104 nothing"
    assert knock("ada", "given-by-hand")[-1] == "104 numbers"
    assert passcode(server) == "given-by-hand"


HALF = {
    "a run that was killed before the start": f"systemctl disable --now {UNIT}",
    "a run that was killed before the restart": f"sleep 1; touch {PLACE}/cert.pem",
    "settings that all can read": f"chmod 644 {PLACE}/istatserver.conf",
    "edited settings": f"sed -i s/5109/5110/ {PLACE}/istatserver.conf",
    "a key that does not fit": f"openssl genrsa -out {PLACE}/key.pem 2048",
    "a unit that is gone": f"rm /etc/systemd/system/{UNIT}",
    "a rule of the firewall that is gone": "rm /etc/fenton/firewall.d/istat.nft",
    "another program in its place": f"cp --remove-destination /usr/bin/true {PROGRAM}",
    "an account that is gone": f"systemctl stop {UNIT}; userdel fenton-istat",
}


@pytest.mark.once
@pytest.mark.parametrize("edits", in_turn(HALF))
def test_the_next_run_finishes_or_repairs(server, edits, knock):
    server.mends_all("istat", edits)
    assert knock("ada", passcode(server))[-1] == "104 numbers"
    assert server.docker("stat", "-c", "%a %U %G", f"{PLACE}/istatserver.conf").stdout == "640 root fenton-istat\n"


@pytest.mark.once
def test_nothing_is_left_to_do_after_that(server):
    assert "changed=0" in server.playbook("--tags", "istat").stdout


@pytest.mark.long
@pytest.mark.once
def test_switched_off_all_of_it_goes(server, restored):
    done = play(server, istat_enabled=False)
    assert done.returncode == 0, done.stdout
    traces = (
        "find / -xdev -iname '*istat*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/usr/lib/python3*'; getent passwd fenton-istat;"
        f" getent group fenton-istat; systemctl list-units --all --no-legend {UNIT}; nft list table inet fenton | grep istat"
    )
    assert server.docker("sh", "-c", traces).stdout == ""
    assert not (server.artifacts / "istat-passcode").exists()
    assert play(server, tags="verify", istat_enabled=False).returncode == 0
    assert "changed=0" in play(server, istat_enabled=False).stdout
