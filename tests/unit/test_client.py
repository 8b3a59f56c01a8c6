"""The role client: what it makes of servers and artifacts, what it writes on a laptop, and that it takes out again what it put in."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import client
import pytest
import yaml
from ansible.module_utils import ssh_include
from conftest import load

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/client"
laptop = load(ROLE / "files/look.py")

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJajWIzSx4/auS+UI1VGZF5Oc7YAbxCaV7k4+pZ1yDrS"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAaVWlFQcZqUSNUFWBNqGmYcjYAbJqD5OEm4nDrXkQd8"
CONNECTION = {
    "host": "192.0.2.10", "ssh_port": 2222, "ssh_user": "tom", "host_key": KEY, "ca": "ca.pem", "jupyter_certificate": "00",
    "jupyter": {
        "tom": {"url": "https://192.0.2.10:8888/lab", "port": 8888, "password_file": "jupyter-password-tom"},
        "ada": {"url": "https://192.0.2.10:8889/lab", "port": 8889, "password_file": ""},
    },
}  # fmt: skip
GIVEN = {
    "home": "/home/ada", "system": "Linux", "root": False, "local": True, "gateway": "", "identity": "~/.ssh/id_ed25519",
    "mount": "~/{name}", "trust": [], "automount": False, "coming": [],
}  # fmt: skip


def certificate(folder, name="authority"):
    """Return a new certificate as PEM text."""
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9", "-subj", f"/CN={name}"]
        + ["-keyout", folder / f"{name}.key"], capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def plan(*servers, known=None, **given):
    """Return the plan for *servers*, each of which has handed out CONNECTION with what *known* changes."""
    connections = {server["name"]: {**CONNECTION, "ca_text": "PEM", "folder": "/site/artifacts/x", **(known or {})} for server in servers}
    return client.client_plan(servers, connections, {**GIVEN, **given})


def problems(*servers, known=("fenton", "forge"), **given):
    connections = {name: {**CONNECTION, "ca_text": "", "folder": "/x"} for name in known}
    return client.client_problems(list(servers), connections, {**GIVEN, **given})


# The Include line

FILE = "/home/ada/.ssh/config.d/fenton.conf"
THEIRS = {
    "nothing": b"",
    "hosts": b"# mine\nHost *\n  User ada\n",
    "no line end": b"Host a\n  User b",
    "windows": b"Host a\r\n  User b\r\n",
    "not utf-8": b"# caf\xe9\nHost a\n",
    "included too late": b"Host *\n  User ada\nInclude config.d/*.conf\n",
    "another folder": b"Include conf.d/*\n",
    "another file": b"Include config.d/work.conf\n",
    "a deeper folder": b"Include config.d/*/*.conf\n",
    "one folder up": b"Include ~/*.conf\n",
    "commented out": b"#Include config.d/*.conf\n",
    "an odd quote": b"Include \"config.d/*.conf\n",
}  # fmt: skip


def include(before, state="present", file=FILE):
    return ssh_include.wanted(before, {"path": "/home/ada/.ssh/config", "files": [file], "state": state}, "/home/ada")


@pytest.mark.parametrize("theirs", THEIRS.values(), ids=THEIRS)
def test_one_line_is_put_first_and_taken_out_again(theirs):
    ours = include(theirs)
    assert ours.endswith(theirs)
    assert ours[: len(ours) - len(theirs)].splitlines()[-1] == b"Include config.d/*.conf"
    assert include(ours) == ours
    assert include(ours, "absent") == theirs
    # What they write later, above or below, stays too.
    assert include(b"# top\n" + ours + b"# end", "absent") == b"# top\n" + theirs + b"# end"


def test_a_file_that_was_made_for_the_line_goes_with_it():
    ours = include(None)
    assert ours.count(b"\n") == 2
    assert include(ours, "absent") is None
    assert include(ours + b"Host a\n", "absent") == b"Host a\n"
    assert include(None, "absent") is None


@pytest.mark.parametrize(
    "theirs",
    [
        b"Include config.d/*.conf\n", b"# x\ninclude = ~/.ssh/config.d/*\n", b"Include a.conf \"/home/ada/.ssh/config.d/fenton.*\" # b\n",
        b"IdentitiesOnly yes\n\tINCLUDE\tconfig.d/f*\nHost *\n",
    ],
)  # fmt: skip
def test_a_line_of_theirs_that_includes_it_already_is_enough(theirs):
    assert include(theirs) == theirs
    assert include(theirs, "absent") == theirs
    # Even where ours was there first.
    assert include(include(b"") + theirs, "absent") == theirs


def test_a_line_that_is_there_twice_or_below_a_host_is_put_right():
    ours = include(b"Host a\n")
    block = ours[: -len(b"Host a\n")]
    assert include(block + ours) == ours
    assert include(b"Host a\n" + block) == ours


def test_a_link_stays_a_link_and_the_mode_stays(ask, tmp_path):
    (tmp_path / "dotfiles").mkdir()
    real = tmp_path / "dotfiles/config"
    real.write_bytes(b"Host a\r\n  User \xe9")
    real.chmod(0o640)
    (tmp_path / ".ssh").mkdir()
    path = tmp_path / ".ssh/config"
    path.symlink_to("../dotfiles/config")
    options = {"path": path, "files": [tmp_path / ".ssh/config.d/x.conf"]}
    assert ask("ssh_include", options, "--check")["changed"]
    assert real.read_bytes() == b"Host a\r\n  User \xe9"
    assert ask("ssh_include", options)["changed"]
    assert path.is_symlink()
    assert real.read_bytes().endswith(b"\nInclude config.d/*.conf\nHost a\r\n  User \xe9")
    assert real.stat().st_mode & 0o777 == 0o640
    assert not ask("ssh_include", options)["changed"]
    assert ask("ssh_include", {**options, "state": "absent"})["changed"]
    assert path.is_symlink()
    assert real.read_bytes() == b"Host a\r\n  User \xe9"


def test_a_new_configuration_is_private(ask, tmp_path):
    path = tmp_path / ".ssh/config"
    assert ask("ssh_include", {"path": path, "files": [tmp_path / ".ssh/config.d/x.conf"]})["changed"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_configuration_that_cannot_be_changed_gets_a_sentence(ask, tmp_path):
    (tmp_path / "config").mkdir()
    said = ask("ssh_include", {"path": tmp_path / "config", "files": []})["msg"]
    assert "so it stays as it is; put `Include config.d/*.conf` at its top yourself" in said


# What is written about each server


def test_a_server_is_described_by_what_its_run_handed_out():
    (one,) = plan({"name": "fenton"})
    assert (one["command"], one["host"], one["port"], one["user"]) == ("fenton", "192.0.2.10", 2222, "tom")
    assert (one["identity"], one["mount"], one["gateway"]) == ("/home/ada/.ssh/id_ed25519", "/home/ada/fenton", "")
    assert (one["jupyter_url"], one["jupyter_port"]) == ("https://192.0.2.10:8888/lab", "8888")
    assert one["password_file"] == "/site/artifacts/x/jupyter-password-tom"


def test_what_the_laptop_says_goes_before_what_the_server_says():
    server = {"name": "fenton", "command": "f", "host": "fenton.lan", "user": "ada", "identity": "/keys/a", "mount": "away/far"}
    (one,) = plan(server)
    assert (one["command"], one["host"], one["user"], one["identity"]) == ("f", "fenton.lan", "ada", "/keys/a")
    assert one["mount"] == "/home/ada/away/far"
    assert one["jupyter_port"] == "8889"
    assert one["password_file"] == ""
    (eve,) = plan({"name": "fenton", "user": "eve"})
    assert (eve["jupyter_url"], eve["jupyter_port"], eve["password_file"]) == ("", "", "")


def test_another_laptop_is_not_told_about_files_of_the_control_node():
    assert plan({"name": "fenton"}, local=False)[0]["password_file"] == ""


def test_the_gateway_leads_to_all_others_by_its_alias():
    servers = [{"name": "door", "command": "d"}, {"name": "fenton"}, {"name": "forge", "gateway": ""}, {"name": "n1", "gateway": "fenton"}]
    assert [one["gateway"] for one in plan(*servers, gateway="door")] == ["", "d", "", "fenton"]


@pytest.mark.parametrize(
    ("system", "root", "has", "lacks"),
    [
        ("Linux", False, "ServerAliveInterval=5,ServerAliveCountMax=3,ConnectTimeout=5", ["allow_other", "defer_permissions"]),
        ("Linux", True, "allow_other,default_permissions", ["defer_permissions"]),
        ("Darwin", False, "allow_other,defer_permissions", ["default_permissions"]),
    ],
)
def test_options_of_sshfs_are_those_of_the_system(system, root, has, lacks):
    options = plan({"name": "fenton"}, system=system, root=root)[0]["options"]
    assert has in options
    assert options.startswith("delay_connect,reconnect,")
    assert not [word for word in lacks if word in options]


@pytest.mark.parametrize("path", ["/home/ada/fenton", "/mnt/my data/x-y", "/a.b/.hidden", "/.x", "/", "/home/ü", "/a@b+c~d"])
def test_units_are_called_as_systemd_wants_it(path):
    escape = shutil.which("systemd-escape") or pytest.skip("no systemd-escape here")
    assert client.systemd_path(path) == subprocess.run([escape, "--path", path], capture_output=True, text=True).stdout.strip()


# Sentences

BAD = {
    "no connection.json": (
        [{"name": "gone"}], {},
        "client_servers: there is no artifacts/gone/connection.json; run `ansible-playbook site.yml -l gone` first, or take gone out in "
        "group_vars/clients/client.yml",
    ),
    "a name with blanks": ([{"name": "fenton", "command": "my box"}], {}, "'my box' cannot be the name of a command; give fenton"),
    "a name with capitals": ([{"name": "fenton", "command": "Fenton"}], {}, "'Fenton' cannot be the name of a command"),
    "one name for two": ([{"name": "fenton"}, {"name": "forge", "command": "fenton"}], {}, "two servers would be called fenton"),
    "a gateway that is nowhere": ([{"name": "fenton"}], {"gateway": "door"}, "the gateway of fenton is door, which is not in client_serv"),
    "a gateway to itself": ([{"name": "fenton", "gateway": "fenton"}], {}, "the way to fenton leads through fenton itself"),
    "gateways in a circle": (
        [{"name": "fenton", "gateway": "forge"}, {"name": "forge", "gateway": "fenton"}], {}, "the way to fenton leads through",
    ),
    "one mount in another": (
        [{"name": "fenton"}, {"name": "forge", "mount": "~/fenton/b"}], {}, "/home/ada/fenton/b for forge and /home/ada/fenton lie in one",
    ),
    "a mount over the home": ([{"name": "fenton", "mount": "~"}], {}, "/home/ada for fenton would hide the whole home"),
    "a mount that sshfs misreads": ([{"name": "fenton", "mount": "/mnt/a,b"}], {}, "'/mnt/a,b' for fenton has a character"),
    "a host that is an option": ([{"name": "fenton", "host": "-oProxyCommand=x"}], {}, "host of fenton is '-oProxyCommand=x'"),
    "a user on two lines": ([{"name": "fenton", "user": "a\nProxyCommand x"}], {}, "user of fenton is"),
    "trust without root": ([{"name": "fenton"}], {"trust": ["system"]}, "client_trust: system needs root on the laptop; set client_root"),
    "automount without root": ([{"name": "fenton"}], {"automount": True}, "client_automount needs root on the laptop; set client_root: tr"),
    "automount on macOS": ([{"name": "fenton"}], {"automount": True, "system": "Darwin"}, "there is no systemd on Darwin"),
}  # fmt: skip


@pytest.mark.parametrize(("servers", "given", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_gets_one_sentence(servers, given, sentence):
    # In a circle everybody is told.
    said, *others = problems(*servers, **given)
    assert sentence in said
    assert all("leads through" in other for other in others)


def test_good_input_gets_none():
    assert problems({"name": "fenton"}, {"name": "forge", "mount": "~/fenton2"}, gateway="fenton") == []
    assert problems({"name": "new"}, coming=["new"]) == []
    assert problems({"name": "fenton"}, root=True, trust=["system", "browsers"], automount=True) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is no JSON"), ("[]", "cannot be used"), ('{"host": "a", "ssh_port": 22}', "says nothing about ssh_user, host_key")],
)
def test_a_connection_that_is_of_no_use_gets_a_sentence(tmp_path, text, said):
    (tmp_path / "fenton").mkdir()
    (tmp_path / "fenton/connection.json").write_text(text)
    found = client.client_connections([{"name": "fenton"}, {"name": "forge"}], tmp_path)
    assert list(found) == ["fenton"]
    (sentence,) = client.client_problems([{"name": "fenton"}], found, GIVEN)
    assert f"artifacts/fenton/connection.json {said}" in sentence
    assert client.client_plan([{"name": "fenton"}], found, GIVEN) == []


# The look at a laptop


def ask_laptop(home, server, **given):
    """Return what the look says of a laptop with one server, that is described by *server*."""
    asked = {"servers": [server], "paths": [], "own": [], "root": [], "units": [], "trusted": {}, "browsers": {}, **given}
    return laptop.look({"home": str(home), **asked})


def test_systemd_does_not_wait_below_a_mount_of_the_person(tmp_path, monkeypatch):
    monkeypatch.setattr(laptop, "mounted", lambda: {f"{tmp_path}/fenton": "fuse.sshfs"})
    server = {"command": "fenton", "mount": f"{tmp_path}/fenton", "unit": "x-fenton", "identity": "/none"}
    assert ask_laptop(tmp_path, server)["mounts"] == {"fenton": "mounted"}
    monkeypatch.setattr(laptop, "waits", lambda unit: False)
    assert "is mounted already" in ask_laptop(tmp_path, server, units=["x-fenton.automount"])["mounts"]["fenton"]
    monkeypatch.setattr(laptop, "waits", lambda unit: True)
    assert ask_laptop(tmp_path, server, units=["x-fenton.automount"])["mounts"] == {"fenton": "mounted"}


def test_a_server_that_goes_while_it_is_mounted_is_named(tmp_path, monkeypatch):
    (tmp_path / ".config/fenton").mkdir(parents=True)
    (tmp_path / ".config/fenton/old.conf").write_text(f"# role client\nMOUNT='{tmp_path}/old'\n")
    server = {"command": "fenton", "mount": f"{tmp_path}/fenton", "unit": "x-fenton", "identity": "/none"}
    monkeypatch.setattr(laptop, "mounted", lambda: {f"{tmp_path}/old": "fuse.sshfs"})
    assert ask_laptop(tmp_path, server)["busy"] == {"old": f"{tmp_path}/old"}
    monkeypatch.setattr(laptop, "mounted", dict)
    (tmp_path / "old").mkdir()
    seen = ask_laptop(tmp_path, server)
    assert (seen["busy"], seen["gone"], seen["former_mounts"]) == ({}, ["old"], [f"{tmp_path}/old"])


def test_what_is_in_the_way_of_a_mount(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    home = str(tmp_path)
    table = {f"{home}/far": "fuse.sshfs", f"{home}/lazy": "autofs", f"{home}/disk": "ext4", "/": "ext4"}
    states = {name: laptop.state_of_mount(f"{home}/{name}", home, table) for name in
              ("new", "empty", "full", "full/x", "dangling", "far", "far/in", "lazy", "disk", "disk/in")}  # fmt: skip
    assert states == {
        "new": "missing", "empty": "free", "full": "is not empty", "full/x": "is not a directory",
        "dangling": "is a link that leads nowhere", "far": "mounted", "far/in": f"lies inside another mount, {home}/far",
        "lazy": "on demand",
        "disk": "is a mount of its own (ext4)", "disk/in": "missing",
    }  # fmt: skip


def test_a_key_is_good_private_missing_or_in_an_agent(tmp_path):
    key = tmp_path / "key"
    assert laptop.state_of_key(str(key)) == "is not there"
    (tmp_path / "key.pub").touch()
    assert laptop.state_of_key(str(key)) == "good"
    key.touch(mode=0o600)
    assert laptop.state_of_key(str(key)) == "good"
    key.chmod(0o644)
    assert laptop.state_of_key(str(key)) == "can be read by others"


def test_a_program_or_a_word_of_the_shell_is_not_shadowed(monkeypatch, tmp_path):
    program = tmp_path / "fenton"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert laptop.in_the_way("fenton", []) == str(program)
    assert laptop.in_the_way("fenton", [str(program)]) == ""
    assert laptop.in_the_way("ls", []).endswith("/ls")
    assert laptop.in_the_way("alias", []) == "a word of the shell"
    assert laptop.in_the_way("no-such-program", []) == ""


def test_browsers_get_a_new_authority_and_lose_an_old_one(tmp_path):
    shutil.which("certutil") or pytest.skip("no certutil here")
    profile, new, old = tmp_path / ".mozilla/firefox/abc.default", certificate(tmp_path), certificate(tmp_path, "old")
    profile.mkdir(parents=True)
    (tmp_path / ".mozilla/firefox/Crash Reports").mkdir()

    def certutil(*words):
        return subprocess.run(["certutil", *words, "-d", f"sql:{profile}"], check=True, capture_output=True, text=True)

    certutil("-N", "--empty-password")
    shared = str(tmp_path / ".pki/nssdb")
    wanted = {"fenton forge": new}
    assert laptop.browsers(str(tmp_path), wanted) == {"put": [[str(profile), "fenton forge"], [shared, "fenton forge"]], "drop": []}
    (tmp_path / "new.pem").write_text(f"# Ansible managed\n{new}")
    certutil("-A", "-n", "fenton forge", "-t", "C,,", "-i", tmp_path / "new.pem")
    assert laptop.browsers(str(tmp_path), wanted)["put"] == [[shared, "fenton forge"]]
    assert laptop.browsers(str(tmp_path), {"fenton forge": old})["drop"] == [[str(profile), "fenton forge"]]
    assert laptop.browsers(str(tmp_path), {**wanted, "fenton node": new}) == laptop.browsers(str(tmp_path), wanted)
    assert laptop.browsers(str(tmp_path), {})["drop"] == [[str(profile), "fenton forge"]]


# The role on a laptop


@pytest.mark.parametrize("name", ["fenton", "fenton.1", "completion.bash", "completion.zsh", "completion.fish"])
def test_files_say_whose_they_are(name):
    """Without these words the role would take a file that it installed for somebody else's."""
    assert laptop.MARK in (ROLE / "files" / name).read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the directory of a laptop's person, and a function that applies the role there."""
    base = tmp_path_factory.mktemp("client")
    home = base / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/config").write_bytes(b"Host *\n  ProxyJump elsewhere\n  IdentityFile ~/.ssh/mine")
    (home / ".ssh/id_ed25519").touch(mode=0o600)
    authority = certificate(base)
    for name in ("fenton", "forge"):
        folder = base / "artifacts" / name
        folder.mkdir(parents=True)
        (folder / "connection.json").write_text(json.dumps({**CONNECTION, "host_key": KEY if name == "fenton" else OTHER_KEY}))
        (folder / "ca.pem").write_text(authority)
    (base / "play.yml").write_text(
        "- hosts: laptop\n  gather_facts: false\n  pre_tasks: [{server_facts: {}}]\n  roles: [{role: client, tags: client}]\n"
    )
    variables = {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "artifacts_dir": str(base / "artifacts"),
        "client_gateway": "fenton", "client_servers": [{"name": "fenton", "mount": "~/it's far"}, {"name": "forge", "command": "anvil"}],
    }  # fmt: skip
    (base / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"laptop": variables}}}))

    def apply(*words, **given):
        done = subprocess.run(
            ["ansible-playbook", "-i", base / "hosts.yml", base / "play.yml", "-e", json.dumps(given), *words],
            capture_output=True, text=True, timeout=120, cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "HOME": str(home)},
        )  # fmt: skip
        return done

    return home, apply


