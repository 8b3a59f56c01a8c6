"""What check_inputs makes of playbooks, specs and names."""

import check_inputs
import pytest


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
    assert list(check_inputs.bad_ports("jupyter_users", users)) == ["jupyter_users[1].port: 0 is not a port (1 to 65535)"]
    assert list(check_inputs.bad_ports("ssh_port", "70000")) == ["ssh_port: 70000 is not a port (1 to 65535)"]
    assert list(check_inputs.bad_ports("ssh_port", 22)) == list(check_inputs.bad_ports("base_support", 99999)) == []


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
