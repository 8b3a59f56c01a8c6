#!/usr/bin/python
"""Documentation of the action plugin ``ask_promises``; the work is done in plugins/action/promise.py."""

DOCUMENTATION = r"""
module: ask_promises
short_description: State which promises of the role hold
description:
  - Evaluates all tasks of the role's C(tasks/promises.yml) at once; each is a C(promise), with C(when) and C(vars) at most.
  - All promises are judged, also after one that does not hold. If any does not, the task fails, with what was seen and what to do.
  - C(make doctor) runs the same tasks, but goes on with the next role and reports all promises.
author: Fenton
"""

EXAMPLES = r"""
- name: verify | Ask the promises
  ask_promises:
"""

RETURN = r"""
promises:
  description: The verdicts, in the order of the file; those whose C(when) does not hold are left out.
  type: list
  elements: dict
  returned: always
  contains:
    name: {description: "The promise, a sentence.", type: str}
    holds: {description: Whether it holds., type: bool}
    broken: {description: The conditions that do not hold., type: list, elements: str}
    seen: {description: What was observed., type: raw, returned: when it does not hold}
    cure: {description: What to do., type: str}
"""
