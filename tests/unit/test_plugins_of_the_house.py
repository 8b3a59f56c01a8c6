"""observe, promise, artifact and report as plays use them: on the control node, with a local connection."""

import json
import os
import subprocess
from pathlib import Path

import people
import pytest
from ansible.module_utils import observe
from conftest import load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def play(tmp_path):
    """Return a function that runs tasks on localhost and returns the process and the report."""

    def run(tasks, *words, **environment):
        playbook, report = tmp_path / "play.yml", tmp_path / "report.json"
        play = {"hosts": "localhost", "gather_facts": False, "vars": {"artifacts_dir": str(tmp_path / "artifacts")}, "tasks": tasks}
        playbook.write_text(json.dumps([play]))
        env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "FENTON_REPORT": str(report), **environment}
        done = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", "ansible_python_interpreter=python3", playbook, *words],
            capture_output=True, text=True, env=env, timeout=120,
        )  # fmt: skip
        return done, json.loads(report.read_text())

    run.directory = tmp_path
    return run


def test_observe_returns_what_each_command_said_and_never_fails():
    assert observe.look(["sh", "-c", "echo out; echo err >&2; exit 3"], 5) == {
        "rc": 3, "stdout": "out", "stderr": "err", "lines": ["out"],
    }  # fmt: skip
    assert observe.look("echo a; echo b", 5)["lines"] == ["a", "b"]
    assert observe.look(["/no/such/program"], 5)["rc"] == 127
    assert observe.look(["sleep", "5"], 0.2)["rc"] == 124


def test_observe_reads_files_and_takes_missing_ones_as_empty(tmp_path):
    (tmp_path / "there").write_text("text\n")
    assert observe.read(tmp_path / "there") == "text\n"
    assert observe.read(tmp_path / "missing") == ""


def test_a_broken_promise_fails_and_says_the_cure(play):
    task = {"name": "verify | Two is one", "promise": {"that": ["1 == 1", "2 == 1"], "seen": "two", "cure": "Count again"}}
    done, report = play([task])
    assert done.returncode == 2
    assert "This promise does not hold: Two is one. Count again" in done.stdout
    assert report["promises"][0]["broken"] == ["2 == 1"]
    assert report["failures"]


def test_a_promise_may_say_what_was_seen_in_its_name(play):
    task = {"name": "verify | It is: {{ seen }}", "promise": {"that": "true", "cure": "Nothing"}, "vars": {"seen": "warm"}}
    _, report = play([task])
    assert [promise["name"] for promise in report["promises"]] == ["It is: warm"]


def ask(play, promises, **environment):
    """Have the promises of a role asked that promises *promises*."""
    tasks = play.directory / "roles/house/tasks"
    tasks.mkdir(parents=True)
    (tasks / "promises.yml").write_text(json.dumps(promises))
    (tasks / "main.yml").write_text(json.dumps([{"name": "Ask", "ask_promises": None}]))
    return play([{"ansible.builtin.include_role": {"name": "house"}}], **environment)


TRUE = {"that": "true", "cure": "Nothing"}


SEVERAL = [
    {"name": "promises | It is {{ felt }}", "promise": {"that": "felt == 'warm'", "cure": "Heat"}, "vars": {"felt": "warm"}},
    {"name": "promises | Two is one", "promise": {"that": ["1 == 1", "2 == 1"], "seen": "{{ 1 + 1 }}", "cure": "Ask {{ role_name }}"}},
    {"name": "promises | Nobody asks", "promise": {"that": "nobody.set_this", "cure": "Nothing"}, "when": ["true", "1 == 2"]},
    {"name": "promises | Nobody can tell", "promise": {"that": "nobody.set_this", "seen": "{{ nobody.set_this }}", "cure": "Set it"}},
    {"name": "promises | The last is judged too", "promise": TRUE},
]


