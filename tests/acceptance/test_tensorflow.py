"""Training as its users meet it: through JupyterLab, with TensorBoard behind the same login."""

import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from browser import browser, find, log_in, missing, wait, wait_for_lab
from conftest import ROOT, eventually, in_turn
from conftest import run as execute
from test_jupyter import Lab

NOTEBOOK = Path(__file__).parent / "notebooks/train.ipynb"
BOARD = "/usr/local/lib/fenton/tensorboard"


@pytest.fixture(scope="module", autouse=True)
def _environments(server):
    """Skip where the list of environments is empty, as in the scenario of the whole site."""
    if not server.variables.get("tensorflow_environments"):
        pytest.skip("shown in the scenario tensorflow")


@pytest.fixture(scope="module")
def lab(server):
    """Return ada's JupyterLab, logged in; after a reboot the servers start when the machine already says it is up."""
    one = Lab(server, "ada")
    eventually(
        lambda: server.docker("python3", "-c", f"import socket; socket.create_connection(('127.0.0.1', {one.port}))").returncode == 0
    )
    assert one.log_in().status_code == 302
    yield one
    for kernel in one.ask("GET", "/api/kernels").json():
        one.ask("DELETE", f"/api/kernels/{kernel['id']}")


@pytest.fixture(scope="module")
def trained(lab):
    """Run the notebook in the kernel tf, cell by cell; return what it printed and the name of its run."""
    answer = lab.ask("POST", "/api/kernels", json={"name": "tf"})
    assert answer.status_code == 201, answer.text
    kernel, printed = answer.json()["id"], ""
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            outputs = lab.run(kernel, "".join(cell["source"]))
            assert not [output for output in outputs if output["output_type"] == "error"], outputs[-1]["traceback"]
            printed += json.dumps(outputs)
    return printed, re.search(r"the run is called (digits-[0-9-]+)", printed)[1]


def told(lab, path):
    """Return what TensorBoard says, or nothing while it does not answer."""
    answer = lab.ask("GET", path)
    return answer.json() if answer.status_code == 200 else None


def test_a_notebook_trains_through_jupyterlab(trained):
    printed, _ = trained
    assert re.search(r"on the CPU", printed)
    assert re.search(r"It computed on .*CPU:0", printed)
    first, last = map(float, re.search(r"The loss fell from ([\d.]+) to ([\d.]+)", printed).groups())
    assert last < first / 4
    assert float(re.search(r"Right in ([\d.]+)%", printed)[1]) > 90
    assert "image/png" in printed


def test_tensorboard_shows_the_run_to_its_owner(lab, trained):
    page = lab.ask("GET", "/tensorboard/")
    assert page.status_code == 200
    assert "TensorBoard" in page.text
    _, run = trained
    eventually(lambda: f"{run}/train" in lab.ask("GET", "/tensorboard/data/runs").json())
    asked = f"/tensorboard/data/plugin/scalars/scalars?tag=epoch_loss&run={run}/train"
    losses = [value for *_, value in eventually(lambda: told(lab, asked))]
    assert len(losses) == 12
    assert losses[-1] < losses[0] / 4


def test_without_the_password_tensorboard_shows_nothing(server, lab):
    stranger = Lab(server, "ada")
    for path in ("/tensorboard/", "/tensorboard/data/runs", "/tensorboard", "/server-proxy/servers-info", "/proxy/22/"):
        answer = stranger.ask("GET", path, allow_redirects=False)
        assert answer.status_code in (302, 403), path
        assert answer.status_code == 403 or "/login" in answer.headers["location"], path
        assert "digits" not in answer.text


def test_another_user_sees_their_own_runs(server, trained):
    other = Lab(server, "tom")
    assert other.log_in().status_code == 302
    assert eventually(lambda: other.ask("GET", "/tensorboard/")).status_code == 200
    assert other.ask("GET", "/tensorboard/data/runs").json() == []


def test_another_account_of_the_server_cannot_connect_to_it(server, lab, trained):
    assert lab.ask("GET", "/tensorboard/").status_code == 200
    (pid,) = server.docker("pgrep", "-u", "ada", "-f", BOARD).stdout.split()
    # It listens nowhere on the network, localhost included, and neither does anything it started.
    assert f"pid={pid}," not in server.docker("ss", "-Hltnp").stdout
    assert "tensorboard-data-server" not in server.docker("ps", "-eo", "args").stdout
    path = server.docker("sh", "-c", f"tr '\\0' '\\n' </proc/{pid}/cmdline | tail -n 1").stdout.strip()
    connect = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r}); print('connected')"
    for account, connects in (("ada", True), ("tom", False), ("nobody", False)):
        done = server.docker("runuser", "-u", account, "--", "python3", "-c", connect)
        assert ("connected" in done.stdout) == connects, done.stderr


