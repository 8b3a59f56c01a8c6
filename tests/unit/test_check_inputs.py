"""What check_inputs makes of playbooks, specs and names."""

from pathlib import Path

import check_inputs
import pytest
from conftest import load

nothing_done = load(Path(__file__).resolve().parents[2] / "plugins/callback/nothing_done.py")


@pytest.fixture
def playbook(tmp_path):
    (tmp_path / "other.yml").write_text("- hosts: nvidia\n  roles: [driver]\n")
    site = tmp_path / "site.yml"
    site.write_text(
        "- import_playbook: other.yml\n- hosts: servers\n  roles:\n    - {role: base, tags: base}\n    - ssh\n"
        "- hosts: workbenches:!hpc\n  roles: [{role: jupyter}, {role: base}]\n"
        "- hosts: hpc\n  tasks:\n    - {import_role: {name: slurm}, tags: slurm}\n"
        "    - {include_role: {name: tls, tasks_from: certificate}}\n"
        "    - {ansible.builtin.import_role: {name: base, tasks_from: open_port}}\n    - {debug: }\n"
        "- hosts: all\n  vars: {secret: !vault abc}\n"
    )
    return site


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (["servers"], ["base", "ssh"]),
        (["servers", "workbenches"], ["base", "ssh", "jupyter"]),
        (["servers", "workbenches", "hpc", "nvidia"], ["driver", "base", "ssh", "slurm"]),
        ([], []),
    ],
)
def test_roles_are_read_from_the_composition(playbook, groups, expected):
    assert list(check_inputs.roles([playbook], "fenton", groups)) == expected


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [("all", True), ("fenton", True), ("a,b", True), ("b:&c", False), ("a:!b", True), ("!a", False), (["x", "a"], True), ("x", False)],
)
def test_host_patterns(pattern, taken):
    assert check_inputs.matches(pattern, "fenton", ["a"]) is taken


SPECS = {"jupyter": {"main": {"jupyter_port": {}}, "kernel": {"jupyter_kernel": {}}}, "ssh": {"main": {"ssh_port": {}}}}


def test_a_typo_is_named_with_what_was_meant():
    assert "did you mean jupyter_port?" in check_inputs.unknown(["jupyter_prot"], SPECS)["jupyter_prot"]
    assert "did you mean ssh_port?" in check_inputs.unknown(["sssh_port"], SPECS)["sssh_port"]
    assert "README" in check_inputs.unknown(["ssh_colour_of_the_door"], SPECS)["ssh_colour_of_the_door"]


def test_a_key_of_a_list_is_found_where_it_belongs():
    specs = {"jupyter": {"main": {"jupyter_users": {"options": {"port": {}, "name": {}}}, "jupyter_root_dir": {}}}}
    assert "did you mean port in the entries of jupyter_users?" in check_inputs.unknown(["jupyter_prot"], specs)["jupyter_prot"]


def test_known_names_and_those_of_others_pass():
    names = ["jupyter_port", "jupyter_kernel", "ansible_ssh_port", "vault_jupyter_x", "my_own", "__ssh_x"]
    assert check_inputs.unknown(names, SPECS) == {}


def test_the_line_that_sets_a_variable_is_found(tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "ssh.yml").write_text("# note\nssh_port: 70000\nssh_portal: 1\n")
    assert check_inputs.place("ssh_port", [tmp_path]).endswith("all/ssh.yml line 2")
    assert check_inputs.place("ssh_user", [tmp_path, tmp_path / "missing.yml"]) == ""


def test_a_port_out_of_range_is_found_at_any_depth():
    users = [{"name": "ada", "port": 8888}, {"name": "tom", "port": 0}]
    assert list(check_inputs.bad_ports("jupyter_users", users)) == ["jupyter_users[1].port: 0 is not a port (1 to 65535); correct it"]
    assert list(check_inputs.bad_ports("ssh_port", "70000")) == ["ssh_port: 70000 is not a port (1 to 65535); correct it"]
    assert list(check_inputs.bad_ports("ssh_port", 22)) == list(check_inputs.bad_ports("base_support", 99999)) == []


