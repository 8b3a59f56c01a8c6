"""Read a requirements file as `uv pip compile --universal --generate-hashes` writes it: pinned, hashed, with markers."""

import re

PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*==\s*([^\s;]+)\s*(?:;\s*(.*))?$")
INDEX = re.compile(r"(-i|--index-url|--extra-index-url)[ =]+\S+$")
TOKEN = re.compile(r"\s*(\(|\)|'[^']*'|\"[^\"]*\"|<=|>=|==|!=|~=|<|>|not\s+in\b|in\b|and\b|or\b|[A-Za-z_.]+)")


def canonical(name):
    """Return the name of a distribution in the one form in which names can be compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def plain(version):
    """Return a version in a form in which equal versions are equal texts (``2024.08.30`` and ``2024.8.30``)."""
    text = version.lower().strip().lstrip("v").replace("_", ".").replace("-", ".")
    return re.sub(r"(^|\.)0+(?=\d)", r"\1", text)


def numbers(version):
    """Return the release numbers of a version as a list; what follows them (rc1, post2) is left out."""
    return [int(part) for part in re.findall(r"\d+", re.match(r"[\d.]*", version)[0])]


def compare(left, operator, right):
    """Evaluate one comparison of a marker; versions by their numbers, other texts as texts.

    :raises ValueError: for an operator that is not known.
    """
    if operator == "in":
        return left in right
    if operator == "not in":
        return left not in right
    versions = re.match(r"\d", left) and re.match(r"\d", right)
    if versions:
        one, two = numbers(left), numbers(right)
        if operator in ("==", "!=") and right.endswith(".*") or operator == "~=":
            same = one[: len(two) - (operator == "~=")] == two[: len(two) - (operator == "~=")]
            return (same and one >= two) if operator == "~=" else same == (operator == "==")
        length = max(len(one), len(two))
        left, right = one + [0] * (length - len(one)), two + [0] * (length - len(two))
    if operator not in ("==", "!=", "<", "<=", ">", ">="):
        raise ValueError("the operator %s of a marker is not known" % operator)
    order = (left > right) - (left < right)
    return {"==": order == 0, "!=": order != 0, "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator]


def holds(marker, values):
    """Evaluate an environment marker.

    :arg marker: for instance ``python_full_version < '3.12' and sys_platform == 'linux'``.
    :arg values: what the marker's names stand for, as texts.
    :raises ValueError: when the marker cannot be read.
    """
    words = []
    position = 0
    text = marker.strip()
    while position < len(text):
        found = TOKEN.match(text, position)
        if not found:
            raise ValueError("the marker %r cannot be read" % marker)
        words.append(re.sub(r"\s+", " ", found[1]))
        position = found.end()

    def value():
        word = words.pop(0)
        if word[0] in "'\"":
            return word[1:-1]
        if word not in values:
            raise ValueError("the marker %r uses %s, which is not known" % (marker, word))
        return values[word]

    def single():
        if words[0] == "(":
            words.pop(0)
            answer = either()
            if words.pop(0) != ")":
                raise ValueError("the marker %r lacks a parenthesis" % marker)
            return answer
        left = value()
        operator = words.pop(0)
        return compare(left, operator, value())

    def both():
        answer = single()
        while words and words[0] == "and":
            words.pop(0)
            answer = single() and answer
        return answer

    def either():
        answer = both()
        while words and words[0] == "or":
            words.pop(0)
            answer = both() or answer
        return answer

    try:
        answer = either()
    except IndexError:
        raise ValueError("the marker %r ends too early" % marker) from None
    if words:
        raise ValueError("the marker %r has words left over" % marker)
    return bool(answer)


def values(python, machine):
    """Return what markers' names stand for on a Linux server.

    :arg python: version of the environment's Python, ``3.13.5`` or ``3.13``.
    :arg machine: as ``uname -m`` says it.
    """
    return {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python if python.count(".") > 1 else python + ".0",
        "implementation_version": python,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_machine": machine,
        "platform_system": "Linux",
        "platform_release": "",
        "platform_version": "",
        "sys_platform": "linux",
        "os_name": "posix",
        "extra": "",
    }


def pinned(text, python, machine):
    """Return the versions that a locked requirements file wants, by canonical name; lines that name an index are the installer's.

    :raises ValueError: with a sentence, when a line is not pinned, has no hash or cannot be read.
    """
    known, wanted = values(python, machine), {}
    for line in re.sub(r"\\\s*\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if not line or INDEX.match(line):
            continue
        requirement, *hashes = re.split(r"\s--hash=", line)
        found = PIN.match(requirement.strip())
        if not found or not hashes:
            raise ValueError("the line `%s` is not pinned by version and hash" % requirement.strip()[:80])
        if not found[3] or holds(found[3], known):
            wanted[canonical(found[1])] = found[2]
    return wanted
