"""The modules for conda, on a prefix whose conda and uv are a few lines that note how they were called."""

import json
import os
import random
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible.module_utils import conda_environment
from ansible.module_utils.conda import Failed, alone, taken, tighten
from ansible.module_utils.conda_environment import Builder, spec_name
from ansible.module_utils.requirements import canonical, holds, pinned, plain, values
from conftest import load
from packaging.markers import Marker
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
# By its path: the action of the same name goes first on the way.
conda_base = load(ROOT / "plugins/modules/conda_base.py")
environment_module = load(ROOT / "plugins/modules/conda_environment.py")

LOCK = """\
alpha==1.0 \\
    --hash=sha256:aa
beta-lib==2024.08.30 ; python_full_version >= '3.12' \\
    --hash=sha256:bb \\
    --hash=sha256:cc
beta-lib==2023.1 ; python_full_version < '3.12' \\
    --hash=sha256:dd
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:ee
"""

FAKE = '''#!{python}
"""A stand-in for conda and uv: notes its call, does as much to the prefix as the module looks at."""
import json, os, re, shutil, sys, time
from pathlib import Path
root = Path("{root}")
with open(root / "calls", "a") as file:
    file.write(" ".join([Path(sys.argv[0]).name] + sys.argv[1:]) + "\\n")
if (root / "fail").exists() and (root / "fail").read_text() in " ".join(sys.argv):
    print("PackagesNotFoundError: no such thing", file=sys.stderr)
    sys.exit(1)
if (root / "slow").exists():
    time.sleep(1)
words = sys.argv[1:]
def record(prefix, name, version, files=()):
    (prefix / "conda-meta").mkdir(parents=True, exist_ok=True)
    for name_ in files:
        (prefix / name_).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name_).touch()
    data = dict(name=name, version=version, build="0", files=list(files))
    (prefix / "conda-meta" / f"{{name}}-{{version}}-0.json").write_text(json.dumps(data))
def distribution(prefix, name, version):
    site = next(prefix.glob("lib/python3*/site-packages"))
    info = site / f"{{name.replace('-', '_')}}-{{version}}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("x")
    (site / f"{{name}}.py").write_text("pass\\n")
    (info / "RECORD").write_text(f"{{name}}.py,sha256=x,5\\n{{info.name}}/METADATA,,1\\n{{info.name}}/RECORD,,\\n")
if Path(sys.argv[0]).name == "conda":
    prefix = Path(words[words.index("--prefix") + 1])
    specs = words[words.index("--prefix") + 2:]
    if words[0] == "create":
        assert not prefix.exists()
        (prefix / "bin").mkdir(parents=True)
        (prefix / "bin/python").symlink_to("{python}")
        version = re.search(r"python=([0-9.]+)", " ".join(specs))[1]
        site = f"lib/python{{version}}/site-packages"
        (prefix / site).mkdir(parents=True)
        record(prefix, "python", version + ".5", [f"lib/python{{version}}/os.py"])
        record(prefix, "pip", "25.0", [f"{{site}}/pip/__init__.py", f"{{site}}/pip-25.0.dist-info/METADATA"])
        if (root / "killed").exists():
            os._exit(137)
    for spec in specs:
        name = spec.split("=")[0]
        if words[0] == "remove":
            next((prefix / "conda-meta").glob(name + "-*.json")).unlink()
        elif name != "python":
            for old in (prefix / "conda-meta").glob(name + "-*.json"):
                old.unlink()
            record(prefix, name, spec.split("=")[-1] if "=" in spec else "9.9", [f"bin/{{name}}"])
    (prefix / "conda-meta" / "history").touch()
else:
    prefix = Path(words[words.index("--python") + 1]).parents[1]
    site = next(prefix.glob("lib/python3*/site-packages"))
    if words[1] == "uninstall":
        for name in words[words.index("--python") + 2:]:
            shutil.rmtree(next(site.glob(name.replace("-", "_") + "-*.dist-info")))
    else:
        text = Path(words[words.index("--requirement") + 1]).read_text()
        assert "--require-hashes" in words
        again = [words[i + 1] for i, word in enumerate(words) if word == "--reinstall-package"]
        for name, version in (("alpha", "1.0"), ("beta-lib", "2024.8.30")):
            if name in text and not (root / "deaf").exists():
                here = list(site.glob(name.replace("-", "_") + "-*.dist-info"))
                if name in again or [path.name for path in here] != [f"{{name.replace('-', '_')}}-{{version}}.dist-info"]:
                    for path in here:
                        shutil.rmtree(path)
                    distribution(prefix, name, version)
'''


