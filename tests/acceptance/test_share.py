"""One home for all hosts: what one writes the others read, nobody else is let in, and nobody is locked out."""

import json
import re
import subprocess

import pytest
from conftest import PLAYBOOK, ROOT, SCENARIO, eventually, run

NODES = ["node1", "node2"]


@pytest.fixture
def server(servers):
    """Return the host that serves."""
    return servers["gate"]


def site(*words, limit="all", **variables):
    """Run the scenario's playbook on several hosts, with more variables."""
    sources = ["-i", ROOT / "molecule" / SCENARIO / "inventory.yml", "-i", ROOT / "molecule/shared/containers"]
    return run("ansible-playbook", *sources, PLAYBOOK, "-l", limit, *words, "-e", json.dumps(variables), cwd=ROOT, timeout=300)


def told(done):
    """Return what a run printed, as one line."""
    return " ".join((done.stdout + done.stderr).split())


def own_home(node):
    """Tell whether a node has its own home, and lets its administrator in."""
    return node.docker("findmnt", "-no", "TARGET", "-T", "/home").stdout.strip() == "/" and node.ssh("true", user="ada").returncode == 0


def test_every_promise_holds_on_all_hosts():
    done = site("--tags", "verify")
    assert done.returncode == 0, done.stdout[-6000:]
    assert "changed=1" not in done.stdout


def test_what_one_host_writes_the_others_read(servers):
    for name in NODES:
        assert servers[name].ssh(f"echo {name} >from-{name}; sync", user="tom").returncode == 0
    for name in ("gate", *NODES):
        assert servers[name].ssh("cat from-node1 from-node2; stat -c %U from-node1", user="tom").stdout.split() == [*NODES, "tom"]
    assert servers["node1"].docker("findmnt", "-no", "TARGET", "/srv/modules").returncode == 0


def test_only_the_nodes_may_mount(server, servers):
    exported = server.docker("exportfs", "-s").stdout
    assert sorted({line.split()[1].partition("(")[0] for line in exported.splitlines()}) == sorted(servers[name].address for name in NODES)
    assert "root_squash" in exported and "no_root_squash" not in exported
    rule = server.docker("cat", "/etc/fenton/firewall.d/nfs.nft").stdout
    assert rule.count("2049") == len(NODES)
    assert all(f"saddr {servers[name].address} " in rule for name in NODES)


def test_units_are_as_systemd_wants_them(servers):
    node = servers["node1"]
    done = node.docker(
        "sh",
        "-c",
        "systemd-analyze verify /etc/systemd/system/*mount 2>&1 | grep -e home -e srv",
    )
    assert done.stdout == ""
    # What systemd shows are the options of the mount itself; these two are its own words, read from the unit.
    assert "Options=_netdev,nofail,nosuid,nodev\n" in node.docker("systemctl", "cat", "home.mount").stdout
    # Nothing waits for it at boot.
    assert "home" not in node.docker("systemctl", "list-dependencies", "--plain", "local-fs.target", "remote-fs.target").stdout


@pytest.mark.once
def test_a_node_boots_without_its_server_and_finds_the_files_later(servers):
    node = servers["node2"]
    assert servers["gate"].docker("mv", "/var/lib/nfs/etab", "/var/lib/nfs/etab.off").returncode == 0
    assert run("docker", "restart", "--time", "10", node.container).returncode == 0
    eventually(
        lambda: (
            "running" in node.docker("systemctl", "is-system-running").stdout
            or "degraded" in node.docker("systemctl", "is-system-running").stdout
        )
    )
    assert node.docker("ls", "/home").returncode != 0
    servers["gate"].docker("mv", "/var/lib/nfs/etab.off", "/var/lib/nfs/etab")
    eventually(lambda: node.docker("cat", "/home/tom/from-node1").returncode == 0)


