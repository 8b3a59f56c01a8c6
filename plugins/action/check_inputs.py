"""Check every variable before the first change. Options and examples: plugins/modules/check_inputs.py."""

import difflib
import re
from pathlib import Path

import yaml
from ansible import context
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase

ROOT = Path(__file__).resolve().parents[2]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Reads a playbook's structure; tags such as ``!vault`` and ``!unsafe`` become their plain text."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: getattr(node, "value", None))


def plays(playbook):
    """Return the plays of the file *playbook*, those of imported playbooks in their place.

    :arg playbook: path of a playbook.
    :returns: list of play dictionaries as written.
    :raises OSError: when a file cannot be read.
    :raises yaml.YAMLError: when it is not YAML.
    """
    found = []
    for play in yaml.load(Path(playbook).read_text(encoding="utf-8"), Loader=_Loader) or []:
        imported = play.get("import_playbook") or play.get("ansible.builtin.import_playbook")
        if imported:
            found += plays(Path(playbook).parent / imported)
        else:
            found.append(play)
    return found


def matches(pattern, host, groups):
    """Tell whether a play's ``hosts`` pattern takes in *host*.

    :arg pattern: a group, a host, ``all``, a list, or these joined by ``,`` or ``:``, with ``!`` and ``&`` before a name.
    :arg host: inventory name of the host.
    :arg groups: names of the groups it belongs to.
    """
    names = pattern if isinstance(pattern, list) else str(pattern).replace(":", ",").split(",")
    inside = {"all", "*", host, *groups}
    taken = False
    for name in (str(name).strip() for name in names):
        if name.startswith("!"):
            taken = taken and name[1:] not in inside
        elif name.startswith("&"):
            taken = taken and name[1:] in inside
        else:
            taken = taken or name in inside
    return taken


def listed(tags):
    """Return tags as a list; a playbook may write one, several with commas, or a list."""
    return tags.split(",") if isinstance(tags, str) else list(tags or [])


def applied(play):
    """Yield name and tags of the roles that a play applies as a whole: those under ``roles``, and ``import_role`` among its tasks."""
    for role in play.get("roles") or []:
        role = {"role": role} if isinstance(role, str) else role
        yield role.get("role") or role.get("name"), role.get("tags")
    for task in play.get("tasks") or []:
        imported = task.get("ansible.builtin.import_role") or task.get("import_role") or {}
        if imported and imported.get("tasks_from", "main") == "main":
            yield imported["name"], task.get("tags")


def roles(playbooks, host, groups):
    """Return the roles that *playbooks* apply to *host*, in order: a dictionary of name to the set of its tags."""
    found = {}
    for playbook in playbooks:
        for play in plays(playbook):
            if matches(play.get("hosts", ""), host, groups):
                for role, tags in applied(play):
                    found.setdefault(role, set()).update(listed(play.get("tags")), listed(tags))
    return found


def runs(tags, only, skipped):
    """Tell whether something with these *tags* runs under ``--tags`` *only* and ``--skip-tags`` *skipped*.

    :arg tags: set of tags; what has none runs unless ``--tags`` names some.
    :arg only: list, ``["all"]`` where nothing was asked for.
    :arg skipped: list.
    """
    wanted = bool({"all", "tagged" if tags else "untagged"} & set(only) or tags & {"always", *only})
    return wanted and not tags & set(skipped)


def load_specs(directory):
    """Return by role the argument specs that lie in *directory*: ``{role: {entry point: options}}``."""
    specs = {}
    for file in sorted(Path(directory).glob("*/meta/argument_specs.yml")):
        entries = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)["argument_specs"]
        specs[file.parts[-3]] = {name: entry.get("options") or {} for name, entry in entries.items()}
    return specs


def place(name, directories):
    """Return ``FILE line N`` for each line below *directories* that sets the variable *name*, joined by "and"."""
    found = []
    for directory in directories:
        for file in sorted(Path(directory).rglob("*.yml")) if Path(directory).is_dir() else [Path(directory)]:
            if not file.is_file():
                continue
            for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                if re.match(rf"\s*(- )?['\"]?{re.escape(name)}['\"]?\s*:", line):
                    shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
                    found.append(f"{shown} line {number}")
    return " and ".join(found)