class Site:
    """A conda prefix in a temporary directory, and what is wanted of one environment in it."""

    def __init__(self, root):
        self.root = root
        for name in ("bin/conda", "uv/uv"):
            file = root / name
            file.parent.mkdir()
            file.write_text(FAKE.format(python=sys.executable, root=root))
            file.chmod(0o755)
        (root / "conda-meta").mkdir()
        (root / "conda-meta/fenton.installer").touch()
        self.wanted = {
            "prefix": str(root),
            "name": "lab",
            "state": "present",
            "python": "3.13",
            "conda": [],
            "requirements": LOCK,
            "kernel": "",
            "kernels": str(root / "kernels"),
            "uv": str(root / "uv/uv"),
        }
        self.env = root / "envs" / "lab"
        self.packages = self.env / "lib/python3.13/site-packages"

    def builder(self, **changes):
        self.wanted.update(changes)
        return Builder(self.wanted)

    def apply(self, **changes):
        builder = self.builder(**changes)
        differences = builder.differences()
        if differences:
            builder.apply()
        return differences

    def calls(self):
        file = self.root / "calls"
        said = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [" ".join(line.split()[: 3 if line.startswith("uv") else 2]) for line in said]


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def lab(site):
    """Return a site whose environment is as wanted."""
    site.apply()
    site.calls()
    return site


# Requirements


def test_each_package_has_the_version_for_this_python():
    assert pinned(LOCK, "3.13.5", "x86_64") == {"alpha": "1.0", "beta-lib": "2024.08.30"}
    assert pinned(LOCK, "3.11", "x86_64")["beta-lib"] == "2023.1"


@pytest.mark.parametrize("line", ["alpha==1.0", "alpha>=1.0 --hash=sha256:aa", "-r other.txt", "./local.whl --hash=sha256:aa"])
def test_a_line_without_version_or_hash_is_refused(line):
    with pytest.raises(ValueError, match="is not pinned by version and hash"):
        pinned(line, "3.13", "x86_64")


@pytest.mark.parametrize("line", ["--index-url https://a/simple", "--extra-index-url=https://a/simple/", "-i https://a"])
def test_a_lock_may_say_where_its_packages_are(line):
    assert pinned(f"{line}\n{LOCK}", "3.13", "x86_64") == pinned(LOCK, "3.13", "x86_64")
    # Not more than that: other options could undo the hashes.
    for other in ("--no-require-hashes", "--trusted-host a", "--index-url https://a --pre"):
        with pytest.raises(ValueError, match="is not pinned"):
            pinned(f"{other}\n{LOCK}", "3.13", "x86_64")


def test_a_marker_that_cannot_be_read_is_refused():
    for marker in ("python_version <", "colour == 'red'", "python_version < '3' nonsense", "(os_name == 'posix'"):
        with pytest.raises(ValueError, match="marker"):
            holds(marker, values("3.13", "x86_64"))


def test_markers_mean_what_packaging_says_they_mean():
    dice = random.Random(7)
    names, signs = ("python_version", "python_full_version"), ("<", "<=", ">", ">=", "==", "!=")
    atoms = [f"{name} {sign} '{v}'" for name in names for sign in signs for v in ("3.9", "3.11", "3.13", "3.13.5", "3.14")]
    atoms += ["python_version in '3.11 3.12'", "python_version ~= '3.11'", "python_full_version == '3.13.*'"]
    others = (("sys_platform", "win32"), ("platform_machine", "aarch64"), ("os_name", "posix"))
    atoms += [f"{name} {sign} '{value}'" for name, value in others for sign in ("==", "!=")]
    for _ in range(400):
        one, two, three = (dice.choice(atoms) for _ in range(3))
        marker = dice.choice(["{} and {} or {}", "{} and ({} or {})", "({} or {}) and {}", "{} or {} and {}"]).format(one, two, three)
        for python in ("3.9.2", "3.11.2", "3.13.5", "3.14.0"):
            known = values(python, "x86_64")
            assert holds(marker, known) == Marker(marker).evaluate(known), (marker, python)


