"""The repository's own rules."""

import os
import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
# The role client is nothing without a server: its scenario has both, and is called for what the two are together. That of the role nvidia
# is called for what it claims: the card is not there. That of the role account is called like the host type.
SCENARIOS = {"client": "laptop", "nvidia": "gpu_server", "account": "accounts"}


def load(path):
    file = ROOT / path
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {} if file.exists() else {}


def tracked(*patterns):
    """Return the files that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def tasks_of(node):
    """Yield every task of a parsed task file or playbook, those in blocks too."""
    for item in node if isinstance(node, list) else []:
        if not isinstance(item, dict):
            continue
        yield item
        for key in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
            yield from tasks_of(item.get(key))


def task_files():
    return [file for file in tracked("roles", "molecule", "site.yml", "preflight.yml") if file.suffix == ".yml"]


def plain(file):
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, suffix, node: getattr(node, "value", None))
    return yaml.load(file.read_text(encoding="utf-8"), Loader=Loader)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "place",
    [
        "roles/{}/README.md", "roles/{}/defaults/main.yml", "roles/{}/meta/argument_specs.yml", "roles/{}/tasks/main.yml",
        "roles/{}/tasks/guard.yml", "roles/{}/tasks/verify.yml", "molecule/{scenario}/molecule.yml", "tests/acceptance/test_{scenario}.py",
    ],
)  # fmt: skip
def test_a_role_touches_all_its_places(role, place):
    assert (ROOT / place.format(role, scenario=SCENARIOS.get(role, role))).exists()


def guarded(role, file):
    """Tell whether the tasks of *file* only look until the role's guard has been asked, through all files that they include."""
    for task in load(f"roles/{role}/tasks/{file}"):
        if "verify" in task.get("tags", []):
            continue
        included = task.get("ansible.builtin.include_tasks") or task.get("ansible.builtin.import_tasks")
        if included == "guard.yml":
            # preflight.yml has asked the guards of all roles before the first change.
            assert task.get("when") == "preflight is not defined"
            return True
        looks = {"observe", "artifact", "server_facts", "ansible.builtin.debug", "ansible.builtin.assert"} & set(task)
        if not looks and not (included and guarded(role, included)):
            return False
    return True


@pytest.mark.parametrize("role", ROLES)
def test_the_guard_goes_before_every_change_and_the_promises_go_last(role):
    tasks = load(f"roles/{role}/tasks/main.yml")
    assert guarded(role, "main.yml")
    # Included, so that a run without promises skips one task instead of each of them.
    assert tasks[-1].get("ansible.builtin.include_tasks") == {"file": "verify.yml", "apply": {"tags": "verify"}}
    assert tasks[-1].get("tags") == ["never", "verify"]
    # Without this, `--tags ssh` would run the promises of ssh too.
    # A role that is neither wanted nor there has nothing to promise.
    assert "ask_promises" in load(f"roles/{role}/tasks/verify.yml")[-1]
    concerned = [task["when"] for task in tasks if task.get("ansible.builtin.include_tasks") == "keep.yml"]
    assert tasks[-1].get("when") == " and ".join(["'verify' in ansible_run_tags", *concerned])


@pytest.mark.parametrize("role", ROLES)
def test_the_spec_is_the_defaults_and_what_is_required(role):
    options = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"].get("options") or {}
    required = {name for name, option in options.items() if option.get("required")}
    assert set(options) - required == set(load(f"roles/{role}/defaults/main.yml"))


@pytest.mark.parametrize("role", ROLES)
def test_variables_begin_with_the_name_of_their_role(role):
    for name in load(f"roles/{role}/defaults/main.yml"):
        assert name.startswith(f"{role}_")
    for file in (ROOT / "roles" / role / "vars").glob("*.yml"):
        for name in plain(file) or {}:
            assert name.startswith(f"__{role}_"), file


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reads_no_other_roles_variables(role):
    own = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]
    known = {name for entry in own.values() for name in entry.get("options") or {}}
    foreign = {name: other for other in ROLES if other != role for name in load(f"roles/{other}/defaults/main.yml") if name not in known}
    for file in (ROOT / "roles" / role).rglob("*"):
        if file.suffix in (".yml", ".j2") and file.is_file():
            text = file.read_text(encoding="utf-8")
            # Expressions only, without the words in their quotes: messages may well name the line to change.
            read = " ".join(re.findall(r"\{\{.*?\}\}|\{%.*?%\}|when: .*", text, re.S if file.suffix == ".j2" else 0))
            words = set(re.findall(r"\b[a-z]\w+\b", re.sub(r"'[^']*'", "", read)))
            # An entry point is called with its own role's variables; these stand as keys under `vars:`.
            passed = set(re.findall(r"^\s+(\w+):", text, re.M))
            assert not words & set(foreign) - passed, file


