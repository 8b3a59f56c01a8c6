"""The only door: nodes open to it alone, and who may only pass does nothing else there."""

import json

import pytest
from conftest import run


@pytest.fixture
def server(servers):
    """Return the gateway."""
    return servers["gate"]


def outside(servers, words, user="guest"):
    """Run ssh on the laptop as somebody would whose account on gateway and nodes is *user*.

    :arg words: what stands after ``ssh``; ``gate``, ``node1`` and ``node2`` are known.
    """
    hosts = [(name, servers[name].address) for name in ("gate", "node1", "node2")]
    config = "".join(f"Host {name}\n HostName {address}\n HostKeyAlias {name}\n User {user}\n" for name, address in hosts)
    config += "Host *\n IdentityFile /home/ada/key\n IdentitiesOnly yes\n BatchMode yes\n ConnectTimeout 4\n"
    config += " UserKnownHostsFile /home/ada/known_hosts\n"
    script = f"cat >/home/ada/config; ssh -F /home/ada/config {words}"
    return run("docker", "exec", "-i", "-u", "ada", servers["desk"].container, "sh", "-c", script, input=config, timeout=60)


def told(done):
    """Return what a run printed, as one line."""
    return " ".join((done.stdout + done.stderr).split())


def test_nobody_reaches_a_node_but_through_the_gateway(servers):
    straight = outside(servers, "node1 hostname", user="ada")
    assert straight.returncode == 255
    assert "timed out" in straight.stderr
    through = outside(servers, "-J gate node1 hostname", user="ada")
    assert (through.returncode, through.stdout) == (0, "node1\n"), through.stderr
    # Not even from this machine, which Ansible runs on.
    assert servers["node1"].ssh("true", user="ada", options=("-o", "ConnectTimeout=3")).returncode == 255


def test_who_may_pass_goes_where_they_may(servers):
    for user, node, may in (("guest", "node1", True), ("guest", "node2", False), ("tom", "node2", True)):
        done = outside(servers, f"-J gate {node} 'hostname; whoami'", user=user)
        assert (done.stdout == f"{node}\n{user}\n") is may, done.stderr
        assert may or "administratively prohibited" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        "gate id",
        "-tt gate",
        "gate cat /etc/passwd",
        "-s gate sftp",
        # Other ports and hosts than sshd of the nodes, other ways than forward.
        "-W node1:9999 gate",
        "-W localhost:22 gate",
        "-W localhost:9100 gate",
        "-N -o ExitOnForwardFailure=yes -R 12345:localhost:22 gate",
        "-N -o ExitOnForwardFailure=yes -R /tmp/socket:localhost:22 gate",
        "-o ExitOnForwardFailure=yes -w 0:0 gate true",
    ],
)
def test_and_nothing_else(servers, words):
    done = outside(servers, words)
    assert done.returncode != 0
    assert "root:" not in done.stdout and "uid=" not in done.stdout and "SSH-2.0" not in done.stdout, done.stdout


def test_a_service_of_a_node_is_reached_by_the_double_hop(servers):
    """The command of old, ``ssh -L 8888:localhost:7000 gateway "ssh -L 7000:localhost:8888 node"``, is one ``-J`` today."""
    page = "python3 -m http.server --bind 127.0.0.1 --directory /srv 8888"
    servers["node1"].docker("systemd-run", "--unit", "page", *page.split())
    tunnel = "ssh -F /home/ada/config -f -o ExitOnForwardFailure=yes -L 8888:localhost:8888 -J gate node1 sleep 8"
    ask = "exec 3<>/dev/tcp/127.0.0.1/8888; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    done = outside(servers, f'-V; bash -c "{tunnel}; {ask}"')
    servers["node1"].docker("systemctl", "stop", "page")
    assert "200 OK" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("how", "look"),
    [
        (
            "sed -i /PermitOpen/d /etc/ssh/sshd_config.d/50-fenton-gateway.conf; systemctl reload ssh",
            "cat /etc/ssh/sshd_config.d/50-*; sshd -T -C user=guest,host=x,addr=192.0.2.1 | grep permitopen",
        ),
        ("usermod --shell /bin/bash --append --groups adm guest", "getent passwd guest; id -nG guest"),
        ("for _ in $(seq 50); do pkill -KILL -u tom; userdel tom && break; sleep 0.1; done", "id -nG tom"),
        ("echo x >/etc/ssh/fenton-jump/eve; chmod 666 /etc/ssh/fenton-jump/guest", "stat -c '%n %a' /etc/ssh/fenton-jump/*"),
    ],
)
def test_what_is_changed_by_hand_is_put_right(server, how, look):
    server.mends("gateway", how, look)


def test_bad_input_is_refused_with_a_sentence(server):
    people = [{"name": "root", "keys": ["x"]}, {"name": "eve", "keys": ["{{ key }}"], "to": ["moon"]}]
    done = server.playbook("--tags", "gateway", "-e", json.dumps({"gateway_people": people}))
    assert done.returncode != 0
    for sentence in (
        '"root" cannot be an account',
        '"x" has no key, or one that is none',
        '"moon" is not among the hosts behind the gateway (node1, node2)',
    ):
        assert sentence in told(done), done.stdout
    own = server.playbook("--tags", "gateway", "-e", json.dumps({"gateway_people": [{"name": "ada", "keys": ["{{ key }}"]}]}))
    assert "ada has an account on gate already and passes with it" in told(own)
    assert "changed=0" in own.stdout


def test_who_is_taken_out_does_not_pass_any_more(server, servers):
    guest = server.variables["gateway_people"][:1]
    assert server.playbook("--tags", "gateway", "-e", json.dumps({"gateway_people": guest})).returncode == 0
    assert outside(servers, "-J gate node1 hostname", user="tom").returncode == 255
    assert outside(servers, "-J gate node1 hostname").stdout == "node1\n"
    off = server.playbook("--tags", "gateway", "-e", json.dumps({"gateway_people": []}))
    assert off.returncode == 0, off.stdout
    assert (
        server.docker(
            "sh", "-c", "getent group fenton-jump; getent passwd guest; ls -d /etc/ssh/fenton-jump /etc/ssh/sshd_config.d/50-*"
        ).stdout
        == ""
    )
    assert outside(servers, "-J gate node1 hostname").returncode == 255
    assert outside(servers, "-J gate node1 hostname", user="ada").stdout == "node1\n"
    assert server.playbook("--tags", "gateway").returncode == 0
