"""What is there of a conda distribution. The module ``conda_base`` uses it, and the look that tells whether that has anything to do."""

import hashlib
import os

from ansible.module_utils.conda import kept, read, taken


def digest(path):
    """Return the sha256 of the file at *path*, or an empty text where there is none."""
    if not os.path.isfile(path):
        return ""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()


def marker(prefix):
    """Return the path of the file that says which installer has run to its end."""
    return os.path.join(prefix, "conda-meta", "fenton.installer")


def installed(prefix, sha256):
    """Tell whether the installer with that sum has run to its end in *prefix* and conda is still there."""
    return (
        read(marker(prefix)).split(" ")[0] == sha256
        and os.path.exists(os.path.join(prefix, "conda-meta", "history"))
        and os.access(os.path.join(prefix, "bin", "conda"), os.X_OK)
    )


def installer(cache, url):
    """Return the path of the installer in the cache; its name must end in .sh, else it refuses to run."""
    name = os.path.basename(url.split("?")[0]) or "installer"
    return os.path.join(cache, name if name.endswith(".sh") else name + ".sh")


def lock(prefix):
    """Return the path of the lock that whoever installs holds: beside the prefix, which must not be there before the installer has run."""
    return os.path.join(os.path.dirname(prefix.rstrip("/")), ".%s.lock" % os.path.basename(prefix.rstrip("/")))


def has_uv(folder, requirements):
    """Tell whether uv as *requirements* pin it is in *folder*."""
    wanted = hashlib.sha256(requirements.encode()).hexdigest()
    return read(os.path.join(folder, "requirements.sha256")).strip() == wanted and os.access(os.path.join(folder, "bin", "uv"), os.X_OK)


def at_rest(given):
    """Return the module's answer where there is nothing to do, else None."""
    if taken(lock(given["prefix"])):
        return None
    there = installed(given["prefix"], given["sha256"].lower())
    left = installer(given["cache"], given["url"])
    if given.get("state") == "fetched":
        rests = there or digest(left) == given["sha256"].lower()
    else:
        same = all(kept(path, text) for path, text in given.get("files", {}).items())
        uv = not given.get("uv") or has_uv(given["uv"], given["uv_requirements"])
        rests = there and same and uv and not os.path.exists(left)
    return {"changed": False, "installed": there, "diff": []} if rests else None
