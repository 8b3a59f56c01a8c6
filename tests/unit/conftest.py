"""Let unit tests import the plugins as plain modules."""

import sys
from pathlib import Path

import ansible.module_utils

ROOT = Path(__file__).resolve().parents[2]
for kind in ("modules", "callback", "filter", "test", "action"):  # an action goes before the module that documents it
    sys.path.insert(0, str(ROOT / "plugins" / kind))
ansible.module_utils.__path__.append(str(ROOT / "plugins/module_utils"))
