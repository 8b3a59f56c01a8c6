"""A server that is named, timed, patched and firewalled, seen from outside."""

import http.server
import json
import os
import re
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from conftest import eventually

KEY = (Path(__file__).resolve().parents[2] / ".work" / "id_ed25519.pub").read_text().strip()
ADA = {"name": "ada", "keys": [KEY]}
SSH_RULE = "/etc/fenton/firewall.d/ssh.nft"


@pytest.fixture(scope="session")
def alone():
    """Skip, in scenarios of other roles, what needs the ports and people of this role's own scenario."""
    if os.environ.get("FENTON_SCENARIO") != "base":
        pytest.skip("shown in the scenario base")


def connects(address, port, timeout=2):
    """Tell whether somebody answers at a TCP port."""
    try:
        with socket.create_connection((address, port), timeout=timeout):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def listeners(alone, server):
    """Listen on ports: two opened for all, one for another network, one for ours, two for nobody."""
    ports = (8081, 8082, 8083, 8084, 8085, 8086)
    for port in ports:
        words = ("systemd-run", "--unit", f"listen-{port}", "python3", "-m", "http.server", "--bind", "::", str(port))
        assert server.docker(*words).returncode == 0
    for port in ports:
        probe = f"for n in $(seq 50); do ss -Hltn 'sport = :{port}' | grep -q . && exit; sleep 0.1; done; exit 1"
        assert server.docker("sh", "-c", probe).returncode == 0, port
    yield ports
    server.docker("systemctl", "stop", *(f"listen-{port}" for port in ports))


@pytest.mark.attempt(
    "Firewall truth",
    "programs listen on ports that are open, open to others only, and not open",
    "each is reached by those whom the rule names, and by nobody else",
)
def test_an_opened_port_is_reached_and_no_other(server, listeners):
    assert {port: connects(server.address, port) for port in listeners} == {
        8081: True, 8082: True, 8083: False, 8084: False, 8085: True, 8086: False,
    }  # fmt: skip


def test_the_server_reaches_itself(server, listeners):
    assert server.docker("curl", "-sf", "-o", "/dev/null", f"http://{server.address}:8084/").returncode == 0


@pytest.mark.attempt("Firewall truth", "the same over IPv6", "filtered as IPv4 is")
def test_ipv6_is_filtered_too(alone, server):
    """The loaded rules in a network of their own, because the engine's networks have no IPv6."""
    script = """
      unshare --net sleep 60 & inner=$!; inside="nsenter --target $inner --net"
      unshare --net sleep 60 & outer=$!; outside="nsenter --target $outer --net"
      trap 'kill $inner $outer $listeners' EXIT
      sleep 0.3
      $inside ip link add one type veth peer name two netns $outer || exit 77
      $inside ip address add 2001:db8:1::1/64 dev one nodad || exit 77
      $outside ip address add 2001:db8:1::2/64 dev two nodad || exit 77
      $inside ip link set one up; $outside ip link set two up; $inside ip link set lo up
      for port in 8081 8083 8084 8085; do
        $inside python3 -m http.server --bind :: $port >/dev/null 2>&1 & listeners="$listeners $!"
      done
      sleep 1
      reached() { for port in 8081 8083 8084 8085; do
        $outside curl -gs -m 2 -o /dev/null "http://[2001:db8:1::1]:$port/" && echo $1 $port; done; }
      reached before
      $inside nft -f /run/fenton/firewall
      reached after
      true
    """
    done = server.docker("sh", "-c", script)
    if done.returncode == 77:
        pytest.skip(f"no IPv6 network can be made here: {done.stderr.strip()}")
    open_before = ["before 8081", "before 8083", "before 8084", "before 8085"]
    # 8083 is open to 2001:db8::/32, 8085 to an IPv4 network only, 8084 to nobody.
    assert done.stdout.splitlines() == [*open_before, "after 8081", "after 8083"], done.stderr


@pytest.mark.once
def test_the_firewall_leaves_other_tables_alone(alone, server):
    mine = "table inet other { chain input { type filter hook input priority 5; }; }"
    try:
        assert server.docker("nft", mine).returncode == 0
        for verb in ("reload", "restart", "stop", "start"):
            assert server.docker("systemctl", verb, "fenton-firewall").returncode == 0
            tables = server.docker("nft", "list", "tables").stdout
            assert "table inet other" in tables
            assert ("table inet fenton" in tables) == (verb != "stop")
    finally:
        server.docker("nft", "delete table inet other")
    assert server.docker("getent", "hosts", server.name).returncode == 0