@pytest.mark.parametrize("role", ROLES)
def test_a_download_is_a_seam(role):
    defaults = load(f"roles/{role}/defaults/main.yml")
    for name in defaults:
        if name.endswith("_url"):
            stem = name.removesuffix("_url")
            assert {f"{stem}_version", f"{stem}_checksum"} <= set(defaults)


@pytest.mark.parametrize("role", ROLES)
def test_site_lists_a_role_once_with_its_tag(role):
    tasks = [task for play in load("site.yml") for task in play.get("tasks") or []]
    entries = [task for task in tasks if task["ansible.builtin.import_role"]["name"] == role]
    assert [(entry["ansible.builtin.import_role"], entry["tags"]) for entry in entries] == [
        ({"name": role, "rolespec_validate": False}, role)
    ]


def test_what_base_installs_for_a_role_are_packages_of_the_distribution():
    """Base hands ``__<role>_packages`` of each role with ``begin.yml`` to apt: no other thing may go by that name."""
    for role in (role for role in ROLES if (ROOT / "roles" / role / "tasks/begin.yml").exists()):
        name = f"__{role}_packages"
        others = [file for file in (ROOT / "roles" / role).rglob("*.yml") if file.parent.name != "vars" and f"{name}:" in file.read_text()]
        assert others == [], name
        value = load(f"roles/{role}/vars/main.yml").get(name, [])
        assert isinstance(value, list) or "lock" not in value and ".txt" not in value, name


def test_a_readme_opens_with_the_promise_and_says_what_it_changes():
    for role in ROLES:
        text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
        assert re.match(rf"# {role}\n\n[A-Z][^#]*?\.\n", text), f"{role}: the promise"
        assert re.search(r"^## .*", text, re.M)[0] == "## Changes from the distribution's defaults"


def test_the_generated_tables_are_current():
    done = subprocess.run([ROOT / "scripts/docs", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"run `make docs`; stale: {done.stdout}"


@pytest.mark.parametrize("file", task_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_modes_are_quoted_and_errors_are_not_ignored(file):
    for task in tasks_of(plain(file)):
        assert "ignore_errors" not in task, task
        for arguments in task.values():
            if isinstance(arguments, dict) and "mode" in arguments:
                assert isinstance(arguments["mode"], str), task


def test_nothing_secret_and_nothing_of_one_machine_is_in_the_tree():
    forbidden = re.compile(
        r"BEGIN (RSA |EC |OPENSSH |ENCRYPTED )?PRIVATE KEY-----\n[A-Za-z0-9+/]|files\.python" r"hosted|pypi\.o" r"rg|deb\.debian\.o" r"rg"
        r"|security\.debian\.o" r"rg|registry\.npm" r"js|/wo" r"rk/"
    )  # fmt: skip
    for file in tracked("."):
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        assert not forbidden.search(text), f"{file}: {forbidden.search(text)[0]}"


def test_the_lock_satisfies_requirements_yml():
    for wanted in load("requirements.yml")["collections"]:
        manifest = Path(metadata.distribution("ansible").locate_file("ansible_collections"), *wanted["name"].split("."), "MANIFEST.json")
        version = yaml.safe_load(manifest.read_text(encoding="utf-8"))["collection_info"]["version"]
        assert version in SpecifierSet(wanted["version"]), wanted["name"]


def test_the_environment_is_the_lock():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for name in ("ansible-lint", "molecule", "pytest-testinfra", "libpass"):
        assert f"{name}=={metadata.version(name)} " in lock


def test_every_make_target_is_a_script():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^([a-z-]+):.*## ", makefile, re.M):
        if target not in ("help", "role"):
            assert (ROOT / "scripts" / target).exists(), target


@pytest.mark.parametrize("module", sorted((ROOT / "plugins/modules").glob("*.py")), ids=lambda module: module.stem)
def test_a_modules_documentation_can_be_read(module):
    text = module.read_text(encoding="utf-8")
    documented = yaml.safe_load(re.search(r'DOCUMENTATION = r?"""(.*?)"""', text, re.S)[1])
    assert documented["module"] == module.stem
    assert documented["short_description"]
    assert yaml.safe_load(re.search(r'EXAMPLES = r?"""(.*?)"""', text, re.S)[1])


@pytest.mark.parametrize("scenario", ["default", "demo", "laptop", "refuses_bad_input"])
def test_every_play_of_the_site_finds_its_group_in_the_scenarios(scenario, tmp_path):
    """Else a run of the whole site begins with warnings."""
    (tmp_path / "docker").write_text("#!/bin/sh\n")
    (tmp_path / "docker").chmod(0o755)
    sources = ["-i", ROOT / "molecule" / scenario / "inventory.yml", "-i", ROOT / "molecule/shared/containers"]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(
        ["ansible-playbook", *sources, "site.yml", "--list-hosts"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Could not match" not in done.stderr
    # Nor is a group taken for a host.
    assert not {play.get("hosts") for play in load("site.yml")} & set(re.findall(r"^      (\w+)$", done.stdout, re.M))
