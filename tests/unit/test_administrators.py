"""Keys in a home where root is nobody, as in one that another host serves."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UID = 4001
PROGRAM = """
import sys, types
sys.path.insert(0, {utils!r})
import administrators
user = types.SimpleNamespace(pw_dir={home!r}, pw_uid={uid}, pw_gid={uid})
def work(what, *given):
    return administrators.as_owner(user, what, *given)
print(work(administrators.write_keys, "key\\n", True), work(administrators.write_keys, "key\\n", False),
      work(administrators.write_keys, "key\\n", False), work(administrators.remove_keys, False),
      work(administrators.remove_keys, False))
"""
# What makes root more than others in the eyes of a file system.
POWERS = ",".join(f"-{power}" for power in ("dac_override", "dac_read_search", "chown", "fowner"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_keys_are_written_with_the_rights_of_the_owner_where_root_has_none():
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        home = Path(place, "ada")
        home.mkdir(mode=0o700)
        os.chown(home, UID, UID)
        program = PROGRAM.format(utils=str(ROOT / "plugins/module_utils"), home=str(home), uid=UID)
        done = subprocess.run(
            ["setpriv", f"--bounding-set={POWERS}", f"--inh-caps={POWERS}", sys.executable, "-c", program], capture_output=True, text=True
        )
        assert done.stdout.split() == ["True", "True", "False", "True", "False"], done.stderr
        assert (home / ".ssh").stat().st_uid == UID
        assert list((home / ".ssh").iterdir()) == []