@pytest.mark.once
def test_a_mistake_in_one_file_leaves_the_rules_as_they_were(alone, server):
    before = server.docker("nft", "list", "table", "inet", "fenton").stdout
    server.docker("sh", "-c", "echo nonsense >/etc/fenton/firewall.d/broken.nft")
    try:
        assert server.docker("systemctl", "reload", "fenton-firewall").returncode != 0
    finally:
        server.docker("rm", "/etc/fenton/firewall.d/broken.nft")
    assert server.docker("nft", "list", "table", "inet", "fenton").stdout == before
    assert server.docker("systemctl", "reload-or-restart", "fenton-firewall").returncode == 0


def listens(server, unit, port, family="INET", address="0.0.0.0", kind="STREAM"):
    """Have a program listen, as a unit of systemd's, and wait until it does."""
    code = f"import socket; s = socket.socket(socket.AF_{family}, socket.SOCK_{kind}); family = socket.AF_{family}; "
    code += "family == socket.AF_INET6 and s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1); "
    code += f"s.bind(('{address}', {port})); " + ("s.listen(); " if kind == "STREAM" else "") + "import time; time.sleep(600)"
    assert server.docker("systemd-run", "--unit", unit, "/usr/bin/python3", "-c", code).returncode == 0
    eventually(lambda: server.docker("ss", "-Hlntu", f"sport = :{port}").stdout)


def broken(server, tmp_path, *words):
    """Ask the promises of base, and return the cures of those that do not hold, by name."""
    report = tmp_path / "report.json"
    done = server.playbook("--tags", "verify", *words, env={"FENTON_DOCTOR": "1", "FENTON_REPORT": str(report)})
    assert done.returncode == 0, done.stdout
    promises = json.loads(report.read_text())["promises"]
    return {promise["name"].rpartition(" | ")[2]: promise["cure"] for promise in promises if not promise["holds"]}


FOREIGN = "Nobody listens to the outside but those for whom a role has opened the port"
CLOSED = "Behind each port that a role has opened, somebody listens"


@pytest.mark.once
@pytest.mark.attempt("Firewall truth", "foreign programs listen, on IPv4, IPv6 and UDP", "the doctor names program, port and cure")
@pytest.mark.attempt("Firewall truth", "the owner declares these ports, with a reason", "the doctor is content; they stay closed")
@pytest.mark.attempt("Firewall truth", "a program behind an open port is stopped", "the doctor names the service and the port")
@pytest.mark.attempt("Firewall truth", "a rule is taken out of the kernel by hand", "the doctor names the service and the port")
def test_the_doctor_compares_who_listens_with_what_is_declared(alone, server, tmp_path):
    rule = "/etc/fenton/firewall.d/example.nft"
    # Those of the tests above.
    server.docker("systemctl", "stop", "listen-*")
    assert broken(server, tmp_path) == {}
    server.docker("sh", "-c", f"sed -i 's/, on demand//' {rule}; systemctl reload fenton-firewall")
    units = {"four": (4444,), "six": (4445, "INET6", "::"), "datagrams": (4446, "INET", "0.0.0.0", "DGRAM"), "declared": (8081,)}
    # The engine's networks have no IPv6, and then loopback has no ::1.
    inside = {"inside": (4447, "INET", "127.0.0.1")}
    try:
        for unit, words in {**units, **inside}.items():
            listens(server, f"stranger-{unit}", *words)
        said = broken(server, tmp_path)
        assert set(said) == {FOREIGN, CLOSED}
        for unit, place in {"four": "tcp 0.0.0.0:4444", "six": "tcp [::]:4445", "datagrams": "udp 0.0.0.0:4446"}.items():
            assert (
                f"python3 (stranger-{unit}.service) listens on {place}: stop it on {server.name} (`systemctl disable --now" in said[FOREIGN]
            )
        assert "{port: 4446, protocol: udp, reason:" in said[FOREIGN]
        assert f"host_vars/{server.name}/base.yml" in said[FOREIGN]
        assert not [port for port in ("4447", "8081") if port in said[FOREIGN]]
        # Of the two declared ports one has its program.
        assert "example: tcp 8082 is open, and nobody listens." in said[CLOSED]
        server.docker("systemctl", "stop", "stranger-declared")
        server.docker("nft", "flush", "chain", "inet", "fenton", "ports")
        mine = [{"port": "4444-4445", "reason": "tests"}, {"port": 4446, "protocol": "udp", "reason": "tests"}]
        said = broken(server, tmp_path, "-e", json.dumps({"base_other_ports": mine}))
        assert FOREIGN not in said
        assert "example: tcp 8081-8082 is not open in the kernel." in said[CLOSED]
        assert "ssh: tcp 22 is not open in the kernel." in said[CLOSED]
    finally:
        server.docker("systemctl", "stop", *(f"stranger-{unit}" for unit in {**units, **inside}))
        server.docker("sh", "-c", f'sed -i \'s/accept comment "example"/accept comment "example, on demand"/\' {rule}')
        server.docker("systemctl", "reload-or-restart", "fenton-firewall")