@pytest.mark.parametrize(("one", "two"), [("2024.08.30", "2024.8.30"), ("v1.0", "1.0"), ("1.0-rc1", "1.0.rc1"), ("2.1+CPU", "2.1+cpu")])
def test_equal_versions_are_equal_texts(one, two):
    assert plain(one) == plain(two)
    assert Version(one) == Version(two)


def test_names_are_compared_in_one_form():
    assert canonical("Foo._Bar") == "foo-bar"


@pytest.mark.parametrize("spec", ["r-base", "r-base=4.4", "conda-forge::r-base>=4", "R-base 4.4.*", "r-base[version='>=4']"])
def test_the_name_in_a_spec(spec):
    assert spec_name(spec) == "r-base"


# Environments


def test_a_new_environment_is_created_and_the_second_look_finds_nothing(site):
    assert site.apply(conda=["tool=1.0"], kernel="") == ["build it: it is not there"]
    assert site.calls() == ["conda create", "uv pip install"]
    assert site.apply() == []
    assert site.calls() == []


def test_the_second_look_starts_no_program_at_all(lab):
    lab.builder().differences()
    assert lab.calls() == []


def test_the_index_that_is_named_is_the_one_that_uv_asks(site, monkeypatch):
    asked, run = [], conda_environment.run
    monkeypatch.setattr(conda_environment, "run", lambda *words, **more: asked.append(more.get("UV_DEFAULT_INDEX")) or run(*words, **more))
    site.apply(index="http://cache.lan:5000/index/")
    assert "http://cache.lan:5000/index/" in asked


def test_what_users_import_is_compiled_and_what_tests_it_is_left(tmp_path):
    (tmp_path / "tests (1+1)").mkdir()
    site = Site(tmp_path / "tests (1+1)")
    site.apply()
    for file in ("alpha/testing.py", "alpha/tests/test_it.py", "alpha/deep/test/more.py", "tests/top.py"):
        (site.packages / file).parent.mkdir(parents=True, exist_ok=True)
        (site.packages / file).touch()
    next(site.packages.glob("beta_lib-*")).rename(site.root / "gone")
    site.apply()
    assert {file.name.split(".")[0] for file in site.packages.rglob("*.pyc")} >= {"alpha", "testing"}
    assert not [file for file in site.packages.rglob("*.pyc") if {"tests", "test"} & set(file.relative_to(site.packages).parts)]


def test_a_package_removed_by_hand_comes_back_alone(lab):
    next(lab.packages.glob("alpha-*")).rename(lab.root / "gone")
    assert lab.apply() == ["pip install alpha 1.0"]
    assert lab.calls() == ["uv pip install"]
    assert lab.apply() == []


def test_another_version_by_hand_is_put_right(lab):
    info = next(lab.packages.glob("alpha-*"))
    info.rename(info.with_name("alpha-3.0.dist-info"))
    assert lab.apply() == ["pip install alpha 1.0"]
    assert lab.apply() == []


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_text("pas")])
def test_a_file_that_is_lost_or_cut_short_is_found_and_its_package_repaired(lab, damage):
    damage(lab.packages / "alpha.py")
    assert "pip alpha 1.0 (damaged)" in lab.builder().now.listing()
    assert lab.apply() == ["pip repair alpha"]
    assert (lab.packages / "alpha.py").read_text() == "pass\n"


def test_a_package_without_its_record_is_repaired(lab):
    next(lab.packages.glob("alpha-*/RECORD")).unlink()
    assert lab.apply() == ["pip repair alpha"]
    assert next(lab.packages.glob("alpha-*/RECORD")).exists()


def test_a_package_by_hand_is_removed_but_never_one_of_conda(lab):
    info = lab.packages / "extra-1.0.dist-info"
    info.mkdir()
    for name in ("METADATA", "RECORD"):
        (info / name).write_text("x,,\n")
    assert lab.apply() == ["pip remove extra"]
    assert (lab.packages / "pip-25.0.dist-info").is_dir()


