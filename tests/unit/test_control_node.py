"""What makes the control node quick, ``compile_once`` and ``in_process``, changes nothing but the time."""

import json
import os
import re
import subprocess
from pathlib import Path

import compile_once
import pytest
from ansible._internal._datatag._tags import Origin, TrustedAsTemplate
from ansible._internal._templating import _engine
from ansible._internal._templating._jinja_bits import AnsibleEnvironment, TemplateOverrides
from ansible.parsing.dataloader import DataLoader

ROOT = Path(__file__).resolve().parents[2]
# One fork, so that the order of the hosts is always the same.
PLAY = "ansible-playbook -f 1 -c local -e ansible_python_interpreter=python3 -i".split()


def text(words, file="roles/base/tasks/main.yml"):
    """Return *words* as Ansible would, having read them from a *file*."""
    return TrustedAsTemplate().tag(Origin(path=str(ROOT / file)).tag(words))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that begins a run: what templates there, and a list of what was compiled."""

    def begin():
        compiled = []

        class Environment(AnsibleEnvironment):
            def compile(self, source, *args, **options):
                compiled.append(source)
                return super().compile(source, *args, **options)

        compile_once.Kept(Environment, tmp_path / "templates")
        monkeypatch.setattr(_engine, "AnsibleEnvironment", Environment)
        return _engine.TemplateEngine(loader=DataLoader(), variables={"a": 2, "list": [1, 2]}), compiled

    return begin


def kept(tmp_path):
    return [file.read_bytes() for file in (tmp_path / "templates").iterdir()]


def test_what_stands_in_a_role_is_compiled_once_for_all_runs(run):
    for compilations in (2, 0):
        templar, compiled = run()
        for _ in range(3):
            assert templar.template(text("{{ a + 1 }}")) == 3
            assert templar.template(text("x{{ a }}")) == "x2"
            assert templar.evaluate_expression(text("list | length == 2")) is True
            assert templar.evaluate_conditional(text("a > 2")) is False
        # Expressions are compiled from what Jinja has parsed.
        assert len([each for each in compiled if isinstance(each, str)]) == compilations
        assert len(compiled) == 2 * compilations


def test_a_template_and_an_expression_of_the_same_words_are_two_things(run):
    templar, _ = run()
    assert templar.template(text("a > 1")) == "a > 1"
    assert templar.evaluate_expression(text("a > 1")) is True
    assert templar.template(text("'{{ a }}'")) == "'2'"
    assert templar.evaluate_expression(text("'{{ a }}'")) == "{{ a }}"


def test_delimiters_and_backslashes_count(run):
    for _ in range(2):
        templar, _ = run()
        other = _engine.TemplateOptions(overrides=TemplateOverrides(variable_start_string="[[", variable_end_string="]]"))
        assert templar.template(text("[[ a ]] {{ a }}"), options=other) == "2 {{ a }}"
        assert templar.template(text("[[ a ]] {{ a }}")) == "[[ a ]] 2"
        words = text(r"{{ 'a\\b' }}")
        once = _engine.TemplateOptions(escape_backslashes=False)
        assert [templar.template(words, options=once), templar.template(words)] == ["a\\b", "a\\\\b"]


def test_nothing_of_the_inventory_goes_to_the_disk(run, tmp_path):
    for compilations in (2, 2):
        templar, compiled = run()
        for _ in range(2):
            assert templar.template(text("s3cret {{ a }}", "group_vars/all/vault.yml")) == "s3cret 2"
            assert templar.evaluate_expression(text("a == 's3cret'", "group_vars/all/vault.yml")) is False
        assert len(compiled) == compilations  # but within the run it is kept
    assert not kept(tmp_path)
    templar.template(text("from a role {{ a }}"))
    assert b"from a role" in b"".join(kept(tmp_path))


def test_a_template_that_is_wrong_says_so_every_time(run):
    for _ in range(2):
        templar, _ = run()
        for _ in range(2):
            with pytest.raises(Exception, match="Syntax error"):
                templar.template(text("{{ a + }}"))
            with pytest.raises(Exception, match="Syntax error"):
                templar.evaluate_expression(text("a +"))
            assert templar.environment.compile("{{ a }}", "included", "included.j2")
            assert templar.template(text("{{ a }}")) == 2


@pytest.mark.parametrize("left", [0, 0.2, 0.5, 0.99])
def test_a_broken_file_is_replaced(run, tmp_path, left):
    run()[0].template(text("{{ a + 1 }}"))
    (file,) = (tmp_path / "templates").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * left)])
    assert run()[0].template(text("{{ a + 1 }}")) == 3
    assert kept(tmp_path) == [whole]


def test_another_filter_is_another_compilation(run, tmp_path, monkeypatch):
    (tmp_path / "plugins/filter").mkdir(parents=True)
    ours = tmp_path / "plugins/filter/ours.py"
    ours.write_text("")
    monkeypatch.setattr(compile_once, "PLUGINS", tmp_path / "plugins")
    for compilations in (1, 0, 1):
        templar, compiled = run()
        assert templar.template(text("{{ a }}")) == 2
        assert len(compiled) == compilations
        if not compilations:
            os.utime(ours, (1, 1))


def test_too_many_are_thrown_away(run, tmp_path, monkeypatch):
    monkeypatch.setattr(compile_once, "MOST", 2)
    for number in range(3):
        run()[0].template(text(f"{number}"))
        run()[0].template(text(f"{{{{ a + {number} }}}}"))
    assert len(kept(tmp_path)) == 3
    run()
    assert not kept(tmp_path)


def test_a_directory_that_others_can_write_is_not_used(run, tmp_path):
    (tmp_path / "templates").mkdir(mode=0o755)
    (tmp_path / "templates").chmod(0o777)
    with pytest.raises(PermissionError, match="not this user's alone"):
        run()


def test_a_full_disk_costs_time_only(run, tmp_path, monkeypatch):
    templar, compiled = run()
    (tmp_path / "templates").rmdir()
    assert [templar.template(text("{{ a }}")), templar.template(text("{{ a }}"))] == [2, 2]
    assert len(compiled) == 1


TASKS = """
- hosts: all
  gather_facts: false
  tasks:
    - set_fact: {given: "{{ inventory_hostname | upper }}", cacheable: false}
    - assert: {that: given == inventory_hostname | upper, quiet: true}
    - assert: {that: given == 'B', fail_msg: "it is {{ given }}"}
      ignore_errors: true
      register: judged
    - set_fact: {sum: "{{ (sum | default(0)) | int + item }}"}
      loop: [1, 2, 3]
      loop_control: {label: "number {{ item }}"}
    - assert: {that: "{{ [sum | int == 6, judged is failed or given == 'B'] }}"}
    - ansible.builtin.include_tasks: more.yml
      loop: "{{ [1, 2] if given == 'A' else [3] }}"
      loop_control: {loop_var: turn}
      vars: {said: "{{ turn * 2 }}"}
    - include_role: {name: other, tasks_from: entry}
      vars: {secret: "{{ 'not ' ~ 'told' }}"}
      when: given == 'A'
    - debug: {msg: "{{ from_role | default('none') }} {{ secret | default('none') }} {{ turn | default('none') }}"}
    - set_fact: {wrong: "{{ nothing_there }}"}
      ignore_errors: true
    - set_fact: {once: "{{ inventory_hostname }}"}
      run_once: true
    - set_fact: {elsewhere: "{{ inventory_hostname }}"}
      delegate_to: localhost
      delegate_facts: true
    - debug: {msg: "{{ once }} {{ hostvars.localhost.elsewhere | length }}"}
    - set_fact: {hidden: not told}
      no_log: true
    - set_fact: {later: "{{ nothing_there }}"}
      async: "{{ nothing_there_either }}"
      ignore_errors: true
    - block:
        - assert: {that: given == 'B'}
      rescue:
        - debug: {msg: "rescued {{ ansible_failed_task.action }} {{ ansible_failed_result.assertion }}"}
      always:
        - debug: {msg: "always {{ given }}"}
    - assert: {that: given == 'A'}
    - debug: {msg: "only {{ given }} is left, {{ mine }}, in {{ group_names }} of {{ groups.both }}"}
