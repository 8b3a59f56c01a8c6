"""What the role notebook makes of what a notebook asks for where its person says nothing."""

import re

FILE = "group_vars/hpc/notebook.yml"
# Of each entry: the option of sbatch, what it looks like, and an example.
ENTRIES = {
    "cores": ("cpus-per-task", r"[1-9]\d*", "4"),
    "memory": ("mem", r"[1-9]\d*[MGT]?", "2G"),
    # A number alone is what YAML makes of 8:00:00 without quotes.
    "time": ("time", r"\d+-\d+(:\d+){0,2}|\d+(:\d+){1,2}", "8:00:00"),
}


def notebook_problems(job):
    """Return sentences about values of ``notebook_job`` that Slurm would not take.

    :arg job: dictionary with ``cores``, ``memory`` and ``time``.
    """
    return [
        f'notebook_job: {name} {str(job[name])!r} is not what Slurm takes; write it like `{name}: "{example}"`, with the quotes, in {FILE}.'
        for name, (_, pattern, example) in ENTRIES.items()
        if not re.fullmatch(pattern, str(job[name])) or not re.search(r"[1-9]", str(job[name]))
    ]


def notebook_program(text, job):
    """Return the program with *job* in its lines ``#SBATCH``, where sbatch and the program itself read it.

    :arg text: the program.
    :arg job: dictionary with ``cores``, ``memory`` and ``time``.
    :raises ValueError: when the program has no such line, or several.
    """
    for name, (option, _, _) in ENTRIES.items():
        text, number = re.subn(rf"(?m)^#SBATCH --{option}=\S+$", f"#SBATCH --{option}={job[name]}", text)
        if number != 1:
            raise ValueError(f"{number} lines #SBATCH --{option}")
    return text


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {"notebook_problems": notebook_problems, "notebook_program": notebook_program}
