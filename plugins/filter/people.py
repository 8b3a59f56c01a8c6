"""Filters over lists of people and of their names."""


def present(people):
    """Return the entries of *people* that are to exist.

    :arg people: list of dictionaries; an entry whose ``state`` is ``absent`` is left out.
    """
    return [person for person in people if person.get("state", "present") != "absent"]


def repeated(names):
    """Return those of *names* that stand there more than once, each once, in order."""
    return list(dict.fromkeys(name for name in names if names.count(name) > 1))


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {"present": present, "repeated": repeated}
