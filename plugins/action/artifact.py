"""Hand results of a run to people on the control node. Options and examples: plugins/modules/artifact.py."""

import json
import os
import secrets
import tempfile
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

ROOT = Path(__file__).resolve().parents[2]
# Without what looks alike (l and 1, O and 0), for who types it from a screen.
ALPHABET = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
LENGTH = 24


def write(path, text):
    """Replace the file at *path* by *text*, readable by its owner only, whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


class ActionModule(ActionBase):
    """Write below ``artifacts/<host>/``; nothing is run on the host."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Return ``changed`` when a file was, or in check mode would be, written or removed; ``path`` is the directory."""
        super().run(tmp, task_vars)
        spec = {name: {"type": "dict", "default": {}} for name in ("connection", "files", "passwords")}
        _, args = self.validate_argument_spec(argument_spec=spec)
        # A relative one is below the repository, wherever the run was started.
        base = ROOT / Path(str(self._templar.template(task_vars.get("artifacts_dir") or "artifacts"))).expanduser()
        directory = base / task_vars["inventory_hostname"]
        wanted = {}
        for name, text in args["files"].items():
            if Path(name).name != name:
                raise AnsibleActionFail(f"artifact: {name!r} must be a plain file name; it is put into {directory}")
            wanted[name] = text if text.endswith("\n") else text + "\n"
        passwords, leave = {}, []
        for service, users in args["passwords"].items():
            files = {}
            for user in users:
                file = directory / f"{service}-password-{user['name']}"
                if user.get("password") is None:
                    passwords[user["name"]] = (file.read_text(encoding="utf-8").strip() if file.exists() else "") or "".join(
                        secrets.choice(ALPHABET) for _ in range(LENGTH)
                    )
                    files[file.name] = passwords[user["name"]] + "\n"
                else:
                    passwords[user["name"]] = str(user["password"])
            wanted |= files
            # Those of users who are gone, and of users whose password is now given.
            leave += [file for file in directory.glob(f"{service}-password-*") if file.name not in files]
        if args["connection"]:
            file = directory / "connection.json"
            known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            # Nothing to tell, and nothing told before.
            told = known | {key: value for key, value in args["connection"].items() if value or key in known}
            if told:
                wanted[file.name] = json.dumps(told, indent=2, sort_keys=True) + "\n"
        stale = [
            name
            for name, text in wanted.items()
            if not (directory / name).exists() or (directory / name).read_text(encoding="utf-8") != text
        ]
        if not self._task.check_mode:
            for folder in (base, directory) if stale else ():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in stale:
                write(directory / name, wanted[name])
            for file in leave:
                file.unlink()
        removed = sorted(file.name for file in leave)
        answer = {"changed": bool(stale or leave), "path": str(directory), "written": sorted(stale), "removed": removed}
        return {**answer, "passwords": passwords} if args["passwords"] else answer
