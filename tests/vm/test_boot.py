"""Disks on a machine that boots: a kernel with quotas, a real udev, systemd that mounts.

``scripts/vm`` runs this; each test goes on from the last.
"""

import json
import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".work"
# As udev names them by their serial numbers.
DEVICE = "/dev/disk/by-id/virtio-{}"
DATA = {"device": DEVICE.format("DATA"), "mount": "/srv/data", "mode": "1777"}
MORE = {"device": DEVICE.format("MORE"), "mount": "/srv/more", "mode": "1777", "filesystem": "xfs"}
OLD = {"device": DEVICE.format("OLD"), "mount": "/srv/old", "mode": "1777"}
QUOTAS = {"quota": "40M", "quotas": {"tom": "none"}}
LIMITED = [{**DATA, **QUOTAS}, {**MORE, **QUOTAS}, OLD]
PLENTY = 60 * 1024**2
HELD = "Nobody fills more of a disk than its quota"
MOUNTED = "Disks are mounted by their UUID, and a missing one does not keep the server from starting"


class Machine:
    """The virtual machine; time-outs are for a processor that is emulated."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = None

    def boot(self, disks=("DATA", "MORE", "OLD")):
        """Switch it on with these disks beside its own, and wait until it has started."""
        drives = []
        for name in ("root", *disks):
            file = WORK / f"vm/{name.lower()}.img"
            if not file.exists():
                with file.open("wb") as empty:
                    empty.truncate(512 * 1024**2)
            drives += ["-drive", f"file={file},format=raw,if=none,cache=unsafe,id={name}"]
            drives += ["-device", f"virtio-blk-pci,drive={name},serial={name}"]
        words = ["qemu-system-x86_64", "-accel", os.environ.get("ACCEL", "tcg"), "-cpu", "max", "-smp", "1", "-m", "1536"]
        words += ["-display", "none", "-monitor", "none", "-serial", f"file:{WORK}/vm/console.log", "-device", "virtio-rng-pci"]
        words += ["-kernel", WORK / "vm/vmlinuz", "-initrd", WORK / "vm/initrd", "-append", "root=/dev/vda rw console=ttyS0", *drives]
        words += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22", "-device", "virtio-net-pci,netdev=net"]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        self.wait()

    def wait(self, other_than=""):
        """Return the number of this boot as soon as it has ended, another than the one given."""
        until = time.monotonic() + 1800
        while time.monotonic() < until:
            assert self.process.poll() is None, "qemu has ended"
            said = self.ssh("cat /proc/sys/kernel/random/boot_id; systemctl is-system-running --wait").stdout.split()
            if len(said) == 2 and said[0] != other_than:
                assert said[1] == "running", self.ssh("systemctl --failed --no-pager --full").stdout
                return said[0]
            time.sleep(2)
        return pytest.fail("it does not boot; see .work/vm/console.log")

    def ssh(self, script):
        """Log in and run a script."""
        options = {
            "UserKnownHostsFile": f"{WORK}/vm/known_hosts",
            "HostKeyAlias": "fenton",
            "BatchMode": "yes",
            "ConnectTimeout": "60",
            "ServerAliveInterval": "30",
        }
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        words = ["ssh", "-F", "none", *words, "-i", f"{WORK}/id_ed25519", "-p", str(self.port), "root@127.0.0.1", script]
        return subprocess.run(words, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)

    def reboot(self):
        """Restart it, as a person would."""
        before = self.ssh("cat /proc/sys/kernel/random/boot_id").stdout.strip()
        self.ssh("systemctl reboot")
        self.wait(other_than=before)

    def off(self):
        """Switch it off in good order."""
        self.ssh("systemctl poweroff")
        self.process.wait(timeout=600)

    def play(self, disks, *words, env=()):
        """Run role base with these disks; return what was said."""
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "VM_PORT": str(self.port), **dict(env)}
        playbook = [ROOT / "tests/vm/converge.yml", "-i", ROOT / "tests/vm/inventory.yml", "-e", json.dumps({"base_disks": disks})]
        done = subprocess.run(
            ["ansible-playbook", *playbook, *words], capture_output=True, text=True, env=environment, timeout=3600, stdin=subprocess.DEVNULL
        )
        return done.returncode, done.stdout + done.stderr

    def broken(self, disks, tmp_path):
        """Ask the promises about disks; return what was seen of those that do not hold, by name."""
        report = tmp_path / "report.json"
        self.play(disks, "--tags", "verify", env={"FENTON_DOCTOR": "1", "FENTON_REPORT": str(report)})
        promises = {entry["name"].rpartition(" | ")[2]: entry for entry in json.loads(report.read_text())["promises"]}
        assert MOUNTED in promises
        return {name: promises[name]["seen"] for name in (MOUNTED, HELD) if name in promises and not promises[name]["holds"]}

    def fills(self, person, mount):
        """Have somebody write 60 MB; return how much there was in the end, and what was said."""
        done = self.ssh(f"runuser -u {person} -- sh -c 'head -c {PLENTY} /dev/zero >{mount}/{person}'; stat -c %s {mount}/{person}")
        assert done.returncode == 0, done.stderr
        self.ssh(f"rm {mount}/{person}")
        return int(done.stdout), done.stderr


@pytest.fixture(scope="module")
def machine():
    """Boot it, and switch it off at the end."""
    one = Machine()
    try:
        one.boot()
        yield one
    finally:
        if one.process:
            one.process.kill()
            one.process.wait()


def assert_held(machine, mounts=("/srv/data", "/srv/more")):
    """Fail unless ada is held to 40 MB on each, and tom to nothing."""
    for mount in mounts:
        size, said = machine.fills("ada", mount)
        assert "Disk quota exceeded" in said and size <= 40 * 1024**2, (mount, size, said)
        assert machine.fills("tom", mount) == (PLENTY, "")


@pytest.mark.attempt(
    "Storage", "a person writes more than the quota of a disk, ext4 and XFS", '"Disk quota exceeded"; others go on writing'
)
def test_who_has_filled_his_part_is_refused_and_others_are_not(machine):
    status, said = machine.play(LIMITED)
    assert status == 0, said[-4000:]
    assert_held(machine)
    status, said = machine.play(LIMITED)
    assert status == 0 and "changed=0 " in said, said[-4000:]


@pytest.mark.attempt("Storage", "limits are lifted by hand, and switched off", "the doctor names the disk; the next run puts them back")
def test_limits_that_were_changed_by_hand_come_back(machine, tmp_path):
    assert machine.broken(LIMITED, tmp_path) == {}
    spoiled = machine.ssh("setquota -u ada 0 0 0 0 /srv/more && setquota -u tom 1 1 0 0 /srv/more && quotaoff -u /srv/data")
    assert spoiled.returncode == 0, spoiled.stderr
    assert machine.fills("ada", "/srv/data") == machine.fills("ada", "/srv/more") == (PLENTY, "")
    seen = machine.broken(LIMITED, tmp_path)
    assert seen == {HELD: ["/srv/data: nobody is held to a limit", "/srv/more: not the limits of ada, tom"]}
    assert machine.play(LIMITED)[0] == 0
    assert_held(machine)
    assert "changed=0 " in machine.play(LIMITED)[1]


@pytest.mark.attempt(
    "Storage", "the server restarts", "systemd mounts the disks at boot, and the quotas hold before anybody has run anything"
)
def test_disks_are_mounted_at_boot_with_their_quotas(machine):
    machine.reboot()
    mounted = machine.ssh("findmnt -rno TARGET,FSTYPE,OPTIONS -t ext4,xfs").stdout
    assert re.search(r"^/srv/data ext4 ", mounted, re.M) and re.search(r"^/srv/more xfs .*usrquota", mounted, re.M), mounted
    assert_held(machine)
    assert "changed=0 " in machine.play(LIMITED)[1]


@pytest.mark.attempt("Storage", "the server starts without its disks", "it comes up with ssh; the doctor names what is missing")
def test_a_server_without_its_disks_comes_up(machine, tmp_path):
    machine.off()
    machine.boot(disks=())
    assert machine.broken(LIMITED, tmp_path) == {MOUNTED: ["/srv/data", "/srv/more", "/srv/old"]}
    machine.off()
    machine.boot()
    assert machine.broken(LIMITED, tmp_path) == {}


@pytest.mark.attempt("Storage", "quotas are wanted on an ext4 that was made without", "refused with the commands that help, and they do")
def test_what_is_said_of_a_disk_without_quotas_helps(machine):
    wanted = [*LIMITED[:2], {**OLD, **QUOTAS}]
    machine.ssh("echo kept >/srv/old/note")
    status, said = machine.play(wanted)
    said = " ".join(said.split())
    assert status != 0 and "was made without quotas; when nobody needs it" in said
    for command in re.search(r"when nobody needs it, (.*?) there, and run again", said)[1].split(", then "):
        done = machine.ssh(command.strip("`"))
        assert done.returncode == 0, done.stderr
    status, said = machine.play(wanted)
    assert status == 0, said[-4000:]
    assert_held(machine, ["/srv/old"])
    assert machine.ssh("cat /srv/old/note").stdout == "kept\n"


@pytest.mark.attempt(
    "Storage", "the quotas are taken out of base_disks", "nobody is held to anything, at once and after a restart; the data stay"
)
def test_without_the_keys_nobody_is_held_to_anything(machine):
    without = [DATA, MORE, OLD]
    status, said = machine.play(without)
    assert status == 0, said[-4000:]
    for again in (True, False):
        assert [machine.fills("ada", disk["mount"]) for disk in without] == [(PLENTY, "")] * 3
        assert "changed=0 " in machine.play(without)[1]
        if again:
            machine.reboot()
