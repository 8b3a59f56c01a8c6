"""The promises of site.yml, kept with pyinfra: the same packages, files, services, users and environments, on one server.

``pyinfra inventory.py site_pyinfra.py``. What the files hold, which mode they have and what is to be installed stands in PEER_STATE, a
directory that benchmarks/run.py takes from a server on which site.yml has been run: so a run of either finds nothing to do, and both
look at the same things. Where pyinfra has an operation it is used as its documentation shows it.
"""

import json
import os
from pathlib import Path

from pyinfra.operations import apt, files, server, systemd, uv

STATE = Path(os.environ["PEER_STATE"])
wanted = json.loads((STATE / "state.json").read_text(encoding="utf-8"))

apt.packages(name="Packages", packages=wanted["packages"], no_recommends=True)

for user in wanted["users"]:
    server.user(name=f"Account {user['name']}", user=user["name"], shell="/bin/bash", groups=user["groups"], ensure_home=True)
    server.user_authorized_keys(name=f"Keys of {user['name']}", user=user["name"], public_keys=user["keys"], delete_keys=True)
    files.file(name=f"Lingering of {user['name']}", path=f"/var/lib/systemd/linger/{user['name']}")

files.link(name="Time zone", path="/etc/localtime", target=wanted["zone"])

for directory in wanted["directories"]:
    files.directory(
        name=directory["path"], path=directory["path"], mode=directory["mode"], user=directory["user"], group=directory["group"]
    )

for file in wanted["files"]:
    files.put(
        name=file["path"], src=str(STATE / file["copy"]), dest=file["path"], mode=file["mode"], user=file["user"], group=file["group"]
    )

for environment, packages in wanted["environments"].items():
    uv.packages(
        name=f"Environment {environment}", packages=packages,
        _env={"PATH": f"{wanted['uv']}:/usr/sbin:/usr/bin:/sbin:/bin", "UV_PYTHON": f"/opt/conda/envs/{environment}/bin/python"},
    )  # fmt: skip

for service, running in wanted["services"].items():
    systemd.service(name=service, service=service, running=running, enabled=True)
