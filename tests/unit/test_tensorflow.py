"""Which build fits which server, what is refused, the locks, and what the role writes."""

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.requirements import pinned
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from tensorflow import tensorflow_problems, tensorflow_trained, tensorflow_wanted

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/tensorflow"
LOCKS = ROLE / "files/locks"
FRAMEWORKS = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__tensorflow_frameworks"]
BUILDS = [(framework, name, build) for framework, one in FRAMEWORKS.items() for name, build in one["variants"].items()]
FOUND = {"avx": True, "driver": "", "machine": "x86_64", "free": 100_000, "there": []}


def card(architecture, driver="nvidia"):
    return {"address": "0000:01:00.0", "device": "1b80", "architecture": architecture, "driver": driver}


def wanted(*entries, cards=(), machine="x86_64", python="3.13"):
    return tensorflow_wanted(list(entries), FRAMEWORKS, list(cards), machine, python, "/site")


def problems(*entries, cards=(), python="3.13", **found):
    found = {**FOUND, **found}
    return tensorflow_problems(wanted(*entries, cards=cards, machine=found["machine"], python=python), FRAMEWORKS, list(cards), found)


TF, TORCH, JAX = {"name": "tf"}, {"name": "torch", "framework": "pytorch"}, {"name": "jax", "framework": "jax"}


@pytest.mark.parametrize(
    ("entry", "architectures", "variant"),
    [
        (TF, [], "cpu"),
        (TF, ["pascal"], "cuda-pascal"),
        (TF, ["volta"], "cuda-pascal"),
        (TF, ["turing"], "cuda"),
        (TF, ["ada"], "cuda"),
        (TF, ["hopper"], "cuda"),
        (TF, ["blackwell"], "cuda"),
        (TF, ["ada", "pascal"], "cuda-pascal"),
        # The old one is left out rather than the new one.
        (TF, ["maxwell", "ada"], "cuda"),
        (TORCH, ["ampere"], "cuda"),
        (TORCH, [], "cpu"),
        (JAX, ["pascal"], "cuda-pascal"),
        (JAX, ["maxwell"], "cuda-pascal"),
        (JAX, ["blackwell"], "cuda"),
        ({**TF, "variant": "cpu"}, ["ada"], "cpu"),
        ({**TF, "variant": "cuda-pascal"}, ["ada"], "cuda-pascal"),
        ({**TF, "variant": "cuda"}, [], "cuda"),
    ],
)
def test_the_build_fits_the_cards(entry, architectures, variant):
    cards = [card(name) for name in architectures]
    (one,) = wanted(entry, cards=cards)
    assert one["variant"] == variant
    assert one["lock"] == FRAMEWORKS[one["framework"]]["variants"][variant]["lock"]
    # Where there is a card, verify wants to see it at work, unless the owner said otherwise.
    assert one["gpu"] == (bool(cards) and variant != "cpu")
    assert problems(entry, cards=cards) == []


def test_a_card_that_is_handed_on_to_a_virtual_machine_is_not_ours():
    (one,) = wanted(TF, cards=[card("ada", "vfio-pci")])
    assert (one["variant"], one["gpu"]) == ("cpu", False)
    (one,) = wanted(TF, cards=[card("ada", "vfio-pci"), card("pascal", "")])
    assert (one["variant"], one["gpu"]) == ("cuda-pascal", True)


def test_a_lock_of_the_owner_takes_the_place_of_the_roles(tmp_path):
    (tmp_path / "own.txt").write_text("")
    own = {**TORCH, "pip_lock": str(tmp_path / "own.txt")}
    (one,) = wanted(own, cards=[card("pascal")])
    assert (one["lock"], one["gpu"]) == (str(tmp_path / "own.txt"), True)
    # Which Python, disk or driver it wants only its maker knows.
    assert problems(own, cards=[card("pascal")], python="3.15", free=0, driver="470.1") == []
    (one,) = wanted({**own, "pip_lock": "locks/own.txt"})
    assert (one["lock"], one["gpu"]) == ("/site/locks/own.txt", False)