@pytest.mark.once
@pytest.mark.attempt("Firewall truth", "the owner opens a port of a program of theirs", "it answers, and a run without it closes it again")
def test_a_port_of_the_owner_is_open_when_asked_for_only(alone, server):
    listens(server, "stranger-mine", 4450)
    try:
        mine = {"port": 4450, "reason": 'the lab\'s "own" page', "open": True}
        done = server.playbook("--tags", "base", "-e", json.dumps({"base_other_ports": [mine]}))
        assert done.returncode == 0, done.stdout
        assert connects(server.address, 4450)
        assert server.playbook("--tags", "base").returncode == 0
        assert not connects(server.address, 4450)
    finally:
        server.docker("systemctl", "stop", "stranger-mine")


@pytest.mark.attempt("Lock-out", "the firewall's rule for ssh names another port than this connection's", "the next run opens this one too")
@pytest.mark.attempt(
    "Killed runs",
    "half an installation, rules never loaded, and a rule of another role without the port of this connection",
    "the next run finishes all of it and stays connected",
)
@pytest.mark.once
def test_an_interrupted_run_is_finished_and_never_shuts_itself_out(alone, server):
    """Another role's rule without the port of this connection, rules that were never loaded, half an installation."""
    server.docker("sh", "-c", f"sed -i 's/22/2222/; s/, until.*\"/\"/' {SSH_RULE}")
    server.docker("sh", "-c", "sed -i '/^Package: zip$/,/^$/s/^Status: .*/Status: install ok unpacked/' /var/lib/dpkg/status")
    assert "zip" in server.docker("dpkg", "--audit").stdout
    done = server.playbook("--tags", "base")
    assert done.returncode == 0, done.stdout
    assert server.docker("dpkg", "--audit").stdout == ""
    assert re.search(r"tcp dport 22 accept", server.docker("nft", "list", "table", "inet", "fenton").stdout)
    assert server.ssh("true", user="root").returncode == 0


@pytest.mark.once
def test_keys_that_are_not_listed_go_and_a_declared_ssh_port_stays(alone, server):
    folder = "/home/ada/.ssh"
    server.docker("sh", "-c", f"echo {KEY[:-4]}x >>{folder}/authorized_keys; cp {folder}/authorized_keys {folder}/authorized_keys2")
    server.docker("sh", "-c", f"sed -i 's/22/22, 2222/; s/, until.*\"/\"/' {SSH_RULE} && systemctl reload fenton-firewall")
    declared = server.docker("cat", SSH_RULE).stdout
    done = server.playbook("--tags", "base")
    assert "changed=1 " in done.stdout, done.stdout
    assert server.docker("cat", f"{folder}/authorized_keys").stdout.splitlines() == [KEY]
    assert server.docker("ls", folder).stdout.split() == ["authorized_keys"]
    assert server.docker("cat", SSH_RULE).stdout == declared
    server.docker("rm", SSH_RULE)  # the next run writes its own again


def test_an_administrator_logs_in_and_is_root_by_sudo(alone, server):
    done = server.ssh("sudo -n id -u; id -nG", user="ada")
    assert done.stdout.split("\n")[0] == "0", done.stderr
    assert {"sudo", "adm", "systemd-journal"} <= set(done.stdout.split())
    assert server.ssh("journalctl", "-n", "1", "-q", user="ada").stdout


