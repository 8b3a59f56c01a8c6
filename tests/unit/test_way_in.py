"""The action plugin way_in finds the user and the port that get in, with no more logins than needed."""

from pathlib import Path

import pytest
from ansible.errors import AnsibleConnectionFailure
from conftest import load

ROOT = Path(__file__).resolve().parents[2]
way_in = load(ROOT / "plugins/action/way_in.py")

DENIED = "Failed to connect to the host via ssh: ada@192.0.2.1: Permission denied (publickey)."
REFUSED = "Failed to connect to the host via ssh: ssh: connect to host 192.0.2.1 port 2222: Connection refused"
TIMED_OUT = "Failed to connect to the host via ssh: ssh: connect to host 192.0.2.1 port 2222: Connection timed out"
UNKNOWN = "No ED25519 host key is known for 192.0.2.1 and you have requested strict checking.\nHost key verification failed."
CHANGED = (
    "@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@\nOffending ED25519 key in /home/ada/.ssh/known_hosts:3\n"
    '  remove with:\n  ssh-keygen -f "/home/ada/.ssh/known_hosts" -R "192.0.2.1"\nHost key verification failed.'
)
CLOSED = "Your account has expired; please contact your system administrator.\nConnection closed by 192.0.2.1 port 22"
DROPPED = "kex_exchange_identification: read: Connection reset by peer"
WELCOME = f"{way_in.INSIDE}\n{way_in.ROOT}\n"


class Server:
    """Stands in for Ansible's ssh connection: answers by (user, port) with an output, or a text that is raised."""

    def __init__(self, answers, default=DENIED):
        self.answers, self.default, self.options, self.logins = answers, default, {}, []

    def set_option(self, name, value):
        self.options[name] = value

    def exec_command(self, command, sudoable):
        login = (self.options["remote_user"], self.options["port"])
        self.logins.append(login)
        answer = self.answers.get(login, self.answers.get(login[1], self.default))
        if way_in.INSIDE not in answer and answer in (DENIED, REFUSED, TIMED_OUT, UNKNOWN, CHANGED, DROPPED, CLOSED):
            raise AnsibleConnectionFailure(answer)
        return 0, answer.encode(), b""


def test_the_first_candidate_that_works_is_the_only_login():
    server = Server({("ada", 22): WELCOME})
    found, tried = way_in.search(server, ["ada", "root"], [22, 2222])
    assert (found.user, found.port) == ("ada", 22)
    assert len(tried) == len(server.logins) == 1


def test_a_fresh_server_is_entered_as_root_on_port_22():
    server = Server({2222: REFUSED, ("root", 22): WELCOME})
    found, _ = way_in.search(server, ["ada", "root", "ubuntu"], [2222, 22])
    assert (found.user, found.port) == ("root", 22)
    assert server.logins == [("ada", 2222), ("ada", 22), ("root", 22)]


def test_a_silent_port_is_tried_with_one_user_only():
    server = Server({2222: TIMED_OUT, ("ada", 22): WELCOME})
    way_in.search(server, ["ada", "tom", "root"], [2222, 22])
    assert server.logins == [("ada", 2222), ("ada", 22)]


def test_a_port_that_denied_everybody_ends_the_search():
    server = Server({})
    found, tried = way_in.search(server, ["ada", "root"], [2222, 22])
    assert found is None
    assert {attempt.port for attempt in tried} == {2222}


@pytest.mark.parametrize("answer", [UNKNOWN, CHANGED])
def test_what_no_other_user_could_cure_ends_the_search(answer):
    server = Server({}, default=answer)
    assert way_in.search(server, ["ada", "root"], [2222, 22])[0] is None
    assert len(server.logins) == 1


def test_another_program_on_the_new_port_does_not_hide_sshd_on_the_old_one():
    server = Server({2222: DROPPED, ("ada", 22): WELCOME})
    found, _ = way_in.search(server, ["ada", "root"], [2222, 22])
    assert (found.user, found.port) == ("ada", 22)
    assert server.logins == [("ada", 2222), ("ada", 22)]


def test_somebody_whose_account_has_expired_does_not_hide_who_else_gets_in():
    server = Server({("ada", 22): CLOSED, ("root", 22): WELCOME})
    assert way_in.search(server, ["ada", "root"], [22])[0].user == "root"
    _, tried = way_in.search(Server({}, default=CLOSED), ["ada", "root"], [22])
    assert "lets nobody in as ada, root" in way_in.sentence("fenton", "192.0.2.1", tried)