@pytest.mark.parametrize(
    ("entries", "given", "sentence"),
    [
        ([{"name": "My Env"}], {}, "'My Env' cannot name an environment"),
        ([{"name": "../tf"}], {}, "'../tf' cannot name an environment"),
        ([{"name": "jupyter"}], {}, "jupyter is an environment of another role; choose another name"),
        ([{"name": "base"}], {}, "base is an environment of another role"),
        ([TF, TF], {}, "tf is there twice; rename or remove one entry"),
        ([{**TF, "pip_lock": "no.txt"}], {}, "environment tf: there is no file /site/no.txt on the control node; correct `pip_lock`"),
        ([TF], {"python": "3.14"}, "TensorFlow has no build for Python 3.14, only for 3.11, 3.12, 3.13; set tensorflow_python"),
        ([{**TF, "python": "3.10.4"}], {}, "TensorFlow has no build for Python 3.10.4"),
        ([TORCH], {"python": "3.15"}, "PyTorch has no build for Python 3.15"),
        ([TF], {"cards": [card("maxwell")]}, "TensorFlow has no build for x86_64 with an NVIDIA card of the architecture maxwell; give it"),
        ([TORCH], {"cards": [card("pascal")]}, "PyTorch has no build for x86_64 with an NVIDIA card of the architecture pascal; give it"),
        ([TF], {"cards": [card("")]}, "of the architecture unknown (1b80); give it `variant: cpu` or a `pip_lock` of yours"),
        ([TF], {"cards": [card("hopper")], "machine": "aarch64"}, "TensorFlow has no build for aarch64 with an NVIDIA card"),
        ([{**TF, "variant": "cuda"}], {"machine": "aarch64"}, "the build cuda of TensorFlow is for x86_64, not for aarch64"),
        ([{**TORCH, "variant": "cuda-pascal"}], {}, "PyTorch has no build cuda-pascal, only cuda, cpu"),
        ([{**TF, "variant": "cuda"}], {"cards": [card("pascal")]}, "the build cuda of TensorFlow has no code for a card"),
        (
            [JAX], {"cards": [card("ada")], "driver": "550.163.01"},
            "the build cuda of JAX needs NVIDIA driver 580, here is 550.163.01; give it `variant: cuda-pascal`",
        ),
        ([TORCH], {"cards": [card("ada")], "driver": "550.163.01"}, "driver 580, here is 550.163.01; give it `variant: cpu` or"),
        ([TF], {"avx": False}, "TensorFlow needs a processor with AVX, and this one has none"),
        ([TF], {"free": 1900}, "tf needs 2.3 GB on the disk of the environments, 1.9 GB are free"),
        ([TF, JAX], {"free": 2500}, "tf and jax need 3.5 GB on the disk"),
        ([TF], {"free": 5000, "cards": [card("pascal")]}, "tf needs 7.3 GB on the disk"),
    ],
)  # fmt: skip
def test_what_would_not_work_gets_a_sentence_with_the_file_to_change(entries, given, sentence):
    (said,) = problems(*entries, **given)
    assert said.startswith("tensorflow_environments: ")
    assert sentence in said
    assert said.endswith("in group_vars/workbenches/tensorflow.yml")
    assert "\n" not in said


def test_only_what_is_yet_to_be_made_needs_room():
    place = "/opt/conda/envs/tf/lib/python3.13/site-packages/"
    assert problems(TF, free=100, there=[place + "tensorflow_cpu-2.21.0.dist-info"]) == []
    # A card was fitted, or Python changed: that is another build.
    there = [place + "tensorflow_cpu-2.21.0.dist-info"]
    assert "tf needs" in problems(TF, free=100, there=there, cards=[card("ada")])[0]
    assert "tf needs" in problems(TF, free=100, there=there, python="3.12")[0]
    # Of another environment.
    assert "tf2 needs" in problems({"name": "tf2"}, free=100, there=there)[0]
    assert problems({**TF, "state": "absent"}, free=0, avx=False, python="3.15") == []


def test_a_processor_without_avx_is_no_matter_for_others():
    assert problems(TORCH, avx=False) == []
    assert problems(TF, avx=False, machine="aarch64") == []


def answer(rc=0, stderr="", **told):
    told = {"framework": "tensorflow 2.21.0", "device": "CPU", "gpu": False, "first": 1, "last": 0, "seconds": 8.1, **told}
    return {"rc": rc, "stdout": json.dumps(told) if rc == 0 else "", "stderr": stderr}


def test_a_training_on_the_wrong_device_breaks_the_promise():
    on_card = wanted(TF, cards=[card("pascal")])
    assert tensorflow_trained({"tf": answer(device="NVIDIA GeForce GTX 1080", gpu=True)}, on_card) == {
        "said": "tf on NVIDIA GeForce GTX 1080 (tensorflow 2.21.0, 8.1 s)",
        "failed": {},
    }
    failed = tensorflow_trained({"tf": answer(stderr="Cannot dlopen some GPU libraries")}, on_card)["failed"]["tf"]
    assert "computed on the CPU, though the server has a card" in failed
    assert "Cannot dlopen" in failed
    assert tensorflow_trained({"tf": answer()}, wanted(TF))["failed"] == {}
    assert tensorflow_trained({"tf": answer()}, wanted({**TF, "variant": "cpu"}, cards=[card("ada")]))["failed"] == {}


def test_a_training_that_fails_says_why():
    failed = tensorflow_trained({"tf": answer(rc=1, stderr="ImportError: no module")}, wanted(TF))
    assert failed == {"said": "tf not at all", "failed": {"tf": "ImportError: no module"}}
    assert tensorflow_trained({"tf": {"rc": 124, "stdout": "", "stderr": ""}}, wanted(TF))["failed"]["tf"] == "ended with 124"
    assert "noise" in tensorflow_trained({"tf": {"rc": 0, "stdout": "noise", "stderr": ""}}, wanted(TF))["failed"]["tf"]


def lock(name, python="3.13", machine="x86_64"):
    return pinned((LOCKS / name).read_text(), python, machine)


