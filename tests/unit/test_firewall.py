"""The rule that opens a port: what nftables makes of it."""

import pytest
from ansible.errors import AnsibleFilterError
from firewall import firewall_truth, own_problems, own_rules, port_files


def accepts(*words, **options):
    """Return the lines of the rule that let something in."""
    return [line.strip() for line in port_files(*words, **options)[1]["content"].splitlines() if "accept" in line]


def test_everyone_may_connect_where_no_source_is_named():
    assert accepts("web", 443) == ['tcp dport { 443 } accept comment "web"']


def test_one_line_per_source_and_the_ports_in_order():
    assert accepts("web", [8443, "443", 443], ["10.0.0.0/8", "2001:db8::/32"]) == [
        'ip saddr 10.0.0.0/8 tcp dport { 443, 8443 } accept comment "web"',
        'ip6 saddr 2001:db8::/32 tcp dport { 443, 8443 } accept comment "web"',
    ]


def test_ports_that_follow_each_other_are_one_range():
    assert accepts("jobs", [6818, "60001-60002", 6817, 60003, 60002, 70]) == [
        'tcp dport { 70, 6817-6818, 60001-60003 } accept comment "jobs"'
    ]


def test_protocol_and_note():
    assert accepts("mosh", 60001, protocol="udp", note="for now") == ['udp dport { 60001 } accept comment "mosh, for now"']


@pytest.mark.parametrize("port", ["http", None, [22, "x"], "1-x"])
def test_what_is_no_port_is_refused_with_the_name_of_the_service(port):
    with pytest.raises(AnsibleFilterError, match="the port of web is no number"):
        port_files("web", port)


def test_what_is_there_at_times_has_a_line_of_its_own():
    assert accepts("jobs", [6817, "60001-60003"], ["10.0.0.0/8"], on_demand=["60001-60003"]) == [
        'ip saddr 10.0.0.0/8 tcp dport { 6817 } accept comment "jobs"',
        'ip saddr 10.0.0.0/8 tcp dport { 60001-60003 } accept comment "jobs, on demand"',
    ]
    assert accepts("lab", [1, 2], on_demand=True) == ['tcp dport { 1-2 } accept comment "lab, on demand"']


RULES = """
    udp sport 67 udp dport 68 accept
    tcp dport { 22 } accept comment "ssh"
    ip saddr 192.0.2.0/24 tcp dport { 8888-8889 } accept comment "jupyter"
    tcp dport { 6000-6009 } accept comment "lab, on demand"
"""
# As the kernel writes them.
LOADED = """
	chain ports {
		tcp dport 22 accept comment "ssh"
		ip saddr 192.0.2.0/24 tcp dport { 8888-8889 } accept comment "jupyter"
		tcp dport 6000-6009 accept comment "lab, on demand"
	}
"""
LISTENING = """
tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=76,fd=6)) unit=/system.slice/ssh.service
tcp LISTEN 0 128 [::]:22 [::]:* users:(("sshd",pid=76,fd=7)) unit=/system.slice/ssh.service
tcp LISTEN 0 128 *:8888 *:* users:(("python",pid=77,fd=7)) unit=/system.slice/jupyter@ada.service
tcp LISTEN 0 128 *:8889 *:* users:(("python",pid=78,fd=7)) unit=/system.slice/jupyter@tom.service
tcp LISTEN 0 128 127.0.0.53%lo:53 0.0.0.0:* users:(("systemd-resolve",pid=9,fd=7)) unit=/system.slice/systemd-resolved.service
tcp LISTEN 0 128 [::1]:631 [::]:* users:(("cupsd",pid=9,fd=7)) unit=/system.slice/cups.service
tcp LISTEN 0 128 [::ffff:127.0.0.1]:8125 *:* users:(("agent",pid=9,fd=7)) unit=/system.slice/agent.service
udp UNCONN 0 0 192.0.2.7%eth0:68 0.0.0.0:* users:(("systemd-network",pid=9,fd=7)) unit=/system.slice/systemd-networkd.service
udp UNCONN 0 0 0.0.0.0:40123 0.0.0.0:* users:(("rsyslogd",pid=9,fd=7)) unit=/system.slice/rsyslog.service
tcp LISTEN 0 128 0.0.0.0:111 0.0.0.0:* users:(("rpcbind",pid=9,fd=4),("systemd",pid=1,fd=9)) unit=/system.slice/rpcbind.service
"""


def truth(more="", loaded=LOADED, listening=LISTENING, sockets=(), others=()):
    looked = {"rules": RULES, "ports": loaded, "ephemeral": "32768\t60999", "sockets": sockets}
    return firewall_truth({**looked, "listening": (listening + more).split("\n")[1:-1]}, others, ["rpcbind", "ipcontroller-"])


