"""Looks: what they say, what happens where they cannot tell, and that the facts are those of Ansible's own setup."""

import getpass
import grp
import os
import subprocess
import sys
from pathlib import Path

import observe as action
import pytest
from ansible.module_utils import server_facts
from conftest import load

ROOT = Path(__file__).resolve().parents[2]
ME = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}
bench = load(ROOT / "benchmarks/run.py")


def test_what_a_file_imports_comes_before_it():
    assert list(action.with_what_it_imports("conda_environment")) == ["conda", "requirements", "conda_environment"]


@pytest.mark.parametrize("path", sorted((ROOT / "plugins/module_utils").glob("*.py")), ids=lambda path: path.stem)
def test_what_travels_needs_nothing_of_ansible(path):
    own = {file.stem for file in path.parent.glob("*.py")}
    lines = [line for line in path.read_text().splitlines() if "ansible" in line and line.startswith(("import", "from"))]
    assert all(line.split()[1].removeprefix("ansible.module_utils.") in own for line in lines), lines


def test_commands_may_read_their_input(ask):
    seen = ask("observe", {"commands": {"a": {"run": ["cat"], "stdin": "said"}, "b": "echo b"}})["seen"]
    assert (seen["a"]["stdout"], seen["b"]["stdout"]) == ("said", "b")


def test_commands_know_how_the_control_node_came_in_though_sudo_hides_it():
    words = [
        "env",
        "-i",
        sys.executable,
        "-c",
        "import observe; print(observe.look('echo $SSH_USER $SSH_CONNECTION', 5, observe.surroundings()))",
    ]
    came = {**os.environ, "SSH_CONNECTION": "fe80::1%eth0 50000 fe80::2 2222", "USER": "ada"}
    # The shell stays between them, as sudo does.
    sudo = ["sh", "-c", '"$@"; true', "sudo", *words]
    done = subprocess.run(sudo, cwd=ROOT / "plugins/module_utils", env=came, capture_output=True, text=True, timeout=20)
    assert "'stdout': 'ada fe80::1%eth0 50000 fe80::2 2222'" in done.stdout, done.stderr


def test_a_look_says_whether_modules_would_do_something(ask, tmp_path):
    (tmp_path / "right").write_text("1\n")
    (tmp_path / "right").chmod(0o644)
    (tmp_path / "wrong").write_text("2\n")

    def files(name, **more):
        return {"write_files": {"files": [{"dest": tmp_path / name, "content": "1\n", **ME, **more}]}}

    asked = {
        "right": files("right"), "wrong": files("wrong"), "missing": files("missing"), "mode": files("right", mode="0600"),
        "cannot tell": files("right", mode="u=rw,go=r"), "nobody's": files("right", owner="nobody"),
        "accounts": {"administrators": {"present": {"no-such-person": []}}},
    }  # fmt: skip
    found = ask("observe", {"at_rest": asked})["at_rest"]
    assert found == dict.fromkeys(asked, False) | {"right": True}


def test_what_a_look_cannot_tell_the_module_decides(ask, tmp_path):
    # It would have to expand the path first.
    asked = {"path": "~/config", "files": ["/etc/a.conf"]}
    assert not ask("observe", {"at_rest": {"line": {"ssh_include": {**asked, "files": None}}}})["at_rest"]["line"]
    assert "path" in ask("ssh_include", {"files": ["/etc/a.conf"]})["msg"]


def test_directories_are_kept_too(ask, tmp_path):
    folder = {"dest": tmp_path / "a/b", "state": "directory", "mode": "0711", **ME}
    assert ask("write_files", {"files": [folder]}, "--check")["changed"]
    assert not (tmp_path / "a").exists()
    assert ask("write_files", {"files": [folder]})["written"] == [str(tmp_path / "a/b")]
    assert not ask("write_files", {"files": [folder]})["changed"]
    (tmp_path / "a/b").chmod(0o755)
    assert ask("write_files", {"files": [folder]})["changed"]
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o711


def test_a_host_without_python_gets_a_sentence(ask):
    said = ask("observe", {"commands": {"a": "true"}}, python="/no/such/python")["msg"]
    assert "localhost: /no/such/python could not look" in said
    assert "install python3 there, or set ansible_python_interpreter of localhost in the inventory" in said


def test_a_host_with_an_old_python_gets_a_sentence(ask, tmp_path):
    old = tmp_path / "python3"
    text = "import sys; sys.version_info = (3, 6, 8); exec(compile(sys.stdin.read(), 'look', 'exec'))"
    old.write_text(f'#!/bin/sh\nexec python3 -c "{text}"\n')
    old.chmod(0o755)
    said = ask("observe", {"commands": {"a": "true"}}, python=str(old))["msg"]
    assert "it is Python 3.6, and 3.9 or newer is needed" in said
    assert "ansible_python_interpreter of localhost" in said


def test_the_facts_are_those_that_setup_gathers(ask):
    own = ask("server_facts", {})["ansible_facts"]
    theirs = ask("ansible.builtin.setup", {"gather_subset": ["min", "network", "virtual"]})["ansible_facts"]
    for name in ("distribution", "architecture", "nodename", "hostname", "fqdn", "distribution_major_version"):
        assert own[name] == theirs[f"ansible_{name}"], name
    for family in ("default_ipv4", "default_ipv6"):
        known = theirs[f"ansible_{family}"]
        assert {key: own[family].get(key) for key in ("address", "prefix")} == {key: known.get(key) for key in ("address", "prefix")}


def test_the_budget_names_what_grew():
    budget = {"base": {"tasks": 6, "on_host": 1, "calls": 1}}
    assert bench.over({"base": {"tasks": 6, "on_host": 1, "calls": 1}}, budget) == []
    (said,) = bench.over({"base": {"tasks": 5, "on_host": 2, "calls": 1}}, budget)
    assert said.startswith("base: 2 tasks on the host in a run that changes nothing, the budget is 1")
    assert len(bench.over({"new": {"tasks": 1, "on_host": 0, "calls": 0}}, budget)) == 1


def test_what_lies_where_roles_put_things_is_seen(monkeypatch, tmp_path):
    (tmp_path / "inadyn@.service").touch()
    (tmp_path / "gone").symlink_to("/nowhere")
    monkeypatch.setattr(server_facts, "PLACES", (str(tmp_path), "/no/such/place"))
    assert server_facts.placed() == [str(tmp_path / "gone"), str(tmp_path / "inadyn@.service")]
