"""One round trip for the first questions of all roles: who asks what, and that no answer outlives a change."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

# A site of three roles. Each command leaves a line in `asked`, so that the file says who asked, and how often.
ROLES = {
    "door/defaults/main.yml": "door_paint: green\n",
    "door/vars/main.yml": """
__door_words: the {{ door_paint }} door
__door_due: "{{ __door_seen.files.now | trim != door_paint }}"
""",
    "door/tasks/main.yml": """
- name: Look at what is there
  ansible.builtin.import_tasks: look.yml
- name: Change what is not as it should be
  ansible.builtin.include_tasks: change.yml
  when: __door_due
""",
    "door/tasks/look.yml": """
- name: look | See the door
  observe:
    commands: {door: "echo {{ __door_words }} >>{{ here }}/asked"}
    files: {now: "{{ here }}/door"}
  register: __door_seen
""",
    "door/tasks/change.yml": """
- name: change | Paint it
  ansible.builtin.copy: {dest: "{{ here }}/door", content: "{{ door_paint }}"}
""",
    # An entry point, which others call with variables of their own.
    "keys/tasks/key.yml": """
- name: key | See the key
  observe:
    commands: {key: "echo key {{ keys_metal }} >>{{ here }}/asked; echo {{ keys_metal }}"}
""",
    "house/tasks/guard.yml": """
- name: guard | Look at the ground
  ansible.builtin.include_tasks: guard_host.yml
""",
    "house/tasks/guard_host.yml": """
- name: guard_host | See the ground
  observe:
    commands: {ground: "echo ground >>{{ here }}/asked"}
""",
    "house/tasks/main.yml": """
- name: Make the key
  ansible.builtin.include_role: {name: keys, tasks_from: key}
  vars: {keys_metal: "{{ item }}"}
  loop: "{{ house_keys | default([]) }}"
- name: Look at what is there
  ansible.builtin.include_tasks: {file: look.yml}
  when: house_wanted | default(true)
- name: Say what the door looks like from here
  ansible.builtin.debug: {msg: "{{ __house_seen.seen.view.stdout }}"}
  when: house_wanted | default(true)
""",
    "house/tasks/look.yml": """
- name: look | See the view
  observe:
    commands: {view: "echo view >>{{ here }}/asked; echo the door is $(cat {{ here }}/door)"}
  register: __house_seen
""",
    "garden/tasks/main.yml": """
- name: Count
  ansible.builtin.command: echo 3
  register: __garden_trees
  changed_when: false
- name: Look at the trees
  observe:
    commands: {trees: "echo {{ __garden_trees.stdout }} trees >>{{ here }}/asked"}
""",
}
SITE = """
- hosts: all
  gather_facts: false
  tasks:
    - look_ahead: {{roles: [door, house, garden]}}
      register: looked_ahead
      no_log: true
{between}
- hosts: all
  gather_facts: false
{given}  tasks:
    - ansible.builtin.include_role: {{name: house, tasks_from: guard}}
    - {{ansible.builtin.import_role: {{name: door}}{passed}}}
    - ansible.builtin.import_role: {{name: house}}
    - ansible.builtin.import_role: {{name: garden}}