def test_tensorboard_comes_back_when_it_was_ended(server, lab, trained):
    server.docker("pkill", "-u", "ada", "-f", BOARD)
    assert eventually(lambda: told(lab, "/tensorboard/data/runs"))


def test_every_environment_is_a_kernel(lab):
    kernels = lab.ask("GET", "/api/kernelspecs").json()["kernelspecs"]
    assert {name: kernel["spec"]["display_name"] for name, kernel in kernels.items()} == {"tf": "Python (tf)", "jax": "Python (jax)"}
    kernel = lab.ask("POST", "/api/kernels", json={"name": "jax"}).json()["id"]
    assert "cpu" in lab.text(kernel, "import jax; print(jax.numpy.ones(3).sum().devices())").lower()


def test_nobody_changes_the_environment_for_others(server):
    for account in ("ada", "nobody"):
        done = server.docker(
            "runuser", "-u", account, "--", "sh", "-c", "touch /opt/conda/envs/tf/lib/x || touch /opt/conda/envs/tf/bin/python"
        )
        assert done.returncode != 0


def test_the_launcher_has_a_tile_that_opens_tensorboard(lab, trained, tmp_path):
    if missing():
        pytest.skip(f"no browser here: apt-get install {missing()}")
    with browser(tmp_path, lab.authority) as driver:
        # Without the tabs that were open last time.
        log_in(driver, f"{lab.url}/lab?reset", lab.password)
        wait_for_lab(driver)
        tile = wait(driver, lambda d: find(d, '.jp-LauncherCard[title="TensorBoard"]'))
        wait(driver, lambda d: d.execute_script("return arguments[0].querySelector('img').naturalWidth", tile) > 0)
        driver.save_screenshot(tmp_path / "launcher.png")
        tile.click()
        frame = wait(driver, lambda d: find(d, "iframe"))
        driver.switch_to.frame(frame)
        wait(driver, lambda d: "digits-" in d.find_element("css selector", "body").text)
        wait(driver, lambda d: "epoch_loss" in d.find_element("css selector", "body").text)
        driver.switch_to.default_content()
        time.sleep(1)  # for the eye only: what moves has come to rest
        driver.save_screenshot(tmp_path / "tensorboard.png")
        if os.environ.get("FENTON_SCREENSHOTS"):
            for name in ("launcher.png", "tensorboard.png"):
                shutil.copy(tmp_path / name, ROOT / ".work" / name)


def test_a_card_that_is_not_computed_on_breaks_the_promise(server, tmp_path):
    """As on a server whose driver does not work: the fact says that there is a card, the framework finds none."""
    card = {"address": "0000:01:00.0", "device": "1b80", "architecture": "pascal", "driver": "nvidia"}
    fact = {"ansible.builtin.set_fact": {"gpus": [card], "cacheable": True}, "tags": "always"}
    play = [{"hosts": "all", "become": True, "gather_facts": False, "pre_tasks": [fact], "roles": ["tensorflow"]}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    sources = ["-i", ROOT / "molecule/tensorflow/inventory.yml", "-i", ROOT / "molecule/shared/containers"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = execute("ansible-playbook", *sources, tmp_path / "play.yml", "--tags", "verify", cwd=ROOT, env=environment)
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "This promise does not hold: A network learns in every environment" in said
    assert "on the GPU where there is one: tf on CPU" in said
    assert "computed on the CPU, though the server has a card" in said
    assert "look first whether `nvidia-smi` answers" in said


SPOILT = {
    "rm /opt/conda/envs/tf/lib/python3*/site-packages/keras/__init__.py": (
        "/opt/conda/envs/tf/bin/python -c 'import keras; print(keras.__version__)'"
    ),
    f"sed -i 's/0o077/0o000/' {BOARD}": f"cat {BOARD}",
    f"chmod -x {BOARD}": f"stat -c %a {BOARD}",
    "rm /usr/local/lib/fenton/tensorboard.svg": "cat /usr/local/lib/fenton/tensorboard.svg",
    "rm -r /usr/local/share/jupyter/kernels/tf": "cat /usr/local/share/jupyter/kernels/tf/kernel.json",
}


@pytest.mark.parametrize("edits", in_turn({how: (how, look) for how, look in SPOILT.items()}))
def test_what_is_changed_by_hand_is_put_right_by_the_next_run(server, edits):
    server.mends_all("tensorflow", edits)