def test_without_a_lock_pip_packages_are_left_alone(lab):
    next(lab.packages.glob("alpha-*/RECORD")).unlink()
    assert lab.apply(requirements=None) == []


def test_conda_packages_come_and_go_with_the_list(lab):
    assert lab.apply(conda=["tool=1.0"]) == ["conda install tool=1.0"]
    assert lab.apply(conda=["tool=1.1"]) == ["conda install tool=1.1"]
    assert lab.apply(conda=["tool=1.1"]) == []
    assert lab.apply(conda=[]) == ["conda remove tool"]
    assert lab.calls() == ["conda install", "conda install", "conda remove"]


def test_a_conda_package_that_was_changed_by_hand_is_asked_for_again(lab):
    lab.apply(conda=["tool"])
    file = next(lab.env.glob("conda-meta/tool-*"))
    file.write_text(file.read_text().replace("9.9", "8.0"))
    assert lab.apply() == ["conda install tool"]


def test_another_python_rebuilds(lab):
    assert lab.apply(python="3.14") == ["build it: its Python is 3.13.5, not 3.14"]
    assert not list(lab.root.glob("envs/.lab.previous"))


def test_half_of_the_environment_gone_rebuilds(lab):
    (lab.env / "lib/python3.13/os.py").unlink()
    assert lab.apply() == ["build it: 1 files of its conda packages are missing (lib/python3.13/os.py of python)"]
    assert lab.apply() == []


def test_a_creation_that_was_killed_is_finished(site):
    (site.root / "killed").touch()
    with pytest.raises(Failed):
        site.apply()
    site.env.mkdir(parents=True)
    (site.env / "leftover").touch()
    (site.root / "killed").unlink()
    assert site.apply() == ["build it: its creation or update was interrupted"]
    assert not (site.env / "leftover").exists()
    assert site.apply() == []


def test_killed_between_conda_and_pip_only_pip_is_made_up_for(lab):
    state = lab.root / "envs/.lab.fenton.json"
    state.write_text(json.dumps({"stage": "pip", "specs": {}}))
    assert lab.apply() == ["finish it"]
    assert json.loads(state.read_text())["stage"] == "whole"


def test_killed_within_conda_everything_is_built_anew(lab):
    (lab.root / "envs/.lab.fenton.json").write_text(json.dumps({"stage": "conda"}))
    assert lab.apply() == ["build it: its creation or update was interrupted"]


@pytest.mark.parametrize("step", ["create", "pip install"])
def test_a_rebuild_that_fails_leaves_the_old_environment_at_work(lab, step):
    (lab.root / "fail").write_text(step)
    with pytest.raises(Failed, match="no such thing"):
        lab.apply(python="3.14")
    assert lab.builder(python="3.13").differences() == []


def test_a_first_creation_that_fails_leaves_nothing(site):
    (site.root / "fail").write_text("create")
    with pytest.raises(Failed, match=r"environment lab: conda create failed: .*PackagesNotFoundError"):
        site.apply()
    assert not list(site.root.glob("envs/*")) and not list(site.root.glob("envs/.*.*"))


def test_a_change_that_did_not_help_is_said(lab):
    (lab.root / "deaf").touch()
    next(lab.packages.glob("alpha-*")).rename(lab.root / "gone")
    with pytest.raises(Failed, match="after the change it still differs: pip install alpha 1.0"):
        lab.apply()


def test_a_kernel_needs_ipykernel(lab):
    with pytest.raises(Failed, match="needs ipykernel"):
        lab.apply(kernel="Lab")


def test_the_kernel_starts_the_environments_python_and_goes_with_it(lab):
    file = lab.root / "kernels/lab/kernel.json"
    lab.apply(kernel="Lab", conda=["ipykernel"])
    kernel = json.loads(file.read_text())
    assert kernel["argv"][0] == f"{lab.env}/bin/python"
    assert kernel["env"]["PATH"] == f"{lab.env}/bin:${{PATH}}"
    assert lab.apply(state="absent") == ["the environment is there", f"kernel {file}"]
    assert not lab.env.exists() and not file.exists() and not list(lab.root.glob("envs/.*"))
    assert lab.apply() == []


