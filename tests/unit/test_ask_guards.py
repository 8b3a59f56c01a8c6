"""What the action ``ask_guards`` passes, and what it leaves to the guards themselves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOM = [{"name": "tom", "port": 8888}]
# By name: the role, its variables, and the file that is left.
CASES = {
    "content": ("ddns", {}, ""),
    "content-with-a-value": ("fail2ban", {"fail2ban_tries": 7}, ""),
    "objects": ("fail2ban", {"fail2ban_tries": 1}, "guard.yml"),
    "objects-to-one-of-several": ("session", {"session_windows": [{"name": "a", "command": "b"}] * 2}, "guard.yml"),
    "would-look-but-need-not": ("tensorflow", {}, ""),
    "looks": ("tensorflow", {"tensorflow_environments": [{"name": "tf"}]}, "guard.yml"),
    "looks-in-a-file-of-its-own": ("monitoring", {}, "guard_host.yml"),
    "objects-before-it-looks": ("monitoring", {"monitoring_interval": "soon"}, "guard.yml"),
    "need-not-look-in-that-file": ("exporters", {}, ""),
    "content-of-another-role": ("jupyter", {"jupyter_users": TOM}, ""),
    "another-role-objects": ("jupyter", {"jupyter_users": TOM, "tls_days": 1000}, "guard.yml"),
    "another-role-is-not-asked": ("jupyter", {"tls_days": 1000}, ""),
    "another-role-sees-what-it-is-given": ("jupyter", {"jupyter_users": TOM, "tls_acme_names": ["x.example.org"]}, "guard.yml"),
    "cannot-be-worked-out": ("fail2ban", {"fail2ban_tries": "{{ nobody_set_this }}"}, "guard.yml"),
}
FACTS = {"distribution": "Debian", "distribution_major_version": "13", "hostname": "fenton", "fqdn": "fenton.example.org"}
HOST = {
    "ansible_facts": {**FACTS, "default_ipv4": {}, "default_ipv6": {}},
    "ansible_python_interpreter": sys.executable,
    "jupyter_hostname": "fenton.example.org",
    "jupyter_users": [],
    "session_users": [],
    "ddns_records": [],
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Return by case whether the guard is left, and whether it objects when it is run."""
    directory = tmp_path_factory.mktemp("guards")
    tasks = []
    for case, (role, given, _) in CASES.items():
        said = {"objects": f"{{{{ objects | default({{}}) | combine({{'{case}': true}}) }}}}"}
        guard = {"ansible.builtin.include_role": {"name": role, "tasks_from": "guard"}, "vars": given}
        tasks.append({"ask_guards": {"roles": [role]}, "vars": given, "register": f"left_{len(tasks) // 2}"})
        tasks.append({"block": [guard], "rescue": [{"ansible.builtin.set_fact": said}]})
    left = {case: f"{{{{ left_{number}.left }}}}" for number, case in enumerate(CASES)}
    both = {"left": left, "objects": "{{ objects | default({}) }}"}
    written = directory / "said.json"
    tasks.append(
        {"ansible.builtin.copy": {"content": "{{ both | to_json }}", "dest": str(written), "mode": "0600"}, "vars": {"both": both}}
    )
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": HOST, "tasks": tasks}]
    (directory / "play.yml").write_text(yaml.safe_dump(play, sort_keys=False), encoding="utf-8")
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_NOCOLOR": "1",
    }
    words = ["ansible-playbook", "-i", "localhost,", directory / "play.yml"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(written.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES)
def test_a_guard_is_left_where_only_it_can_tell(answers, case):
    role, _, left = CASES[case]
    assert answers["left"][case] == ([{"role": role, "file": left}] if left else [])


@pytest.mark.parametrize("case", [case for case, (_, _, left) in CASES.items() if not left])
def test_a_guard_that_is_passed_would_not_have_objected(answers, case):
    assert case not in answers["objects"]


def test_a_guard_that_objects_was_left(answers):
    assert {"objects", "another-role-objects", "cannot-be-worked-out"} <= set(answers["objects"])
    assert all(answers["left"][case] for case in answers["objects"])