def unknown(names, specs):
    """Return sentences about variables that no role knows.

    :arg names: variables that the inventory sets.
    :arg specs: as from :func:`load_specs`.
    :returns: dict of name to sentence. A name is suspect when it begins with a role's name, or is nearly a known one.
    """
    known, meant = set(), {}
    for role, entries in specs.items():
        for options in entries.values():
            known |= set(options)
            for name, option in options.items():
                # Somebody may look for a key of a list as a variable of its own.
                meant.update({f"{role}_{key}": f"{key} in the entries of {name}" for key in option.get("options") or {}})
    meant.update({name: name for name in known})
    said = {}
    for name in names:
        if name in known or name.startswith(("ansible_", "_", "vault_")):
            continue
        owner = next((role for role in specs if name.startswith(f"{role}_")), None)
        near = difflib.get_close_matches(name, meant, n=1, cutoff=0.8 if owner else 0.9)
        who = f"role {owner}" if owner else "no role"
        if owner or near:
            advice = f"did you mean {meant[near[0]]}?" if near else f"its variables are in roles/{owner}/README.md"
            said[name] = f"{name}: {who} has {'no such' if owner else 'such a'} variable; {advice}"
    return said


def bad_ports(name, value):
    """Yield a sentence for each port in *value* that is none; ports are what is called ``port`` or ``…_port``.

    :arg name: how the value is called, down from its variable.
    :arg value: number, text, list or dictionary.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from bad_ports(f"{name}.{key}", inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from bad_ports(f"{name}[{number}]", inner)
    elif re.search(r"(^|[._])port$", name) and re.fullmatch(r"-?\d+", str(value)) and not 1 <= int(value) <= 65535:
        yield f"{name}: {value} is not a port (1 to 65535)"


class ActionModule(ActionBase):
    """Validate on the control node; nothing is run on the host."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Return ``roles``, those of the playbooks on the command line that this run applies to this host, or fail with all sentences."""
        super().run(tmp, task_vars)
        host, groups = task_vars["inventory_hostname"], task_vars["group_names"]
        playbooks = [Path(name) for name in context.CLIARGS.get("args") or () if str(name).endswith((".yml", ".yaml"))]
        wanted = roles(playbooks, host, groups)
        specs = load_specs(ROOT / "roles")
        beside = [base / kind for base in {ROOT, *(p.resolve().parent for p in playbooks)} for kind in ("group_vars", "host_vars")]
        sources = [Path(source) for source in task_vars.get("ansible_inventory_sources") or () if Path(source).is_file()]
        self._places = [*beside, *sources, *(s.parent / kind for s in sources for kind in ("group_vars", "host_vars"))]

        problems = [self._with_place(name, text) for name, text in unknown(sorted(task_vars), specs).items()]
        for role in wanted:
            problems += self._check(role, specs.get(role, {}).get("main", {}), task_vars)
        if problems:
            raise AnsibleActionFail(f"{host}: nothing was changed, the input is wrong.\n" + "\n".join(f"- {text}" for text in problems))
        only, skipped = (listed(context.CLIARGS.get(name)) for name in ("tags", "skip_tags"))
        running = [role for role, tags in wanted.items() if runs(tags, only or ["all"], skipped)]

        def having(entry):
            return [role for role in running if (ROOT / "roles" / role / f"tasks/{entry}.yml").exists()]

        return {"changed": False, "roles": running, "fetching": having("fetch"), "beginning": having("begin")}

    def _with_place(self, name, text):
        where = place(name, self._places)
        return f"{text} (set in {where})" if where else text

    def _check(self, role, options, task_vars):
        """Return the sentences about the variables of one role that are set."""
        problems, values = [], {}
        for name, option in options.items():
            if name not in task_vars:
                if option.get("required"):
                    problems.append(f"{name}: role {role} needs it and it is not set; add it to group_vars/all/{role}.yml")
                continue
            try:
                values[name] = self._templar.template(task_vars[name])
            except AnsibleError as error:
                missing = re.search(r"'(\w+)' is undefined", str(error))
                if not missing:
                    text = f"{name}: its value cannot be worked out: {error.message}"
                elif missing[1].startswith("vault_"):
                    text = (
                        f"{name}: needs {missing[1]}, which is not defined; add it to group_vars/all/vault.yml "
                        "(see group_vars/all/vault.yml.example) and encrypt that file with ansible-vault"
                    )
                else:
                    text = f"{name}: needs {missing[1]}, which is not defined"
                problems.append(self._with_place(name, text))
        for name, value in values.items():
            result = ArgumentSpecValidator({name: {**options[name], "required": False}}).validate({name: value})
            for message in result.error_messages:
                text = remove_values(message.rstrip("."), result._no_log_values)
                problems.append(self._with_place(name, text if name in text else f"{name}: {text}"))
            problems += [self._with_place(name, text) for text in bad_ports(name, value)]
        return problems
