"""Check every variable before the first change. Options and examples: plugins/modules/check_inputs.py."""

import difflib
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from ansible import context
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.validation import check_type_bool, check_type_int
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


def files_of(base, host, groups):
    """Return the files and directories below *base* that hold variables of *host*.

    :arg base: directory of a playbook or an inventory.
    :arg groups: names of the groups that the host belongs to, ``all`` aside.
    """
    stems = [base / "group_vars" / name for name in ("all", *groups)] + [base / "host_vars" / host]
    return [stem.with_name(stem.name + ending) for stem in stems for ending in ("", ".yml", ".yaml")]


def place(name, places):
    """Return ``FILE line N`` for each line in *places*, files and directories, that sets the variable *name*, joined by "and"."""
    found = []
    for each in places:
        inside = sorted(file for file in Path(each).rglob("*") if file.suffix in (".yml", ".yaml")) if Path(each).is_dir() else [Path(each)]
        for file in inside:
            if not file.is_file():
                continue
            for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                if re.match(rf"\s*(- )?['\"]?{re.escape(name)}['\"]?\s*:", line):
                    shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
                    found.append(f"{shown} line {number}")
    return " and ".join(dict.fromkeys(found))


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
        yield f"{name}: {value} is not a port (1 to 65535); correct it"


def secret(option):
    """Tell whether what *option* specifies is a secret, or holds one."""
    return bool(option.get("no_log")) or any(secret(inner) for inner in (option.get("options") or {}).values())


def converts(check, value):
    """Tell whether *check*, of Ansible's own, takes *value*."""
    try:
        check(value)
    except (TypeError, ValueError):
        return False
    return True


def is_kind(value, kind):
    """Tell whether *value* can stand where an option of the type *kind* is wanted.

    Ansible itself would split a text into a list and take yes for a number; a role that reads the variable finds the text.

    :arg kind: ``str``, ``path``, ``int``, ``bool``, ``list``, ``dict`` or ``raw``, as in an argument spec.
    """
    if kind in ("list", "dict"):
        return isinstance(value, Sequence) and not isinstance(value, str) if kind == "list" else isinstance(value, Mapping)
    if kind == "raw":
        return True
    if isinstance(value, (Sequence, Mapping)) and not isinstance(value, str):
        return False
    if kind == "int":
        return not isinstance(value, bool) and converts(check_type_int, value)
    return kind != "bool" or converts(check_type_bool, value)


KINDS = {
    "str": "a text", "path": "a path", "int": "a whole number", "bool": "true or false", "list": "a list ([one, two])",
    "dict": "a dictionary ({key: value})",
}  # fmt: skip


def bad_files(name, value, directories):
    """Yield a sentence when *value* is the path of a lock file that is not there; lock files are what is called ``…_lock``.

    :arg directories: where a relative path may begin.
    """
    if name.endswith("_lock") and not any((directory / Path(value).expanduser()).is_file() for directory in directories):
        yield f"{name}: there is no file {value} on the control node; correct the path, or take the line out for the role's own file"


def strangers(host, groups, playbooks):
    """Return a sentence when no play is for *host*, but those for all hosts, and that looks like a mistake; else nothing.

    A host without any group is one, and a group whose name is nearly that of a play. A group of another name may be somebody's spare hosts.

    :arg groups: names of the groups that it belongs to.
    :arg playbooks: paths.
    """
    wanted = [str(play["hosts"]) for playbook in playbooks for play in plays(playbook) if play.get("hosts") not in (None, "all")]
    if any(matches(pattern, host, groups) for pattern in wanted):
        return ""
    known = list(dict.fromkeys(name for pattern in wanted for name in re.split(r"[,:]", pattern)))
    groups = [group for group in groups if group != "ungrouped"]
    for group in groups:
        near = difflib.get_close_matches(group, [*known, "gpu_servers", "cpu_servers", "hpc_nodes"], n=1, cutoff=0.8)
        if near:
            return (
                f"{host}: it is in the group {group}, and no play is for that; did you mean {near[0]}? inventory/hosts.yml shows all groups"
            )
    if groups or not known:
        return ""
    return f"{host}: it is in no group, and so no play is for it; put it under one of {', '.join(known)}; inventory/hosts.yml shows how"


YAML_WORDS = {"no": False, "off": False, "false": False, "yes": True, "on": True, "true": True}