@pytest.mark.once
def test_a_node_keeps_its_own_home_until_the_servers_can_be_used(servers):
    """Switched off, then three times refused: nobody is locked out, and nobody at work there notices anything."""
    gate, node = servers["gate"], servers["node2"]
    words = ["ssh", *node.ssh_options("tom"), node.address, "read line; echo still in"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        eventually(lambda: "tom" in node.docker("loginctl", "list-sessions", "--no-legend").stdout)
        assert site(limit="node2", share_kind="none").returncode == 0
        assert own_home(node)
        assert node.docker("sh", "-c", "ls /etc/systemd/system/*mount").returncode != 0
        again = site("--tags", "all,verify", limit="node2", share_kind="none")
        assert again.returncode == 0, again.stdout
        assert "changed=0" in again.stdout

        # The server's home has no key of the administrator.
        gate.docker("mv", "/home/ada/.ssh/authorized_keys", "/home/ada/keys")
        refused = site(limit="node2")
        gate.docker("mv", "/home/ada/keys", "/home/ada/.ssh/authorized_keys")
        assert refused.returncode != 0
        assert "or nobody could log in with it" in told(refused)
        assert own_home(node)

        # As where the connection breaks: the first login takes longer than the host waits for a proof, so its timer goes off.
        gate.docker("sh", "-c", "echo 'sleep 4' >/home/ada/.ssh/rc")
        refused = site(limit="node2", __share_patience="2s")
        gate.docker("rm", "/home/ada/.ssh/rc")
        assert refused.returncode != 0
        assert "the first login took longer than 2s, so the host went back by itself" in told(refused)
        assert "Started fenton-share-put-back.service" in node.docker("journalctl", "--no-pager").stdout
        assert own_home(node)

        # The server does not let it in.
        assert gate.docker("exportfs", "-ua").returncode == 0
        refused = site(limit="node2")
        assert refused.returncode != 0
        assert "node2 keeps its own /home, /srv/modules, because what gate serves could not be mounted" in told(refused)
        assert "A host that is new to the cluster needs gate in the same run" in told(refused)
        assert own_home(node)

        # Server and node in one run, the first at that: all is well, and the other node was not touched.
        done = site()
        assert done.returncode == 0, done.stdout
        assert "changed=0" in re.search(r"^node1 .*", done.stdout, re.M)[0]
        assert node.ssh("cat from-node1", user="tom").stdout == "node1\n"
        assert session.communicate("\n", timeout=20)[0] == "still in\n"


# What is spoiled on each host, one thing at a time, and how it shows.
EDITS = [
    {
        "gate": ("echo '/srv *(rw)' >>/etc/exports.d/fenton.exports; exportfs -ra", "cat /etc/exports.d/*; exportfs -s"),
        "node1": ("rm /etc/systemd/system/home.mount", "ls /etc/systemd/system"),
        "node2": ("systemctl disable home.automount", "systemctl is-enabled home.automount"),
    },
    {"gate": ("exportfs -ua", "exportfs -s")},
    {"gate": ("systemctl disable nfs-server", "systemctl is-enabled nfs-server")},
    {"gate": ("rm /etc/fenton/firewall.d/nfs.nft", "cat /etc/fenton/firewall.d/nfs.nft")},
]


@pytest.mark.once
@pytest.mark.parametrize("edits", EDITS, ids=["exports", "loaded", "service", "port"])
def test_what_is_changed_by_hand_is_put_right(servers, edits):
    def seen():
        return {name: servers[name].docker("sh", "-c", look).stdout for name, (_, look) in edits.items()}

    before = seen()
    for name, (how, _) in edits.items():
        assert servers[name].docker("sh", "-c", how).returncode == 0
    spoiled = seen()
    assert [name for name in edits if spoiled[name] == before[name]] == [], "an edit that changes nothing proves nothing"
    done = site(limit=",".join(edits))
    assert done.returncode == 0, done.stdout
    assert "changed=0" not in done.stdout
    assert seen() == before


@pytest.mark.once
def test_other_numbers_and_disks_in_the_same_place_are_refused(servers):
    servers["node2"].docker("usermod", "--uid", "1500", "tom")
    servers["node1"].docker("sh", "-c", "cp /etc/fstab /root; echo '/dev/vdb1 /home ext4 defaults 0 2' >>/etc/fstab")
    done = site()
    servers["node2"].docker("usermod", "--uid", "1002", "tom")
    servers["node1"].docker("cp", "/root/fstab", "/etc/fstab")
    assert done.returncode != 0
    assert "tom is 1500:1002 on node2 and 1002:1002 on gate" in told(done)
    assert "node1 has /home on a disk of its own; unmount it there" in told(done)
    assert "changed=1" not in done.stdout


@pytest.mark.once
def test_bad_input_is_refused_with_a_sentence():
    done = site(share_directories=["/home", "/home/x", "etc"], share_server="nobody", share_clients=["node one"])
    assert done.returncode != 0
    for sentence in ('"etc" cannot be shared', "/home and /home/x lie in one another", '"nobody" at', '"node one" is no address'):
        assert sentence in told(done), done.stdout
    assert "changed=1" not in done.stdout


@pytest.mark.long
@pytest.mark.once
def test_what_the_site_has_is_checked_and_left_alone(servers):
    given = {"share_kind": "given", "share_directories": ["/srv/given"]}
    try:
        # With its promises.
        done = site("--tags", "all,verify", **given)
        assert done.returncode == 0, done.stdout
        # What an earlier run had set up has gone.
        assert servers["node1"].docker("sh", "-c", "ls /etc/systemd/system/*mount").returncode != 0
        assert servers["gate"].docker("ls", "/etc/exports.d/fenton.exports").returncode != 0
        assert servers["gate"].docker("exportfs", "-s").stdout == ""
        # Another disk on one of them, a read-only one, none at all.
        for spoiled in (
            {
                "node1": ("mount -t tmpfs none /srv/given", "umount /srv/given", "/srv/given is another one than on gate"),
                "node2": ("mount -o remount,ro,bind /srv/given", "mount -o remount,rw,bind /srv/given", "/srv/given is mounted read-only"),
            },
            {"node2": ("umount /srv/given", "true", "/srv/given is not mounted")},
        ):
            for name, (how, _, _) in spoiled.items():
                assert servers[name].docker("sh", "-c", how).returncode == 0
            refused = site(**given)
            for name, (_, undo, sentence) in spoiled.items():
                servers[name].docker("sh", "-c", undo)
                assert f"{sentence} on {name}" in told(refused), refused.stdout
            assert "changed=1" not in refused.stdout
    finally:
        assert site().returncode == 0
