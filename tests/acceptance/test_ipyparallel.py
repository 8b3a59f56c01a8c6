"""Engines on several hosts, as their person sees them: which hosts compute, what comes back by itself, what opens the cluster."""

import json
import re
import time

import pytest
from conftest import eventually

PYTHON = "/opt/conda/envs/parallel/bin/python"
ETC = "/etc/fenton/ipyparallel"
CONNECT = """
import ipyparallel, os, signal, socket, sys, time
client = ipyparallel.Client(profile="lab", timeout=20)
"""
HOSTS = CONNECT + "client.wait_for_engines(1, timeout=20); print(*sorted(client[:].apply_sync(socket.gethostname)))"


@pytest.fixture(scope="session")
def server(servers):
    """Return the controller's host."""
    first = next(iter(servers.values()))
    clusters = first.variables.get("ipyparallel_clusters")
    return servers[clusters[0]["controller"]] if clusters else first


@pytest.fixture(autouse=True)
def with_clusters(server):
    if not server.variables.get("ipyparallel_clusters"):
        pytest.skip("no cluster here")


def python(server, script, *words, timeout=60):
    """Run a script as ada in the shared environment, not in a login shell."""
    return server.docker("runuser", "-u", "ada", "--", "env", "-i", "HOME=/home/ada", PYTHON, "-c", script, *words, timeout=timeout)


def manage(server, *words):
    """Run ada's systemctl."""
    return server.docker("runuser", "-u", "ada", "--", "env", "XDG_RUNTIME_DIR=/run/user/1000", "systemctl", "--user", *words)


def hosts(server):
    """Return the host of each engine."""
    return python(server, HOSTS).stdout.split()


def all_there(server):
    return hosts(server) == ["anvil", "fenton", "forge", "forge"]


def status(server):
    """Return what fenton-engines knows of each host."""
    return server.docker("runuser", "-u", "ada", "--", "/usr/local/lib/fenton/fenton-engines", "status", "lab").stdout


def play(server, tags="ipyparallel", **variables):
    """Run the playbook with other variables."""
    return server.playbook("--tags", tags, "-e", json.dumps(variables))


def test_every_host_of_the_cluster_computes(server):
    eventually(lambda: all_there(server), 60)


def test_the_traffic_is_encrypted_and_the_files_are_its_persons_alone(server):
    shown = server.docker(
        "sh", "-c", "stat -c '%n %a %U' /home/ada/.ipython/profile_lab/security /home/ada/.ipython/profile_lab/security/*"
    )
    lines = shown.stdout.replace("/home/ada/.ipython/profile_lab/security", "").splitlines()
    assert lines == [" 700 ada", "/ipcontroller-client.json 600 ada", "/ipcontroller-engine.json 600 ada"]
    connection = json.loads(server.docker("cat", "/home/ada/.ipython/profile_lab/security/ipcontroller-engine.json").stdout)
    assert connection["curve_serverkey"]
    assert connection["interface"] == f"tcp://{server.address}"


def test_the_controller_has_exactly_the_ports_that_the_guard_counts(server):
    listening = server.docker("ss", "-Hltn").stdout
    found = sorted(int(port) for port in re.findall(rf"{re.escape(server.address)}:(\d+)", listening))
    assert found == list(range(12100, 12109)), listening
    assert not re.search(r"(0\.0\.0\.0|\*|\[::\]):(?!22\b)\d+", listening), listening


def test_the_firewall_lets_only_the_engines_in(servers, server):
    rules = server.docker("nft", "list", "chain", "inet", "fenton", "ports").stdout
    sources = sorted(re.findall(r"ip saddr (\S+) tcp dport .*12100", rules))
    assert sources == sorted(servers[name].address for name in ("forge", "anvil")), rules


def test_an_engine_that_is_killed_comes_back(server):
    script = (
        CONNECT
        + """
client.wait_for_engines(4, timeout=20)
before = dict(zip(client.ids, client[:].apply_sync(socket.gethostname)))
victim = next(number for number, host in before.items() if host == "forge")
client[victim].apply(lambda: __import__("os").kill(__import__("os").getpid(), 9))
until = time.monotonic() + 40
while time.monotonic() < until and (len(client.ids) < 4 or victim in client.ids):
    time.sleep(0.2)
print(*sorted(client[:].apply_sync(socket.gethostname)), victim in client.ids)
"""
    )
    assert python(server, script).stdout.split() == ["anvil", "fenton", "forge", "forge", "False"]


def test_a_controller_that_is_killed_comes_back_with_all_engines(server):
    before = manage(server, "show", "-P", "MainPID", "ipcontroller-lab").stdout
    manage(server, "kill", "--signal=KILL", "ipcontroller-lab")
    eventually(lambda: manage(server, "show", "-P", "MainPID", "ipcontroller-lab").stdout not in (before, "0\n"), 20)
    eventually(lambda: all_there(server), 60)


@pytest.mark.long
@pytest.mark.once
def test_one_dead_host_stops_neither_the_others_nor_a_run(servers, server):
    """Nothing of it answers. When it is back, its engines are too, although the controller has given them up meanwhile."""
    servers["forge"].docker("nft", "insert", "rule", "inet", "fenton", "input", "tcp", "dport", "22", "drop")
    servers["forge"].docker("nft", "insert", "rule", "inet", "fenton", "input", "tcp", "sport", "12100-12108", "drop")
    try:
        began = time.monotonic()
        eventually(lambda: hosts(server) == ["anvil", "fenton"], 45)
        assert time.monotonic() - began < 45
        eventually(lambda: "forge: not connected: " in status(server))
        assert "anvil: connected" in status(server)
        done = play(server)
        assert done.returncode == 0, done.stdout
        assert "changed=0" in done.stdout, done.stdout
        assert "Warning: ipyparallel_clusters: lab: the engines of forge are missing, the others run:" in " ".join(done.stdout.split())
    finally:
        servers["forge"].docker("systemctl", "reload-or-restart", "fenton-firewall")
    eventually(lambda: all_there(server), 60)