@pytest.mark.attempt(
    "Users", "an administrator is taken off the list", "loses the sudo rule and nothing else; the run says who, and how to remove"
)
@pytest.mark.attempt(
    "Users",
    "an administrator with a session, lingering, a process and a service is removed",
    "keys, sudo, groups, lingering, session, processes and service are gone; the home stays, and the run says so",
)
@pytest.mark.once
def test_a_removed_administrator_is_out(alone, server):
    done = server.playbook("--tags", "base", "-e", json.dumps({"base_administrators": [ADA, {**ADA, "name": "tom"}]}))
    assert done.returncode == 0, done.stdout
    assert server.ssh("sudo -n loginctl enable-linger tom", user="tom").returncode == 0
    assert server.ssh("touch mine; nohup sleep 4000 >/dev/null 2>&1 &", user="tom").returncode == 0
    assert server.docker("pgrep", "-u", "tom", "sleep").returncode == 0
    # As jupyter@tom: systemd would start it again and again.
    service = "[Service]\nUser=tom\nExecStart=sleep 4001\nRestart=always\nRestartSec=0\n[Install]\nWantedBy=multi-user.target"
    server.docker("sh", "-c", f"printf '{service}' >/etc/systemd/system/work@.service; systemctl enable --now work@tom")
    session = subprocess.Popen(["ssh", *server.ssh_options("tom"), "-tt", server.address, "cat"], stdin=subprocess.PIPE)

    done = server.playbook("--tags", "base", "-e", json.dumps({"base_administrators": [ADA]}))
    assert done.returncode == 0, done.stdout
    assert "tom: no longer in base_administrators" in " ".join(done.stdout.split())
    assert server.ssh("sudo -n true", user="tom").returncode == 1

    done = server.playbook("--tags", "base")
    assert done.returncode == 0, done.stdout
    assert "kept the home /home/tom of tom" in done.stdout
    assert session.wait(10) != 0
    assert server.docker("systemctl", "is-active", "work@tom").stdout.strip() == "inactive"
    assert server.docker("systemctl", "is-enabled", "work@tom").stdout.strip() == "disabled"
    server.docker("rm", "/etc/systemd/system/work@.service")
    assert server.ssh("true", user="tom").returncode == 255
    assert server.docker("pgrep", "-u", "tom").stdout == ""
    assert server.docker("id", "-nG", "tom").stdout.split() == ["tom"]
    assert "tom" not in server.docker("sh", "-c", "cat /etc/sudoers.d/*").stdout
    assert server.docker("test", "-e", "/var/lib/systemd/linger/tom").returncode == 1
    assert server.docker("test", "-e", "/home/tom/mine").returncode == 0
    # Even a key that somebody puts back does not help; and a link does not lead the run to other people's keys.
    server.docker("sh", "-c", "install -o tom -m 600 /root/.ssh/authorized_keys /home/tom/.ssh/authorized_keys")
    assert server.ssh("true", user="tom").returncode == 255
    server.docker("sh", "-c", "rm -r /home/tom/.ssh && ln -s /root/.ssh /home/tom/.ssh")
    assert "changed=1 " in server.playbook("--tags", "base").stdout
    assert server.docker("test", "-s", "/root/.ssh/authorized_keys").returncode == 0
    assert server.docker("test", "-L", "/home/tom/.ssh").returncode == 1


@pytest.mark.once
def test_bad_input_is_refused_in_sentences_and_changes_nothing(alone, server):
    wrong = {
        "base_administrators": [
            {"name": "ada", "keys": [KEY, " ".join([KEY.split()[0], KEY.split()[1][:-20]])]},
            {"name": "Root User", "keys": [KEY]},
            {"name": "ada", "state": "absent"},
        ],
        "base_hostname": "fen_ton",
        "base_domain": "lab..org",
        "base_timezone": "Europe/Rom",
        "base_locale": "german",
        "base_journal_max": "lots",
        "base_ssh_ports": [70000],
    }
    snapshot = "find /etc /home /var/lib/dpkg -type f -printf '%p %T@ %s\\n' | sort | sha256sum"
    before = server.docker("sh", "-c", snapshot).stdout
    done = server.playbook("-e", json.dumps(wrong))
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    for sentence in [
        "key 2 of ada is not a public ssh key", '"Root User" is a name that Linux refuses', "ada stands there more than once",
        '"fen_ton" is not a host name', '"lab..org" is not a domain', 'no time zone "Europe/Rom"', '"german" is not a locale',
        '"lots" is not a size', "70000 is not a port",
    ]:  # fmt: skip
        assert sentence in said, done.stdout
    assert server.docker("sh", "-c", snapshot).stdout == before


