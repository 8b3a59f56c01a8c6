"""The driver's decision on every architecture, release and source; what is said of a host; the files as the programs that read them."""

import base64
import hashlib
import json
import shutil
import subprocess
from itertools import product
from pathlib import Path

import nvidia
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/nvidia"
VARS = yaml.safe_load((ROLE / "vars/main.yml").read_text())
TABLES = {name: VARS[f"__nvidia_{name}"] for name in ("architectures", "branches", "open_from", "open_only_from", "releases")}
NAMES = VARS["__nvidia_packages"]
ALL = list(product(TABLES["architectures"], TABLES["releases"], ("distribution", "nvidia")))
# What comes out, by release and source: old is Maxwell, Pascal and Volta, new is Turing, Ampere and Ada.
CHOSEN = {
    ("Debian 12", "distribution"): {"old": (535, "proprietary"), "new": (535, "proprietary")},
    ("Debian 12", "nvidia"): {"old": (580, "proprietary"), "new": (580, "open"), "hopper": (580, "open"), "blackwell": (580, "open")},
    ("Debian 13", "distribution"): {"old": (550, "proprietary"), "new": (550, "proprietary"), "hopper": (550, "proprietary")},
    ("Debian 13", "nvidia"): {"new": (610, "open"), "hopper": (610, "open"), "blackwell": (610, "open")},
    ("Ubuntu 24.04", "distribution"): {
        "old": (580, "proprietary"),
        "new": (595, "open"),
        "hopper": (595, "open"),
        "blackwell": (595, "open"),
    },
    ("Ubuntu 24.04", "nvidia"): {"old": (580, "proprietary"), "new": (595, "open"), "hopper": (595, "open"), "blackwell": (595, "open")},
    ("Ubuntu 26.04", "distribution"): {
        "old": (580, "proprietary"),
        "new": (595, "open"),
        "hopper": (595, "open"),
        "blackwell": (595, "open"),
    },
    ("Ubuntu 26.04", "nvidia"): {"new": (615, "open"), "hopper": (615, "open"), "blackwell": (615, "open")},
}
GROUPS = dict.fromkeys(("maxwell", "pascal", "volta"), "old") | dict.fromkeys(("turing", "ampere", "ada"), "new")


def card(architecture, address="0000:01:00.0", driver="", device="1b80"):
    return {"address": address, "device": device, "architecture": architecture, "driver": driver}


def decide(*architectures, **wishes):
    """Return the decision for cards of these architectures, by default on Ubuntu 24.04 with its own packages."""
    cards = [card(name, f"0000:{number:02x}:00.0") for number, name in enumerate(architectures, 1)]
    given = {"host": "fenton", "release": "Ubuntu 24.04", "source": "distribution", "machine": "x86_64", "architecture": "", "branch": 0}
    return nvidia.nvidia_decision(cards, TABLES, {**given, "toolkit": False, "file": "host_vars/fenton/nvidia.yml", **wishes})


def refusal(*architectures, **wishes):
    found = decide(*architectures, **wishes)
    (sentence,) = found["problems"]
    assert not found["branch"]
    assert sentence.endswith(".")
    return sentence


@pytest.mark.parametrize(("architecture", "release", "source"), ALL)
def test_every_architecture_on_every_release(architecture, release, source):
    expected = CHOSEN[release, source].get(GROUPS.get(architecture, architecture))
    if expected:
        found = decide(architecture, release=release, source=source)
        assert found["problems"] == []
        assert (found["branch"], found["modules"]) == expected
    else:
        said = refusal(architecture, release=release, source=source)
        assert architecture in said
        assert release in said


def test_the_table_is_whole():
    for name, row in TABLES["architectures"].items():
        assert row["first"] in TABLES["branches"], name
        assert row.get("last", 580) in TABLES["branches"], name
    for release, sources in TABLES["releases"].items():
        for source, has in sources.items():
            assert set(has["branches"]) <= set(TABLES["branches"]), (release, source)
    spec = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert spec["nvidia_architecture"]["choices"] == ["", *TABLES["architectures"]]


def test_a_gtx_1080_gets_580_proprietary_cuda_12_9_and_its_cudnn():
    found = decide("pascal", release="Debian 12", source="nvidia", toolkit=True)
    assert (found["branch"], found["modules"], found["cuda"]) == (580, "proprietary", "12.9")
    assert found["cudnn"] == ["nvidia-cudnn-cu12==9.10.2.21"]


