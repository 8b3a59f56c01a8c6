"""What roles need to know of a server, under the names that ``ansible.builtin.setup`` gives it: what ``server_facts`` runs there."""

import ipaddress
import json
import os
import socket
import subprocess


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
        "user_uid": os.getuid(),
        "user_gid": os.getgid(),
        "user_dir": os.path.expanduser("~"),
        "default_ipv4": default_address("-4", "192.0.2.1"),
        "default_ipv6": default_address("-6", "2001:db8::1"),
        "virtualization_type": container if container != "none" else said("systemd-detect-virt", "--vm"),
    }