"""
INVENTORY = "all: {children: {both: {hosts: {a: {mine: of a}, b: {mine: of b}}}}}"


@pytest.fixture
def output(tmp_path):
    """Return a function that runs TASKS on two hosts and returns what ansible-playbook printed, without times."""
    (tmp_path / "play.yml").write_text(TASKS)
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    (tmp_path / "more.yml").write_text('- debug: {msg: "turn {{ turn }} says {{ said }} to {{ given }}"}\n  when: turn != 2\n')
    (tmp_path / "roles/other/tasks").mkdir(parents=True)
    (tmp_path / "roles/other/tasks/entry.yml").write_text('- set_fact: {from_role: "{{ role_name }} {{ secret | length }}"}\n')

    def printed(callbacks, *words):
        env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_CALLBACKS_ENABLED": callbacks}
        # One fork at a time, or the two hosts answer in the order of their luck.
        env |= {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(tmp_path / "home"), "ANSIBLE_FORKS": "1"}
        done = subprocess.run([*PLAY, "hosts.yml", "play.yml", *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
        return done.returncode, re.sub(r"0x[0-9a-f]+|\d+:\d+:\d+", "", done.stdout), done.stderr

    return printed


@pytest.mark.parametrize("words", [(), ("--check",), ("-vv",)])
def test_a_play_says_the_same_in_process(output, words):
    forked = output("report", *words)
    assert forked[0] == 2 and "only A is left, of a, in ['both']" in forked[1] and "rescued" in forked[1]
    assert output("report,warm_up,compile_once,in_process", *words) == forked


@pytest.mark.parametrize("callbacks", ["report", "report,in_process"])
def test_a_program_that_a_plugin_starts_has_all_three_streams(tmp_path, callbacks):
    (tmp_path / "filter_plugins").mkdir()
    (tmp_path / "filter_plugins/start.py").write_text(
        "import os\nclass FilterModule:\n    def filters(self):\n        return {'start': os.system}\n"
    )
    task = {"assert": {"that": ["'cat && echo it is open && echo the passphrase is wrong >&2' | start == 0"]}}
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_CALLBACKS_ENABLED": callbacks}
    done = subprocess.run([*PLAY, "localhost,", tmp_path / "play.yml"], env=env, input="", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    here = "in_process" in callbacks
    assert ("it is open\n" in done.stdout, "is wrong\n" in done.stderr) == (here, here)


@pytest.mark.parametrize("hosts", ["localhost", "localhost,other"])
def test_what_computes_stays_in_the_process_and_looks_where_nothing_could_go_on_beside_them(tmp_path, hosts):
    (tmp_path / "filters").mkdir()
    (tmp_path / "filters/process.py").write_text(
        "import os\nclass FilterModule:\n    def filters(self):\n        return {'process': lambda value: os.getpid()}\n"
    )
    tasks = [
        {"set_fact": {"first": "{{ 0 | process }}"}},
        {"set_fact": {"second": "{{ 0 | process }}"}},
        {"observe": {"commands": {"third": "echo {{ 0 | process }}"}}, "register": "seen"},
        {"set_fact": {"fourth": "{{ 0 | process }}"}, "delegate_to": "localhost"},
        {"ping": {"data": "{{ 0 | process }}"}, "register": "fifth"},
        {"set_fact": {"all": "{{ [first, second, seen.seen.third.stdout, fourth, fifth.ping] }}"}},
        {"copy": {"dest": str(tmp_path / "found.json"), "content": "{{ all | to_json }}"}, "when": "inventory_hostname == 'localhost'"},
    ]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FILTER_PLUGINS": str(tmp_path / "filters")}
    done = subprocess.run([*PLAY, f"{hosts},", tmp_path / "play.yml"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    first, second, look, *others = map(int, json.loads((tmp_path / "found.json").read_text()))
    assert first == second and (look == first) == (hosts == "localhost")
    assert len({first, *others}) == 3 and look not in others
