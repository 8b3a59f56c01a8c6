"""What is decided about the frameworks' environments: which build fits the server, and what is wrong with the input."""

import json
import os
import re

FILE = "group_vars/workbenches/tensorflow.yml"
# Environments of other roles; the last is made by default.
TAKEN = ("base", "jupyter", "science")


def ours(cards):
    """Return the cards that this server computes on: all but those that are handed on to virtual machines.

    :arg cards: ``ansible_facts['gpus']``.
    """
    return [card for card in cards if card.get("driver") != "vfio-pci"]


def best(builds, machine, cards):
    """Return the variant for these cards: ``cpu`` without any, else the first that serves most of them, or nothing where none does.

    :arg builds: the variants of one framework, the preferred one first.
    :arg machine: as ``uname -m`` says it.
    """
    if not cards:
        return "cpu"
    served = {
        name: sum(card["architecture"] in build.get("architectures", ()) for card in cards)
        for name, build in builds.items()
        if machine in build["machines"]
    }
    most = max(served.values(), default=0)
    return next((name for name, count in served.items() if count == most), "") if most else ""


def tensorflow_wanted(environments, frameworks, cards, machine="x86_64", python="", directory=""):
    """Return the environments with everything that an entry leaves open.

    :arg environments: ``tensorflow_environments``.
    :arg frameworks: by name, its ``title``, the versions of ``python`` that it has builds for, and its ``variants``.
    :arg cards: ``ansible_facts['gpus']``.
    :arg machine: as ``uname -m`` says it.
    :arg python: version where an entry names none.
    :arg directory: what a relative ``pip_lock`` is relative to.
    :returns: dictionaries with ``name``, ``framework``, ``variant`` (empty where no build fits), ``python``, ``lock``, ``own`` (whether
        the lock is the user's), ``state``, ``gpu`` (whether it must compute on a card) and ``build`` (the line of the table, may be empty).
    """
    cards, wanted = ours(cards), []
    for entry in environments:
        name = entry.get("framework") or "tensorflow"
        variants = frameworks[name]["variants"]
        own = entry.get("pip_lock") or ""
        variant = entry.get("variant") or best(variants, machine, cards) or ("cuda" if own else "")
        build = variants.get(variant) or {}
        wanted.append(
            {
                "name": str(entry["name"]),
                "framework": name,
                "variant": variant,
                "python": str(entry.get("python") or python),
                "lock": os.path.join(directory, own) if own else build.get("lock", ""),
                "own": bool(own),
                "state": entry.get("state") or "present",
                "gpu": bool(cards) and variant != "cpu",
                "build": {} if own else build,
            }
        )
    return wanted


def _no_build(one, framework, cards, machine):
    """Return why no build of a framework serves this server, or an empty text."""
    title, build, cards = framework["title"], one["build"], ours(cards)
    cure = f"give it `variant: cpu` or a `pip_lock` of yours in {FILE}"
    if not build:
        names = " and ".join(sorted({card["architecture"] or f"unknown ({card['device']})" for card in cards}))
        if one["variant"]:
            known = ", ".join(framework["variants"])
            return f"{title} has no build {one['variant']}, only {known}; change `variant` or give it a `pip_lock` of yours in {FILE}"
        return f"{title} has no build for {machine} with an NVIDIA card of the architecture {names}; {cure}"
    if machine not in build["machines"]:
        return f"the build {one['variant']} of {title} is for {' and '.join(build['machines'])}, not for {machine}; {cure}"
    if one["gpu"] and not any(card["architecture"] in build["architectures"] for card in cards):
        names = " and ".join(sorted({card["architecture"] or f"unknown ({card['device']})" for card in cards}))
        return f"the build {one['variant']} of {title} has no code for a card of the architecture {names}; leave `variant` out, or {cure}"
    return ""


