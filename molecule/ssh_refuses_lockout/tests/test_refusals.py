"""Whatever would lock people out stops the role ssh with a sentence, and the host is as it was before."""

import json
import os

import pytest
from lockout import ADA, EVE, ROOT, SAVED, TOM, doors, refused, run, script, state

CHANGED_NOTHING = "refused before the first change"
PUT_BACK = "put back as it was, by the same run"


def attempt(tried, outcome):
    """Return the mark by which a test becomes a row of docs/reliability.md."""
    return pytest.mark.attempt("Lock-out", tried, outcome)


INPUTS = [
    ({"ssh_administrators": []}, ["ssh_administrators: there is nobody"]),
    ({"ssh_administrators": [{**ADA, "state": "absent"}]}, ["ssh_administrators: there is nobody"]),
    ({"ssh_allow_users": ["bob"]}, ["ssh_allow_users: bob leaves out every administrator", "add one of ada"]),
    ({"ssh_sources": ["192.0.2.0/24"]}, ["ssh_sources: 192.0.2.0/24 leaves out this control node"]),
    ({"ssh_allow_groups": ["nobody-is-in-it"]}, ["ada is in none of the groups nobody-is-in-it"]),
    ({"ssh_administrators": [{**ADA, "name": "nadja"}]}, ["nadja has no account"]),
    ({"ssh_administrators": [TOM]}, ["tom may not use sudo"]),
    ({"base_administrators": [EVE]}, ["lets nobody in as eve"]),
]
# Scenario refuses_bad_input shows that such values are refused.
VALUES = [
    ({"ssh_administrators": [{"name": "ada", "keys": []}]}, ["ssh_administrators: ada without a public key"]),
    ({"ssh_administrators": [{"name": "ada"}]}, ["ssh_administrators: ada without a public key"]),
    ({"ssh_allow_users": ["ada", "bob tom"]}, ['"bob tom" is no name']),
    ({"ssh_port": 0}, ["ssh_port: 0 is not a port"]),
    ({"ssh_port": 65536}, ["ssh_port: 65536 is not a port"]),
    ({"ssh_port": "twenty-two"}, ["ssh_port"]),
    ({"ssh_sources": ["home"]}, ["ssh_sources: home is no address or network"]),
]


