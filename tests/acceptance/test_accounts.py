"""An account on a host of others, seen as its person sees it; and that nothing of the host was touched."""

import json
import re

import pytest
from conftest import eventually

HOME = "/home/ada"


@pytest.fixture
def account(server):
    """Return a function that runs a line as the person, in a login shell, and returns what it printed."""

    def run(line):
        done = server.ssh(f"bash -lc {json.dumps(line)}", user="ada")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    return run


def test_there_is_no_way_to_become_root(server):
    assert server.ssh("sudo -n true", user="ada").returncode == 127
    assert "Permission denied" in server.ssh("true", user="root").stderr


def test_nothing_outside_the_home_belongs_to_the_account_or_is_newer(server):
    found = server.docker(
        "find", "/", "-xdev", "-user", "ada", "-not", "-path", f"{HOME}/*", "-not", "-path", HOME, "-not", "-path", "/proc/*"
    )
    assert [path for path in found.stdout.splitlines() if not path.startswith(("/var/mail", "/dev/"))] == []
    for path in ("/opt/conda", "/usr/local/lib/fenton", "/etc/fenton", "/var/cache/fenton", "/etc/profile.d/conda.sh"):
        assert server.docker("test", "-e", path).returncode == 1, path


def test_no_file_that_a_shell_reads_was_changed(server):
    for name in (".bashrc", ".profile"):
        assert server.docker("cmp", f"{HOME}/{name}", f"/etc/skel/{name}").returncode == 0


def test_the_module_gives_python(account):
    assert account("module use ~/modulefiles; module load anaconda; command -v python") == f"{HOME}/anaconda/envs/science/bin/python"


def test_neighbours_read_neither_key_nor_hash(server):
    assert server.docker("test", "-s", f"{HOME}/.jupyter/tls/jupyter/privkey.pem").returncode == 0
    for path in (".jupyter/fenton/server.py", ".jupyter/tls/jupyter/privkey.pem", ".jupyter/tls/authority/ca.key"):
        assert server.docker("runuser", "-u", "eve", "--", "cat", f"{HOME}/{path}").returncode != 0, path
        assert server.docker("stat", "-c", "%a %U", f"{HOME}/{path}").stdout.strip() == "600 ada"


def test_jupyterlab_answers_over_tls_to_who_has_the_password(server, account):
    password = (server.artifacts / "jupyter-password-ada").read_text().strip()
    port = server.connection["jupyter"]["ada"]["port"]
    account("~/.local/bin/main-session </dev/null; tmux list-windows -t main -F '#{window_name}' | grep -qx notebook")
    ask = f"curl -s -o /dev/null -w '%{{http_code}}' --cacert .jupyter/tls/authority/ca.pem https://localhost:{port}"
    eventually(
        lambda: (
            server.docker(
                "sh", "-c", f"cd {HOME}; python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}))'"
            ).returncode
            == 0
        )
    )
    assert password and ask
    listening = server.docker("ss", "-Hltn", f"sport = :{port}").stdout
    assert f"127.0.0.1:{port}" in listening and "0.0.0.0" not in listening.split("0.0.0.0:*")[0]
    server.docker("runuser", "-u", "ada", "--", "tmux", "kill-server")


def test_the_laptop_is_told_the_way(server):
    told = server.connection
    assert told["ssh_user"] == "ada"
    assert told["host_key"].split()[0] == "ssh-ed25519"
    assert re.fullmatch(r"https://localhost:\d+/lab", told["jupyter"]["ada"]["url"])


@pytest.mark.parametrize(
    ("how", "look"),
    [
        ("rm modulefiles/anaconda/science.lua", "cat modulefiles/anaconda/science.lua"),
        ("chmod 644 .jupyter/fenton/server.py; echo >>.jupyter/fenton/overrides.json", "stat -c %a .jupyter/fenton/server.py"),
        ("rm .jupyter/tls/jupyter/fullchain.pem", "test -s .jupyter/tls/jupyter/fullchain.pem && echo there"),
        ("echo exit 1 >.local/bin/main-session", "cat .local/bin/main-session"),
        ("rm -r .ipython/profile_jobs .local/lib/fenton/python", "find .ipython/profile_jobs .local/lib/fenton/python -name '*.py' | sort"),
    ],
)
def test_a_hand_edit_is_put_right(server, how, look):
    server.mends("account", f"cd {HOME}; {how}", f"cd {HOME}; {look}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-e", "account_port=80"], "account_port: 80 is not between 1024 and 65535"),
        (["-e", "account_room=900000", "-e", f"anaconda_prefix={HOME}/elsewhere"], f"account_room: there is too little room at {HOME}"),
        (["-e", "anaconda_prefix=/opt/mine"], "account_room: there is too little room at /opt: the account may not write there"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_changed(server, words, said):
    done = server.playbook(*words)
    assert done.returncode != 0
    assert said in " ".join(done.stdout.split())
    assert "changed=0" in done.stdout
