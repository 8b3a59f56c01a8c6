"""Import what an environment is for, and try its kernel's command: ``python imports.py PREFIX [KERNEL.JSON]``, as an ordinary user.

Only packages that no other package asks for are imported; they import the rest. Ends with a sentence if something fails.
"""

import importlib
import importlib.metadata
import json
import os
import re
import sys


def canonical(name):
    """Return the name of a distribution in the one form in which names can be compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


prefix = sys.argv[1]
if os.path.realpath(sys.prefix) != os.path.realpath(prefix):
    sys.exit(f"{sys.executable} belongs to {sys.prefix}, not to {prefix}")
asked = set()
for found in importlib.metadata.distributions():
    for line in found.requires or []:
        if "extra ==" not in line:
            asked.add(canonical(re.match(r"[A-Za-z0-9._-]+", line)[0]))
for module, owners in sorted(importlib.metadata.packages_distributions().items()):
    if module.isidentifier() and not module.startswith("_") and not asked & {canonical(owner) for owner in owners}:
        importlib.import_module(module)
for path in sys.argv[2:]:
    with open(path, encoding="utf-8") as file:
        kernel = json.load(file)
    if kernel["argv"][0] != os.path.join(prefix, "bin", "python") or not kernel["display_name"]:
        sys.exit(f"{path} does not start {prefix}/bin/python")
    importlib.import_module(kernel["argv"][2])