def test_who_listens_where_a_role_has_opened_and_inside_is_no_stranger():
    assert truth() == {"foreign": [], "closed": []}


@pytest.mark.parametrize("address", ["0.0.0.0", "[::]", "*", "192.0.2.7", "[2001:db8::7]", "[fe80::1]%eth0"])
def test_a_stranger_is_named_on_every_kind_of_address(address):
    found = truth(f'tcp LISTEN 0 5 {address}:4444 *:* users:(("nc",pid=5,fd=3)) unit=/user.slice/user-1000.slice/session-3.scope\n')[
        "foreign"
    ]
    assert [(one["program"], one["port"], one["stop"]) for one in found] == [("nc (session-3.scope)", 4444, "`fuser -k 4444/tcp`")]


def test_both_families_of_one_program_are_one_stranger():
    lines = "".join(
        f'tcp LISTEN 0 5 {where}:80 *:* users:(("nginx",pid=5,fd=3)) unit=/docker/1f/system.slice/nginx.service\n'
        for where in ("0.0.0.0", "[::]")
    )
    (found,) = truth(lines)["foreign"]
    assert found["where"] == "tcp 0.0.0.0:80, [::]:80"
    assert found["stop"] == "`systemctl disable --now nginx.service`"


def test_a_unit_of_a_person_s_own_is_stopped_as_such():
    own = "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service"
    (found,) = truth(f'tcp LISTEN 0 5 *:80 *:* users:(("nginx",pid=5,fd=3)) unit={own}\n')["foreign"]
    assert found["stop"] == "`systemctl --user --machine=1000@.host disable --now web.service`"


@pytest.mark.parametrize("group", ["/system.slice/slurmd.service", "/system.slice/slurmstepd.scope/job_7/step_0/user/task_0"])
def test_what_jobs_open_is_left_alone(group):
    assert not truth(f'tcp LISTEN 0 5 *:40123 *:* users:(("python",pid=5,fd=3)) unit={group}\n')["foreign"]
    assert truth('tcp LISTEN 0 5 *:6818 *:* users:(("slurmd",pid=5,fd=3)) unit=/system.slice/slurmd.service\n')["foreign"]


def test_what_systemd_holds_open_is_called_by_its_socket():
    line = 'tcp LISTEN 0 5 *:9999 *:* users:(("systemd",pid=1,fd=3)) unit=\n'
    (found,) = truth(line, sockets=["[::]:9999 cockpit.socket cockpit.service"])["foreign"]
    assert found["program"] == "systemd (cockpit.socket)"


def test_the_kernel_itself_may_listen():
    assert truth("tcp LISTEN 0 64 0.0.0.0:2049 0.0.0.0:* unit=\n")["foreign"][0]["program"] == "the kernel"


def test_what_the_owner_declares_is_no_stranger():
    line = 'udp UNCONN 0 5 *:5353 *:* users:(("avahi",pid=5,fd=3)) unit=/system.slice/avahi.service\n'
    assert truth(line, others=[{"port": 5353, "reason": "names"}])["foreign"]
    assert not truth(line, others=[{"port": "5350-5353", "protocol": "udp", "reason": "names"}])["foreign"]


def test_a_port_that_nobody_answers_and_one_that_is_shut_are_named():
    silent = "\n".join(line for line in LISTENING.split("\n") if ":8889" not in line)
    assert truth(listening=silent)["closed"] == [{"service": "jupyter", "what": "tcp 8889 is open, and nobody listens"}]
    shut = truth(loaded=LOADED.replace("tcp dport 22", "tcp dport 2222"))["closed"]
    assert shut == [{"service": "ssh", "what": "tcp 22 is not open in the kernel"}]


def test_the_owner_s_ports_are_open_when_that_is_said():
    others = [{"port": 1, "reason": "closed"}, {"port": [8000, 8001], "reason": 'the "lab"; page', "open": True, "sources": ["10.0.0.0/8"]}]
    assert own_rules(others) == '    ip saddr 10.0.0.0/8 tcp dport { 8000-8001 } accept comment "own: the  lab   page, on demand"\n'


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"port": "http", "reason": "page"}, "'http' is not a port"),
        ({"port": 70000, "reason": "page"}, "70000 is not a port"),
        ({"port": [], "reason": "page"}, "[] is not a port"),
        ({"port": 80, "reason": " "}, "port 80 has no reason"),
        ({"port": 80, "reason": "page", "sources": ["home"]}, "home of port 80 is no address"),
    ],
)
def test_an_entry_that_says_nothing_is_refused(entry, said):
    assert [problem for problem in own_problems([entry]) if said in problem and problem.startswith("base_other_ports: ")]
