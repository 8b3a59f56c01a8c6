#!/usr/bin/python
"""Install the conda distribution a server has, from one pinned installer."""

DOCUMENTATION = r"""
module: conda_base
short_description: Install or update a conda distribution from one pinned installer
description:
  - With O(state=fetched) only the installer is brought to the host and compared with its sum; nothing else is touched, and nothing
    stays behind when the download is cut short or wrong. It is not fetched where the wanted one is installed already.
  - With O(state=present) it is run in batch mode, with C(-u) where the prefix exists, until it has once run to its end; then the
    files are put in place, and uv beside it.
  - "What was installed is remembered in C(conda-meta/fenton.installer) of the prefix, written only after success."
options:
  state:
    description: Whether only to fetch the installer or to install.
    choices: [fetched, present]
    default: present
    type: str
  prefix:
    description: Where the distribution lives. The directory must not exist before the first installation.
    type: path
    required: true
  url:
    description: Where the installer comes from; C(file://) for one that lies on the host.
    type: str
    required: true
  sha256:
    description: Its sum, 64 hexadecimal digits.
    type: str
    required: true
  cache:
    description: Directory for the installer until it has been run.
    type: path
    required: true
  files:
    description: Text of files by path, which must be there after the installation.
    type: dict
    default: {}
  uv:
    description: Directory for uv, which the module C(conda_environment) uses.
    type: path
  uv_requirements:
    description: Text of a requirements file that names uv with its hashes.
    type: str
  index:
    description: Where uv comes from, the address of a package index; empty for what the host is set up for.
    type: str
    default: ""
author: Fenton
"""