def test_a_kernel_of_somebody_else_stays(lab):
    file = lab.root / "kernels/lab/kernel.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"argv": ["/usr/bin/python3"]}')
    assert lab.apply(kernel="") == []
    assert file.exists()


def test_what_will_be_is_listed_beforehand_and_comes_true(site):
    site.wanted["conda"] = ["tool=1.0"]
    assert site.builder().expected() == ["conda python 3.13", "conda tool=1.0", "pip alpha 1.0", "pip beta-lib 2024.08.30"]
    site.apply()
    assert "pip alpha 1.0" in site.builder().now.listing()


def test_others_can_read_and_only_the_owner_can_write(tmp_path):
    for name, mode in (("open", 0o666), ("closed", 0o600), ("program", 0o700)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    tighten(str(tmp_path))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"open": 0o644, "closed": 0o644, "program": 0o755}


# The installer


def test_an_installer_with_another_sum_is_refused_and_nothing_stays(tmp_path):
    (tmp_path / "I.sh").write_text("exit 0\n")
    url = f"file://{tmp_path}/I.sh"
    sentence = r"^anaconda_checksum: the installer from file://\S+ has sha256 [0-9a-f]{64} \(7 bytes\), wanted is 0+;.*anaconda.yml"
    with pytest.raises(Failed, match=sentence):
        conda_base.fetch(url, "0" * 64, str(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_an_installer_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(Failed, match="^anaconda_url: the installer cannot be had from"):
        conda_base.fetch(f"file://{tmp_path}/none.sh", "0" * 64, str(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_the_right_installer_lies_in_the_cache_under_a_name_that_it_accepts(tmp_path):
    (tmp_path / "installer").write_text("exit 0\n")
    url, total = f"file://{tmp_path}/installer", conda_base.digest(str(tmp_path / "installer"))
    assert conda_base.fetch(url, total, str(tmp_path / "cache"))
    assert os.listdir(tmp_path / "cache") == ["installer.sh"]
    assert not conda_base.fetch(url, total, str(tmp_path / "cache"))


def test_a_prefix_counts_as_installed_only_with_marker_history_and_conda(tmp_path):
    total = "a" * 64
    for name in ("conda-meta/fenton.installer", "conda-meta/history", "bin/conda"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        assert not conda_base.installed(str(tmp_path), total)
        (tmp_path / name).write_text(f"{total}  I.sh\n")
    (tmp_path / "bin/conda").chmod(0o755)
    assert conda_base.installed(str(tmp_path), total)
    assert not conda_base.installed(str(tmp_path), "b" * 64)


@pytest.mark.parametrize(
    ("index", "trusted"),
    [
        ("", None),
        ("https://cache.lan/index/", None),
        ("http://cache.lan:5000/index/", "cache.lan:5000"),
        ("http://a:b@cache.lan/", "cache.lan"),
    ],
)
def test_pip_is_told_to_take_uv_from_a_cache_without_tls(tmp_path, monkeypatch, index, trusted):
    told = []

    def run(words, what, **more):
        told.append(more)
        (tmp_path / "uv.new/bin").mkdir(exist_ok=True)

    monkeypatch.setattr(conda_base, "run", run)
    conda_base.install_uv("/opt/conda", str(tmp_path / "uv"), "uv==1.0 --hash=sha256:aa", index)
    assert told[0].get("PIP_INDEX_URL", "") == index
    assert told[0].get("PIP_TRUSTED_HOST") == trusted


# One at a time


def test_who_holds_a_lock_is_waited_for_and_named(tmp_path):
    path = str(tmp_path / "lock")
    with alone(path):
        assert taken(path)
        with pytest.raises(Failed, match=f"another run .* `fuser {path}` on the server names it"), alone(path, patience=0):
            pass
    assert not taken(path) and not os.path.exists(path)


def test_a_process_that_was_killed_lets_go_of_its_lock(tmp_path):
    path = str(tmp_path / "lock")
    code = f"import sys, time; sys.path.insert(0, {str(ROOT / 'plugins/module_utils')!r}); from conda import alone\n"
    code += f"with alone({path!r}): print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n" and taken(path)
    holder.kill()
    holder.wait()
    with alone(path, patience=0):
        pass


def in_the_background(ask, site):
    """Begin, wait until it is at work, and return what the task said."""
    (site.root / "slow").touch()
    said = ask("conda_environment", site.wanted, "-B", "60", "-P", "0")
    until = time.monotonic() + 20
    while not (site.root / "calls").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    return said


def test_a_second_call_waits_for_the_one_in_the_background(ask, site):
    said = in_the_background(ask, site)
    assert said["changed"] and said["started"] and not site.env.exists()
    assert not ask("conda_environment", site.wanted)["changed"]
    assert site.calls() == ["conda create", "uv pip install"]
    assert not list(site.root.glob(".*.lock"))


def test_what_failed_in_the_background_is_tried_again_and_told(ask, site):
    (site.root / "fail").write_text("create")
    in_the_background(ask, site)
    assert "PackagesNotFoundError" in ask("conda_environment", site.wanted)["msg"]
    assert site.calls() == ["conda create", "conda create"]


def test_in_the_background_it_waits_for_the_distribution_that_was_begun_there_before_it(ask, site):
    marker = site.root / "conda-meta/fenton.installer"
    marker.unlink()
    with alone(f"{site.root.parent}/.{site.root.name}.lock"):
        assert ask("conda_environment", site.wanted, "-B", "60", "-P", "0")["started"]
        marker.touch()
        time.sleep(2)
        assert not site.calls()
    assert "failed" not in ask("conda_environment", site.wanted)
    assert site.calls() == ["conda create", "uv pip install"]


def test_it_waits_no_longer_than_that_may_take(tmp_path):
    begun = time.monotonic()
    environment_module.wait(str(tmp_path), str(tmp_path / "uv"), grace=0.3)
    assert 0.3 < time.monotonic() - begun < 5


def test_the_password_of_an_index_is_printed_nowhere(ask, site):
    wanted = {**site.wanted, "index": "https://ada:hunter2@cache.lan/index/"}
    begun = in_the_background(lambda name, _, *more: ask(name, wanted, *more), site)
    assert "hunter2" not in json.dumps(ask("conda_environment", {**wanted, "kernel": "Another"}))
    record = Path(begun["results_file"])
    until = time.monotonic() + 20
    while "changed" not in json.loads(record.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    # Nobody removes it.
    assert "hunter2" not in record.read_text() and len(record.read_text()) < 5000
    record.unlink()


INSTALLER = """#!/bin/sh
# -b -p PREFIX [-u]
echo "$*" >>{root}/installs
mkdir -p "$3/bin" "$3/conda-meta"
until [ -e {root}/go ]; do sleep 0.05; done
touch "$3/conda-meta/history"
printf '#!/bin/sh\\necho conda 1.0\\n' >"$3/bin/conda"
chmod +x "$3/bin/conda"
"""


def test_an_installation_that_a_run_left_behind_is_waited_for_not_begun_again(ask, tmp_path):
    file = tmp_path / "conda.sh"
    file.write_text(INSTALLER.format(root=tmp_path))
    given = {"prefix": str(tmp_path / "opt/conda"), "url": f"file://{file}", "cache": str(tmp_path / "cache")}
    given["sha256"] = conda_base.digest(str(file))
    # The run that began it is no more, and nobody listens to the module.
    assert ask("conda_base", given, "-B", "60", "-P", "0")["started"]
    until = time.monotonic() + 20
    while not (tmp_path / "installs").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    (tmp_path / "cache/.part-1").touch()
    # Long enough for the second call to begin another, if it did; it passes whichever is quicker.
    later = subprocess.Popen(["sh", "-c", f"sleep 4; touch {tmp_path}/go"])
    assert not ask("conda_base", given)["changed"]
    later.wait()
    assert (tmp_path / "installs").read_text().splitlines() == [f"-b -p {tmp_path}/opt/conda"]
    assert sorted(os.listdir(tmp_path)) == ["conda.sh", "go", "installs", "opt"]
    assert os.listdir(tmp_path / "opt") == ["conda"]