@pytest.mark.parametrize(
    ("architectures", "expected"),
    [
        (("pascal", "turing"), (580, "proprietary")),
        (("pascal", "ada", "volta"), (580, "proprietary")),
        (("turing", "blackwell"), (595, "open")),
        (("hopper", "hopper"), (595, "open")),
    ],
)
def test_mixed_cards_get_the_newest_branch_they_share(architectures, expected):
    found = decide(*architectures)
    assert (found["branch"], found["modules"]) == expected


def test_cards_that_share_no_branch_are_refused():
    said = refusal("pascal", "blackwell")
    assert "pascal (580 at most, proprietary module) and blackwell (570 or newer, open module)" in said


def test_what_is_too_old_or_unknown_is_refused():
    assert "0000:01:00.0 (10de:1b80) is older than Maxwell" in refusal("older")
    said = refusal("unknown")
    assert "write its architecture as nvidia_architecture (one of maxwell, pascal," in said
    assert "host_vars/fenton/nvidia.yml" in said


def test_a_card_that_the_table_does_not_know_is_served_by_name():
    found = decide("unknown", architecture="blackwell")
    assert (found["branch"], found["modules"]) == (595, "open")
    assert "pascal" in refusal("pascal", architecture="blackwell")


def test_a_host_is_prepared_before_its_card_is_fitted():
    assert decide(architecture="pascal")["branch"] == 580
    assert decide() == {"branch": 0, "modules": "", "signed": False, "cuda": "", "cudnn": [], "problems": []}


