"""What is decided about metrics, the program that writes some of them, and the real templates."""

import subprocess
import time
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from conftest import load
from exporters import (
    exporters_metric_problems,
    exporters_modules,
    exporters_name_problems,
    exporters_probe_problems,
    exporters_source_problems,
)

ROOT = Path(__file__).resolve().parents[2]
PORTS = {"node": 9100, "blackbox": 9115, "gpu": 9835}
FILE = ROOT / "roles/exporters/files/metrics"
program = load(FILE)


def test_right_input_raises_no_problem():
    assert exporters_source_problems(["192.0.2.1", "192.0.2.0/24", "2001:db8::1", "watch.example.org", "fenton"]) == []
    assert exporters_name_problems(["a"], ["a 192.0.2.1", "a 2001:db8::1"], "forge") == []
    assert exporters_probe_problems([{"name": "jupyter_ada", "url": "https://127.0.0.1:8888/api"}]) == []
    assert exporters_metric_problems([{"name": "jupyter_ada", "port": 18888}], PORTS, 9999) == []


@pytest.mark.parametrize(
    ("problems", "sentence"),
    [
        (exporters_source_problems(["10.0.0.0/99"]), "'10.0.0.0/99' is neither an address"),
        (exporters_source_problems(["a b"]), "'a b' is neither an address"),
        (exporters_source_problems(["x; reboot"]), "'x; reboot' is neither an address"),
        (exporters_source_problems(["$(reboot)"]), "'$(reboot)' is neither an address"),
        (exporters_source_problems(["-x"]), "'-x' is neither an address"),
        (exporters_source_problems([""]), "'' is neither an address"),
        (exporters_source_problems(["::1"]), "::1 is each server itself"),
        (exporters_source_problems(["127.0.0.0/8"]), "127.0.0.0/8 is each server itself"),
        (exporters_source_problems(["localhost"]), "localhost is each server itself"),
        (exporters_name_problems(["a", "b"], ["a 192.0.2.1"], "forge"), "forge finds no address for b; write the watcher's address"),
        (exporters_name_problems(["a"], ["a 127.0.1.1"], "forge"), "to forge the name a is itself (127.0.1.1)"),
        (exporters_name_problems(["forge"], ["forge 192.0.2.2"], "forge", ["192.0.2.2"]), "to forge the name forge is itself (192.0.2.2)"),
        (exporters_probe_problems([{"name": "a b", "url": "http://x"}]), "the name 'a b'"),
        (exporters_probe_problems([{"name": "a", "url": "http://x"}, {"name": "a", "url": "http://y"}]), "a is there twice"),
        (exporters_probe_problems([{"name": "a", "url": "ftp://x"}]), "'ftp://x' of a is no address"),
        (exporters_metric_problems([], PORTS, 9115), "exporters_port: 9115 is the port of the exporter blackbox"),
        (exporters_metric_problems([{"name": "gpu", "port": 7}], PORTS, 9999), "a name of ours (blackbox, gpu, node)"),
        (exporters_metric_problems([{"name": "a", "port": 9999}], PORTS, 9999), "port 9999 of a is that of the door"),
        (exporters_metric_problems([{"name": "a", "port": 7}, {"name": "b", "port": 7}], PORTS, 9999), "port 7 of b is that of a"),
        (exporters_metric_problems([{"name": "a", "port": 7, "path": "x"}], PORTS, 9999), "the path 'x' of a does not begin with /"),
    ],
)
def test_a_problem_is_one_sentence_with_the_line_to_change(problems, sentence):
    assert len(problems) == 1
    assert sentence in problems[0]
    assert "exporters.yml" in problems[0]
    assert problems[0].startswith("exporters_")


