"""The miniature installer and its conda behave as the real ones do, as far as the roles lean on it."""

import hashlib
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURE = Path(__file__).resolve().parents[2] / "molecule" / "fixtures" / "conda"
BUILD = FIXTURE.parent / "build"
MINIFORGE = BUILD / "Miniforge3-26.7.2-0-Linux-x86_64.sh"
MINICONDA = BUILD / "Miniconda3-py313_26.7.1-1-Linux-x86_64.sh"

pytestmark = pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="it makes its Python from the system's")


def run(*words, **variables):
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **variables}
    return subprocess.run([str(w) for w in words], env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module", autouse=True)
def built():
    subprocess.run([sys.executable, FIXTURE / "build"], check=True, capture_output=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Return a prefix that the installer made."""
    prefix = tmp_path_factory.mktemp("conda") / "base"
    done = run("sh", MINIFORGE, "-b", "-p", prefix)
    assert done.returncode == 0, done.stderr
    return prefix


def python_of(prefix):
    return run(prefix / "bin/python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip()


def test_the_same_contents_give_the_same_sum(tmp_path):
    build = runpy.run_path(str(FIXTURE / "build"))["main"]
    for folder in ("one", "two"):
        build(tmp_path / folder)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    assert (tmp_path / "one" / (MINIFORGE.name + ".sha256")).read_text() == hashlib.sha256(MINIFORGE.read_bytes()).hexdigest() + "\n"


def test_what_is_there_is_not_built_again():
    assert subprocess.run([sys.executable, FIXTURE / "build"], check=True, capture_output=True, text=True).stdout == ""


def test_an_existing_prefix_is_refused_even_if_empty(tmp_path):
    done = run("sh", MINIFORGE, "-b", "-p", tmp_path)
    assert done.returncode == 1
    assert f"ERROR: File or directory already exists: '{tmp_path}'" in done.stderr
    assert "use the -u option" in done.stderr


@pytest.mark.parametrize("flag", ["-u", "-f"])
def test_an_existing_prefix_is_taken_with_u_and_f(tmp_path, flag):
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "bin").mkdir()
    assert run("sh", MINIFORGE, "-b", flag, "-p", tmp_path).returncode == 0
    assert (tmp_path / "conda-meta" / "history").exists()


def test_a_frozen_prefix_is_not_updated(tmp_path, base):
    shutil.copytree(base, tmp_path / "copy", symlinks=True)
    (tmp_path / "copy/conda-meta/frozen").touch()
    done = run("sh", MINIFORGE, "-b", "-u", "-p", tmp_path / "copy")
    assert done.returncode == 1
    assert "EnvironmentIsFrozenError" in done.stderr


def test_without_batch_it_does_not_go_on_by_itself(tmp_path):
    done = run("sh", MINIFORGE, "-p", tmp_path / "new")
    assert done.returncode == 2
    assert not (tmp_path / "new").exists()


def test_another_file_name_is_refused(tmp_path):
    shutil.copy(MINIFORGE, tmp_path / "installer")
    done = run("sh", tmp_path / "installer", "-b", "-p", tmp_path / "new")
    assert done.returncode != 0
    assert "Please run using" in done.stderr


@pytest.mark.parametrize(("words", "status"), [(["-h"], 2), (["-b", "-p", "/tmp/a b"], 1), (["-x"], 1)])
def test_other_options(words, status):
    assert run("sh", MINIFORGE, *words).returncode == status


def test_a_damaged_payload_is_noticed(tmp_path):
    file = tmp_path / "cut.sh"
    file.write_bytes(MINIFORGE.read_bytes()[:-1000])
    assert run("sh", file, "-b", "-p", tmp_path / "new").returncode != 0


def test_its_python_stands_alone_with_the_layout_of_upstream(base):
    said = "[sys.prefix, sys.base_prefix, sysconfig.get_path('purelib'), sysconfig.get_default_scheme(), sys.path]"
    code = f"import sys, sysconfig, json; print(json.dumps({said}))"
    prefix, origin, purelib, scheme, path = json.loads(run(base / "bin/python", "-c", code).stdout)
    assert prefix == origin == str(base)
    assert purelib == f"{base}/lib/python{python_of(base)}/site-packages"
    assert scheme == "posix_prefix"
    assert purelib in path
    assert all(entry.startswith(str(base)) for entry in path if entry)


def test_packages_come_are_listed_and_go(base, tmp_path):
    conda, env, more = base / "bin/conda", tmp_path / "env", {"CONDA_PKGS_DIRS": str(tmp_path / "pkgs")}
    done = run(conda, "create", "--yes", "--prefix", env, f"python={python_of(base)}", "sample-tool=1.0", **more)
    assert done.returncode == 0, done.stderr
    names = {row["name"]: row["version"] for row in json.loads(run(conda, "list", "-p", env, "--json").stdout)}
    assert names["sample-tool"] == "1.0"
    assert "sample-lib" in names
    assert run(env / "bin/sample-tool").stdout == "sample-tool 1.0\n"
    assert run(conda, "install", "-y", "-p", env, "sample-tool>=1.1", **more).returncode == 0
    assert run(env / "bin/sample-tool").stdout == "sample-tool 1.1\n"
    assert run(conda, "remove", "-y", "-p", env, "sample-tool", **more).returncode == 0
    assert not (env / "bin/sample-tool").exists()
    assert run(env / "bin/python", "-c", "import sys; print(sys.prefix)").stdout.strip() == str(env)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["create", "-y", "-p", "NEW", "python=2.7"], "PackagesNotFoundError"),
        (["create", "-y", "-p", "NEW", "no-such-thing"], "PackagesNotFoundError"),
        (["install", "-y", "-p", "NEW", "sample-tool"], "EnvironmentLocationNotFound"),
        (["create", "-p", "NEW", "sample-tool"], "CondaSystemExit"),
    ],
)
def test_errors_have_their_names(base, tmp_path, words, error):
    done = run(base / "bin/conda", *[word.replace("NEW", str(tmp_path / "new")) for word in words])
    assert done.returncode == 1
    assert error in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_frozen_base_refuses_changes(base, tmp_path):
    shutil.copytree(base, tmp_path / "copy", symlinks=True)
    (tmp_path / "copy/conda-meta/frozen").write_text('{"message": "Ask root."}')
    program = [tmp_path / "copy/bin/python", "-I", "-m", "conda"]
    code = "import sys; from conda import main; sys.exit(main())"
    for words in (["install", "-y", "sample-tool"], ["remove", "-y", "pip"]):
        done = run(*program[:2], "-c", code, *words)
        assert done.returncode == 1
        assert "EnvironmentIsFrozenError" in done.stderr
        assert "Ask root." in done.stderr


def test_the_first_cache_that_can_be_written_is_used(base, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".condarc").write_text("pkgs_dirs:\n  - ~/.conda/pkgs\nenvs_dirs:\n  - ~/.conda/envs\n")
    assert run(base / "bin/conda", "create", "-y", "-n", "mine", "sample-lib", HOME=str(home)).returncode == 0
    assert os.listdir(home / ".conda/pkgs") == ["sample-lib-2.0-0"]
    assert (home / ".conda/envs/mine/share/sample-lib").exists()


def test_a_distribution_with_terms_asks_for_them(tmp_path):
    prefix = tmp_path / "base"
    assert run("sh", MINICONDA, "-b", "-p", prefix).returncode == 0
    words = [prefix / "bin/conda", "create", "-y", "-p", tmp_path / "env", "sample-lib"]
    assert "CondaToSNonInteractiveError" in run(*words).stderr
    (prefix / ".condarc").write_text("channels:\n  - defaults\nplugins:\n  auto_accept_tos: true\n")
    assert run(*words).returncode == 0


def test_activate_and_deactivate_in_a_posix_shell(base, tmp_path):
    words = ["create", "-y", "-p", tmp_path / "env", "sample-tool"]
    assert run(base / "bin/conda", *words, CONDA_PKGS_DIRS=str(tmp_path / "p")).returncode == 0
    script = f". {base}/etc/profile.d/conda.sh; conda activate {tmp_path}/env && sample-tool; conda deactivate"
    assert run("sh", "-c", script + "; command -v sample-tool || echo gone").stdout == "sample-tool 1.1\ngone\n"