@pytest.mark.attempt("Lock-out", "no administrator in the input has a key", "refused before the first change")
@pytest.mark.once
def test_a_server_without_a_key_that_opens_it_is_refused(alone, server):
    people = [{"name": "ada", "keys": []}, {**ADA, "name": "tom", "state": "absent"}]
    done = server.playbook("-e", json.dumps({"base_administrators": people}))
    assert done.returncode != 0
    assert "no administrator who is present has a key" in " ".join(done.stdout.split())


@pytest.mark.long
@pytest.mark.once
def test_security_updates_would_come_and_leave_the_driver_alone(alone, server):
    done = server.docker("unattended-upgrade", "--dry-run", "--debug")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    origins = re.search(r"Allowed origins are: (.*)", said)[1]
    assert origins.lower().count("security") >= 2
    assert "label=Debian," not in origins
    assert all(name in re.search(r"Initial blacklist: (.*)", said)[1] for name in ("nvidia-", "libnvidia-", "libcuda", "jupyter"))


@pytest.mark.long
@pytest.mark.once
def test_packages_come_through_the_cache_that_is_named(alone, server):
    asked = []

    class Cache(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *words):
            pass

    # Where the server sees this machine.
    here = server.docker("sh", "-c", "ip -4 route show default | cut -d' ' -f3").stdout.strip()
    with http.server.ThreadingHTTPServer((here, 0), Cache) as cache:
        threading.Thread(target=cache.serve_forever, daemon=True).start()
        given = f"base_apt_proxy=http://{here}:{cache.server_address[1]}"
        assert server.playbook("--tags", "base", "-e", given).returncode == 0
        server.docker("apt-get", "update")
        cache.shutdown()
    assert asked
    assert all(path.startswith("http://") for path in asked)
    assert server.playbook("--tags", "base").returncode == 0
    assert "Proxy" not in server.docker("apt-config", "dump", "Acquire::http::Proxy").stdout


def test_the_journal_keeps_its_bound(alone, server):
    wanted = server.variables["base_journal_max"]
    said = server.docker("journalctl", "-b", "-o", "cat", "-t", "systemd-journald").stdout
    assert re.findall(r"max ([\d.]+[KMGT])", said)[-1].replace(".0", "") == wanted, said


def test_time_zone_language_and_name(alone, server):
    assert server.ssh("date +%Z", user="ada").stdout.strip() in ("CET", "CEST")
    assert server.ssh("locale charmap", user="ada").stdout.strip() == "UTF-8"
    assert server.docker("getent", "hosts", "fenton").returncode == 0
    assert "localhost" in server.docker("getent", "hosts", "127.0.0.1").stdout


# Disks


@pytest.fixture
def disk(alone, server):
    """Attach a file of 64 MB as a block device of the server and return its path; skip where this machine has none to spare."""
    # What an interrupted test left: the file is gone, the device still holds on to it.
    stale = "losetup -l -n -O NAME,BACK-FILE | awk '/disk-of-a-test.img.*deleted/ { print $1 }' | xargs -rn1 losetup -d"
    server.docker("sh", "-c", stale)
    attach = "truncate -s 64M /var/tmp/disk-of-a-test.img && losetup -f --show /var/tmp/disk-of-a-test.img"
    attached = server.docker("sh", "-c", attach)
    if attached.returncode:
        pytest.skip(f"no block device can be made here: {attached.stderr.strip()}")
    device = attached.stdout.strip()
    yield device
    # Also when a test broke off: autoclear ends with the mount.
    server.docker("sh", "-c", f"umount /srv/data; sed -i /srv.data/d /etc/fstab; losetup -d {device}; rm /var/tmp/disk-of-a-test.img")