def test_modules_are_what_there_is():
    assert exporters_modules([], PORTS, False, False) == {"node": {"address": "127.0.0.1:9100", "path": "/metrics"}}
    found = exporters_modules([{"name": "x", "port": 5, "path": "/m"}], PORTS, True, True)
    assert found["x"] == {"address": "127.0.0.1:5", "path": "/m"}
    assert found["blackbox"]["path"] == "/probe"
    assert found["gpu"]["address"] == "127.0.0.1:9835"


def wired(file, **variables):
    """Return what a file of group_vars makes of *variables*."""
    given = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    known = {**variables, **{name: trust_as_template(text) for name, text in given.items()}}
    templar = Templar(loader=DataLoader(), variables=known)
    return {name: templar.template(trust_as_template(text)) for name, text in given.items()}


def test_who_watches_comes_from_the_inventory():
    hosts = {"fenton": {"exporters_hostname": "192.0.2.10"}, "forge": {"exporters_hostname": "forge.lan"}}
    about = {"hostvars": hosts, "ansible_host": "192.0.2.10"}
    other = wired("group_vars/all/exporters.yml", **about, inventory_hostname="forge", groups={"monitoring": ["fenton"]})
    assert other["exporters_sources"] == ["192.0.2.10"]
    own = wired("group_vars/all/exporters.yml", **about, inventory_hostname="fenton", groups={"monitoring": ["fenton"]})
    assert own["exporters_sources"] == []
    nobody = wired("group_vars/all/exporters.yml", **about, inventory_hostname="fenton", groups={})
    assert nobody["exporters_sources"] == []


def test_notebooks_are_probed_and_measured():
    users = [{"name": "ada", "port": 8888}, {"name": "tom", "port": "8889", "password": "not repeated here"}]
    found = wired("group_vars/workbenches/exporters.yml", jupyter_users=users, jupyter_metrics_offset=10000)
    assert found["exporters_probes"] == [
        {"name": "jupyter_ada", "url": "https://127.0.0.1:8888/api"}, {"name": "jupyter_tom", "url": "https://127.0.0.1:8889/api"},
    ]  # fmt: skip
    assert found["exporters_metrics"] == [{"name": "jupyter_ada", "port": 18888}, {"name": "jupyter_tom", "port": 18889}]
    assert wired("group_vars/workbenches/exporters.yml", jupyter_users=users, jupyter_metrics_offset=0)["exporters_metrics"] == []
    assert wired("group_vars/workbenches/exporters.yml", jupyter_users=[], jupyter_metrics_offset=10000)["exporters_probes"] == []


@pytest.fixture
def server(tmp_path):
    """Return the place of a server below a directory, and what runs the program there; it expects two cards and has nothing else."""
    (tmp_path / "expected.json").write_text('{"gpus": 2}')

    def run():
        status = program.main(tmp_path / "expected.json", tmp_path / "fenton.prom", tmp_path)
        lines = [line.rpartition(" ") for line in (tmp_path / "fenton.prom").read_text().splitlines() if not line.startswith("#")]
        return status, {name: float(number) for name, _, number in lines}

    return tmp_path, run


def test_a_bare_server_tells_what_it_can(server):
    _, run = server
    status, found = run()
    assert status == 0
    assert found["fenton_reboot_required"] == 0
    assert found["fenton_gpus_expected"] == 2
    assert found["fenton_gpus_present"] == 0
    assert time.time() - 5 < found["fenton_success_timestamp_seconds"] <= time.time() + 1
    assert not any("driver" in name and "part" not in name for name in found)
    assert not any("upgrade_success" in name for name in found)


def put(root, path, text=""):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_cards_are_counted_as_the_bus_shows_them(server):
    root, run = server
    functions = [("01", "0x10de", "0x030000"), ("02", "0x10de", "0x030200"), ("03", "0x10de", "0x040300"), ("04", "0x8086", "0x030000")]
    for address, vendor, kind in functions:
        put(root, f"sys/bus/pci/devices/0000:{address}:00.0/vendor", vendor + "\n")
        put(root, f"sys/bus/pci/devices/0000:{address}:00.0/class", kind + "\n")
    assert run()[1]["fenton_gpus_present"] == 2
    (root / "sys/bus/pci/devices/0000:02:00.0/driver").symlink_to("../../../bus/pci/drivers/vfio-pci")
    assert run()[1]["fenton_gpus_present"] == 1