def mismatches(name, value, option):
    """Yield a sentence for each thing in *value* that is not as specified.

    :arg name: how the value is called, down from its variable: ``jupyter_users[0].port``.
    :arg value: what the inventory sets.
    :arg option: its entry in an argument spec.
    """
    kind = option.get("type", "str")
    shown = "its value" if secret(option) else textwrap.shorten(repr(value), 80, placeholder="…")
    if value is None:
        empty = {"list": "; write [] for none", "dict": "; write {} for none", "str": '; write "" for none'}.get(kind, "")
        yield f"{name}: it has no value (null){empty}, or take the line out"
    elif not is_kind(value, kind):
        advice = " or take the quotes away" if kind in ("int", "bool") and isinstance(value, str) else ""
        yield f"{name}: {shown} is not {KINDS[kind]}; write {'one' if kind != 'bool' else 'one of these'}{advice}"
    elif kind == "list":
        element = {**option, "type": option.get("elements", "raw")}
        for number, inner in enumerate(value):
            yield from mismatches(f"{name}[{number}]", inner, {key: element[key] for key in element if key != "elements"})
    elif "choices" in option and value not in option["choices"]:
        near = difflib.get_close_matches(str(value), map(str, option["choices"]), n=1)
        # In YAML no, yes, on and off are no texts.
        quoted = [f'"{word}"' for word, means in YAML_WORDS.items() if word in option["choices"] and means is value]
        advice = f"did you mean {(quoted or near)[0]}?" if quoted or near else "write one of these"
        yield f"{name}: {shown} is none of {', '.join(map(str, option['choices']))}; {advice}"
    elif kind == "dict" and option.get("options"):
        known = option["options"]
        for key in (key for key in value if key not in known):
            near = difflib.get_close_matches(str(key), known, n=1)
            yield f"{name}: there is no key {key!r} in it; " + (f"did you mean {near[0]}?" if near else f"its keys are {', '.join(known)}")
        for key, inner in known.items():
            # An inner value may be empty: the wiring of an inventory passes on what another variable does not have.
            if value.get(key) is not None:
                yield from mismatches(f"{name}.{key}", value[key], inner)
            elif inner.get("required"):
                yield f"{name}: it has no {key}, and needs one; add {key}: …"


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
        sources = [Path(source) for source in task_vars.get("ansible_inventory_sources") or () if Path(source).is_file()]
        bases = dict.fromkeys([ROOT, *(each.resolve().parent for each in (*playbooks, *sources))])
        self._places = [*(file for base in bases for file in files_of(base, host, groups)), *sources]

        whole = ROOT / "site.yml" in [each.resolve() for each in playbooks]
        stranger = strangers(host, groups, playbooks) if whole and not wanted else ""
        if stranger:
            raise AnsibleActionFail(stranger + (f"; it is written in {sources[0]}" if sources else ""))
        self._bases = bases
        problems = [self._with_place(name, text) for name, text in unknown(sorted(task_vars), specs).items()]
        known = {name for entries in specs.values() for options in entries.values() for name in options}
        wrong = set()
        for role in wanted:
            problems += self._check(role, specs.get(role, {}).get("main", {}), task_vars, known, wrong)
        if problems:
            raise AnsibleActionFail(f"{host}: nothing was changed, the input is wrong.\n" + "\n".join(f"- {text}" for text in problems))
        only, skipped = (listed(context.CLIARGS.get(name)) for name in ("tags", "skip_tags"))
        running = [role for role, tags in wanted.items() if runs(tags, only or ["all"], skipped)]

        def having(entry):
            return [role for role in running if (ROOT / "roles" / role / f"tasks/{entry}.yml").exists()]

        return {"changed": False, "roles": running, "fetching": having("fetch"), "beginning": having("begin")}

    def _with_place(self, name, text, made_of=()):
        where = place(name, self._places)
        if not where and any(name in str(words) for words in context.CLIARGS.get("extra_vars") or ()):
            where = "the words after -e"
        return f"{text} (set in {where}{', from ' if made_of else ''}{', '.join(made_of)})" if where else text

    def _check(self, role, options, task_vars, known, wrong):
        """Return the sentences about the variables of one role that are set.

        :arg known: variables of all roles.
        :arg wrong: set of those that there was something to say about; it grows here. What is worked out from one of them is passed over:
            its turn comes when that one is right.
        """
        problems = []
        for name, option in options.items():
            if name not in task_vars:
                if option.get("required"):
                    problems.append(f"{name}: role {role} needs it and it is not set; add it to group_vars/all/{role}.yml")
                continue
            written = task_vars[name]
            made_of = [word for word in dict.fromkeys(re.findall(r"\w+", written)) if word in known] if isinstance(written, str) else []
            if wrong.intersection(made_of):
                wrong.add(name)
                continue
            try:
                value = self._templar.template(written)
            except AnsibleError as error:
                said = [self._cannot(name, error)]
            else:
                said = list(mismatches(name, value, option)) or [
                    *bad_ports(name, value),
                    *bad_files(name, value, [*self._bases, ROOT / "roles" / role / "files"]),
                ]
            if said:
                wrong.add(name)
                problems += [self._with_place(name, text, made_of) for text in said]
        return problems

    def _cannot(self, name, error):
        """Return a sentence about the variable *name*, which cannot be worked out for *error*."""
        missing = re.search(r"'(\w+)' is undefined", str(error))
        if not missing:
            return f"{name}: its value cannot be worked out: {error.message.rstrip('.')}; correct it"
        if missing[1].startswith("vault_"):
            return (
                f"{name}: needs {missing[1]}, which is not defined; add it to group_vars/all/vault.yml "
                "(see group_vars/all/vault.yml.example) and encrypt that file with ansible-vault"
            )
        return f"{name}: needs {missing[1]}, which is not defined; add it to group_vars/all, or correct its name"
