"""Names that follow the address: what a provider receives, what it does not, and what is said when it refuses."""

import base64
import json
import time

import pytest
from conftest import eventually, in_turn

PLACE = "/var/lib/provider"
SERVICE = "inadyn@{}.service"
# Every client of the scenario: its name and family, and the file with the address that the world sees.
CLIENTS = {"home.example.org-ipv4": "ipv4", "home.example.org-ipv6": "ipv6", "lab.example.org-ipv4": "ipv4"}
WRONG = "quite-a-wrong-password"


@pytest.fixture(autouse=True)
def _names(server):
    """Skip where the list of names is empty, as in the scenario of the whole site."""
    if not server.variables.get("ddns_records"):
        pytest.skip("shown in the scenario ddns")


def read(server, name):
    """Return the lines of one of the provider's files."""
    return server.docker("cat", f"{PLACE}/{name}").stdout.splitlines()


def requests(server):
    """Return the updates that have arrived, oldest first."""
    return [json.loads(line) for line in read(server, "requests")]


def zone(server):
    """Return what each name leads to at the provider, as a set of name and address."""
    names = json.loads("".join(read(server, "zone.json")) or "{}")
    return {(name, address) for name, addresses in names.items() for address in addresses.values()}


def answer(server, family, address):
    """Let the address check answer with *address*."""
    server.docker("sh", "-c", f"echo {address} >{PLACE}/new && mv {PLACE}/new {PLACE}/{family}")


def present(server, family):
    return "".join(read(server, family))


def look_now(server):
    """Have every client look at its address three times, and wait until it has."""
    for _ in range(3):
        before = len(read(server, "asked"))
        for client in CLIENTS:
            # Its main process only: the signal would end the program that it asks for the address.
            server.docker("systemctl", "kill", "--kill-whom=main", "--signal=USR2", SERVICE.format(client))
        eventually(lambda before=before: len(read(server, "asked")) >= before + len(CLIENTS))
        time.sleep(0.5)  # the updates that it does not send would come now


def show(server, client, name):
    return server.docker("systemctl", "show", "-P", name, SERVICE.format(client)).stdout.strip()


def play(server, *words, tags="ddns", **values):
    """Run the role, or with ``tags="verify"`` its promises, with other values and return the finished run."""
    return server.playbook("--tags", tags, "-e", json.dumps(values), *words)


def with_other(server, /, **values):
    """Return ``ddns_records`` whose first entry has other values."""
    first, *rest = server.variables["ddns_records"]
    return [{**first, **values}, *rest]


def settle(server):
    """Wait until every client has had its first update taken since its configuration changed."""
    eventually(lambda: len(server.docker("sh", "-c", "ls /var/lib/inadyn/*/*.cache").stdout.split()) == len(CLIENTS), 60)


@pytest.fixture
def restored(server):
    """Put everything back as the scenario has it."""
    yield
    done = server.playbook("--tags", "ddns")
    assert done.returncode == 0, done.stdout
    settle(server)


@pytest.fixture(scope="module", autouse=True)
def remembered(server):
    """Leave behind how many updates had arrived when these tests ended: none may come by the reboot after them."""
    yield
    server.docker("sh", "-c", f"wc -l <{PLACE}/requests >{PLACE}/remembered")


def test_first_starts_send_one_update_each_and_reboots_none(server):
    begun = [(each["hostname"], each["answer"].split()[0]) for each in requests(server)[: len(CLIENTS)]]
    assert sorted(begun) == sorted((client.rpartition("-")[0], "good") for client in CLIENTS)
    assert {each["myip"] for each in requests(server)[: len(CLIENTS)]} == {"192.0.2.7", "2001:db8::7"}
    before = int("".join(read(server, "remembered")) or len(CLIENTS))
    settle(server)
    eventually(lambda: all(show(server, client, "ActiveState") == "active" for client in CLIENTS))
    look_now(server)
    assert len(requests(server)) == before


@pytest.mark.once
def test_a_changed_address_arrives_by_itself(server):
    """Without being told to look: by the period of the scenario."""
    before = len(requests(server))
    new = {}
    for family, addresses in {"ipv4": ("192.0.2.7", "192.0.2.8"), "ipv6": ("2001:db8::7", "2001:db8::8")}.items():
        new[family] = next(address for address in addresses if address != present(server, family))
        answer(server, family, new[family])
    expected = {(client.rpartition("-")[0], new[family]) for client, family in CLIENTS.items()}
    eventually(lambda: zone(server) == expected, 60)
    assert {each["answer"].split()[0] for each in requests(server)[before:]} == {"good"}
    assert len(requests(server)) == before + len(CLIENTS)