SPEC = {
    "type": "list", "elements": "dict", "options": {
        "name": {"type": "str", "required": True}, "port": {"type": "int"}, "state": {"choices": ["present", "absent"]},
        "password": {"type": "str", "no_log": True}, "on": {"type": "bool"}, "to": {"type": "list", "elements": "str"},
        "engines": {"type": "raw"},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, ["users: it has no value (null); write [] for none, or take the line out"]),
        ({"name": "ada"}, ["users: its value is not a list ([one, two]); write one"]),
        (["ada"], ["users[0]: its value is not a dictionary ({key: value}); write one"]),
        ([{"name": "ada", "port": "soon"}], ["users[0].port: 'soon' is not a whole number; write one or take the quotes away"]),
        ([{"name": "ada", "port": True}], ["users[0].port: True is not a whole number; write one"]),
        ([{"name": "ada", "port": 1.5}], ["users[0].port: 1.5 is not a whole number; write one"]),
        ([{"name": ["ada"]}], ["users[0].name: ['ada'] is not a text; write one"]),
        ([{"port": 1}], ["users[0]: it has no name, and needs one; add name: …"]),
        ([{"name": "ada", "state": "abscent"}], ["users[0].state: 'abscent' is none of present, absent; did you mean absent?"]),
        ([{"name": "ada", "prot": 1}], ["users[0]: there is no key 'prot' in it; did you mean port?"]),
        ([{"name": "ada", "password": ["x"]}], ["users[0].password: its value is not a text; write one"]),
        ([{"name": "ada", "on": "maybe"}], ["users[0].on: 'maybe' is not true or false; write one of these or take the quotes away"]),
        ([{"name": "ada", "to": "tom"}], ["users[0].to: 'tom' is not a list ([one, two]); write one"]),
        ([{"name": "ada", "to": ["tom", {}]}], ["users[0].to[1]: {} is not a text; write one"]),
        ([{"name": 5, "port": "8888", "on": "yes", "to": [1], "engines": {"a": 1}, "state": None}, {"name": "b", "engines": 4}], []),
    ],
)
def test_what_is_not_as_specified_is_said_in_a_sentence(value, said):
    assert list(check_inputs.mismatches("users", value, SPEC)) == said


def test_no_without_quotes_is_recognised():
    (said,) = check_inputs.mismatches("root", False, {"type": "str", "choices": ["no", "prohibit-password"]})
    assert said == 'root: False is none of no, prohibit-password; did you mean "no"?'


def test_only_files_that_concern_the_host_are_looked_into(tmp_path):
    for name in (
        "group_vars/all/a.yml",
        "group_vars/servers.yml",
        "group_vars/others.yml",
        "host_vars/fenton/b.yml",
        "host_vars/forge.yml",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("ssh_port: 1\n")
    found = check_inputs.place("ssh_port", check_inputs.files_of(tmp_path, "fenton", ["servers"]))
    assert [each.partition(" line")[0].removeprefix(f"{tmp_path}/") for each in found.split(" and ")] == [
        "group_vars/all/a.yml", "group_vars/servers.yml", "host_vars/fenton/b.yml",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (["ungrouped"], "it is in no group"), (["server"], "did you mean servers?"), (["gpu_server"], "did you mean gpu_servers?"),
        (["spare"], ""), (["servers"], ""), (["spare", "nvidia"], ""),
    ],
)  # fmt: skip
def test_a_host_that_no_play_is_for(playbook, groups, said):
    found = check_inputs.strangers("fenton", groups, [playbook])
    assert said in found if said else found == ""


def test_a_lock_file_that_is_not_there(tmp_path):
    (tmp_path / "a.txt").touch()
    assert list(check_inputs.bad_files("jupyter_lock", "a.txt", [tmp_path])) == []
    assert "there is no file b.txt" in next(check_inputs.bad_files("jupyter_lock", "b.txt", [tmp_path]))
    assert list(check_inputs.bad_files("jupyter_root", "b.txt", [tmp_path])) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  31\n", ""), ("$ANSIBLE_VAULT;1.1;AES256\n31:\n", ""), ("", ""),
        ("# nothing\n", ""),
        ("a: 1\na: 2\n", "x.yml line 2 is not YAML (a is there already)"), ("a:\n  - b: 1\n   c: 2\n", "x.yml line 3 is not YAML"),
        ("a:\n  b: {c: 1, c: 2}\n", "x.yml line 2 is not YAML (c is there already)"), ("- a\n", "x.yml line 1 is a list and not variables"),
        ("a: &x {b: 1}\nc: {<<: *x, b: 2}\n", ""),
    ],
)  # fmt: skip
def test_the_file_that_is_not_yaml_is_named(tmp_path, text, said):
    (tmp_path / "group_vars/all").mkdir(parents=True)
    (tmp_path / "group_vars/all/x.yml").write_text(text)
    found = nothing_done.broken([tmp_path])
    assert said in found[0] if said else found == []


@pytest.mark.parametrize(
    ("tags", "only", "skipped", "expected"),
    [
        ({"base"}, ["all"], [], True),
        ({"base"}, ["base"], [], True),
        ({"base"}, ["ssh", "base"], [], True),
        ({"base"}, ["ssh"], [], False),
        ({"base"}, ["all"], ["base"], False),
        ({"base"}, ["tagged"], [], True),
        ({"base", "always"}, ["ssh"], [], True),
        (set(), ["all"], [], True),
        (set(), ["base"], [], False),
        (set(), ["untagged"], [], True),
    ],
)
def test_a_guard_is_asked_only_for_roles_that_run(tags, only, skipped, expected):
    assert check_inputs.runs(tags, only, skipped) is expected