EXAMPLES = r"""
- name: install | Install the distribution
  conda_base:
    prefix: /opt/conda
    url: file:///srv/mirror/Miniforge3-26.7.2-0-Linux-x86_64.sh
    sha256: 281b0ac7d550802efc81af633225a5e6116d29ae72f3ab4eae7168c3931a4c05
    cache: /var/cache/fenton
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.conda import CERTIFICATES, Failed, alone, behind, conceal, kept, read, run, tighten, write
from ansible.module_utils.conda_base import digest, has_uv, installed, installer, lock, marker
from ansible.module_utils.disk import full
from ansible.module_utils.urls import open_url

ADVICE = "give the right pair as anaconda_url and anaconda_checksum in group_vars/all/anaconda.yml"


def fetch(url, sha256, cache):
    """Bring the installer into the cache.

    :returns: True when it was fetched, False when it lay there already.
    :raises Failed: when it cannot be had whole or has another sum; then nothing is left behind.
    """
    target = installer(cache, url)
    if digest(target) == sha256:
        return False
    made = not os.path.isdir(cache)
    os.makedirs(cache, mode=0o755, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=cache, prefix=".part-")
    try:
        try:
            with os.fdopen(handle, "wb") as file, open_url(url, timeout=60, follow_redirects="all", http_agent="fenton") as answer:
                expected = answer.headers.get("Content-Length")
                shutil.copyfileobj(answer, file, 1 << 20)
        except Exception as error:  # of urllib's, of ssl's, of the file system's: the sentence is the same
            text = "anaconda_url: the installer cannot be had from %s (%s); mend the line or the connection, or %s"
            raise Failed(text % (url, error, ADVICE)) from error
        size = os.path.getsize(part)
        if expected and int(expected) != size:
            raise Failed(
                "anaconda_url: the download of %s was cut short, %d of %s bytes came; run again, or %s" % (url, size, expected, ADVICE)
            )
        got = digest(part)
        if got != sha256:
            text = "anaconda_checksum: the installer from %s has sha256 %s (%d bytes), wanted is %s; %s"
            raise Failed(text % (url, got, size, sha256, ADVICE))
        os.chmod(part, 0o644)
        os.replace(part, target)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        if made:
            os.rmdir(cache)
        raise
    return True


def install(prefix, url, sha256, cache):
    """Run the installer to its end and remember that it did.

    :raises Failed: when it cannot be fetched or fails.
    """
    fetch(url, sha256, cache)
    program = installer(cache, url)
    # The frozen mark would stop the installer's own conda too.
    for path in (marker(prefix), os.path.join(prefix, "conda-meta", "frozen")):
        if os.path.exists(path):
            os.unlink(path)
    words = ["sh", program, "-b", "-p", prefix] + (["-u"] if os.path.exists(prefix) else [])
    run(words, "the installation of conda in %s" % prefix, CONDA_PROTECT_FROZEN_ENVS="0")
    run([os.path.join(prefix, "bin", "conda"), "--version"], "the first start of conda in %s" % prefix)
    tighten(prefix)
    write(marker(prefix), "%s  %s\n" % (sha256, os.path.basename(program)))


def forget(cache, url):
    """Remove the installer, and the cache when it is empty: a gigabyte for Anaconda, and the marker tells what is installed."""
    path = installer(cache, url)
    names = os.listdir(cache) if os.path.isdir(cache) else []
    # What begins with .part- is of a download that was killed.
    for left in [path] + [os.path.join(cache, name) for name in names if name.startswith(".part-")]:
        if os.path.exists(left):
            os.unlink(left)
    if os.path.isdir(cache) and not os.listdir(cache):
        os.rmdir(cache)


def install_uv(prefix, folder, requirements, index):
    """Put uv into *folder* with the pip that every distribution brings; made aside, so it is there whole or not at all."""
    aside = folder + ".new"
    shutil.rmtree(aside, ignore_errors=True)
    os.makedirs(aside, mode=0o755)
    lock = os.path.join(aside, "requirements.txt")
    write(lock, requirements)
    words = [os.path.join(prefix, "bin", "python"), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    words += ["--no-cache-dir", "--require-hashes", "--target", aside, "--requirement", lock]
    more = {"PIP_CERT": CERTIFICATES} if os.path.exists(CERTIFICATES) else {}
    if index:
        more["PIP_INDEX_URL"] = index
    if index.startswith("http:"):
        # pip refuses a cache without TLS; what comes from there is held against the hashes like everything else.
        more["PIP_TRUSTED_HOST"] = urlsplit(index).netloc.rpartition("@")[2]
    run(words, "the installation of uv", PIP_ROOT_USER_ACTION="ignore", **more)
    run([os.path.join(aside, "bin", "uv"), "--version"], "the first start of uv")
    write(os.path.join(aside, "requirements.sha256"), hashlib.sha256(requirements.encode()).hexdigest() + "\n")
    tighten(aside)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(aside, folder)


def attend(given, source, check_mode):
    """Do what is wanted, or in check mode only say what would be done.

    :arg given: the options.
    :arg source: address, sum and directory of the installer.
    :returns: whether it was installed before, and the diff; for ``fetched`` a diff that says nothing but that there is one.
    :raises Failed: with a sentence.
    """
    prefix = given["prefix"]
    there = installed(prefix, source[1])
    if given["state"] == "fetched":
        stale = not there and digest(installer(source[2], source[0])) != source[1]
        if stale and not check_mode:
            fetch(*source)
        return there, [{}] if stale else []
    before = read(marker(prefix)).strip() or ("unfinished" if os.path.exists(prefix) else "nothing")
    diff = []
    if not there:
        after = "%s  %s" % (source[1], os.path.basename(installer(source[2], source[0])))
        diff.append({"before_header": prefix, "after_header": prefix, "before": before + "\n", "after": after + "\n"})
        if not check_mode:
            install(prefix, *source)
    for path, text in given["files"].items():
        if not kept(path, text):
            diff.append({"before_header": path, "after_header": path, "before": read(path), "after": text})
            if not check_mode:
                write(path, text)
    if given["uv"] and not has_uv(given["uv"], given["uv_requirements"]):
        diff.append({"before_header": given["uv"], "after_header": given["uv"], "before": "", "after": "uv\n"})
        if not check_mode:
            install_uv(prefix, given["uv"], given["uv_requirements"], given["index"])
    if not check_mode:
        forget(source[2], source[0])
    return there, diff


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["fetched", "present"], "default": "present"},
            "prefix": {"type": "path", "required": True},
            "url": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True},
            "cache": {"type": "path", "required": True},
            "files": {"type": "dict", "default": {}},
            "uv": {"type": "path"},
            "uv_requirements": {"type": "str"},
            "index": {"type": "str", "default": ""},
        },
        required_together=[["uv", "uv_requirements"]],
        supports_check_mode=True,
    )
    given = module.params
    conceal(module, given["index"])
    prefix, source = given["prefix"], (given["url"], given["sha256"].lower(), given["cache"])
    os.umask(0o022)
    record = behind()
    try:
        beside = os.path.dirname(lock(prefix))
        if given["state"] == "present" and not module.check_mode:
            os.makedirs(beside, mode=0o755, exist_ok=True)
        # One that was begun by a run that has been cut off may still be at work.
        with contextlib.nullcontext() if module.check_mode or not os.path.isdir(beside) else alone(lock(prefix)):
            there, diff = attend(given, source, module.check_mode)
    except (Failed, OSError) as error:
        module.fail_json(msg=full(error, prefix, source[2], given["uv"]), **record)
    module.exit_json(changed=bool(diff), diff=diff, installed=there, **record)


if __name__ == "__main__":
    main()