@pytest.mark.once
def test_no_update_is_sent_without_a_change(server):
    before = len(requests(server))
    look_now(server)
    assert len(requests(server)) == before


@pytest.mark.once
def test_no_update_is_sent_after_a_restart(server):
    before, asked = len(requests(server)), len(read(server, "asked"))
    server.docker("systemctl", "restart", *(SERVICE.format(client) for client in CLIENTS))
    eventually(lambda: len(read(server, "asked")) >= asked + len(CLIENTS))
    look_now(server)
    assert len(requests(server)) == before


def test_the_certificate_of_a_service_is_for_the_names_too(server):
    names = server.docker("openssl", "x509", "-in", "/etc/fenton/tls/demo/fullchain.pem", "-noout", "-ext", "subjectAltName").stdout
    assert "DNS:home.example.org" in names
    assert "DNS:lab.example.org" in names


def test_the_client_has_no_rights(server):
    for client in CLIENTS:
        process = show(server, client, "MainPID")
        status = server.docker("cat", f"/proc/{process}/status").stdout
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status
        assert server.docker("ps", "-o", "user:20=", "-p", process).stdout.strip() == "debian-inadyn"
    assert server.docker("systemctl", "is-enabled", "inadyn.service").stdout.strip() == "masked"
    assert server.docker("runuser", "-u", "nobody", "--", "ls", "/etc/fenton/ddns").returncode != 0


@pytest.mark.once
def test_a_wrong_password_is_reported_and_not_shown(server, restored):
    records = with_other(server, password=WRONG)
    before = len(requests(server))
    done = play(server, "-vvv", "--diff", ddns_records=records)
    assert done.returncode == 0, done.stdout
    assert WRONG not in done.stdout + done.stderr
    wrong = [client for client in CLIENTS if client.startswith("home")]
    eventually(lambda: [show(server, client, "SubState") for client in wrong] == ["auto-restart"] * len(wrong))
    doctor = play(server, tags="verify", ddns_records=records)
    assert doctor.returncode != 0
    assert "The client of every name runs" in doctor.stdout
    assert "Error code 50" in doctor.stdout, "the client's own words are missing"
    assert "group_vars/all/ddns.yml or vault.yml" in " ".join(doctor.stdout.split())
    # Once for each client: a provider locks out who goes on.
    assert [each["answer"] for each in requests(server)[before:]] == ["badauth"] * len(wrong)
    assert show(server, wrong[0], "RestartUSec") == "15min"
    assert show(server, "lab.example.org-ipv4", "ActiveState") == "active"
    shown = server.docker(
        "sh", "-c",
        "journalctl --no-pager -o export; systemctl status --no-pager -l 'inadyn@*'; systemctl show 'inadyn@*'; ps axeww;"
        " runuser -u nobody -- grep -rahs . /etc /run /tmp /var/lib /var/log /usr/local",
        errors="replace",
    )  # fmt: skip
    assert "inadyn@" in shown.stdout
    for record in (*server.variables["ddns_records"], records[0]):
        assert record["password"] not in shown.stdout
        # As it travels, and as the client would show it in its debug messages.
        assert base64.b64encode(f"{record['username']}:{record['password']}".encode()).decode() not in shown.stdout


def test_what_the_file_cannot_hold_reaches_the_provider_as_it_is(server):
    """The scenario's password has quotes, a backslash, a variable and a format in it; the provider compares all of it."""
    assert "${HOME}" in server.variables["ddns_records"][0]["password"]
    assert requests(server)[0]["answer"].startswith("good")


@pytest.mark.once
def test_a_server_with_a_wrong_certificate_gets_nothing(server, restored):
    records = with_other(server, server="127.0.0.1:8443")  # the certificate is for localhost
    before = len(requests(server))
    assert play(server, ddns_records=records).returncode == 0
    doctor = play(server, tags="verify", ddns_records=records)
    assert doctor.returncode != 0
    assert "Every provider has taken the present address" in doctor.stdout
    assert "does not match the hostname" in doctor.stdout
    assert len(requests(server)) == before


