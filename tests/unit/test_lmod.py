"""The program that makes the modulefiles."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "roles/lmod/files/modulefiles.py"
sys.path.insert(0, str(PROGRAM.parent))

import modulefiles  # noqa: E402


@pytest.fixture
def prefix(tmp_path):
    """Return a distribution with two whole environments, one half made and one that was never shown."""
    base = tmp_path / "conda"
    for name in ("", "envs/science", "envs/stats", "envs/half", "envs/.part"):
        (base / name / "bin").mkdir(parents=True)
        (base / name / "conda-meta").mkdir()
        if name != "envs/half":
            (base / name / "bin/python").touch()
        (base / name / "conda-meta/history").touch()
    (base / "envs/science/conda-meta/python-3.13.5-h123_0_cp313.json").touch()
    (base / "envs/science/conda-meta/python-dateutil-2.9.0-py_0.json").touch()
    return str(base)


def run(*words):
    return subprocess.run([sys.executable, "-", *words], input=PROGRAM.read_text(), capture_output=True, text=True, check=True).stdout


def files(tree):
    return {str(path.relative_to(tree)): path.read_text() for path in Path(tree).rglob("*") if path.is_file()}


def test_every_whole_environment_has_a_module(prefix, tmp_path):
    texts = modulefiles.modulefiles(prefix, "science", str(tmp_path))
    assert sorted(texts) == [f"anaconda/{name}" for name in (".modulerc.lua", "base.lua", "science.lua", "stats.lua")]
    assert "Python 3.13.5, Anaconda environment science" in texts["anaconda/science.lua"]
    assert 'module_version("anaconda/science", "default")' in texts["anaconda/.modulerc.lua"]
    assert not [text for text in texts.values() if "LD_LIBRARY_PATH" in text]


def test_base_is_the_default_where_the_wanted_one_is_not(prefix, tmp_path):
    assert "anaconda/base" in modulefiles.modulefiles(prefix, "tf", str(tmp_path))["anaconda/.modulerc.lua"]


def test_scripts_of_packages_are_read_as_conda_would(prefix, tmp_path):
    scripts = Path(prefix, "envs/stats/etc/conda/activate.d")
    scripts.mkdir(parents=True)
    for name in ("b.sh", "a.sh", "a.fish"):
        (scripts / name).touch()
    text = modulefiles.modulefiles(prefix, "science", str(tmp_path))["anaconda/stats.lua"]
    assert text.count("source_sh") == 2
    assert text.index("a.sh") < text.index("b.sh")


def test_toolkits_of_both_sources(tmp_path):
    for home in ("usr/local/cuda-12.4", "usr/local/cuda-13.0", "usr/local/cuda", "usr/lib/nvidia-cuda-toolkit", "usr/local/cuda-12.9"):
        (tmp_path / home / "bin").mkdir(parents=True)
        (tmp_path / home / "bin/nvcc").touch(mode=0o755)
    # What is left of one that was removed.
    os.remove(tmp_path / "usr/local/cuda-12.9/bin/nvcc")
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(
        "Package: nvidia-cuda-toolkit\nStatus: install ok installed\nVersion: 11.8.89~11.8.0-5~deb12u1\n"
        "Architecture: amd64\nMaintainer: x\nDescription: x\n\n"
    )
    assert modulefiles.toolkits(str(tmp_path)) == {"11.8": "/usr", "12.4": "/usr/local/cuda-12.4", "13.0": "/usr/local/cuda-13.0"}
    texts = modulefiles.modulefiles("", "science", str(tmp_path))
    assert sorted(texts) == ["cuda/11.8.lua", "cuda/12.4.lua", "cuda/13.0.lua"]
    assert "PATH" not in texts["cuda/11.8.lua"].replace("CUDA_PATH", "")
    assert 'prepend_path("LIBRARY_PATH", "/usr/local/cuda-12.4/lib64")' in texts["cuda/12.4.lua"]


def test_only_what_differs_is_written_and_only_ours_is_removed(prefix, tmp_path):
    tree = tmp_path / "tree"
    words = (str(tree), prefix, "science", str(tmp_path))
    assert len(run("--check", *words).splitlines()) == 4
    assert not tree.exists()
    assert len(run(*words).splitlines()) == 4
    assert run("--check", *words) == ""
    (tree / "anaconda/own.lua").write_text("-- mine\n")
    (tree / "anaconda/stats.lua").write_text("-- mine too\n")
    (tree / "anaconda/gone.lua").write_text(modulefiles.OURS)
    (tree / "anaconda/base.lua").chmod(0o600)
    assert run(*words).splitlines() == [f"write {tree}/anaconda/base.lua", f"remove {tree}/anaconda/gone.lua"]
    assert files(tree)["anaconda/own.lua"] == "-- mine\n"
    assert files(tree)["anaconda/stats.lua"] == "-- mine too\n"
    assert run("--check", *words) == ""