def tree(home):
    """Return what lies below *home*: text, or target of a link, by path."""
    files = (path for path in sorted(home.rglob("*")) if ".ansible" not in path.parts)
    return {
        str(path.relative_to(home)): (path.stat().st_mode & 0o777, path.read_bytes() if path.is_file() else b"directory") for path in files
    }


@pytest.fixture(scope="module")
def installed(site):
    """Apply the role: in check mode, really, and again."""
    home, apply = site
    before = tree(home)
    check = apply("--check")
    assert check.returncode == 0, check.stdout
    assert tree(home) == before
    first = apply()
    assert first.returncode == 0, first.stdout
    again = apply()
    assert "changed=0" in again.stdout, again.stdout
    return home, apply, before


def ssh(home, alias, **options):
    """Return what ssh makes of *alias* with the file of its own, by keyword."""
    done = subprocess.run(["ssh", "-G", "-F", home / f".ssh/config.d/{alias}.conf", alias], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def test_ssh_itself_reads_the_alias_as_it_is_meant(installed):
    home, _, _ = installed
    seen = ssh(home, "anvil")
    wanted = {
        "hostname": "192.0.2.10", "port": "2222", "user": "tom", "identityfile": f"{home}/.ssh/id_ed25519", "identitiesonly": "yes",
        "hostkeyalias": "anvil", "userknownhostsfile": f"{home}/.config/fenton/anvil.known_hosts", "globalknownhostsfile": "/dev/null",
        "stricthostkeychecking": "true", "updatehostkeys": "false", "proxyjump": "fenton", "connecttimeout": "8",
        "serveraliveinterval": "5", "serveralivecountmax": "3", "controlmaster": "auto", "controlpersist": "600", "forwardagent": "no",
    }  # fmt: skip
    assert {key: seen.get(key) for key in wanted} == wanted
    assert len(os.path.basename(seen["controlpath"])) <= 50
    assert "proxyjump" not in ssh(home, "fenton")
    # Whether the promise would be seen to hold with what ssh says.
    connections = client.client_connections([{"name": "fenton"}, {"name": "forge"}], home.parent / "artifacts")
    given = {**GIVEN, "home": str(home), "gateway": "fenton"}
    servers = [{"name": "fenton"}, {"name": "forge", "command": "anvil"}]
    said = [f"{alias} {key} {value}" for alias in ("fenton", "anvil") for key, value in ssh(home, alias).items()]
    assert [line for line in client.client_expected(client.client_plan(servers, connections, given), home) if line not in said] == []


def test_what_the_person_says_for_all_hosts_leads_nowhere_else(installed):
    home, _, _ = installed
    config = home.parent / "together"
    for theirs in (
        "Host *\n  ProxyJump elsewhere\n",
        "Host *\n  ProxyCommand nc elsewhere 1\n",
        "Host fenton\n  StrictHostKeyChecking no\n",
    ):
        config.write_text(f"Include {home}/.ssh/config.d/*.conf\n{theirs}")
        done = subprocess.run(["ssh", "-G", "-F", config, "fenton"], capture_output=True, text=True)
        assert "elsewhere" not in done.stdout
        assert "stricthostkeychecking true" in done.stdout


def test_each_host_key_is_pinned_under_its_alias(installed):
    home, _, _ = installed
    for alias, key in (("fenton", KEY), ("anvil", OTHER_KEY)):
        found = subprocess.run(
            ["ssh-keygen", "-F", alias, "-f", home / f".config/fenton/{alias}.known_hosts"], capture_output=True, text=True
        ).stdout
        assert found.splitlines()[-1] == f"{alias} {key}"


def test_a_shell_reads_the_settings_as_they_are_meant(installed):
    home, _, _ = installed
    shown = subprocess.run(
        ["sh", "-c", '. "$1"; printf "%s\\n" "$NAME" "$ALIAS" "$GATEWAY" "$MOUNT" "$JUPYTER_PORT" "$CA" "$PORT"', "-",
         home / ".config/fenton/fenton.conf"], capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert shown == ["fenton", "fenton", "", f"{home}/it's far", "8888", f"{home}/.config/fenton/fenton.pem", "2222"]
    anvil = (home / ".config/fenton/anvil.conf").read_text()
    assert "\nNAME='forge'\nALIAS='anvil'\n" in anvil
    assert "\nGATEWAY='fenton'\n" in anvil


def test_the_certificate_is_the_one_that_was_handed_out(installed):
    home, _, _ = installed
    pem = (home / ".config/fenton/anvil.pem").read_text()
    assert pem.endswith((home.parent / "artifacts/forge/ca.pem").read_text())
    assert subprocess.run(["openssl", "x509", "-noout", "-in", home / ".config/fenton/anvil.pem"]).returncode == 0


def test_each_command_is_called_like_its_server(installed):
    home, _, _ = installed
    for name in ("fenton", "anvil"):
        assert (home / f".local/bin/{name}").read_bytes() == (ROLE / "files/fenton").read_bytes()
        assert os.access(home / f".local/bin/{name}", os.X_OK)
    for file in (
        "man/man1/anvil.1",
        "bash-completion/completions/anvil",
        "zsh/site-functions/_anvil",
        "fish/vendor_completions.d/anvil.fish",
    ):
        text = (home / ".local/share" / file).read_text().replace("config/fenton", "")
        assert "anvil" in text
        assert not re.search(r"\bfenton\b|FENTON", text)


def test_a_mount_on_demand_lets_root_mount_and_the_person_log_in(tmp_path):
    server = {**plan({"name": "fenton"}, root=True)[0], "ca": ""}
    play = {
        "hosts": "localhost", "connection": "local", "gather_facts": False, "vars_files": [str(ROLE / "vars/main.yml")],
        "vars": {
            "ansible_facts": {"user_dir": "/home/ada", "user_uid": 1000, "user_gid": 1001, "system": "Linux", "distribution": "Debian"},
            "client_root": True, "client_automount": True, "__client_server": server,
        },
        "tasks": [{
            "ansible.builtin.template": {"src": f"{ROLE}/templates/fenton.{{{{ item }}}}.j2", "dest": f"{tmp_path}/{{{{ item }}}}",
                                         "mode": "0644"},
            "loop": ["mount", "automount"],
        }],
    }  # fmt: skip
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    done = subprocess.run(["ansible-playbook", tmp_path / "play.yml"], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    mount = dict(line.split("=", 1) for line in (tmp_path / "mount").read_text().splitlines() if "=" in line)
    assert (mount["What"], mount["Where"], mount["Type"]) == ("fenton:", "/home/ada/fenton", "fuse.sshfs")
    options = mount["Options"].split(",")
    assert {"_netdev", "reconnect", "allow_other", "default_permissions", "uid=1000", "gid=1001"} < set(options)
    assert options[-1] == (
        "ssh_command=/usr/bin/setpriv --reuid=1000 --regid=1001 --init-groups --reset-env /usr/bin/ssh -oBatchMode=yes -oControlPath=none"
    )
    # In an order of its own at each run it would be written anew at each run.
    assert options[1:4] == ["reconnect", "ServerAliveInterval=5", "ServerAliveCountMax=3"]
    # The mount fails at once when the server is away; what was delayed would hang later.
    assert "delay_connect" not in options
    automount = (tmp_path / "automount").read_text()
    assert "Where=/home/ada/fenton\n" in automount
    assert "WantedBy=multi-user.target\n" in automount


def test_a_mount_takes_an_empty_directory_only(installed):
    home, apply, _ = installed
    (home / "anvil/precious").touch()
    try:
        said = " ".join(apply().stdout.split())
        assert "client_mount: the directory of anvil on laptop is not empty, so nothing can be mounted there" in said
        assert "changed=0" in said
    finally:
        (home / "anvil/precious").unlink()


def test_what_is_changed_by_hand_is_put_right(installed):
    home, apply, _ = installed
    before = tree(home)
    (home / ".config/fenton/anvil.known_hosts").write_text(f"anvil {KEY}\n")
    (home / ".ssh/config.d/anvil.conf").chmod(0o666)
    (home / ".config/fenton/fenton.pem").unlink()
    (home / ".ssh/config").write_bytes(before[".ssh/config"][1].split(b"\n", 2)[2])
    (home / ".local/bin/anvil").write_text("echo other\n")
    assert apply().returncode == 0
    assert tree(home) == before


def test_what_others_wrote_is_not_replaced(installed):
    home, apply, _ = installed
    theirs = home / ".ssh/config.d/forge.conf"
    theirs.write_text("Host forge\n")
    servers = [{"name": "fenton", "mount": "~/it's far"}, {"name": "forge"}]
    try:
        said = " ".join(apply(client_servers=servers).stdout.split())
        assert f"{theirs} on laptop was written by somebody else; move it away" in said
        assert "changed=0" in said
        assert theirs.read_text() == "Host forge\n"
    finally:
        theirs.unlink()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"client_identity": "~/.ssh/none"}, ".ssh/none is not there on laptop; make a key there with `ssh-keygen -t ed25519 -f "),
        ({"client_servers": [{"name": "fenton", "command": "ls"}]}, "ls already means"),
        ({"client_servers": [{"name": "gone"}]}, "artifacts/gone/connection.json; run `ansible-playbook site.yml -l gone` first"),
    ],
)  # fmt: skip
def test_refuses_and_changes_nothing(installed, given, sentence):
    home, apply, _ = installed
    before = tree(home)
    done = apply(**given)
    assert done.returncode != 0
    assert sentence in " ".join(done.stdout.split())
    assert tree(home) == before


def test_a_server_that_is_taken_off_the_list_goes_and_the_other_stays(installed):
    home, apply, _ = installed
    done = apply(client_servers=[{"name": "fenton", "mount": "~/it's far"}])
    assert done.returncode == 0, done.stdout
    assert [path for path in tree(home) if "anvil" in path] == []
    assert ssh(home, "fenton")["hostname"] == "192.0.2.10"


@pytest.mark.parametrize("config", [b"Host *\n  ProxyJump elsewhere\n  IdentityFile ~/.ssh/mine", None])
def test_removal_leaves_the_very_bytes_that_were_there(installed, config):
    home, apply, before = installed
    if config is None:
        (home / ".ssh/config").unlink()
        before = {path: what for path, what in before.items() if path != ".ssh/config"}
    assert apply().returncode == 0
    done = apply(client_state="absent")
    assert done.returncode == 0, done.stdout
    assert tree(home) == before
    if config:
        assert "changed=0" in apply(client_state="absent").stdout
