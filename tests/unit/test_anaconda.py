"""The role's input and files, worked out by Ansible's own templar and read by those who read them on a server."""

import json
import platform
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

with warnings.catch_warnings(action="ignore"):
    init_plugin_loader()  # warns when another test file was first
ROLE = Path(__file__).resolve().parents[2] / "roles" / "anaconda"


@pytest.fixture
def role():
    """Return a function that works out an expression with the role's variables and those given."""
    loader = DataLoader()

    def work_out(expression, **variables):
        known = {"ansible_facts": {"architecture": "x86_64"}, "ansible_search_path": [str(ROLE)], "role_path": str(ROLE)}
        for part in ("defaults", "vars"):
            known.update(loader.load_from_file(str(ROLE / part / "main.yml"), trusted_as_template=True))
        return Templar(loader=loader, variables={**known, **variables}).template(trust_as_template(expression))

    return work_out


def complaint(role, **variables):
    return role("{{ __anaconda_complaint or '' }}", **variables)


def test_the_defaults_are_accepted(role):
    assert complaint(role) == ""


@pytest.mark.parametrize(
    ("variables", "beginning"),
    [
        ({"anaconda_distribution": "conda"}, 'anaconda_distribution: "conda" is not known; choose miniforge, miniconda, anaconda'),
        ({"anaconda_distribution": "anaconda"}, "anaconda_accept_terms: anaconda comes with terms"),
        ({"anaconda_distribution": "miniconda"}, "anaconda_accept_terms: miniconda comes with terms"),
        ({"anaconda_distribution": "miniconda", "anaconda_accept_terms": True}, "anaconda_checksum: no sha256 is known for https://repo."),
        ({"anaconda_version": "27.1.0-0"}, "anaconda_checksum: no sha256 is known for https://github.com/conda-forge/miniforge/"),
        ({"ansible_facts": {"architecture": "aarch64"}}, "anaconda_checksum: no sha256 is known for"),
        ({"anaconda_checksum": "sha256:abc"}, 'anaconda_checksum: "sha256:abc" is not a sha256'),
        ({"anaconda_prefix": "conda"}, 'anaconda_prefix: "conda" cannot hold'),
        ({"anaconda_prefix": "/opt/my conda"}, 'anaconda_prefix: "/opt/my conda" cannot hold'),
        ({"anaconda_prefix": "/opt"}, 'anaconda_prefix: "/opt" cannot hold'),
        ({"anaconda_environments": [{"name": "base"}]}, 'anaconda_environments: "base" cannot name'),
        ({"anaconda_environments": [{"name": "../x"}]}, 'anaconda_environments: "../x" cannot name'),
        (
            {"anaconda_environments": [{"name": "a"}, {"name": "a"}]},
            "anaconda_environments: a is there twice; rename one in group_vars/all/anaconda.yml",
        ),
        ({"anaconda_environments": [{"name": "a", "pip_lock": "no.txt"}]}, "anaconda_environments: there is no file no.txt on the control"),
    ],
)
def test_bad_input_is_one_sentence_with_the_line_to_change(role, variables, beginning):
    said = complaint(role, **variables)
    assert said.startswith(beginning)
    assert "group_vars/all/anaconda.yml" in said
    assert "\n" not in said


def test_terms_that_are_accepted_are_no_longer_asked_for(role):
    assert complaint(role, anaconda_distribution="anaconda", anaconda_accept_terms=True, anaconda_checksum="a" * 64) == ""


@pytest.mark.parametrize(
    ("distribution", "name"),
    [
        ("miniforge", "https://github.com/conda-forge/miniforge/releases/download/26.7.2-0/Miniforge3-26.7.2-0-Linux-aarch64.sh"),
        ("miniconda", "https://repo.anaconda.com/miniconda/Miniconda3-py313_26.7.1-1-Linux-aarch64.sh"),
        ("anaconda", "https://repo.anaconda.com/archive/Anaconda3-2026.07-1-Linux-aarch64.sh"),
    ],
)
def test_the_installers_have_their_publishers_names(role, distribution, name):
    assert role("{{ anaconda_url }}", anaconda_distribution=distribution, ansible_facts={"architecture": "aarch64"}) == name


def files(role, **variables):
    return {Path(path).name: text for path, text in role("{{ __anaconda_files }}", **variables).items()}


def test_the_settings_send_everybodys_packages_home(role):
    settings = yaml.safe_load(files(role)[".condarc"])
    assert settings["channels"] == ["conda-forge"]
    assert settings["pkgs_dirs"] == ["~/.conda/pkgs"]
    assert settings["envs_dirs"] == ["/opt/conda/envs", "~/.conda/envs"]
    assert "plugins" not in settings


def test_accepted_terms_are_accepted_for_all_users(role):
    settings = yaml.safe_load(files(role, anaconda_distribution="anaconda", anaconda_accept_terms=True)[".condarc"])
    assert settings["channels"] == ["defaults"]
    assert settings["plugins"] == {"auto_accept_tos": True}


def test_the_frozen_mark_tells_what_to_do(role):
    assert "conda create -n NAME python=3.13" in json.loads(files(role)["frozen"])["message"]


def test_the_login_script_is_a_posix_script_that_survives_a_missing_conda(role):
    for shell in filter(shutil.which, ("sh", "bash", "dash")):
        done = subprocess.run([shell, "-euc", files(role, anaconda_prefix="/nowhere/conda")["conda.sh"]], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("lock", ["science", "uv"])
@pytest.mark.parametrize("python", ["3.11.2", "3.12.3", "3.13.5", "3.14.4"])
def test_the_locks_hold_what_was_asked_for_on_every_python(lock, python):
    from ansible.module_utils.requirements import pinned

    asked = [line for line in (ROLE / f"files/locks/{lock}.in").read_text().splitlines() if line and not line.startswith("#")]
    for machine in (platform.machine(), "aarch64"):
        found = pinned((ROLE / f"files/locks/{lock}.txt").read_text(), python, machine)
        assert set(asked) <= set(found)
        assert not {"colorama", "appnope"} & set(found)