"""


@pytest.fixture
def site(tmp_path):
    """Return a function that runs such a site and returns what it said and, sorted, what its hosts were asked."""
    shutil.copytree(ROOT / "plugins", tmp_path / "plugins", symlinks=True)
    shutil.copy(ROOT / "ansible.cfg", tmp_path)
    for name, text in ROLES.items():
        (tmp_path / "roles" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "roles" / name).write_text(text)
    (tmp_path / "here").mkdir()
    (tmp_path / "here/door").write_text("green")

    def run(*words, between="", given="", passed="", callbacks=None, hosts="localhost", **variables):
        (tmp_path / "site.yml").write_text(SITE.format(between=between, given=given, passed=passed))
        (tmp_path / "here/asked").write_text("")
        extra = {"here": str(tmp_path / "here"), "ansible_python_interpreter": "python3", **variables}
        env = {**os.environ, "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORKS": "1"}
        env |= {"ANSIBLE_CALLBACKS_ENABLED": callbacks} if callbacks is not None else {}
        words = ["ansible-playbook", "-c", "local", "-i", f"{hosts},", "-e", json.dumps(extra), "site.yml", *words]
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return done.stdout, sorted((tmp_path / "here/asked").read_text().splitlines())

    return run


ONCE = ["3 trees", "ground", "the green door", "view"]


def trips(said):
    """Return how often the program that looks was started, from what ``-vvv`` says."""
    return len(re.findall(r"EXEC .*python3 -I -", said))


@pytest.mark.parametrize("callbacks", [None, "look_ahead"])  # as in ansible.cfg, and without what runs some tasks in process
def test_where_nothing_changes_each_is_asked_once_and_all_at_a_time(site, tmp_path, callbacks):
    said, asked = site("-vvv", callbacks=callbacks)
    assert asked == ONCE
    assert "the door is green" in said and "changed=0" in said
    # The program that looks is started for all of them together, and for the trees, whose number only a task can tell.
    assert trips(said) == 2


def test_without_who_watches_nothing_is_asked_ahead(site):
    said, asked = site("-vvv", callbacks="report")
    assert asked == ONCE
    assert trips(said) == 4


def test_what_an_earlier_role_changes_the_next_one_sees(site, tmp_path):
    said, asked = site(door_paint="red")
    assert "the door is red" in said
    assert asked == ["3 trees", "ground", "the red door", "view", "view"]
    assert site(door_paint="red")[1] == ["3 trees", "ground", "the red door", "view"]


@pytest.mark.parametrize(
    "between",
    [
        "    - {ansible.builtin.command: 'sed -i s/green/blue/ {{ here }}/door', changed_when: true}",
        "    - {ansible.builtin.command: 'sed -i s/green/blue/ {{ here }}/door', loop: [1, 2], changed_when: item == 1}",
        "    - {ansible.builtin.shell: 'echo blue >{{ here }}/door; false', ignore_errors: true}",
        "    - block: [{ansible.builtin.shell: 'echo blue >{{ here }}/door; false'}]\n"
        "      rescue: [{ansible.builtin.debug: {msg: well}}]",
        "    - {ansible.builtin.command: 'sed -i s/green/blue/ {{ here }}/door', notify: said, changed_when: true}\n"
        "  handlers: [{name: said, ansible.builtin.debug: {msg: well}}]",
    ],
)  # fmt: skip
def test_no_answer_outlives_what_may_have_changed_something(site, between):
    said, asked = site(between=between, door_paint="blue")
    assert "the door is blue" in said and asked.count("view") == 2
    assert "TASK [change | Paint it]" not in said and "door : change" not in said


def test_what_changes_on_one_host_counts_for_all(site):
    between = "    - {ansible.builtin.command: 'sed -i s/green/blue/ {{ here }}/door', changed_when: true, when: inventory_hostname == 'a'}"
    said, asked = site(between=between, hosts="a,b", door_paint="blue")
    assert said.count("the door is blue") == 2 and asked.count("view") == 4


def test_in_check_mode_what_would_change_counts(site):
    def asked(**variables):
        return [line for line in site("--check", **variables)[1] if "trees" not in line]

    assert asked() == ["ground", "the green door", "view"]
    assert asked(door_paint="red") == ["ground", "the red door", "view", "view"]


def test_an_entry_point_is_answered_what_it_was_asked(site):
    said, asked = site("-v", house_keys=["brass", "steel"])
    assert asked == ["3 trees", "ground", "key brass", "key steel", "the green door", "view"]
    assert re.findall(r"stdout: (brass|steel)", said) == ["brass", "steel"]


@pytest.mark.parametrize(
    "given",
    [
        {"given": "  vars: {door_paint: red}\n"},
        {"given": "  vars: {door_paint: red, door_since: 2026-11-30, door_days: {1: a, b: 2}}\n"},
        {"given": "  vars_files: [paint.yml]\n"},
        {"passed": ", vars: {door_paint: red}"},
        {"given": "  roles: [{role: door, door_paint: red}]\n"},
        {"given": "  roles: [{role: door, vars: {door_paint: red}}]\n"},
    ],
)
def test_what_a_play_gives_its_roles_counts(site, tmp_path, given):
    (tmp_path / "paint.yml").write_text("door_paint: red\n")
    said, asked = site(**given)
    assert "the red door" in asked and "changed: [localhost]" in said


def test_what_is_not_wanted_is_not_asked(site):
    assert site(house_wanted=False)[1] == ["3 trees", "ground", "the green door"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody without a password")
def test_who_looks_as_somebody_else_asks_again(site):
    between = "    - ansible.builtin.set_fact: {ansible_become: true, ansible_become_method: su}"
    said, asked = site("-vvv", between=between)
    assert [line for line in asked if "trees" not in line] == ["ground", "ground", "the green door", "the green door", "view", "view"]


def test_who_waits_for_something_looks_every_time(site, tmp_path):
    (tmp_path / "roles/garden/tasks/main.yml").write_text("""
