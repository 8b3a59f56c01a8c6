"""A server that was told of a card: all but the card and its kernel module is there, and what is missing is said by its name."""

import json
import os

import pytest
from conftest import in_turn

# What only a real card can make true. tests/gpu/ is for a machine that has one.
NEED_THE_CARD = {
    "Every card answers nvidia-smi by its name",
    "The kernel module that runs is of the driver that is installed",
    "The cards stay awake, from boot on",
}
HOLD = {
    "No unattended upgrade touches driver or kernel",
    "The driver is of one source, the chosen one",
    "The driver has brought no X server",
}
CARD = "/sys/bus/pci/devices/0000:01:00.0"
PREFERENCES = "/etc/apt/preferences.d/fenton-nvidia"
NEVER = "/etc/apt/apt.conf.d/53fenton-nvidia"
SOURCES = "/etc/apt/sources.list.d/fenton-nvidia.sources"
MODPROBE = "/etc/modprobe.d/fenton-nvidia.conf"
DROP_IN = "/etc/systemd/system/nvidia-persistenced.service.d/fenton.conf"
FILES = [PREFERENCES, NEVER, SOURCES, MODPROBE, DROP_IN]
LOOK = f"stat -c '%n %a %U %G' {' '.join(FILES)}; sha256sum {' '.join(FILES)}"
# What is spoiled, how, and what shows whether it is right. Each has a reason of its own to be repaired.
EDITS = {
    "the files that keep sources and updates away": (f"rm {PREFERENCES}; echo '#clear x;' >>{NEVER}", LOOK),
    "the text of the sources": (f"sed -i s/non-free// {SOURCES}", LOOK),
    "the mode of the sources": (f"chmod 666 {SOURCES}", LOOK),
    "the file that keeps nouveau away": (f"chmod 666 {MODPROBE}", LOOK),
    "the drop-in of the service": (f"rm {DROP_IN}", LOOK),
    "a package": ("dpkg --remove --force-depends nvidia-smi", "dpkg-query -W -f '${Status}' nvidia-smi; command -v nvidia-smi"),
    "the service that keeps the cards awake": ("systemctl disable nvidia-persistenced", "systemctl is-enabled nvidia-persistenced"),
    "word of the reboot": ("rm /run/reboot-required", "ls /run/reboot-required"),
}


@pytest.fixture
def fenton(servers):
    """Return the server with the card."""
    return servers["fenton"]


def said(done):
    return " ".join(done.stdout.split())


def play(server, **values):
    """Run the role with other values and return the finished run."""
    return server.playbook("--tags", "nvidia", "-e", json.dumps(values))


def promises(server, folder):
    """Return the role's promises on *server*, by name whether they hold, as `make doctor` asks them."""
    report = folder / "report.json"
    done = server.playbook("--tags", "verify", env={"FENTON_DOCTOR": "1", "FENTON_REPORT": str(report)})
    assert done.returncode == 0, done.stdout[-4000:]
    found = json.loads(report.read_text())
    assert found.get("failures", []) == []
    return {entry["name"].rpartition(" | ")[2]: entry for entry in found["promises"] if entry["role"] == "nvidia"}


def test_the_run_says_that_the_module_is_missing_and_a_reboot_due(fenton):
    done = play(fenton)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "fenton: a reboot is due, the kernel module is not loaded (driver 5" in said(done)
    assert fenton.docker("cat", "/run/reboot-required").returncode == 0


def test_the_promises_that_need_the_card_fail_and_no_others(fenton, tmp_path):
    found = promises(fenton, tmp_path)
    assert set(found) == NEED_THE_CARD | HOLD
    assert {name for name, entry in found.items() if not entry["holds"]} == NEED_THE_CARD
    for name in NEED_THE_CARD:
        assert "A reboot of fenton is due, the kernel module is not loaded" in found[name]["cure"]


@pytest.mark.once
def test_a_promise_that_fails_ends_the_run(fenton):
    done = fenton.playbook("--tags", "verify")
    assert done.returncode != 0
    assert "This promise does not hold: Every card answers" in said(done)


def test_all_but_the_module_is_there(fenton):
    names = fenton.docker("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n").stdout.splitlines()
    branch = {"debian13": "550", "debian12": "535"}[os.environ.get("OS") or "debian13"]
    for name in ("nvidia-kernel-dkms", "nvidia-smi", "libcuda1", "nvidia-persistenced"):
        assert f"{name} installed" in names
    assert not [name for name in names if name.startswith(("xserver-", "nvidia-driver ", "nvidia-open"))]
    assert f"nvidia-current/{branch}." in fenton.docker("dkms", "status").stdout
    # CUDA's own word: 100 is "no device", 35 "no driver that fits", anything else a library that is broken.
    loaded = fenton.docker("python3", "-c", "import ctypes; print(ctypes.CDLL('libcuda.so.1').cuInit(0))")
    assert loaded.stdout.strip() == "100", loaded.stderr


def test_a_host_without_a_card_is_left_as_it_is(servers, tmp_path):
    forge = servers["forge"]
    done = play(forge)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "forge has no NVIDIA card: no driver." in said(done)
    assert "changed=0" in done.stdout
    assert "nvidia" not in forge.docker("dpkg-query", "-W").stdout
    assert forge.docker("sh", "-c", f"ls {' '.join(FILES)}").stdout == ""
    assert promises(forge, tmp_path) == {}


@pytest.mark.once
def test_a_card_of_a_virtual_machine_is_left_alone(servers):
    forge, place = servers["forge"], CARD.replace("01:00", "02:00")
    forge.docker("sh", "-c", f"cp -r /sys/bus/pci/devices/0000:00:02.0 {place} && cd {place} && echo 0x10de >vendor && echo 0x2204 >device"
                 " && ln -s ../../drivers/vfio-pci driver")  # fmt: skip
    try:
        done = play(forge)
        assert "forge has no NVIDIA card but those of its virtual machines" in said(done)
        assert "changed=0" in done.stdout
    finally:
        forge.docker("rm", "-r", place)