def test_all_promises_are_judged_at_once_and_each_has_its_own_words(play):
    done, report = ask(play, SEVERAL, FENTON_DOCTOR="1")
    assert done.returncode == 0, done.stdout
    warm, counted, unknown, last = report["promises"]
    assert warm == {"host": "localhost", "role": "house", "name": "It is warm", "holds": True, "broken": [], "cure": "Heat"}
    assert (counted["broken"], counted["seen"], counted["cure"]) == (["2 == 1"], 2, "Ask house")
    assert "'nobody' is undefined" in unknown["broken"][0]
    assert "'nobody' is undefined" in unknown["seen"]
    assert last["holds"]


def test_a_run_that_is_no_doctor_ends_with_all_that_is_broken_and_nothing_else(play):
    done, report = ask(play, SEVERAL)
    assert done.returncode == 2
    said = ["This promise does not hold: Two is one. Ask house", "This promise does not hold: Nobody can tell. Set it"]
    assert report["failures"][0]["msg"].splitlines() == said
    assert [promise["name"] for promise in report["promises"]] == ["Two is one", "Nobody can tell"]


@pytest.mark.parametrize(
    "more",
    [
        {"loop": ["a", "b"]},
        {"register": "what"},
        {"promise": {"that": "true"}},
        {"promise": {**TRUE, "says": "more"}},
        {"promise": None, "ansible.builtin.command": "true"},
    ],
)
def test_what_is_more_than_a_promise_is_refused(play, more):
    task = {key: value for key, value in {"name": "promises | It is whole", "promise": TRUE, **more}.items() if value}
    done, report = ask(play, [task], FENTON_DOCTOR="1")
    assert done.returncode == 2
    assert "promises.yml: 'promises | It is whole' is not only a promise" in report["failures"][0]["msg"]


def test_the_doctor_goes_on_after_a_broken_promise(play):
    tasks = [
        {"name": "Broken", "promise": {"that": "false", "seen": {"x": 1}, "cure": "Mend it"}},
        {"name": "Whole", "promise": {"that": ["true"], "cure": "Nothing"}},
    ]
    done, report = play(tasks, FENTON_DOCTOR="1")
    assert done.returncode == 0, done.stdout
    assert [(promise["name"], promise["holds"]) for promise in report["promises"]] == [("Broken", False), ("Whole", True)]
    assert report["promises"][0]["seen"] == {"x": 1}


def test_artifacts_are_private_merged_and_left_alone_when_right(play, tmp_path):
    tasks = [
        {"artifact": {"connection": {"a": 1}, "files": {"ca.pem": "text"}}},
        {"artifact": {"connection": {"b": 2}}},
    ]
    _, first = play(tasks)
    _, second = play(tasks)
    directory = tmp_path / "artifacts" / "localhost"
    assert json.loads((directory / "connection.json").read_text()) == {"a": 1, "b": 2}
    assert (directory / "ca.pem").read_text() == "text\n"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert directory.parent.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in directory.iterdir())
    assert first["hosts"]["localhost"]["changed"] == 2
    assert second["hosts"]["localhost"]["changed"] == 0


def test_artifacts_are_not_written_in_check_mode_nor_outside_their_directory(play, tmp_path):
    done, report = play([{"artifact": {"files": {"x": "y"}}}], "--check")
    assert done.returncode == 0
    assert report["hosts"]["localhost"]["changed"] == 1
    assert not (tmp_path / "artifacts").exists()
    done, _ = play([{"artifact": {"files": {"../x": "y"}}}])
    assert done.returncode == 2
    assert "must be a plain file name" in done.stdout


def test_the_report_counts_what_touches_the_host(play):
    tasks = [
        {"ansible.builtin.command": "true", "changed_when": False},
        {"ansible.builtin.command": "echo {{ item }}", "loop": [1, 2, 3]},
        {"ansible.builtin.command": "false", "when": False},
        {"ansible.builtin.debug": {"msg": "stays here"}},
    ]
    _, report = play(tasks)
    assert report["roles"]["play"] | {"seconds": 0} == {"seconds": 0, "tasks": 4, "on_host": 2, "calls": 4, "changed": 1}


def test_the_report_hides_what_no_log_hides(play):
    _, report = play([{"name": "x", "ansible.builtin.fail": {"msg": "geheim"}, "no_log": True}])
    assert "geheim" not in json.dumps(report)