@pytest.mark.once
def test_the_key_runs_one_command_and_comes_from_one_address(servers, server):
    key = server.docker("cat", f"{ETC}/lab.key.pub").stdout.split()[1]
    line = servers["forge"].docker("cat", f"{ETC}/authorized_keys/ada").stdout
    assert line.startswith(f'restrict,from="{server.address}",command="/usr/local/lib/fenton/fenton-engines serve lab 2 ')
    assert key in line
    ssh = f"ssh -F none -i {ETC}/lab.key -o BatchMode=yes -o UserKnownHostsFile={ETC}/lab.known_hosts -o HostKeyAlias=forge ada@"
    done = server.docker("runuser", "-u", "ada", "--", "sh", "-c", f"{ssh}{servers['forge'].address} id </dev/null")
    assert "uid=" not in done.stdout
    assert "no connection file came on standard input" in done.stderr


@pytest.mark.once
def test_a_host_with_another_key_is_not_trusted(servers, server):
    server.docker(
        "sed", "-i", "/^forge /s/AAAA.*/AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/", f"{ETC}/lab.known_hosts"
    )
    manage(server, "restart", "ipengines-lab@forge")
    eventually(lambda: "forge: not connected: Host key verification failed" in status(server))
    assert play(server).returncode == 0
    eventually(lambda: all_there(server), 60)


@pytest.mark.once
def test_a_configuration_of_old_is_named_line_by_line(server):
    """That of 2017: it starts as many engines as wanted, all of them on this host."""
    text = """c.IPClusterEngines.engine_launcher = \\
'IPython.parallel.apps.launcher.SSHEngineSetLauncher'
c.SSHEngineSetLauncher.engines = {
    'ada@forge' : (2, ['--profile_dir=/home/ada/profile'])
    }
"""
    server.docker(
        "runuser", "-u", "ada", "--", PYTHON, "-c",
        f"import os; os.makedirs('/home/ada/.ipython/profile_old', exist_ok=True);"
        f"open('/home/ada/.ipython/profile_old/ipcluster_config.py', 'w').write({text!r})",
    )  # fmt: skip
    try:
        doctor = play(server, tags="verify")
        assert doctor.returncode != 0
        said = " ".join(doctor.stdout.split()).replace("''", "'")
        assert "ipcluster_config.py line 1: c.IPClusterEngines.engine_launcher is of an old ipyparallel" in said
        assert "write c.Cluster.engine_launcher_class = 'ssh'" in said
        script = "import ipyparallel; ipyparallel.Cluster(profile='old', n=1).config"
        assert "write 'ada@forge': 2" in python(server, script).stderr
    finally:
        server.docker("rm", "-r", "/home/ada/.ipython/profile_old")


HALF = {
    "a controller that was stopped": "runuser -u ada -- env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user stop ipcontroller-lab",
    "a controller that does not start at boot": "systemctl --global disable ipcontroller-lab.service",
    "a person whose services end with the last login": "loginctl disable-linger ada",
    "files that are gone": f"rm {ETC}/lab.json /etc/systemd/user/ipengines-lab@.service",
    "a module that is gone": "rm /usr/local/lib/fenton/python/cluster_helper/config.py",
    "files that were edited": f"echo '# edited' >>/etc/systemd/user/ipcontroller-lab.service; echo x >>{ETC}/lab.known_hosts",
    "a key that all can read": f"chmod 644 {ETC}/lab.key",
    "a door that is open to all": "sed -i 's/ip saddr [^ ]* //' /etc/fenton/firewall.d/ipyparallel-lab.nft",
    "the way to the package that is gone": "rm /opt/conda/envs/parallel/lib/python3*/site-packages/fenton.pth",
}


@pytest.mark.once
def test_the_next_run_finishes_or_repairs(server):
    """All at once, since a run on three hosts takes its time; what keeps each apart is in the reasons of the role."""
    for how in HALF.values():
        assert server.docker("bash", "-c", how).returncode == 0
    done = play(server)
    assert done.returncode == 0, done.stdout
    assert "changed=0" not in done.stdout
    eventually(lambda: all_there(server), 60)
    assert "changed=0" in play(server).stdout
    assert play(server, tags="verify").returncode == 0


@pytest.mark.long
@pytest.mark.once
def test_without_clusters_all_of_it_goes(server):
    done = play(server, ipyparallel_clusters=[])
    assert done.returncode == 0, done.stdout
    traces = (
        "ls -d /etc/fenton/ipyparallel /etc/systemd/user/ip* /etc/systemd/user/default.target.wants/ip* /opt/conda/envs/parallel"
        " /usr/local/lib/fenton/fenton-engines /usr/local/lib/fenton/python/cluster_helper /etc/fenton/firewall.d/ipyparallel* 2>/dev/null;"
        " pgrep -u ada -fl ipyparallel"
    )
    assert server.docker("sh", "-c", traces).stdout == ""
    assert "changed=0" in play(server, ipyparallel_clusters=[]).stdout
    assert play(server, tags="verify", ipyparallel_clusters=[]).returncode == 0
    # The new controller's key is new, and the other hosts learn it in the same run.
    assert server.playbook("--tags", "ipyparallel", "-l", "servers").returncode == 0
    eventually(lambda: all_there(server), 60)