@pytest.mark.once
@pytest.mark.attempt(
    "Storage", "a new disk; a second run; its line in fstab lost; given back, asked for again", "formatted once, mounted by UUID, data kept"
)
def test_an_empty_disk_is_made_once_and_its_data_stay(server, disk):
    wanted = {"device": disk, "mount": "/srv/data", "owner": "ada", "mode": "0750"}

    def play(*disks, check=()):
        return server.playbook("--tags", "base", "-e", json.dumps({"base_disks": disks}), *check)

    assert "failed=0" in play(wanted, check=["--check"]).stdout
    assert server.docker("blkid", "-p", disk).returncode != 0
    done = play(wanted)
    assert done.returncode == 0, done.stdout
    uuid = server.docker("blkid", "-p", "-o", "value", "-s", "UUID", disk).stdout.strip()
    assert server.docker("findmnt", "-no", "SOURCE,FSTYPE", "/srv/data").stdout.split() == [disk, "ext4"]
    listed = server.docker("findmnt", "--fstab", "-no", "SOURCE,OPTIONS", "/srv/data").stdout.split()
    assert listed[0] == f"UUID={uuid}" and "nofail" in listed[1].split(",")
    assert server.docker("stat", "-c", "%U %a", "/srv/data").stdout == "ada 750\n"
    assert "changed=0 " in play(wanted).stdout
    assert server.ssh("echo kept >/srv/data/note", user="ada").returncode == 0

    # Unmounted, and the line gone by hand: it comes back with what is on it.
    server.docker("sh", "-c", "umount /srv/data && sed -i /srv.data/d /etc/fstab")
    assert play(wanted).returncode == 0
    assert server.docker("cat", "/srv/data/note").stdout == "kept\n"
    assert server.docker("blkid", "-p", "-o", "value", "-s", "UUID", disk).stdout.strip() == uuid

    # Given back: the data stay on it.
    assert play({**wanted, "state": "absent"}).returncode == 0
    assert server.docker("findmnt", "/srv/data").returncode == 1
    assert "srv/data" not in server.docker("cat", "/etc/fstab").stdout
    server.docker("tune2fs", "-L", "photos", disk)
    refused = play(wanted)
    said = " ".join(refused.stdout.split())
    assert refused.returncode != 0
    assert f"holds ext4 labelled 'photos' (UUID {uuid}), and nothing that holds something is formatted" in said
    assert play({"uuid": uuid, "mount": "/srv/data"}).returncode == 0
    assert server.docker("cat", "/srv/data/note").stdout == "kept\n"


@pytest.mark.once
@pytest.mark.attempt(
    "Storage",
    "base_disks names a disk that holds something, or a place with files in it",
    "refused with what was found, before the first change",
)
def test_a_disk_with_something_on_it_is_refused(server, disk):
    def said(**more):
        before = server.docker("sha256sum", "/etc/fstab", "/var/tmp/disk-of-a-test.img").stdout
        done = server.playbook("--tags", "base", "-e", json.dumps({"base_disks": [{"device": disk, "mount": "/srv/data", **more}]}))
        assert done.returncode != 0
        assert server.docker("sha256sum", "/etc/fstab", "/var/tmp/disk-of-a-test.img").stdout == before
        return " ".join(done.stdout.split())

    assert "is no disk of fenton" in said(device="/dev/disk/by-id/none")
    server.docker("sh", "-c", "mkdir -p /srv/data && touch /srv/data/here")
    assert "/srv/data of fenton has files, which the disk would hide" in said()
    server.docker("rm", "/srv/data/here")
    server.docker("mkswap", "-L", "spare", disk)
    assert "holds swap labelled 'spare', and nothing that holds something is formatted" in re.sub(r" \(UUID [^)]*\)", "", said())


@pytest.mark.once
@pytest.mark.attempt("Storage", "quotas are wanted, and the kernel has none", "refused with the kernel's name, before the first change")
def test_quotas_without_a_kernel_for_them_are_refused(server, disk):
    """What the quotas do is shown by ``scripts/vm``, on a kernel that has them."""
    if server.docker("grep", "-q", " v2_check_quota_file", "/proc/kallsyms").returncode == 0:
        pytest.skip("this kernel has quotas")
    before = server.docker("sha256sum", "/etc/fstab", "/var/tmp/disk-of-a-test.img").stdout
    done = server.playbook("--tags", "base", "-e", json.dumps({"base_disks": [{"device": disk, "mount": "/srv/data", "quota": "40M"}]}))
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert f"the kernel of fenton, {os.uname().release}, has no quotas for ext4 (module quota_v2" in said
    assert server.docker("sha256sum", "/etc/fstab", "/var/tmp/disk-of-a-test.img").stdout == before
    assert server.docker("dpkg", "-s", "quota").returncode != 0
