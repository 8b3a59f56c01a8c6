"""An account on a host of others, seen as its person sees it; and that nothing of the host was touched."""

import json
import re

import pytest
from conftest import eventually, run

HOME = "/home/ada"


@pytest.fixture
def server(servers):
    """Return the login host of others."""
    return servers["hpcc"]


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


@pytest.fixture
def laptop(servers):
    """Return a function that runs a line on the person's laptop, with *text* on its input, and returns what it printed."""
    words = ["docker", "exec", "-i", "-u", "ada", "-w", HOME, "-e", f"HOME={HOME}", servers["desk"].container, "bash", "-lc"]

    def sit(line, text=""):
        done = run(*words, line, input=text)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    return sit


PAGE = "curl -sS --cacert ~/.config/fenton/hpcc.pem -b ~/jar -c ~/jar -o /dev/null -w '%{http_code}'"


@pytest.fixture
def lab(server, laptop):
    """Start JupyterLab in the session, in its person's words, and lead its port to the laptop; return the address. Both end afterwards."""
    laptop("ssh hpcc .local/bin/main-session")
    try:
        address = laptop("hpcc -t").removesuffix("/lab")
        eventually(lambda: laptop(f"{PAGE} {address}/login || true").endswith("200"), 60)
        yield address
    finally:
        laptop("hpcc -t off")
        server.ssh("tmux kill-server", user="ada")


def test_jupyterlab_answers_over_tls_to_who_has_the_password(server, laptop, lab):
    def log_in(password):
        line = f"{PAGE} {lab}/login --data-urlencode password@- -d _xsrf=$(awk '$6 == \"_xsrf\" {{print $7}}' ~/jar)"
        return laptop(line, password)

    assert laptop(f"{PAGE} {lab}/api/status") == "403"
    assert log_in("not the password") == "401"
    assert log_in((server.artifacts / "jupyter-password-ada").read_text().strip()) == "302"
    assert laptop(f"{PAGE} {lab}/api/status") == "200"
    listening = server.docker("ss", "-Hltn", f"sport = :{lab.rpartition(':')[2]}").stdout
    assert [line.split()[3].rpartition(":")[0] for line in listening.splitlines()] == ["127.0.0.1"]


def test_the_laptop_is_told_the_way(server):
    told = server.connection
    assert told["ssh_user"] == "ada"
    assert told["host_key"].split()[0] == "ssh-ed25519"
    assert re.fullmatch(r"https://localhost:\d+/lab", told["jupyter"]["ada"]["url"])


def test_the_promises_hold_and_notice_what_is_wrong(server):
    done = server.playbook("--tags", "verify")
    assert done.returncode == 0, done.stdout[-4000:]
    server.docker("chmod", "755", f"{HOME}/.jupyter")
    done = server.playbook("--tags", "verify", "--skip-tags", "anaconda")
    server.docker("chmod", "700", f"{HOME}/.jupyter")
    assert done.returncode != 0
    assert "Nobody else reads the password's hash and the keys" in done.stdout


@pytest.mark.parametrize(
    "edits",
    [
        [
            ("rm modulefiles/anaconda/science.lua", "cat modulefiles/anaconda/science.lua"),
            ("chmod 644 .jupyter/fenton/server.py", "stat -c %a .jupyter/fenton/server.py"),
            ("echo exit 1 >.local/bin/main-session", "cat .local/bin/main-session"),
            ("rm -r .ipython/profile_jobs .local/lib/fenton/python", "find .ipython .local/lib/fenton/python -name '*.py' | sort"),
        ],
        # Alone, since what makes JupyterLab ready asks for it.
        [("rm .jupyter/tls/jupyter/fullchain.pem", "test -s .jupyter/tls/jupyter/fullchain.pem && echo there")],
    ],
    ids=["files", "certificate"],
)
def test_hand_edits_are_put_right(server, edits):
    server.mends_all("account", {how: (f"cd {HOME}; {how}", f"cd {HOME}; {look}") for how, look in edits})


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (
            ["-e", "account_port=80", "-e", "account_room=900000", "-e", f"anaconda_prefix={HOME}/elsewhere"],
            ["account_port: 80 is not between 1024 and 65535", f"account_room: there is too little room at {HOME}"],
        ),
        (["-e", "anaconda_prefix=/opt/mine"], ["account_room: there is too little room at /opt: the account may not write there"]),
    ],
    ids=["port and room", "not ours"],
)
def test_bad_input_is_one_sentence_each_and_nothing_is_changed(server, words, sentences):
    done = server.playbook(*words)
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert [sentence for sentence in sentences if sentence not in said] == []
    assert "changed=0" in done.stdout