@pytest.mark.once
@pytest.mark.parametrize("edits", in_turn(EDITS))
def test_what_is_changed_by_hand_is_put_right_by_the_next_run(fenton, edits):
    fenton.mends_all("nvidia", edits)


@pytest.mark.once
def test_a_list_that_somebody_clears_is_noticed(fenton, tmp_path):
    """By a file that apt reads after ours."""
    fenton.docker("sh", "-c", "echo '#clear Unattended-Upgrade::Package-Blacklist;' >/etc/apt/apt.conf.d/99clear")
    try:
        entry = promises(fenton, tmp_path)["No unattended upgrade touches driver or kernel"]
        assert not entry["holds"]
        assert "nvidia-smi" in entry["seen"]
        assert any(name.startswith("linux-image-") for name in entry["seen"])
    finally:
        fenton.docker("rm", "/etc/apt/apt.conf.d/99clear")


REFUSED = {
    "a branch that does not drive the card": (
        {"nvidia_branch": 595},
        "nvidia_branch: 595 does not drive pascal (580 at most, proprietary module); possible here: 5",
    ),
    "a branch without packages": ({"nvidia_branch": 580}, "nvidia_branch: 580 has no packages on Debian 1"),
    "cards that share no branch": (
        {"nvidia_architecture": "blackwell"},
        "no branch of the driver serves pascal (580 at most, proprietary module) and blackwell (570 or newer, open module) together",
    ),
    # On Debian 13 it has no branch for this card, on Debian 12 the two would mix.
    "the other source": ({"nvidia_source": "nvidia"}, "nvidia_source: distribution"),
    "a container engine that is not there": (
        {"nvidia_container_toolkit": ["podman"]},
        "nvidia_container_toolkit: fenton has no podman; install it there first",
    ),
    "a word that is no architecture": ({"nvidia_architecture": "Pascal"}, "nvidia_architecture"),
}


@pytest.mark.once
@pytest.mark.parametrize("name", REFUSED)
def test_refuses_before_anything_changes(fenton, name):
    values, sentence = REFUSED[name]
    done = play(fenton, **values)
    assert done.returncode != 0
    assert sentence in said(done)
    assert "changed=0" in done.stdout


@pytest.mark.once
def test_refuses_beside_a_driver_from_a_run_file(fenton):
    fenton.docker("touch", "/usr/bin/nvidia-uninstall")
    try:
        done = play(fenton)
        assert "fenton: its driver was installed by NVIDIA's .run file; run `nvidia-uninstall` there first" in said(done)
        assert "changed=0" in done.stdout
    finally:
        fenton.docker("rm", "/usr/bin/nvidia-uninstall")


@pytest.mark.once
def test_an_update_that_is_asked_for_changes_nothing_where_all_is_new(fenton):
    done = fenton.playbook("--tags", "nvidia", "-e", "nvidia_update=true", "-e", "nvidia_reboot=true")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "driver | Bring driver and kernel up to date together" in done.stdout
    assert "changed=0" in done.stdout


@pytest.mark.once
def test_a_module_of_another_version_is_said(fenton):
    """An update without a reboot: /sys shows the module that was loaded before it."""
    fenton.docker(
        "sh", "-c", "mkdir -p /run/module/nvidia && echo 470.57.02 >/run/module/nvidia/version && mount --bind /run/module /sys/module"
    )
    try:
        done = play(fenton)
        assert "fenton: a reboot is due, the loaded kernel module is 470.57.02, the installed driver is 5" in said(done)
    finally:
        fenton.docker("umount", "/sys/module")


@pytest.mark.once
def test_every_promise_can_hold(fenton, tmp_path):
    """A stand-in for the card: a module's version in /sys, what nvidia-smi would print, and a daemon that does not end."""
    path = fenton.docker("sh", "-c", "ldconfig -p | sed -n 's/.*libcuda[.]so[.]1 .* => //p' | xargs readlink -f").stdout.strip()
    version = path.rpartition("libcuda.so.")[2]
    answers = f"case $* in *bus_id*) echo 00000000:01:00.0, NVIDIA GeForce GTX 1080, {version}, Enabled, 8192 ;; *) echo Enabled ;; esac"
    unit = "/run/systemd/system/nvidia-persistenced.service.d"
    fenton.docker("sh", "-c", f"mkdir -p /run/module/nvidia {unit} && echo {version} >/run/module/nvidia/version"
                  " && mount --bind /run/module /sys/module"
                  f" && printf '#!/bin/sh\n%s\n' '{answers}' >/usr/local/bin/nvidia-smi && chmod +x /usr/local/bin/nvidia-smi"
                  f" && printf '[Service]\nType=simple\nExecStart=\nExecStart=/bin/sleep 1d\nExecStartPost=\n' >{unit}/zz.conf"
                  " && systemctl daemon-reload")  # fmt: skip
    try:
        done = play(fenton)
        assert done.returncode == 0, done.stdout[-4000:]
        assert "driver | Wake the cards" in done.stdout
        assert "a reboot is due" not in said(done)
        found = promises(fenton, tmp_path)
        assert set(found) == NEED_THE_CARD | HOLD
        assert [entry for entry in found.values() if not entry["holds"]] == []
        assert "changed=0" in play(fenton).stdout
    finally:
        fenton.docker("sh", "-c", f"umount /sys/module; rm -r /usr/local/bin/nvidia-smi {unit} /run/module; systemctl daemon-reload;"
                      " systemctl stop nvidia-persistenced")  # fmt: skip