@attempt("15 inputs that leave no administrator, no port or no way for this control node", CHANGED_NOTHING)
@pytest.mark.parametrize(
    ("variables", "sentence"),
    [*INPUTS, *(pytest.param(*value, marks=pytest.mark.long) for value in VALUES)],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_input_that_would_lock_people_out_is_refused(server, sockets, variables, sentence):
    """The sentence names the variable, the value and the line to change."""
    refused(server, sockets, variables, *sentence)


LISTEN = "systemd-run --quiet --unit taken python3 -m http.server 2222; until ss -Hltn 'sport = :2222' | grep -q .; do sleep 0.1; done"
FULL = "mount -t tmpfs -o size=8k full {0}; dd if=/dev/zero of={0}/ballast bs=1k 2>/dev/null || :"
KEYS = "/etc/ssh/ssh_host_ed25519_key"
SAVE_KEYS = "mkdir /root/keys; cp -a /etc/ssh/ssh_host_* /root/keys"
MEND_KEYS = "cp -a /root/keys/* /etc/ssh; rm -r /root/keys; systemctl restart ssh"
TO_2222 = {"ssh_port": 2222}
# What is tried; a script that does it; one that mends it; the run's variables; what comes of it; words of the run's sentence.
HOSTILE = {
    "another program has the new port": (
        *(LISTEN, "systemctl stop taken", TO_2222, CHANGED_NOTHING),
        ["ssh_port: on fenton port 2222 is taken by python3"],
    ),
    "the administrator has no key on the server": (
        *("mv /home/ada/.ssh/authorized_keys /root", "mv /root/authorized_keys /home/ada/.ssh", TO_2222, CHANGED_NOTHING),
        ["ada has no key in /home/ada/.ssh/authorized_keys"],
    ),
    "the administrator's key has been replaced": (
        *("cd /home/ada/.ssh; cp -a authorized_keys /root; cp ../../eve/.ssh/authorized_keys .", "mv /root/authorized_keys /home/ada/.ssh"),
        *(TO_2222, CHANGED_NOTHING, ["lets nobody in as ada"]),
    ),
    "authorized_keys can be written by everybody, so sshd does not read it": (
        *("chmod 666 /home/ada/.ssh/authorized_keys", "chmod 600 /home/ada/.ssh/authorized_keys", TO_2222, CHANGED_NOTHING),
        ["others may write to /home/ada/.ssh/authorized_keys"],
    ),
    "the administrator's home belongs to somebody else": (
        *("chown tom /home/ada", "chown ada /home/ada", TO_2222, CHANGED_NOTHING),
        ["/home/ada belongs to tom"],
    ),
    "sudo does not work for anybody": (
        *("gpasswd -a ada sudo; chmod 666 /etc/sudoers", "gpasswd -d ada sudo; chmod 440 /etc/sudoers", TO_2222, CHANGED_NOTHING),
        ["cannot become root"],
    ),
    "the administrator's shell lets nobody in": (
        *("usermod -s /usr/sbin/nologin ada", "usermod -s /bin/bash ada", TO_2222, CHANGED_NOTHING),
        ["ada has the shell /usr/sbin/nologin"],
    ),
    "the administrator's shell is not installed": (
        *("usermod -s /usr/bin/fish ada", "usermod -s /bin/bash ada", TO_2222, CHANGED_NOTHING),
        ["ada has the shell /usr/bin/fish"],
    ),
    "the administrator's account has expired": (
        *("chage -E 2020-01-01 ada", "chage -E -1 ada", TO_2222, CHANGED_NOTHING),
        ["the account of ada has expired"],
    ),
    "the administrator must change a password first": (
        *("chage -d 0 ada", "chage -d 2026-01-01 ada", TO_2222, CHANGED_NOTHING),
        ["the password of ada has expired"],
    ),
    "/etc/nologin keeps everybody out but root": (
        *("echo closed >/etc/nologin", "rm /etc/nologin", TO_2222, CHANGED_NOTHING),
        ["lets nobody in as ada"],
    ),
    "sshd refuses an algorithm of the drop-in": (
        *(":", ":", {"__ssh_ciphers": ["aes256-ctr", "rot13@example.org"]}, PUT_BACK),
        ["sshd was put back as it was", "Bad SSH2 cipher spec"],
    ),
    "a foreign rule of the firewall drops the new port": (
        "nft 'table inet other { chain input { type filter hook input priority -10; tcp dport 2222 drop; }; }'",
        *("nft delete table inet other", TO_2222, PUT_BACK, ["sshd was put back as it was", "nothing answers ssh at", "timed out"]),
    ),
    "the disk is full where the drop-in goes": (
        *(FULL.format("/etc/ssh/sshd_config.d"), "umount /etc/ssh/sshd_config.d", {}, PUT_BACK, ["No space left on device"]),
    ),
    "ssh.socket holds the old port and does not follow": (
        *("systemctl stop ssh; systemctl start ssh.socket", "systemctl stop ssh.socket; systemctl restart ssh", TO_2222, CHANGED_NOTHING),
        ["ssh.socket of fenton does not follow sshd_config"],
    ),
    "ssh.socket would take the old port at the next boot": (
        *("systemctl enable ssh.socket", "systemctl disable ssh.socket", TO_2222, CHANGED_NOTHING),
        ["ssh.socket of fenton does not follow sshd_config"],
    ),
    "all host keys are gone": (
        *(f"{SAVE_KEYS}; rm /etc/ssh/ssh_host_*", MEND_KEYS, TO_2222, CHANGED_NOTHING),
        ["no hostkeys available"],
    ),
    "the host key that people have pinned is gone": (
        *(f"{SAVE_KEYS}; rm {KEYS}*", MEND_KEYS, TO_2222, CHANGED_NOTHING),
        [f"sshd on fenton shows a host key that is no longer in {KEYS}"],
    ),
    "the host key that people have pinned was made anew": (
        *(f"{SAVE_KEYS}; rm {KEYS}*; ssh-keygen -q -t ed25519 -N '' -f {KEYS}", MEND_KEYS, TO_2222, CHANGED_NOTHING),
        [f"sshd on fenton shows a host key that is no longer in {KEYS}"],
    ),
    "sshd_config no longer includes drop-ins": (
        *("sed -i.mine /^Include/d /etc/ssh/sshd_config", "mv /etc/ssh/sshd_config.mine /etc/ssh/sshd_config", {}, PUT_BACK),
        ["files in /etc/ssh overrule"],
    ),
}


# Their neighbours in the table take the same path.
SELDOM = {
    "a foreign rule of the firewall drops the new port",
    "the administrator has no key on the server",
    "the administrator's home belongs to somebody else",
    "the administrator's shell is not installed",
    "the administrator must change a password first",
    "/etc/nologin keeps everybody out but root",
    "ssh.socket would take the old port at the next boot",
    "the host key that people have pinned is gone",
    "the host key that people have pinned was made anew",
    "the administrator's shell lets nobody in",
}


@pytest.mark.attempt("Lock-out", "{tried}", "{outcome}")
@pytest.mark.parametrize(
    ("tried", "how", "mend", "variables", "outcome", "words"),
    [pytest.param(name, *rest, id=name, marks=pytest.mark.long if name in SELDOM else ()) for name, rest in HOSTILE.items()],
)
def test_a_hostile_server_locks_nobody_out(server, sockets, spoil, tried, how, mend, variables, outcome, words):
    """Root is still let in here, so a run that went on would shut the last one out."""
    spoil(how, mend)
    said = refused(server, sockets, variables, *words)
    assert ("put back" in said) == (outcome == PUT_BACK), said


@attempt("a line of somebody else's drop-in is broken", CHANGED_NOTHING)
def test_a_broken_file_of_somebody_else_stops_it_first(server, sockets, foreign):
    """The sentence carries what sshd itself says about the line."""
    foreign("NoSuchOption yes")
    refused(server, sockets, {}, "50-foreign.conf", "NoSuchOption", "nothing was changed")


@attempt("somebody else's drop-in has another port", CHANGED_NOTHING)
def test_a_port_of_somebody_else_is_named(server, sockets, foreign):
    """Ports add up in sshd; the first one does not win."""
    foreign("Port 2200")
    refused(server, sockets, {}, "would also listen on 2200", "50-foreign.conf")


@attempt("somebody else's Match block lets passwords in", PUT_BACK)
def test_a_match_block_that_lets_passwords_in_has_everything_put_back(server, sockets, foreign):
    """A Match block overrules every drop-in."""
    foreign("Match User tom\n  PasswordAuthentication yes")
    refused(server, sockets, {}, "sshd was put back as it was", "tom passwordauthentication yes")


@attempt("the administrator may come from another address only", PUT_BACK + "; sshd never read it")
def test_an_administrator_whom_the_new_configuration_shuts_out_has_everything_put_back(server, sockets):
    """The files are judged once more before sshd reads them."""
    said = refused(server, sockets, TO_2222 | {"ssh_allow_users": ["ada@192.0.2.1"]}, "sshd was put back as it was")
    assert "ada: AllowUsers is ada@192.0.2.1" in said


@attempt("a drop-in that sorts before ours lets root in", PUT_BACK)
def test_a_drop_in_that_sorts_first_has_everything_put_back(server, sockets, foreign):
    """The first value counts in sshd."""
    foreign("PermitRootLogin yes", name="00-admin")
    refused(server, sockets, {}, "sshd was put back as it was", "overrule")


@attempt("sshd was stopped, and only the connection of root's run is left", "started again, also by a run that then refuses")
def test_a_stopped_sshd_is_started_before_anything_else(server, sockets):
    """The last way in is the connection of the run; it must not end with the run."""
    root = {"ansible_user": "root", "base_administrators": [EVE]}
    assert server.playbook("-e", json.dumps(root | {"ssh_administrators": []}), env=sockets).returncode != 0  # it leaves a connection
    script(server, "systemctl stop ssh")
    try:
        assert doors(server) == []
        assert server.playbook("-e", json.dumps(root), env=sockets).returncode != 0
        assert doors(server) == [("root", 22), ("ada", 22)]
    finally:
        script(server, "systemctl start ssh")


def save(patience):
    """Do on the server what a run does just before it changes anything: save what is there, and start the timer."""
    done = run(
        *("ansible", "-i", ROOT / "molecule/ssh_refuses_lockout/inventory.yml", "-i", ROOT / "molecule/shared/containers"),
        *("fenton", "-m", "ansible.builtin.shell", "-a", "cmd={{ lookup('ansible.builtin.template', script) }}"),
        *("-e", f"script={ROOT}/roles/ssh/templates/save.sh.j2", "-e", f"@{ROOT}/roles/ssh/vars/main.yml"),
        *("-e", f"role_path={ROOT}/roles/ssh", "-e", f"__ssh_patience={patience}"),
        cwd=ROOT / "roles/ssh",
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_could_not_be_put_back_stays_saved(server):
    """Then the timer, or the next run, can try again."""
    before = state(server)
    save(patience="5min")
    # A directory in the place of a file that was not there is more than the script takes away.
    script(server, "mkdir /etc/ssh/sshd_config.d/00-fenton.conf")
    assert server.docker("sh", f"{SAVED}/put-back").returncode == 1
    assert server.docker("test", "-e", f"{SAVED}/before").returncode == 0
    script(server, f"rmdir /etc/ssh/sshd_config.d/00-fenton.conf; sh {SAVED}/put-back")
    server.docker("systemctl", "stop", "fenton-ssh-put-back.timer")
    assert state(server) == before


def test_the_same_host_takes_good_input(server, sockets):
    """So it was the input, not the host, that was refused before."""
    done = server.playbook(env=sockets)
    assert done.returncode == 0, done.stdout
    assert doors(server) == [("ada", 22)]
