"""Keys of ipcluster_config.py and its siblings that ipyparallel no longer knows, and what stands for them today.

ipyparallel 7 and later pass over most of the old keys in silence and then start engines on the controller's own host: a configuration
of old seems to work, on one machine. Source of the names: ``ipyparallel/cluster/cluster.py``, ``controller/app.py``, ``engine/app.py``
of ipyparallel 9.2.0.
"""

import ast
import inspect
import sys
from pathlib import Path

FILES = ("ipcluster_config.py", "ipcontroller_config.py", "ipengine_config.py")
# By old key or class, the new one; a class alone stands for all its keys.
RENAMED = {
    "IPClusterEngines.engine_launcher": "Cluster.engine_launcher_class",
    "IPClusterEngines.engine_launcher_class": "Cluster.engine_launcher_class",
    "IPClusterStart.controller_launcher": "Cluster.controller_launcher_class",
    "IPClusterStart.controller_launcher_class": "Cluster.controller_launcher_class",
    "IPClusterEngines.n": "Cluster.n",
    "IPClusterStart.n": "Cluster.n",
    "IPClusterStart.delay": "Cluster.delay",
    "HubFactory": "IPController",
    "IPControllerApp": "IPController",
    "EngineFactory": "IPEngine",
    "IPEngineApp": "IPEngine",
    "IPClusterApp": "IPCluster",
}
LAUNCHERS = ("local", "ssh", "sshproxy", "mpi", "pbs", "slurm", "sge", "lsf", "htcondor", "batch")


def _launcher(text):
    """Return today's word for a launcher that is named by a class of old, or an empty text."""
    name = text.rpartition(".")[2].lower()
    short = next((word for word in LAUNCHERS if name.startswith(word)), "")
    return short if text.startswith(("IPython.parallel", "ipyparallel.apps")) or name.endswith("launcher") else ""


def old_keys(text):
    """Return what is of old in the text of a configuration file.

    :arg text: Python, as in ``ipcluster_config.py``.
    :returns: list of ``(line number, what is written there, what to write instead)``.
    :raises SyntaxError: when no Python of today can read it.
    """
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Attribute):
            continue
        target, value = node.targets[0], node.value
        if not isinstance(target.value, ast.Attribute):
            continue
        section, name = target.value.attr, target.attr
        key = f"{section}.{name}"
        new = RENAMED.get(key) or (f"{RENAMED[section]}.{name}" if section in RENAMED else key)
        written = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
        launcher = _launcher(written) if "launcher" in name else ""
        if new != key or launcher:
            found.append((node.lineno, f"c.{key}", f"c.{new}" + (f" = {launcher!r}" if launcher else "")))
        if key == "SSHEngineSetLauncher.engines" and isinstance(value, ast.Dict):
            for host, slots in zip(value.keys, value.values, strict=True):
                if isinstance(slots, ast.Tuple):
                    count = ast.unparse(slots.elts[0]) if slots.elts else "1"
                    host = ast.unparse(host)
                    found.append((slots.lineno, f"{host}: {ast.unparse(slots)}", f"{host}: {count}, or {host}: {{'n': {count}, …}}"))
    return sorted(found)


def profile_problems(directory):
    """Return a sentence for each key of old in the configuration files of a profile.

    :arg directory: path of the profile, such as ``~/.ipython/profile_lab``.
    """
    sentences = []
    for name in FILES:
        file = Path(directory) / name
        try:
            found = old_keys(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        except SyntaxError as error:
            sentences.append(f"{file} line {error.lineno}: no Python of today can read this; write it anew")
            continue
        sentences += [
            f"{file} line {line}: {old} is of an old ipyparallel, which runs only local engines with it; write {new}"
            for line, old, new in found
        ]
    return sentences


def all_problems(ipython):
    """Return the sentences for all profiles below *ipython*, such as ``~/.ipython``."""
    return [sentence for profile in sorted(Path(ipython).glob("profile_*")) for sentence in profile_problems(profile)]


def warn_of_old_keys():
    """Name the keys of old in the profile that an application of ipyparallel is about to read; it is the caller's caller."""
    frame = inspect.currentframe()
    while frame:
        profile = getattr(frame.f_locals.get("self"), "profile_dir", None)
        if profile is not None:
            for sentence in profile_problems(getattr(profile, "location", profile)):
                print(f"Warning: {sentence}", file=sys.stderr)
            return
        frame = frame.f_back