@pytest.mark.parametrize(
    ("module", "library", "differs"), [("580.65.06", "580.65.06", 0), ("580.65.06", "580.95.05", 1), ("", "580.95.05", None)]
)
def test_a_driver_of_two_versions_is_told(server, module, library, differs):
    root, run = server
    put(root, "sys/module/nvidia/version", module)
    put(root, f"usr/lib/libcuda.so.{library}")
    (root / "usr/lib/libcuda.so.1").symlink_to(f"libcuda.so.{library}")
    put(root, "ldconfig", "\tlibcuda.so.1 (libc6,x86-64) => /usr/lib/libcuda.so.1\n\tlibc.so.6 (libc6) => /lib/libc.so.6\n")
    status, found = run()
    assert status == 0
    assert found.get("fenton_nvidia_driver_mismatch") == differs
    if differs is not None:
        assert found[f'fenton_nvidia_driver_info{{module="{module}",library="{library}"}}'] == 1


def test_an_upgrade_that_never_ended_well_is_zero(server):
    root, run = server
    put(root, "usr/bin/unattended-upgrade")
    assert run()[1]["fenton_unattended_upgrade_success_timestamp_seconds"] == 0
    put(root, "var/lib/apt/periodic/upgrade-stamp")
    assert run()[1]["fenton_unattended_upgrade_success_timestamp_seconds"] > time.time() - 60


def test_the_end_of_each_certificate_is_told_and_a_broken_one_spares_the_others(server):
    root, run = server
    place = root / "etc/fenton/tls/jupyter"
    place.mkdir(parents=True)
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=x -keyout /dev/null -out"
    subprocess.run([*words.split(), place / "fullchain.pem"], check=True, capture_output=True)
    status, found = run()
    ends = found['fenton_certificate_not_after_timestamp_seconds{service="jupyter"}']
    assert status == 0
    assert abs(ends - time.time() - 30 * 86400) < 60
    before = found["fenton_success_timestamp_seconds"]
    put(root, "etc/fenton/tls/zebra/fullchain.pem", "nonsense")
    put(root, "run/reboot-required")
    status, found = run()
    assert status == 1
    assert found['fenton_part_success{part="certificates"}'] == 0
    assert found['fenton_part_success{part="gpus"}'] == 1
    assert found["fenton_reboot_required"] == 1
    assert found["fenton_success_timestamp_seconds"] == before


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(server, monkeypatch):
    root, run = server
    run()
    before = (root / "fenton.prom").read_text()
    monkeypatch.setattr(program.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        run()
    assert (root / "fenton.prom").read_text() == before
    assert [path.name for path in root.iterdir() if "prom" in path.name] == ["fenton.prom"]


def test_labels_are_escaped():
    assert program.exposition([("a", {"b": 'x"\\\n'}, 1)]) == '# TYPE a gauge\na{b="x\\"\\\\\\n"} 1\n'


def test_every_exporter_is_told_to_stay_on_loopback():
    templates = ROOT / "roles/exporters/templates"
    for name in ("node.conf.j2", "blackbox.conf.j2"):
        assert "--web.listen-address=127.0.0.1:{{" in (templates / name).read_text()
    assert "--bind-address 127.0.0.1" in (templates / "fenton-gpu-exporter.service.j2").read_text()
    assert "-web.listen-address= " in (templates / "door.conf.j2").read_text()
    # Before the packages that would start them.
    change = yaml.safe_load((ROOT / "roles/exporters/tasks/change.yml").read_text())
    order = [key for task in change for key in task if key in ("write_files", "ansible.builtin.apt")]
    assert order[:2] == ["write_files", "ansible.builtin.apt"]