@pytest.mark.parametrize(
    ("architectures", "wishes", "words"),
    [
        (["pascal"], {"branch": 595}, "nvidia_branch: 595 does not drive pascal (580 at most, proprietary module); possible here: 580."),
        (["ada"], {"branch": 570}, "nvidia_branch: 570 has no packages on Ubuntu 24.04 from distribution; possible here: 615, 595, 580."),
        (["blackwell"], {"branch": 550, "release": "Debian 13"}, "none is possible here; nvidia_source: nvidia has 610."),
        (["pascal"], {"branch": 999}, "nvidia_branch: 999 does not drive pascal"),
        (["blackwell"], {"release": "Debian 13"}, "nvidia_source: nvidia has 610."),
        (["pascal"], {"release": "Debian 13", "source": "nvidia"}, "nvidia_source: distribution has 550."),
        (["ada"], {"release": "Debian 13", "machine": "aarch64"}, "has no driver for aarch64 on Debian 13, only for x86_64"),
        (["ada"], {"release": "Fedora 44"}, "no packages of the driver are known for Fedora 44"),
        (["ada"], {"toolkit": True}, "nvidia_cuda_toolkit: no toolkit on Ubuntu 24.04 from distribution (none that this role knows)"),
        (["pascal"], {"toolkit": True, "release": "Ubuntu 26.04"}, "nvidia_cuda_toolkit"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused_with_what_can(architectures, wishes, words):
    assert words in refusal(*architectures, **wishes)


def test_what_is_asked_for_and_possible_is_given():
    assert decide("ada", branch=580)["branch"] == decide("ada", branch="580")["branch"] == 580
    assert decide("ada", branch="0")["branch"] == 595
    found = decide("ada", branch=615)
    assert (found["branch"], found["modules"], found["signed"]) == (615, "open", False)


@pytest.mark.parametrize(("architecture", "release", "source"), ALL)
def test_a_toolkit_fits_card_and_branch(architecture, release, source):
    found = decide(architecture, release=release, source=source, toolkit=True)
    if found["problems"]:
        return
    row = TABLES["architectures"][architecture]
    assert nvidia.version(row["cuda"]["first"]) <= nvidia.version(found["cuda"]) <= nvidia.version(TABLES["branches"][found["branch"]])
    assert nvidia.version(found["cuda"]) <= nvidia.version(row["cuda"].get("last", "99.0"))


def line(name, state="installed", version="1", maintainer="Debian NVIDIA Maintainers <x@lists.example>"):
    return f"{name}\t{state}\t{version}\t{maintainer}"


THEIRS = "NVIDIA CORPORATION <cudatools@nvidia.com>"
DEBIAN = [line("linux-image-amd64"), line("linux-image-6.12.117+deb13-amd64"), line("nvidia-smi", "config-files")]
UBUNTU = [line("linux-image-generic-hwe-24.04"), line("linux-image-6.17.0-40-generic"), line("linux-generic-hwe-24.04")]


def look(lines, kernel, **commands):
    """Return a look at a host on which all is well, but for what *commands* (name: text or exit status) say."""
    seen = {name: {"rc": 1, "stdout": "", "lines": []} for name in VARS["__nvidia_look"]}
    given = {"packages": "\n".join(lines), "kernel": kernel, **commands}
    for name, said in given.items():
        text = "" if isinstance(said, int) else said
        seen[name] = {"rc": said if isinstance(said, int) else 0, "stdout": text, "lines": text.splitlines()}
    return {"seen": seen, "files": {"module_version": "", "proc_version": ""}}


def state(found, *architectures, distribution="Ubuntu", source="distribution", release="Ubuntu 24.04", cards=(), wishes=None, **host):
    decision = decide(*architectures, release=release, source=source, **(wishes or {}))
    assert decision["problems"] == []
    given = {
        "name": "fenton", "distribution": distribution, "source": source, "container": False, "machine": "amd64",
        "mok": "/var/lib/dkms/mok.pub", "cards": list(cards), "runtimes": [], "file": "host_vars/fenton/nvidia.yml", **host,
    }  # fmt: skip
    return nvidia.nvidia_state(found, decision, NAMES[source][distribution], given)


def test_debian_builds_the_module_with_headers_of_the_running_and_the_next_kernel():
    found = state(look(DEBIAN, "6.12.117+deb13-amd64"), "pascal", distribution="Debian", release="Debian 13")
    assert found["packages"] == [
        "linux-headers-amd64", "linux-headers-6.12.117+deb13-amd64",
        "nvidia-kernel-dkms", "libcuda1", "nvidia-persistenced", "nvidia-smi",
    ]  # fmt: skip
    assert found["missing"] == found["packages"]
    assert found["dkms"]
    assert "linux-image-amd64" in found["newest"]


def test_ubuntu_takes_modules_that_are_built_and_signed_for_its_kernel():
    found = state(look(UBUNTU, "6.17.0-40-generic"), "ampere")
    assert found["packages"] == [
        "linux-modules-nvidia-595-server-open-generic-hwe-24.04", "nvidia-headless-no-dkms-595-server-open",
        "nvidia-compute-utils-595-server", "nvidia-utils-595-server",
    ]  # fmt: skip
    assert not found["dkms"]
    assert found["newest"][-2:] == ["linux-generic-hwe-24.04", "linux-image-generic-hwe-24.04"]
    assert state(look(UBUNTU, "6.17.0-40-generic"), "pascal")["packages"][0] == "linux-modules-nvidia-580-server-generic-hwe-24.04"


def test_ubuntu_builds_it_where_there_is_none_for_the_kernel_or_the_branch():
    own = [line("linux-image-7.1.0-mine")]
    found = state(look(own, "7.1.0-mine"), "ampere")
    assert found["packages"][:2] == ["linux-headers-7.1.0-mine", "nvidia-headless-595-server-open"]
    found = state(look(UBUNTU, "6.17.0-40-generic"), "ampere", wishes={"branch": 615})
    assert found["packages"][:3] == [
        "linux-headers-generic-hwe-24.04", "linux-headers-6.17.0-40-generic", "nvidia-headless-615-server-open"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("distribution", "release", "architecture", "expected"),
    [
        ("Debian", "Debian 12", "pascal", ["nvidia-kernel-dkms", "nvidia-driver-cuda", "nvidia-persistenced"]),
        ("Debian", "Debian 13", "blackwell", ["nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced"]),
        ("Ubuntu", "Ubuntu 24.04", "pascal", ["libnvidia-compute-580", "nvidia-dkms-580", "nvidia-compute-utils-580", "nvidia-utils-580"]),
        ("Ubuntu", "Ubuntu 24.04", "blackwell", ["nvidia-dkms-open", "libnvidia-compute", "nvidia-persistenced"]),
    ],
)
def test_packages_of_nvidias_repository(distribution, release, architecture, expected):
    found = state(look([], "6.1.0-generic"), architecture, distribution=distribution, release=release, source="nvidia", container=True)
    assert found["packages"] == expected
    found = state(
        look([], "6.1.0-generic"), "pascal", distribution="Debian", release="Debian 12", source="nvidia", wishes={"toolkit": True}
    )  # fmt: skip
    assert found["packages"][-1] == "cuda-toolkit-12-9"


def test_no_package_brings_a_screen_or_an_unnamed_cuda():
    names = json.dumps(NAMES)
    for word in ("xserver", '"cuda"', '"nvidia-driver"', '"cuda-drivers"', '"nvidia-open"'):
        assert word not in names


def problems(found, *architectures, **options):
    return state(found, *(architectures or ["pascal"]), **options)["problems"]


def test_a_host_where_nothing_is_wrong():
    assert problems(look(DEBIAN, "6.12.117+deb13-amd64"), distribution="Debian", release="Debian 13") == []


def test_two_sources_are_never_mixed():
    both = [line("libcuda1"), line("nvidia-kernel-dkms", maintainer=THEIRS)]
    (said,) = problems(look(both, "6.1.0"), release="Debian 13", distribution="Debian")
    assert "libcuda1 is the distribution's and nvidia-kernel-dkms is NVIDIA's own" in said
    (said,) = problems(look([line("libcuda1", maintainer=THEIRS)], "6.1.0"), release="Debian 13", distribution="Debian")
    assert "write nvidia_source: nvidia into host_vars/fenton/nvidia.yml, or remove that driver" in said
    # A toolkit for containers and locks of NVIDIA's are no driver.
    other = [line("nvidia-container-toolkit", maintainer=THEIRS), line("cuda-toolkit-12-9", maintainer=THEIRS), line("libcuda1")]
    assert problems(look(other, "6.1.0"), release="Debian 13", distribution="Debian") == []


def test_secure_boot_stops_a_module_that_is_built_and_says_the_three_steps():
    on = {"secure_boot": "1"}
    (said,) = problems(look(DEBIAN, "6.12.117+deb13-amd64", **on), distribution="Debian", release="Debian 13")
    for step in ("1. make the key", "2. `mokutil --import /var/lib/dkms/mok.pub`", "3. reboot", "Enroll MOK"):
        assert step in said
    assert problems(look(DEBIAN, "6.12.117+deb13-amd64", **on, enrolled=0), distribution="Debian", release="Debian 13") == []
    assert problems(look(DEBIAN, "6.12.117+deb13-amd64", secure_boot="0"), distribution="Debian", release="Debian 13") == []
    # Modules that Canonical has signed are loaded.
    assert problems(look(UBUNTU, "6.17.0-40-generic", **on)) == []
    (said,) = problems(look([], "7.1.0-mine", **on))
    assert "update-secureboot-policy --new-key" in said


def test_a_kernel_without_headers_is_refused_where_they_are_needed():
    (said,) = problems(look(DEBIAN, "6.12.1-amd64", headers="missing"), distribution="Debian", release="Debian 13")
    assert "linux-headers-6.12.1-amd64 is neither installed nor to be had" in said
    assert problems(look(UBUNTU, "6.17.0-40-generic", headers="missing")) == []
    assert problems(look(DEBIAN, "6.12.1", headers="missing"), distribution="Debian", release="Debian 13", container=True) == []


def test_nouveau_is_refused_only_where_it_shows_a_desktop():
    held = [card("pascal", driver="nouveau")]
    where = {"distribution": "Debian", "release": "Debian 13", "cards": held}
    (said,) = problems(look(DEBIAN, "6.12.117+deb13-amd64", screens="0000:01:00.0"), **where)
    assert "nouveau shows a desktop on the card 0000:01:00.0" in said
    assert problems(look(DEBIAN, "6.12.117+deb13-amd64"), **where) == []


def test_what_is_left_by_hand_is_refused():
    (said,) = problems(look([], "6.1.0", runfile=0), release="Debian 13", distribution="Debian", container=True)
    assert "run `nvidia-uninstall` there first" in said
    (said,) = problems(
        look([], "6.1.0", runtimes="docker"), release="Debian 13", distribution="Debian", container=True, runtimes=["docker"]
    )
    assert "nvidia_container_toolkit: fenton has no docker" in said


PROC = "NVRM version: NVIDIA UNIX {} x86_64 Kernel Module  580.95.05  Tue Sep 23 09:55:41 UTC 2025\nGCC version: gcc 14.2.0\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.45.04  Release Build  (dvs@host)\n"


@pytest.mark.parametrize(
    ("module", "proc", "path", "driver", "said"),
    [
        ("580.95.05\n", "", "/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05", "nvidia", ""),
        ("", PROC.format(""), "/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05", "nvidia", ""),
        ("", OPEN, "/usr/lib/libcuda.so.595.45.04", "nvidia", ""),
        ("580.82.07", "", "/usr/lib/libcuda.so.580.95.05", "nvidia", "module is 580.82.07, the installed driver is 580.95.05"),
        ("", "", "/usr/lib/libcuda.so.550.163.01", "", "the kernel module is not loaded (driver 550.163.01 is installed)"),
        ("", "", "/usr/lib/libcuda.so.550.163.01", "nouveau", "nouveau still holds the card 0000:01:00.0"),
        ("", "", "", "", ""),
    ],
)
def test_a_reboot_is_due_where_the_installed_driver_is_not_the_one_that_runs(module, proc, path, driver, said):
    found = look([], "6.1.0", library=path)
    found["files"] = {"module_version": module, "proc_version": proc}
    why = state(found, "pascal", cards=[card("pascal", driver=driver)])["reboot"]
    assert said in why
    assert bool(why) == bool(said)
    # A host that is prepared for a card has nothing that could run.
    assert state(found, "pascal")["reboot"] == ""


SOURCES = """\
/etc/apt/sources.list.d/debian.sources:1|http://mirror.example/debian/|trixie|main|/usr/share/keyrings/debian-archive-keyring.gpg
/etc/apt/sources.list.d/debian.sources:1|http://mirror.example/debian/|trixie-updates|main|/usr/share/keyrings/debian-archive-keyring.gpg
/etc/apt/sources.list:3|http://mirror.example/debian-security/|trixie-security|main|$(SIGNED_BY)
/etc/apt/sources.list:3|http://mirror.example/debian-security/|trixie-security|contrib|$(SIGNED_BY)
/etc/apt/sources.list.d/other.list:1|http://third.example/|other-trixie|main|$(SIGNED_BY)
/etc/apt/sources.list.d/fenton-nvidia.sources:4|http://mirror.example/debian/|trixie|contrib|/usr/share/keyrings/debian-archive-keyring.gpg
""".splitlines()
OWN = "/etc/apt/sources.list.d/fenton-nvidia.sources"


def test_what_is_missing_comes_from_where_the_rest_does():
    assert nvidia.apt_stanzas(SOURCES, "trixie", ["contrib", "non-free"], OWN) == [
        {
            "uri": "http://mirror.example/debian/", "suites": ["trixie", "trixie-updates"], "components": ["contrib", "non-free"],
            "signed_by": "/usr/share/keyrings/debian-archive-keyring.gpg",
        },
        {"uri": "http://mirror.example/debian-security/", "suites": ["trixie-security"], "components": ["non-free"], "signed_by": ""},
    ]  # fmt: skip
    assert nvidia.apt_stanzas(SOURCES, "trixie", ["main"], OWN) == []
    assert nvidia.apt_stanzas([], "trixie", ["contrib"], OWN) == []


def packet(body, new=True):
    head = bytes([0xC6, 0xFF]) + len(body).to_bytes(4, "big") if new else bytes([0x99]) + len(body).to_bytes(2, "big")
    data = base64.b64encode(head + body + b"rest").decode()
    lines = "\n".join(data[at : at + 64] for at in range(0, len(data), 64))
    return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: x\n\n{lines}\n=AbCd\n-----END PGP PUBLIC KEY BLOCK-----\n"


@pytest.mark.parametrize("new", [True, False])
def test_the_fingerprint_of_a_key(new):
    body = b"\x04" + bytes(range(200))
    expected = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()
    assert nvidia.openpgp_fingerprint(packet(body, new)) == expected
    for text in ("", None, "<html>not found</html>", packet(body, new)[:90], packet(b"\x03" + body, new)):
        assert nvidia.openpgp_fingerprint(text) == ""


@pytest.mark.skipif(not shutil.which("gpg"), reason="no gpg here to compare with")
def test_the_fingerprint_is_the_one_that_gpg_says(tmp_path):
    gpg = ["gpg", "--homedir", tmp_path, "--batch", "--no-tty"]
    tmp_path.chmod(0o700)
    words = ["--passphrase", "", "--quick-generate-key", "someone@example.org", "rsa3072", "sign", "never"]
    subprocess.run([*gpg, "--pinentry-mode", "loopback", *words], check=True, capture_output=True)
    shown = subprocess.run([*gpg, "--with-colons", "--fingerprint"], check=True, capture_output=True, text=True).stdout
    armoured = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True, text=True).stdout
    expected = next(entry.split(":")[9] for entry in shown.splitlines() if entry.startswith("fpr"))
    assert nvidia.openpgp_fingerprint(armoured) == expected


def test_what_nvidia_smi_says():
    text = (
        "00000000:01:00.0, NVIDIA GeForce GTX 1080, 580.95.05, Enabled, 8192\n00000001:82:00.0, NVIDIA H200, 580.95.05, Disabled, [N/A]\n"
    )
    assert nvidia.nvidia_smi_cards(text) == [
        {"address": "0000:01:00.0", "name": "NVIDIA GeForce GTX 1080", "driver": "580.95.05", "persistence": "Enabled", "memory": 8192},
        {"address": "0001:82:00.0", "name": "NVIDIA H200", "driver": "580.95.05", "persistence": "Disabled", "memory": 0},
    ]
    assert nvidia.nvidia_smi_cards("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n") == []


def rendered(tmp_path, distribution="Debian", version="13", **variables):
    """Return the role's files as Ansible renders them for a host, by the name of their template."""
    names = ["preferences.j2", "53fenton-nvidia.j2", "fenton-nvidia.sources.j2"]
    facts = {
        "distribution": distribution, "distribution_version": version, "distribution_major_version": version.partition(".")[0],
        "architecture": "x86_64", "virtualization_type": "kvm", "gpus": [],
    }  # fmt: skip
    tasks = [{"ansible.builtin.template": {"src": str(ROLE / "templates" / name), "dest": str(tmp_path / name)}} for name in names]
    files = [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks, "vars_files": files}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    found = {"seen": {"sources": {"lines": SOURCES}}, "files": {"key": "", "container_key": ""}}
    given = json.dumps({"ansible_facts": facts, "__nvidia_found": found, **variables})
    words = ["ansible-playbook", "-i", "localhost,", tmp_path / "play.yml", "-e", given]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: (tmp_path / name).read_text() for name in names}


def test_the_sources_of_nvidias_repositories(tmp_path):
    found = rendered(tmp_path, nvidia_source="nvidia", nvidia_container_toolkit=["docker"])
    text = found["fenton-nvidia.sources.j2"]
    assert (
        "URIs: https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64/\nSuites: /\nSigned-By: /etc/apt/keyrings/" in text
    )
    assert "URIs: https://nvidia.github.io/libnvidia-container/stable/deb/amd64\nSuites: /\n" in text
    # The distribution's driver stays out of reach.
    assert "non-free" not in text
    assert "src:nvidia-graphics-drivers " in found["preferences.j2"]
    assert "Pin: release o=Debian\nPin-Priority: -1" in found["preferences.j2"]


def test_the_other_repository_is_never_taken(tmp_path):
    assert "Pin: origin developer.download.nvidia.com\nPin-Priority: -1" in rendered(tmp_path)["preferences.j2"]
    found = rendered(tmp_path, "Ubuntu", "26.04", nvidia_source="nvidia")
    assert "Pin: release o=Ubuntu\nPin-Priority: -1" in found["preferences.j2"]
    assert "/ubuntu2604/x86_64/" in found["fenton-nvidia.sources.j2"]


@pytest.mark.skipif(not shutil.which("apt-config"), reason="no apt here")
def test_apt_reads_the_list_of_what_is_never_upgraded(tmp_path):
    rendered(tmp_path)
    words = ["apt-config", "-c", tmp_path / "53fenton-nvidia.j2", "dump", "Unattended-Upgrade::Package-Blacklist"]
    shown = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    for name in VARS["__nvidia_never"]:
        assert f'Unattended-Upgrade::Package-Blacklist:: "{name}";' in shown