def _ground(one, framework, found):
    """Return what the server itself lacks for one environment, or an empty text.

    :arg found: ``avx`` (bool), ``driver`` (version of the loaded NVIDIA driver, or empty), ``machine``.
    """
    title, build = framework["title"], one["build"]
    version = re.match(r"\d+", found["driver"])
    if one["gpu"] and version and int(version[0]) < build.get("driver", 0):
        older = [name for name, other in framework["variants"].items() if 0 < other.get("driver", 0) <= int(version[0])]
        cure = f"give it `variant: {older[0]}`" if older else "give it `variant: cpu` or a `pip_lock` of yours"
        return f"the build {one['variant']} of {title} needs NVIDIA driver {build['driver']}, here is {found['driver']}; {cure} in {FILE}"
    if one["framework"] == "tensorflow" and found["machine"] == "x86_64" and not found["avx"]:
        return f"TensorFlow needs a processor with AVX, and this one has none; take `framework: pytorch` in {FILE}"
    return ""


def tensorflow_problems(wanted, frameworks, cards, found):
    """Return sentences about environments that could not be made or would not compute here.

    :arg wanted: what ``tensorflow_wanted`` returned.
    :arg frameworks: the table that it was given.
    :arg cards: ``ansible_facts['gpus']``.
    :arg found: of the server, ``avx``, ``driver``, ``machine``, ``free`` (MB on the disk of the environments) and ``there`` (paths of the
        packages that tell a build).
    """
    problems, names, needed = [], set(), {}
    for one in wanted:
        name, framework = one["name"], frameworks[one["framework"]]
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
            problems.append(f"{name!r} cannot name an environment; take small letters, digits, dots and hyphens in {FILE}")
        elif name in TAKEN:
            problems.append(f"{name} is an environment of another role; choose another name in {FILE}")
        if name in names:
            problems.append(f"{name} is there twice; rename or remove one entry in {FILE}")
        names.add(name)
        if one["state"] == "absent":
            continue
        if one["own"] and not os.path.isfile(one["lock"]):
            problems.append(f"environment {name}: there is no file {one['lock']} on the control node; correct `pip_lock` in {FILE}")
        said = "" if one["own"] else _no_build(one, framework, cards, found["machine"])
        said = said or _ground(one, framework, found)
        if said:
            problems.append(f"environment {name}: {said}")
        elif not one["own"]:
            versions = framework["python"]
            if ".".join(one["python"].split(".")[:2]) not in versions:
                problems.append(
                    f"environment {name}: {framework['title']} has no build for Python {one['python']}, only for {', '.join(versions)}; "
                    f"set tensorflow_python, or `python` of that entry, to {versions[-1]} in {FILE}"
                )
            place = f"/{name}/lib/python{'.'.join(one['python'].split('.')[:2])}/site-packages/{one['build']['tells']}"
            if not any(place in path for path in found["there"]):
                needed[name] = one["build"]["megabytes"]
    if sum(needed.values()) > found["free"]:
        have, need = found["free"] / 1000, sum(needed.values()) / 1000
        problems.append(
            f"{' and '.join(needed)} {'need' if len(needed) > 1 else 'needs'} {need:.1f} GB on the disk of the environments, "
            f"{have:.1f} GB are free; free some, or take an entry out in {FILE}"
        )
    return [f"tensorflow_environments: {problem}" for problem in problems]


def tensorflow_trained(seen, wanted):
    """Return what came of the trainings.

    :arg seen: by name of the environment, ``rc``, ``stdout`` and ``stderr`` of files/train.py.
    :arg wanted: what ``tensorflow_wanted`` returned.
    :returns: ``said``, a few words on each for people, and ``failed``, by name why one did not train where it should have.
    """
    said, failed = [], {}
    for one in (one for one in wanted if one["state"] == "present"):
        name, answer = one["name"], seen[one["name"]]
        try:
            told = json.loads(answer["stdout"].splitlines()[-1]) if answer["rc"] == 0 else {}
        except (ValueError, IndexError):
            told = {}
        if not told:
            failed[name] = answer["stderr"][-800:] or answer["stdout"][-800:] or f"ended with {answer['rc']}"
        elif one["gpu"] and not told["gpu"]:
            failed[name] = f"{told['framework']} computed on the CPU, though the server has a card. {answer['stderr'][-800:]}"
        said.append(f"{name} on {told['device']} ({told['framework']}, {told['seconds']} s)" if told else f"{name} not at all")
    return {"said": ", ".join(said), "failed": failed}


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {
            "tensorflow_problems": tensorflow_problems,
            "tensorflow_trained": tensorflow_trained,
            "tensorflow_wanted": tensorflow_wanted,
        }
