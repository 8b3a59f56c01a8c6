"""Make a modulefile for each Anaconda environment and each CUDA toolkit that stands on the host, and remove those of what is gone.

``python modulefiles.py [--check] TREE PREFIX DEFAULT [ROOT]``: TREE is the directory of modulefiles, PREFIX that of the distribution (empty
for none), DEFAULT the environment that ``module load anaconda`` gives. Prints a line per file that is, or with ``--check`` would be,
written or removed. ROOT is where the system's directories begin, for tests. Files in TREE without our first line are somebody else's
and stay.
"""

import os
import re
import subprocess
import sys
import tempfile

OURS = "-- Managed by Ansible, role lmod. Changes made here are lost.\n"

# Only PATH leads to an environment: with LD_LIBRARY_PATH the system's own programs would load its libraries.
ENVIRONMENT = """\
help([[Python {python}, environment {name} of {prefix}; its packages: conda list]])
whatis("Name: anaconda")
whatis("Version: {name}")
whatis("Description: Python {python}, Anaconda environment {name}")
local install_path = "{path}"
if mode() == "load" and not isFile(pathJoin(install_path, "bin/python")) then
  LmodError("The environment {name} is no longer at " .. install_path)
end
setenv("ANACONDA_HOME", "{prefix}")
setenv("CONDA_PREFIX", install_path)
setenv("CONDA_DEFAULT_ENV", "{name}")
prepend_path("PATH", "{prefix}/condabin")
prepend_path("PATH", pathJoin(install_path, "bin"))
"""
SCRIPT = 'source_sh("bash", "{}")\n'

TOOLKIT = """\
help([[CUDA toolkit {version} in {home}; programs find its libraries by themselves]])
whatis("Name: cuda")
whatis("Version: {version}")
whatis("Description: CUDA toolkit {version}")
setenv("CUDA_HOME", "{home}")
setenv("CUDA_PATH", "{home}")
"""
# Those of the distribution lie where compilers look anyway. What is linked here finds its libraries without the module.
APART = """\
prepend_path("PATH", "{home}/bin")
prepend_path("CPATH", "{home}/include")
prepend_path("LIBRARY_PATH", "{home}/lib64")
prepend_path("LD_RUN_PATH", "{home}/lib64")
"""


def environments(prefix):
    """Return by name the directories of the environments of the distribution at *prefix*, and that of its base."""
    try:
        names = sorted(os.listdir(os.path.join(prefix, "envs"))) if prefix else []
    except OSError:
        names = []
    found = {"base": prefix, **{name: os.path.join(prefix, "envs", name) for name in names if re.fullmatch(r"[A-Za-z0-9][\w.-]*", name)}}
    whole = ("bin/python", "conda-meta/history")
    return {name: path for name, path in found.items() if prefix and all(os.path.exists(os.path.join(path, file)) for file in whole)}


def python_of(path):
    """Return the version of Python in the environment at *path*, as conda's record of it is called; empty where there is none."""
    for name in sorted(os.listdir(os.path.join(path, "conda-meta"))):
        record = re.fullmatch(r"python-(\d[\d.]*)-[^-]+\.json", name)
        if record:
            return record[1]
    return ""


def toolkits(root="/"):
    """Return by version the directories of the CUDA toolkits: the distribution's (in ``/usr``), and NVIDIA's in ``/usr/local``."""
    found = {}
    if os.access(os.path.join(root, "usr/lib/nvidia-cuda-toolkit/bin/nvcc"), os.X_OK):
        asked = ["dpkg-query", "--admindir", os.path.join(root, "var/lib/dpkg"), "-W", "-f", "${Version}", "nvidia-cuda-toolkit"]
        version = re.match(r"\d+\.\d+", subprocess.run(asked, capture_output=True, text=True).stdout)
        if version:
            found[version[0]] = "/usr"
    local = os.path.join(root, "usr/local")
    for name in sorted(os.listdir(local)) if os.path.isdir(local) else []:
        version = re.fullmatch(r"cuda-(\d+\.\d+)", name)
        if version and os.access(os.path.join(local, name, "bin/nvcc"), os.X_OK):
            found[version[1]] = "/usr/local/" + name
    return found


def modulefiles(prefix, default, root="/"):
    """Return the texts of all modulefiles by their path in the tree.

    :arg prefix: directory of the Anaconda distribution; empty for none.
    :arg default: the environment that ``anaconda`` without a version stands for; ``base`` where it is not there.
    :arg root: where the system's directories begin.
    """
    texts, known = {}, environments(prefix)
    for name, path in known.items():
        texts["anaconda/%s.lua" % name] = ENVIRONMENT.format(name=name, path=path, prefix=prefix, python=python_of(path))
        # What `conda activate` would run for packages such as compilers and R.
        scripts = os.path.join(path, "etc/conda/activate.d")
        for script in sorted(os.listdir(scripts)) if os.path.isdir(scripts) else []:
            if script.endswith(".sh"):
                texts["anaconda/%s.lua" % name] += SCRIPT.format(os.path.join(scripts, script))
    if known:
        texts["anaconda/.modulerc.lua"] = 'module_version("anaconda/%s", "default")\n' % (default if default in known else "base")
    for version, home in toolkits(root).items():
        texts["cuda/%s.lua" % version] = (TOOLKIT + (APART if home != "/usr" else "")).format(version=version, home=home)
    return {name: OURS + text for name, text in texts.items()}


def there(tree):
    """Return the texts of the modulefiles in *tree* that may be ours, by their path in it."""
    found = {}
    for name in ("anaconda", "cuda"):
        folder = os.path.join(tree, name)
        for file in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            path = os.path.join(folder, file)
            if file.endswith(".lua") and os.path.isfile(path):
                with open(path, encoding="utf-8", errors="replace") as text:
                    found["%s/%s" % (name, file)] = text.read()
    return found


def write(path, text):
    """Replace the file at *path*, whole or not at all, readable by all."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".part-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(part, 0o644)
    os.rename(part, path)


def main(words):
    """Do what the module says on top."""
    check = words[:1] == ["--check"]
    tree, prefix, default, *root = words[check:]
    os.umask(0o022)
    wanted, found = modulefiles(prefix, default, *root), there(tree)
    ours = {name for name, text in found.items() if text.startswith(OURS)}
    for name, text in sorted(wanted.items()):
        path = os.path.join(tree, name)
        if name in found and name not in ours:
            continue
        if found.get(name) != text or os.stat(path).st_mode & 0o777 != 0o644 or os.stat(path).st_uid != os.getuid():
            print("write", path)
            if not check:
                write(path, text)
    for name in sorted(ours - set(wanted)):
        path = os.path.join(tree, name)
        print("remove", path)
        if not check:
            os.remove(path)
            if not os.listdir(os.path.dirname(path)):
                os.rmdir(os.path.dirname(path))


if __name__ == "__main__":
    main(sys.argv[1:])
