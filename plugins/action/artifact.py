"""Hand results of a run to people on the control node. Options and examples: plugins/modules/artifact.py."""

import json
import os
import tempfile
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

ROOT = Path(__file__).resolve().parents[2]


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
        """Return ``changed`` when a file was, or in check mode would be, written; ``path`` is the directory."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec={"connection": {"type": "dict", "default": {}}, "files": {"type": "dict", "default": {}}}
        )
        base = Path(str(self._templar.template((task_vars or {}).get("artifacts_dir") or str(ROOT / "artifacts"))))
        directory = base / task_vars["inventory_hostname"]
        wanted = {}
        for name, text in args["files"].items():
            if Path(name).name != name:
                raise AnsibleActionFail(f"artifact: {name!r} must be a plain file name; it is put into {directory}")
            wanted[name] = text if text.endswith("\n") else text + "\n"
        if args["connection"]:
            file = directory / "connection.json"
            known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            known.update(args["connection"])
            wanted[file.name] = json.dumps(known, indent=2, sort_keys=True) + "\n"
        stale = [
            name
            for name, text in wanted.items()
            if not (directory / name).exists() or (directory / name).read_text(encoding="utf-8") != text
        ]
        if stale and not self._task.check_mode:
            for folder in (base, directory):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in stale:
                write(directory / name, wanted[name])
        return {"changed": bool(stale), "path": str(directory), "written": sorted(stale)}
