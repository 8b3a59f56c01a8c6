"""A conda environment: what is there, what differs, and what is done about it. The module ``conda_environment`` uses all of it."""

import json
import os
import platform
import re
import shutil

from ansible.module_utils.conda import Failed, alone, kept, read, run, taken, tighten, write
from ansible.module_utils.requirements import canonical, pinned, plain

KERNELS = "/usr/local/share/jupyter/kernels"


class Environment:
    """What is there: the environment's files, read once and without starting anything.

    ``whole`` says that conda finished it; ``python`` is its version or empty; ``conda`` maps names to versions, ``dists`` maps
    names of conda packages to ``name-version-build``; ``pip`` maps canonical names to lists of versions, ``owned`` are the canonical
    names whose files belong to a conda package; ``lost`` are files that a record names and that are missing or have another size, each
    with the name of its package.
    """

    def __init__(self, path, wanted=()):
        """Look at *path*; *wanted* are the canonical names that pip is to provide, whoever brought them first."""
        self.path = path
        self.records, self.conda, self.dists, self.pip = [], {}, {}, {}
        self.owned, self.lost_conda, self.lost_pip = set(), {}, {}
        self.exists = os.path.lexists(path)
        meta = os.path.join(path, "conda-meta")
        self.whole = os.path.exists(os.path.join(meta, "history")) and os.path.exists(os.path.join(path, "bin", "python"))
        for name in sorted(os.listdir(meta)) if os.path.isdir(meta) else []:
            if name.endswith(".json"):
                self._record(os.path.join(meta, name))
        self.python = self.conda.get("python", "")
        self.site = os.path.join(path, "lib", "python" + ".".join(self.python.split(".")[:2]), "site-packages")
        for record in self.records:
            self._conda_files(record, set(wanted))
        if self.python and os.path.isdir(self.site):
            self._pip(set(wanted))

    def _record(self, file):
        """Read one record of conda; one that cannot be read makes the environment incomplete."""
        try:
            record = json.loads(read(file))
            self.conda[record["name"]] = record["version"]
            self.dists[record["name"]] = "%s-%s-%s" % (record["name"], record["version"], record.get("build", ""))
            self.records.append(record)
        except (ValueError, KeyError, TypeError):
            self.whole = False

    def _conda_files(self, record, wanted):
        """Find the files of a conda package that are gone, unless pip has taken the package over."""
        files = record.get("files", [])
        described = (re.search(r"site-packages/([^/]+?)-[^/-]+\.dist-info/", file) for file in files)
        names = {canonical(found[1]) for found in described if found}
        self.owned |= names
        if names & wanted:
            return
        for file in files:
            if not file.endswith(".pyc") and not os.path.lexists(os.path.join(self.path, file)):
                self.lost_conda[file] = record["name"]

    def _pip(self, wanted):
        """Read the distributions in site-packages and compare those that pip brought with their records."""
        here = os.open(self.site, os.O_RDONLY)  # from there a file is found a third faster than by its whole path
        try:
            for entry in os.listdir(self.site):
                found = re.fullmatch(r"(.+)-([^-]+)\.dist-info", entry)
                if not found:
                    continue
                name = canonical(found[1])
                self.pip.setdefault(name, []).append(found[2])
                if name not in self.owned or name in wanted:
                    self._files(name, os.path.join(self.site, entry), here)
        finally:
            os.close(here)

    def _files(self, name, info, here):
        """Find the files of a distribution that are gone or were cut short; *here* is the open directory that their names begin in."""
        text = read(os.path.join(info, "RECORD"))
        if not text or not os.path.exists(os.path.join(info, "METADATA")):
            self.lost_pip[os.path.relpath(info, self.site)] = name
            return
        for line in text.splitlines():
            parts = line.rsplit(",", 2)
            if len(parts) != 3 or parts[0].endswith(".pyc"):
                continue
            file = parts[0][1:-1].replace('""', '"') if parts[0].startswith('"') else parts[0]
            try:
                size = os.stat(file, dir_fd=here).st_size
            except OSError:
                size = -1
            if size < 0 or (parts[2] and size != int(parts[2])):
                self.lost_pip[file] = name

    def listing(self):
        """Return what is there as lines for people: one package each, damage named."""
        if not self.exists:
            return []
        damaged = set(self.lost_pip.values()) | set(self.lost_conda.values())
        lines = [] if self.whole else ["unfinished"]
        lines += ["conda %s %s%s" % (name, version, " (damaged)" if name in damaged else "") for name, version in self.conda.items()]
        for name, versions in self.pip.items():
            if name not in self.owned:
                lines += ["pip %s %s%s" % (name, version, " (damaged)" if name in damaged else "") for version in versions]
        return sorted(lines)


