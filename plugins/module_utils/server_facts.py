"""What roles need to know of a server, under the names that ``ansible.builtin.setup`` gives it: what ``server_facts`` runs there."""

import ipaddress
import json
import os
import pwd
import socket
import subprocess

NVIDIA = "0x10de"
# Display functions of PCI: VGA controllers, and cards without an output. A card's audio and USB functions have other classes.
DISPLAYS = ("0x0300", "0x0302")
# First and last device id of a generation of chips. Between two entries nothing was assigned, or to other things than cards for PCs.
# From the names of chips in pci.ids of 2026-10-24; tests/unit/pci_chips.txt holds each of them against this table.
ARCHITECTURES = (
    (0x0000, 0x133F, "older"),
    (0x1340, 0x15BF, "maxwell"),
    (0x15C0, 0x15FF, "pascal"),
    (0x1600, 0x16FF, "maxwell"),
    (0x1700, 0x173F, "pascal"),
    (0x1740, 0x17FF, "maxwell"),
    (0x1B00, 0x1D7F, "pascal"),
    (0x1D80, 0x1DFF, "volta"),
    (0x1E00, 0x1FFF, "turing"),
    (0x2080, 0x20FF, "ampere"),
    (0x2180, 0x21FF, "turing"),
    (0x2200, 0x227F, "ampere"),
    (0x2300, 0x23FF, "hopper"),
    (0x2400, 0x25FF, "ampere"),
    (0x2680, 0x28FF, "ada"),
    (0x2900, 0x2FFF, "blackwell"),
    (0x3180, 0x323F, "blackwell"),
    (0x3340, 0x337F, "blackwell"),
)


def said(*words):
    """Return what a program printed, or an empty text where it failed or is not there."""
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def release(path="/etc/os-release"):
    """Return the fields of an os-release file; none where there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.readlines()
    except FileNotFoundError:  # macOS
        lines = []
    pairs = [line.strip().partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return {name: value.strip("\"'") for name, _, value in pairs}


def default_address(family, target):
    """Return address, network and prefix length of the interface by which packets leave for *target*; nothing where none do.

    :arg family: ``-4`` or ``-6``.
    :arg target: any address outside; nothing is sent to it.
    """
    try:
        route = json.loads(said("ip", "-j", family, "route", "get", target))[0]
        device = json.loads(said("ip", "-j", family, "address", "show", "dev", route["dev"]))[0]
        own = next(entry for entry in device["addr_info"] if entry.get("local") == route["prefsrc"])
    except (ValueError, LookupError, StopIteration):
        return {}
    network = ipaddress.ip_network("%s/%s" % (own["local"], own["prefixlen"]), strict=False).network_address
    return {"interface": route["dev"], "address": own["local"], "network": str(network), "prefix": str(own["prefixlen"])}


def architecture(device):
    """Return the generation of an NVIDIA chip, such as ``pascal``.

    :arg device: PCI device id, four hexadecimal digits.
    :returns: ``older`` for what came before Maxwell, ``unknown`` for what the table does not have.
    """
    number = int(device, 16)
    return next((name for first, last, name in ARCHITECTURES if first <= number <= last), "unknown")


def gpus(root="/sys/bus/pci/devices"):
    """Return NVIDIA's display functions, sorted by address.

    :arg root: directory with an entry for each PCI function, as in sysfs; a machine without one has none.
    :returns: list of dictionaries: ``address``, ``device`` (four hexadecimal digits), ``architecture`` (see above) and ``driver``, the
        kernel driver that holds it: empty for none, ``vfio-pci`` where it was handed to a virtual machine.
    """

    def about(address, name):
        try:
            with open(os.path.join(root, address, name), encoding="ascii") as file:
                return file.read().strip()
        except OSError:  # it was taken out in this moment
            return ""

    try:
        addresses = sorted(os.listdir(root))
    except OSError:
        return []
    found = []
    for address in addresses:
        if about(address, "vendor") != NVIDIA or not about(address, "class").startswith(DISPLAYS):
            continue
        device, link = about(address, "device")[2:], os.path.join(root, address, "driver")
        driver = os.path.basename(os.readlink(link)) if os.path.islink(link) else ""
        found.append({"address": address, "device": device, "architecture": architecture(device), "driver": driver})
    return found


def glibc():
    """Return the version of the C library, such as ``2.36``; an empty text where it is another one."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):  # macOS, musl
        return ""
    return version if name == "glibc" else ""


# Where roles put what can be switched off again.
PLACES = (
    "/etc/dask", "/etc/fenton", "/etc/profile.d", "/etc/ssh/sshd_config.d", "/etc/systemd/system", "/etc/systemd/user",
    "/usr/local/etc/ipython", "/usr/local/lib/fenton", "/usr/local/lib/fenton/python",
)  # fmt: skip


def placed():
    """Return the paths of what lies in PLACES."""
    found = []
    for place in PLACES:
        try:
            found += [os.path.join(place, name) for name in os.listdir(place)]
        except OSError:
            continue
    return sorted(found)


def account():
    """Return the name of the account that looks; its number where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def facts(given):
    """Return the facts; *given* is empty."""
    about, system = release(), os.uname()
    container = said("systemd-detect-virt", "--container")
    names = {"debian": "Debian", "ubuntu": "Ubuntu"}
    return {
        "system": system.sysname,
        "distribution": names.get(about.get("ID"), about.get("NAME", "")),
        "distribution_version": about.get("VERSION_ID", ""),
        "distribution_major_version": about.get("VERSION_ID", "").partition(".")[0],
        "architecture": system.machine,
        "nodename": system.nodename,
        "hostname": system.nodename.partition(".")[0],
        "fqdn": socket.getfqdn(),
        "user_id": account(),
        "user_uid": os.getuid(),
        "user_gid": os.getgid(),
        "user_dir": os.path.expanduser("~"),
        "default_ipv4": default_address("-4", "192.0.2.1"),
        "default_ipv6": default_address("-6", "2001:db8::1"),
        "virtualization_type": container if container != "none" else said("systemd-detect-virt", "--vm"),
        "gpus": gpus(),
        "glibc": glibc(),
        "placed": placed(),
    }