@pytest.mark.parametrize(("framework", "variant", "build"), BUILDS, ids=[f"{one} {two}" for one, two, _ in BUILDS])
def test_a_lock_has_for_each_python_and_machine_what_the_table_says(framework, variant, build):
    for machine in build["machines"]:
        for python in FRAMEWORKS[framework]["python"]:
            packages = lock(build["lock"], python, machine)
            assert {"ipykernel", "matplotlib", "pandas", "scikit-learn", "tensorboard"} <= set(packages)
            named = {name.replace("-", "_") + "-" for name in packages}
            assert any(name.startswith(build["tells"]) for name in named), (python, machine)
            assert ("nvidia-cudnn-cu12" in packages or "nvidia-cudnn-cu13" in packages) == (variant != "cpu" or framework == "pytorch")
    assert "--index" not in (LOCKS / build["lock"]).read_text()


def test_old_cards_get_the_last_cudnn_that_has_code_for_them():
    for name in ("tensorflow-cuda-pascal.txt", "jax-cuda-pascal.txt"):
        assert lock(name)["nvidia-cudnn-cu12"] == "9.10.2.21"
    # And the others do not stay behind with them.
    assert lock("tensorflow-cuda.txt")["nvidia-cudnn-cu12"] != "9.10.2.21"


def test_a_server_without_a_card_gets_no_cuda():
    for machine in ("x86_64", "aarch64"):
        packages = {**lock("tensorflow-cpu.txt", machine=machine), **lock("jax-cpu.txt", machine=machine)}
        assert not [name for name in packages if name.startswith(("nvidia-", "cuda", "jax-cuda"))]
    assert {"tensorflow", "tensorflow-cpu"} & set(lock("tensorflow-cpu.txt")) == {"tensorflow-cpu"}
    assert {"tensorflow", "tensorflow-cpu"} & set(lock("tensorflow-cpu.txt", machine="aarch64")) == {"tensorflow"}


def test_every_lock_is_of_a_build():
    assert {file.name for file in LOCKS.glob("*.txt")} == {build["lock"] for *_, build in BUILDS}
    assert {file.stem for file in LOCKS.glob("*.txt")} == {file.stem for file in LOCKS.glob("*.in")}


def test_the_program_that_jupyterlab_starts_is_python_and_runs_in_the_environment():
    variables = {
        "ansible_managed": "Ansible managed",
        "tensorflow_logs": "~/a \"b'",
        "__tensorflow_board_python": "/opt/conda/envs/tf/bin/python",
    }
    text = (ROLE / "templates/tensorboard.j2").read_text()
    text = Templar(DataLoader(), variables=variables).template(trust_as_template(text))
    assert text.startswith("#!/opt/conda/envs/tf/bin/python -I\n")
    compile(text, "tensorboard", "exec")
    assert 'expanduser("~/a \\"b\'")' in text


def work_out(tmp_path, **given):
    """Work out the wiring of the repository's own group_vars, for a workbench of the repository's own inventory."""
    file = tmp_path / "out.json"
    done = subprocess.run(
        ["ansible", "fenton", "-i", "inventory/hosts.yml", "--playbook-dir", ".", "-c", "local", "-m", "ansible.builtin.copy",
         "-e", json.dumps({**given, "wanted": ["{{ tensorflow_environments }}", "{{ jupyter_proxies }}"]}),
         "-e", "ansible_python_interpreter=python3", "-a", f"dest={file} mode=0600 content={{{{ wanted | to_json }}}}"],
        capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(file.read_text())


def test_a_workbench_has_tensorflow_and_tensorboard_unless_it_is_taken_out(tmp_path):
    environments, (proxy,) = work_out(tmp_path)
    assert environments == [{"name": "tf"}]
    files = {file["dest"] for file in yaml.safe_load((ROLE / "vars/main.yml").read_text())["__tensorflow_files"]}
    for path in (proxy["command"][0], proxy["icon"]):
        assert path.replace("/usr/local/lib/fenton", "{{ __tensorflow_lib }}") in files
    assert work_out(tmp_path, tensorflow_environments=[])[1] == []
    assert work_out(tmp_path, tensorflow_environments=[{"name": "tf", "state": "absent"}])[1] == []


@pytest.mark.skipif(platform.system() != "Linux", reason="asks for abstract details of Linux")
def test_the_question_to_tensorboard_tells_an_open_socket_from_a_closed_one(tmp_path):
    program = tmp_path / "board"
    for mask, mode in (("0o077", "700"), ("0o000", "777")):
        program.write_text(
            f"#!{sys.executable} -I\nimport os, socket, sys\nos.umask({mask})\n"
            "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
            "c = s.accept()[0]; c.recv(999); c.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n')\n"
        )
        program.chmod(0o755)
        done = subprocess.run([sys.executable, ROLE / "files/ask_board.py", program], capture_output=True, text=True, timeout=60)
        assert done.stdout == f"HTTP/1.1 200 OK, socket {mode}\n", done.stderr
    program.write_text(f"#!{sys.executable} -I\nimport sys\nsys.exit('no tensorboard here')\n")
    done = subprocess.run([sys.executable, ROLE / "files/ask_board.py", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, re.search("no tensorboard here", done.stderr) is not None) == (1, True)