def test_the_user_named_by_a_cloud_image_is_tried_next():
    hint = 'Please login as the user "ubuntu" rather than the user "root".'
    server = Server({("root", 22): hint, ("ubuntu", 22): WELCOME})
    found, _ = way_in.search(server, ["root", "debian", "ubuntu"], [22])
    assert found.user == "ubuntu"
    assert server.logins == [("root", 22), ("ubuntu", 22)]


def test_an_administrator_without_sudo_is_second_choice():
    # A killed first run leaves the account before its sudo rule.
    server = Server({("ada", 22): way_in.INSIDE, ("root", 22): WELCOME})
    assert way_in.search(server, ["ada", "root"], [22])[0].user == "root"
    server = Server({("ada", 22): way_in.INSIDE})
    assert way_in.search(server, ["ada", "root"], [22])[0].user == "ada"


def test_with_a_sudo_password_the_first_login_does():
    server = Server({("ada", 22): way_in.INSIDE, ("root", 22): WELCOME})
    assert way_in.search(server, ["ada", "root"], [22], root=False)[0].user == "ada"
    assert len(server.logins) == 1


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (
            {2222: REFUSED, 22: TIMED_OUT},
            ["nothing answers ssh at 192.0.2.1", "port 2222 (refused)", "port 22 (timed out)", "ansible_host"],
        ),
        ({2222: UNKNOWN}, ["host key of 192.0.2.1, port 2222 is not known", "ssh -p 2222 ada@192.0.2.1"]),
        (
            {2222: CHANGED},
            ["another host key than before", 'ssh-keygen -f "/home/ada/.ssh/known_hosts" -R "192.0.2.1"'],
        ),
        ({2222: DENIED}, ["lets nobody in as ada, root", "/keys/id", "ansible_user", "ansible_ssh_private_key_file"]),
        ({2222: DROPPED, 22: REFUSED}, ["port 2222 hangs up before the login", "wait ten minutes"]),
        ({2222: DROPPED, 22: DENIED}, ["port 22 answers, but lets nobody in as ada, root"]),
        ({2222: REFUSED, 22: DENIED}, ["port 22 answers", "as ada, root"]),
        ({2222: "This account is not available."}, ["no command runs there (This account is not available.)"]),
    ],
)
def test_a_failure_says_what_happened_and_what_to_change(answers, words):
    _, tried = way_in.search(Server(answers), ["ada", "root"], [2222, 22])
    said = way_in.sentence("fenton", "192.0.2.1", tried, "/keys/id")
    assert said.startswith("fenton: ")
    assert "\n" not in said
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("ssh: Could not resolve hostname fenton.example: Name or service not known", "name"),
        ("ssh: connect to host 192.0.2.1 port 22: No route to host", "unreachable"),
        ("Unable to negotiate with 192.0.2.1 port 22: no matching key exchange method found.", "algorithms"),
        ("Received disconnect: Too many authentication failures", "denied"),
        ("jump@192.0.2.9: Permission denied (publickey).\nConnection closed by UNKNOWN port 65535", "jump"),
        ("something new", "other"),
    ],
)
def test_what_ssh_says_is_understood(said, expected):
    assert way_in.meaning(said) == expected


def test_the_port_of_the_last_run_is_remembered(tmp_path):
    assert way_in.last_way(tmp_path, "fenton") == (None, None)
    (tmp_path / "fenton").mkdir()
    (tmp_path / "fenton/connection.json").write_text('{"ssh_port": 2222}')
    assert way_in.last_way(tmp_path, "fenton")[1] == 2222
    (tmp_path / "fenton/connection.json").write_text("cut off")
    assert way_in.last_way(tmp_path, "fenton") == (None, None)


def test_sudo_rs_is_noticed_before_ansible_waits_for_its_prompt():
    server = Server({("ada", 22): f"{way_in.INSIDE}\n{way_in.RUST}\n"})
    found, _ = way_in.search(server, ["ada"], [22], root=False)
    assert "sudo there is sudo-rs" in way_in.stuck("fenton", found, None)
    assert "ansible_become_exe: sudo.ws" in way_in.stuck("fenton", found, None)
    assert way_in.stuck("fenton", found, "sudo.ws") == ""
    classic, _ = way_in.search(Server({("ada", 22): way_in.INSIDE}), ["ada"], [22], root=False)
    assert way_in.stuck("fenton", classic, None) == ""


def test_on_a_host_of_others_nobody_tries_sudo():
    server, ran = Server({("ada", 22): way_in.INSIDE}), []
    execute = server.exec_command
    server.exec_command = lambda command, sudoable: ran.append(command) or execute(command, sudoable)
    found, _ = way_in.search(server, ["ada"], [22], root=False, probe=f"echo {way_in.INSIDE}")
    assert found.outcome == "inside"
    assert ran == [f"echo {way_in.INSIDE}"]
