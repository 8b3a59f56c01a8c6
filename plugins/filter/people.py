"""Filters over lists of people."""


def present(people):
    """Return the entries of *people* that are to exist.

    :arg people: list of dictionaries; an entry whose ``state`` is ``absent`` is left out.
    """
    return [person for person in people if person.get("state", "present") != "absent"]


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {"present": present}
