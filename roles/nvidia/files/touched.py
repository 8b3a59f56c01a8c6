"""Print which of the driver's and kernel's packages unattended-upgrades would upgrade, by its own code and configuration."""

import importlib.machinery
import importlib.util
import logging
import platform
import re
import sys
from pathlib import Path

PROGRAM = "/usr/bin/unattended-upgrade"
PART = re.compile(r"(lib)?nvidia-|libcuda1$|linux-(image|headers|modules|objects|signatures)-")

if not Path(PROGRAM).exists():
    sys.exit()

import apt  # noqa: E402
import apt_pkg  # noqa: E402

logging.disable()
loader = importlib.machinery.SourceFileLoader("unattended", PROGRAM)
unattended = importlib.util.module_from_spec(importlib.util.spec_from_loader("unattended", loader))
loader.exec_module(unattended)
apt_pkg.init()
never = apt_pkg.config.value_list("Unattended-Upgrade::Package-Blacklist")
names = {package.shortname for package in apt.Cache() if package.is_installed and PART.match(package.shortname)}
names |= {f"linux-{part}-{platform.release()}" for part in ("image", "headers")}
print("\n".join(sorted(name for name in names if not unattended.is_pkgname_in_blacklist(name, never))))