- name: Wait for three trees
  observe:
    commands: {trees: "echo tree >>{{ here }}/asked; grep -c tree {{ here }}/asked"}
  register: __garden_seen
  until: __garden_seen.seen.trees.stdout == '3'
  retries: 3
  delay: 0
""")
    assert site()[1] == ["ground", "the green door", "tree", "tree", "tree", "view"]


def test_what_depends_on_an_answer_is_asked_when_that_is_known(site, tmp_path):
    (tmp_path / "roles/garden/tasks/main.yml").write_text("""
- name: Look at the wall
  observe:
    commands: {wall: "echo wall >>{{ here }}/asked; echo grey"}
  register: __garden_seen
- name: Choose
  ansible.builtin.set_fact:
    garden_colour: "{{ __garden_seen.seen.wall.stdout }}"
- name: Look at the flowers
  observe:
    commands: {flowers: "echo {{ garden_colour | default('no') }} flowers >>{{ here }}/asked"}
- name: Look at the pond
  observe:
    commands: {pond: "echo pond >>{{ here }}/asked"}
""")
    # The flowers are asked for in vain at first; the pond, for which nothing has to be known, once.
    assert site()[1] == ["grey flowers", "ground", "no flowers", "pond", "the green door", "view", "wall"]


# What a look asks must not depend on what a task before it has learnt: its answer is asked for before that task runs.


class Loader(yaml.CSafeLoader):
    """Reads tags as plain text."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: getattr(node, "value", None))


def read(path):
    return yaml.load(path.read_text(), Loader=Loader) if path.exists() else None


def learnt():
    """Return the variables that tasks of any role register or set, and those that differ from play to play."""
    names = {"ansible_play_hosts", "ansible_play_batch", "ansible_play_hosts_all", "play_hosts"}
    for file in ROOT.glob("roles/*/tasks/*.yml"):
        for task in read(file) or []:
            names |= {task.get("register")} | set(task.get("ansible.builtin.set_fact", {}))
    return names - {None}


def first_look(role, file):
    """Return as text what the first ``observe`` in *file* asks, or in what that imports or includes before.

    It is empty where another task comes before that, from which ``look_ahead`` could learn; and None where there is no such task.
    """
    for task in read(ROOT / f"roles/{role}/tasks/{file}") or []:
        way = task.get("ansible.builtin.import_tasks") or task.get("ansible.builtin.include_tasks")
        name = way["file"] if isinstance(way, dict) else way
        if "observe" in task:
            return yaml.dump([task["observe"], task.get("vars")], width=1000)
        if name and name != "guard.yml":
            found = first_look(role, name)
            if found is not None:
                return found and yaml.dump(task.get("vars")) + found
        elif not name and not {"ansible.builtin.assert", "ansible.builtin.debug"} & task.keys():
            return ""
    return None


@pytest.mark.parametrize("file", ["main.yml", "guard.yml"])
@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir()))
def test_a_look_asks_what_does_not_depend_on_an_answer(role, file):
    known = {**(read(ROOT / f"roles/{role}/defaults/main.yml") or {}), **(read(ROOT / f"roles/{role}/vars/main.yml") or {})}
    forbidden, seen, due = learnt(), set(), [first_look(role, file) or ""]
    while due:
        text = due.pop()
        named = {name for name in re.findall(r"template', '([^']+)'", text) if name not in seen}
        words = {word for word in re.findall(r"\w+", text) if word in known and word not in seen}
        assert not forbidden & set(re.findall(r"\w+", text)), text
        due += [(ROOT / f"roles/{role}/templates/{name}").read_text() for name in named]
        due += [yaml.dump(known[word], width=1000) for word in words]
        seen |= named | words


def test_the_rule_is_held_against_looks_that_there_are():
    looks = {path.name: first_look(path.name, "main.yml") for path in (ROOT / "roles").iterdir()}
    assert {role for role, look in looks.items() if not look} == {"anaconda", "client", "tensorflow"}
    assert {"__base_found", "__ssh_seen", "__jupyter_wanted"} <= learnt()