@pytest.mark.long
@pytest.mark.once
def test_without_an_address_nothing_is_sent_and_doctor_says_so(server, restored):
    before = len(requests(server))
    server.docker("mv", f"{PLACE}/ipv4", f"{PLACE}/away")
    try:
        # Also not by a client that remembers nothing.
        server.docker("sh", "-c", "systemctl stop 'inadyn@*'; rm /var/lib/inadyn/*-ipv4/*.cache")
        assert server.playbook("--tags", "ddns").returncode == 0
        doctor = server.playbook("--tags", "verify")
        assert doctor.returncode != 0
        assert "Every provider has taken the present address" in doctor.stdout
        assert "ipv4 unknown" in doctor.stdout
        server.docker("systemctl", "stop", SERVICE.format("home.example.org-ipv4"))
        time.sleep(1)
        assert len(requests(server)) == before
        journal = server.docker("journalctl", "-u", "inadyn@*", "--no-pager", "-o", "cat").stdout
        assert "http://" not in journal, "it asked somebody else for the address"
    finally:
        server.docker("mv", f"{PLACE}/away", f"{PLACE}/ipv4")


@pytest.mark.once
def test_a_name_that_leads_elsewhere_is_reported(server):
    saved = "".join(read(server, "zone.json"))
    names = json.loads(saved)
    names["lab.example.org"]["4"] = "192.0.2.99"
    put = f"cat >{PLACE}/zone.json"
    server.docker("sh", "-c", f"{put} <<'END'\n{json.dumps(names)}\nEND")
    try:
        doctor = server.playbook("--tags", "verify")
        assert doctor.returncode != 0
        assert "Every name leads to the present address" in doctor.stdout
        assert "192.0.2.99" in doctor.stdout
        assert play(server, tags="verify", ddns_check_dns=False).returncode == 0
    finally:
        server.docker("sh", "-c", f"{put} <<'END'\n{saved}\nEND")


HALF = {
    "a run that was killed before the start": "systemctl disable --now inadyn@lab.example.org-ipv4",
    "a run that was killed before the restart": "sleep 1; touch /etc/fenton/ddns/lab.example.org-ipv4.conf",
    "a configuration that all can read": "chmod 644 /etc/fenton/ddns/*.conf",
    "an edited configuration": "sed -i s/tom/tim/ /etc/fenton/ddns/lab.example.org-ipv4.conf",
    "a service that is gone": "rm /etc/systemd/system/inadyn@.service",
    "the distribution's service": "rm /etc/systemd/system/inadyn.service",
    "a package that is gone": "dpkg --remove inadyn",
}


@pytest.mark.once
@pytest.mark.parametrize("edits", in_turn(HALF))
def test_the_next_run_finishes_or_repairs(server, edits):
    server.mends_all("ddns", edits)
    files = server.docker("sh", "-c", "stat -c '%a %U %G' /etc/fenton/ddns /etc/fenton/ddns/*").stdout.split("\n")
    assert set(files) == {"750 root debian-inadyn", "640 root debian-inadyn", ""}
    for client in CLIENTS:
        assert show(server, client, "ActiveState") == "active"
        assert show(server, client, "UnitFileState") == "enabled"


@pytest.mark.once
def test_nothing_is_left_to_do_after_that(server):
    assert "changed=0" in server.playbook("--tags", "ddns").stdout


@pytest.mark.once
def test_a_name_that_is_taken_out_is_forgotten_and_the_last_takes_all_along(server, restored):
    done = play(server, ddns_records=server.variables["ddns_records"][1:])
    assert done.returncode == 0, done.stdout
    left = "ls /etc/fenton/ddns /var/lib/inadyn; ls /etc/systemd/system/multi-user.target.wants | grep inadyn; pgrep -a inadyn"
    assert "home" not in server.docker("sh", "-c", left).stdout
    assert show(server, "lab.example.org-ipv4", "ActiveState") == "active"
    done = play(server, ddns_records=[])
    assert done.returncode == 0, done.stdout
    traces = (
        "find /etc/systemd /usr/lib/systemd /run/systemd/system -name '*inadyn*'; pgrep -a inadyn; ls -d /etc/fenton/ddns"
        " /usr/local/lib/fenton/ddns-address /var/lib/inadyn /usr/sbin/inadyn; systemctl list-units --all --no-legend 'inadyn@*'"
    )
    assert server.docker("sh", "-c", traces).stdout == ""
    assert play(server, tags="verify", ddns_records=[]).returncode == 0
    assert "changed=0" in play(server, ddns_records=[]).stdout