def test_present_leaves_out_those_who_are_to_go():
    people_list = [{"name": "ada"}, {"name": "tom", "state": "absent"}, {"name": "eve", "state": "present"}]
    assert [person["name"] for person in people.present(people_list)] == ["ada", "eve"]


@pytest.mark.parametrize(("callbacks", "times"), [("report,warm_up", 1), ("report", 3)])
def test_plugins_are_loaded_once_and_not_by_each_task(play, tmp_path, callbacks, times):
    (tmp_path / "filters").mkdir()
    (tmp_path / "filters/noting.py").write_text(
        f"import os\nwith open({str(tmp_path / 'pids')!r}, 'a') as file:\n    print(os.getpid(), file=file)\n"
        "class FilterModule:\n    def filters(self):\n        return {'same': lambda value: value}\n"
    )
    done, _ = play(
        [{"ansible.builtin.debug": {"msg": "{{ 'x' | same }}"}}] * 3,
        ANSIBLE_CALLBACKS_ENABLED=callbacks,
        ANSIBLE_FILTER_PLUGINS=f"{ROOT}/plugins/filter:{tmp_path}/filters",
    )
    assert done.returncode == 0, done.stdout
    assert len(set((tmp_path / "pids").read_text().split())) == times


def handed(play, users, *words, **connection):
    """Let ``artifact`` decide on the passwords of *users*; return its answer and the directory's files by name."""
    keep = {"copy": {"content": "{{ handed | to_json }}", "dest": "{{ artifacts_dir }}.json", "mode": "0600"}, "check_mode": False}
    task = {"artifact": {"passwords": {"jupyter": users}, "connection": connection}, "register": "handed", "no_log": True}
    done, _ = play([task, keep], *words)
    assert done.returncode == 0, done.stdout
    folder = Path(json.loads((play.directory / "artifacts.json").read_text())["path"])
    files = {file.name: file.read_text() for file in folder.glob("*")} if folder.exists() else {}
    assert not any(text.strip() in done.stdout for name, text in files.items() if "password" in name)
    return json.loads((play.directory / "artifacts.json").read_text()), files


def test_passwords_are_made_kept_given_and_thrown_away(play):
    users = [{"name": "ada"}, {"name": "tom", "password": "given"}]
    first, files = handed(play, users, jupyter={"ada": 1})
    assert first["changed"] and first["passwords"]["tom"] == "given"
    assert sorted(files) == ["connection.json", "jupyter-password-ada"]
    assert files["jupyter-password-ada"] == first["passwords"]["ada"] + "\n" and len(first["passwords"]["ada"]) == 24
    again, same = handed(play, users, jupyter={"ada": 1})
    assert not again["changed"] and again["passwords"] == first["passwords"] and same == files
    # Ada's is given now, tom's is not any more.
    users = [{"name": "ada", "password": "new"}, {"name": "tom"}]
    tried, untouched = handed(play, users, "--check")
    assert tried["changed"] and tried["removed"] == ["jupyter-password-ada"] and untouched == files
    turned, files = handed(play, users)
    assert turned["passwords"]["ada"] == "new" and sorted(files) == ["connection.json", "jupyter-password-tom"]


def test_what_has_no_value_and_had_none_is_not_told(play):
    assert handed(play, [], dashboard={})[1] == {}
    assert json.loads(handed(play, [], dashboard={"url": "https://a/"}, jupyter={})[1]["connection.json"]) == {
        "dashboard": {"url": "https://a/"}
    }
    assert json.loads(handed(play, [], dashboard={})[1]["connection.json"]) == {"dashboard": {}}


def test_relative_artifacts_are_below_the_repository(play):
    name = f".work/{play.directory.name}"
    done, _ = play([{"artifact": {}, "register": "handed"}, {"debug": {"var": "handed.path"}}], "-e", f"artifacts_dir={name}")
    assert f"{ROOT}/{name}/localhost" in done.stdout


def test_generated_passwords_have_no_characters_that_look_alike():
    alphabet = load(ROOT / "plugins/action/artifact.py").ALPHABET
    assert not set(alphabet) & set("0O1lI")
    assert len(set(alphabet)) == len(alphabet)