def spec_name(spec):
    """Return the name in a conda spec: ``conda-forge::r-base>=4`` is about ``r-base``.

    :raises Failed: when there is none.
    """
    found = re.match(r"\s*(?:[^:\s]+::)?([A-Za-z0-9_][A-Za-z0-9_.-]*)", spec)
    if not found:
        raise Failed("the conda package `%s` cannot be read; write it as name, name=version or name>=version" % spec)
    return found[1].lower()


def lock(given):
    """Return the path of the lock that whoever changes the environment holds."""
    return os.path.join(given["prefix"], ".environment-%s.lock" % given["name"])


class Builder:
    """Brings one environment to what is wanted, step by step, so that a run that is killed anywhere can be finished by the next.

    Beside the environment lies ``.<name>.fenton.json``: the stage reached (``conda``, ``pip``, ``whole``), which package each conda
    spec led to, and the files that differed from their records right after an installation, which therefore are no damage.
    """

    def __init__(self, given):
        """Take the module's parameters."""
        self.given = given
        base = os.path.join(given["prefix"], "envs")
        self.name = given["name"]
        self.path = os.path.join(base, self.name)
        self.aside = os.path.join(base, ".%s.previous" % self.name)
        self.state_file = os.path.join(base, ".%s.fenton.json" % self.name)
        try:
            self.state = json.loads(read(self.state_file) or "{}")
        except ValueError:
            self.state = {}
        self.now = None
        self.look()

    def wanted(self, python):
        """Return the pip packages that are wanted for that version of Python, or None where they are left alone.

        :raises Failed: when the lock cannot be used.
        """
        if self.given["requirements"] is None:
            return None
        try:
            return pinned(self.given["requirements"], python, platform.machine())
        except ValueError as error:
            raise Failed("environment %s: its pip_lock cannot be used: %s; make the file with `make lock`" % (self.name, error)) from None

    def right_python(self, version):
        """Tell whether *version* is what is wanted: ``3.13`` means any 3.13."""
        return bool(version) and (version == self.given["python"] or version.startswith(self.given["python"] + "."))

    def look(self):
        """Read the environment anew."""
        names = self.wanted(self.given["python"]) if self.given["state"] == "present" else None
        self.now = Environment(self.path, names or {})
        tolerated = set(self.state.get("tolerated", []))
        if self.state.get("stage") == "whole":
            for lost in (self.now.lost_pip, self.now.lost_conda):
                for file in tolerated & set(lost):
                    del lost[file]

    # What differs

    def must_build(self):
        """Return why the environment has to be built from nothing, or an empty text."""
        if not self.now.exists:
            return "it is not there"
        if not self.now.whole or self.state.get("stage") == "conda":
            return "its creation or update was interrupted"
        if not self.right_python(self.now.python):
            return "its Python is %s, not %s" % (self.now.python or "missing", self.given["python"])
        if self.now.lost_conda:
            file, package = sorted(self.now.lost_conda.items())[0]
            return "%d files of its conda packages are missing (%s of %s)" % (len(self.now.lost_conda), file, package)
        return ""

    def conda_changes(self):
        """Return the specs to install and the names to remove with conda."""
        known = self.state.get("specs", {})
        install = [spec for spec in self.given["conda"] if self.now.dists.get(spec_name(spec)) != known.get(spec, "")]
        names = {spec_name(spec) for spec in self.given["conda"]} | {"python"}
        gone = {spec_name(spec) for spec in known}
        return install, sorted(name for name in gone - names if name in self.now.conda)

    def pip_changes(self):
        """Return the pip packages to install (name: version), those to install over themselves, and those to remove."""
        wanted = self.wanted(self.now.python or self.given["python"])
        if wanted is None:
            return {}, [], []
        have = self.now.pip
        install = {name: version for name, version in wanted.items() if [plain(v) for v in have.get(name, [])] != [plain(version)]}
        again = sorted(set(self.now.lost_pip.values()) & set(wanted) | {name for name in install if len(have.get(name, [])) > 1})
        return install, again, sorted(name for name in have if name not in wanted and name not in self.now.owned)

    def kernel_file(self):
        """Return path and wanted text of the kernel's description; no text where there is to be none."""
        path = os.path.join(self.given["kernels"], self.name, "kernel.json")
        if not self.given["kernel"] or self.given["state"] == "absent":
            return path, ""
        python = os.path.join(self.path, "bin", "python")
        kernel = {
            "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": self.given["kernel"],
            "language": "python",
            "metadata": {"debugger": True},
            # Jupyter starts the interpreter without activation; these let programs that a notebook starts find the environment.
            "env": {
                "PATH": os.path.join(self.path, "bin") + ":${PATH}",
                "CONDA_PREFIX": self.path,
                "CONDA_DEFAULT_ENV": self.name,
            },
        }
        return path, json.dumps(kernel, indent=1) + "\n"

    def kernel_differs(self):
        """Tell whether the kernel's description is to be written or removed; one that others wrote is not removed."""
        path, text = self.kernel_file()
        return not kept(path, text) if text else self.path + "/" in read(path)

    def differences(self):
        """Return what differs as sentences; nothing when all is as wanted."""
        said = []
        if self.given["state"] == "absent":
            if self.now.exists:
                said.append("the environment is there")
        elif self.must_build():
            said.append("build it: " + self.must_build())
        else:
            install, remove = self.conda_changes()
            said += ["conda install %s" % spec for spec in install] + ["conda remove %s" % name for name in remove]
            fresh, again, extra = self.pip_changes()
            said += ["pip install %s %s" % (name, version) for name, version in sorted(fresh.items())]
            said += ["pip repair %s" % name for name in again if name not in fresh]
            said += ["pip remove %s" % name for name in extra]
            if not said and self.state.get("stage") != "whole":
                said.append("finish it")
        if self.kernel_differs():
            said.append("kernel %s" % self.kernel_file()[0])
        return said

    def expected(self):
        """Return the lines of the listing as they will be, as far as that can be known beforehand."""
        if self.given["state"] == "absent":
            return []
        wanted = self.wanted(self.given["python"]) or {}
        if self.must_build():
            lines = ["conda python %s" % self.given["python"]] + ["conda %s" % spec for spec in self.given["conda"]]
        else:
            install, remove = self.conda_changes()
            gone = remove + [spec_name(spec) for spec in install]
            lines = ["conda %s %s" % item for item in self.now.conda.items() if item[0] not in gone]
            lines += ["conda %s" % spec for spec in install]
            if self.given["requirements"] is None:
                lines += [line for line in self.now.listing() if line.startswith("pip ")]
        return sorted(lines + ["pip %s %s" % item for item in wanted.items() if item[0] not in self.now.owned])

    # What is done about it

    def save(self, stage, **more):
        """Remember how far this run has come."""
        self.state = dict(self.state, stage=stage, **more)
        write(self.state_file, json.dumps(self.state, indent=1, sort_keys=True) + "\n")

    def conda(self, *words):
        """Run conda on the environment; its package cache is root's own, and one conda at a time may fill it.

        :raises Failed: with what conda said.
        """
        cache = os.path.join(self.given["prefix"], "pkgs")
        program = os.path.join(self.given["prefix"], "bin", "conda")
        command = [program, words[0], "--yes", "--quiet", "--prefix", self.path, *words[1:]]
        with alone(os.path.join(self.given["prefix"], ".packages.lock")):
            run(command, "environment %s: conda %s" % (self.name, words[0]), CONDA_PKGS_DIRS=cache)

    def uv(self, *words):
        """Run ``uv pip`` on the environment.

        Its cache lives on the same file system and only for this call: files are linked rather than copied, the disk holds them once,
        and a file that is edited in one environment does not come back in the next.

        :raises Failed: with what uv said.
        """
        cache = os.path.join(self.given["prefix"], "envs", ".%s.uv-cache" % self.name)
        shutil.rmtree(cache, ignore_errors=True)
        try:
            command = [self.given["uv"], "pip", words[0], "--quiet", "--python", os.path.join(self.path, "bin", "python"), *words[1:]]
            more = {"UV_DEFAULT_INDEX": self.given["index"]} if self.given.get("index") else {}
            what = "environment %s: uv pip %s" % (self.name, words[0])
            # Every package is held against its hash, so it does not matter which index has it first.
            more["UV_INDEX_STRATEGY"] = "unsafe-best-match"
            run(command, what, cwd=self.path, UV_CACHE_DIR=cache, UV_LINK_MODE="hardlink", **more)
        finally:
            shutil.rmtree(cache, ignore_errors=True)

    def build(self):
        """Create the environment anew; what stood there steps aside until the new one is whole, and returns if it fails.

        :raises Failed: with what conda or uv said.
        """
        before = self.state
        if self.now.exists:
            # If one stands aside already, an earlier run was killed here, and what stands in its place is half-made.
            if os.path.lexists(self.aside):
                shutil.rmtree(self.path)
            else:
                os.rename(self.path, self.aside)
        self.state = {}
        self.save("conda")
        try:
            self.conda("create", "python=" + self.given["python"], *self.given["conda"])
            self.look()
            self.save("pip", specs=self.led_to())
            self.update_pip()
        except (Failed, OSError):
            shutil.rmtree(self.path, ignore_errors=True)
            if os.path.lexists(self.aside):
                os.rename(self.aside, self.path)
            self.state = before
            if before:
                self.save(before["stage"])
            else:
                os.unlink(self.state_file)
            raise

    def led_to(self):
        """Return which package each wanted spec led to."""
        return {spec: self.now.dists.get(spec_name(spec), "") for spec in self.given["conda"]}

    def update_conda(self):
        """Install and remove with conda what differs.

        :raises Failed: with what conda said.
        """
        install, remove = self.conda_changes()
        if not install and not remove:
            return
        self.save("conda")
        if remove:
            self.conda("remove", *remove)
        if install:
            self.conda("install", "python=" + self.given["python"], *self.given["conda"])
        self.look()
        self.save("pip", specs=self.led_to())

    def update_pip(self):
        """Install, repair and remove with uv what differs, then compile: users cannot write the environment, so Python could not either.

        :raises Failed: with what uv said.
        """
        fresh, again, extra = self.pip_changes()
        if fresh or again or extra:
            self.save("pip")
        # Without its record a package cannot be uninstalled; what is left of its description would only mislead.
        for file, name in self.now.lost_pip.items():
            info = os.path.join(self.now.site, file)
            if file.endswith(".dist-info") and os.path.isdir(info) and name not in self.now.owned:
                shutil.rmtree(info)
                extra = [other for other in extra if other != name]
        if extra:
            self.uv("uninstall", *extra)
        if fresh or again:
            lock = os.path.join(self.given["prefix"], "envs", ".%s.requirements.txt" % self.name)
            write(lock, self.given["requirements"])
            words = ["--require-hashes", "--no-deps", "--requirement", lock]
            for name in again:
                words += ["--reinstall-package", name]
            try:
                self.uv("install", *words)
            finally:
                os.unlink(lock)
        if self.state.get("stage") != "whole":
            self.compile()
            tighten(self.path)
            self.look()
            self.save("whole", tolerated=sorted(set(self.now.lost_pip) | set(self.now.lost_conda)))
            self.look()

    def compile(self):
        """Compile what has no bytecode yet; packages' own tests, a quarter of all, and sources that no Python can read are left."""
        tests = "^%s/(.*/)?tests?/" % re.escape(self.now.site)
        words = [os.path.join(self.path, "bin", "python"), "-I", "-m", "compileall", "-q", "-q", "-j", "0", "-x", tests, self.now.site]
        try:
            run(words, "environment %s: compiling" % self.name)
        except Failed:
            pass

    def update_kernel(self):
        """Write or remove the kernel's description.

        :raises Failed: when the environment has no ipykernel.
        """
        path, text = self.kernel_file()
        if text:
            if "ipykernel" not in self.now.pip and "ipykernel" not in self.now.conda:
                advice = "add it to its conda packages or its pip_lock, or leave `kernel` empty"
                raise Failed("environment %s: a kernel needs ipykernel; %s" % (self.name, advice))
            write(path, text)
        else:
            shutil.rmtree(os.path.dirname(path))

    def remove(self):
        """Remove the environment and what lies beside it."""
        if self.now.exists:
            shutil.rmtree(self.aside, ignore_errors=True)
            os.rename(self.path, self.aside)
        if os.path.exists(self.state_file):
            os.unlink(self.state_file)

    def sweep(self):
        """Remove what lies beside the environment while it is being made: a run that was killed leaves it."""
        beside = os.path.join(self.given["prefix"], "envs", "." + self.name)
        for path in (self.aside, beside + ".uv-cache"):
            shutil.rmtree(path, ignore_errors=True)
        if os.path.exists(beside + ".requirements.txt"):
            os.unlink(beside + ".requirements.txt")

    def apply(self):
        """Do what differs.

        :raises Failed: with a sentence; what was there before a rebuild is back then.
        """
        if self.given["state"] == "absent":
            self.remove()
        elif self.must_build():
            self.build()
        else:
            self.update_conda()
            self.update_pip()
        if self.kernel_differs():
            self.update_kernel()
        self.sweep()
        self.look()
        left = self.differences()
        if left:
            raise Failed("environment %s: after the change it still differs: %s" % (self.name, "; ".join(left)))


def at_rest(given):
    """Return the module's answer where there is nothing to do, else None: also while somebody is still at work there."""
    if taken(lock(given)):
        return None
    builder = Builder({"state": "present", "conda": [], "requirements": None, "kernel": "", "kernels": KERNELS, **given})
    if builder.differences() or os.path.lexists(builder.aside):
        return None
    return {"changed": False, "differences": [], "diff": []}
