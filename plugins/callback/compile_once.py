"""Compile each template of the roles once, not in every task of every run."""

import hashlib
import os
from pathlib import Path

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__ as ansible_version
from jinja2 import FileSystemBytecodeCache
from jinja2 import __version__ as jinja_version
from jinja2.bccache import Bucket
from jinja2.environment import TemplateExpression

try:
    from ansible._internal._datatag._tags import Origin
    from ansible._internal._templating import _jinja_bits
except ImportError:  # another Ansible, with other ways
    _jinja_bits = None

DOCUMENTATION = r"""
name: compile_once
type: aggregate
short_description: Keep compiled templates
description:
  - Ansible compiles a template whenever a task needs it, and most tasks are a process of their own that forgets it again. Here what the
    parent has compiled is kept for the run, and what comes from Fenton's own roles is kept for later runs too, by Jinja's own cache of
    bytecode, in C(templates) below C(~/.ansible), as Python keeps its C(.pyc) files.
  - Nothing of the inventory goes there, which may hold secrets, and nothing that a template yields.
  - Without it everything works as before, only slower (docs/decisions/0010-warm-up.md).
"""

PLUGINS = Path(__file__).resolve().parents[1]
ROLES = str(PLUGINS.parent / "roles") + os.sep
MOST = 5000  # files; then it begins anew


class Kept:
    """Compiled templates and expressions.

    What a text compiles to depends on itself, on the delimiters, on who reads its backslashes, on Ansible's settings, on the versions of
    Ansible, Jinja and Python (which Jinja's cache looks at), and on the filters and tests that there are. All of this is part of the name
    under which it is kept, so nothing that is kept can be out of date.
    """

    def __init__(self, environment, directory):
        """Take over the compiling of a class of environments.

        :arg environment: class of Ansible's Jinja environments.
        :arg directory: where the files are; it is made, and belongs to nobody else.
        :raises OSError: when it cannot be made, or others could write there.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_uid != os.geteuid() or directory.stat().st_mode & 0o077:
            raise PermissionError(f"{directory} is not this user's alone")
        if sum(1 for _ in directory.iterdir()) > MOST:
            FileSystemBytecodeCache(str(directory), "%s").clear()
        self.files = FileSystemBytecodeCache(str(directory), "%s")
        self.memory, self.asked = {}, None
        ours = [file for kind in ("filter", "test") for file in sorted((PLUGINS / kind).glob("*.py"))]
        settings = [getattr(_jinja_bits._TemplateConfig, name) for name in ("allow_embedded_templates", "jinja_extensions")]
        versions = repr([ansible_version, jinja_version, settings, *((str(file), file.stat().st_mtime_ns) for file in ours)])
        self.versions = hashlib.sha256(versions.encode()).hexdigest()
        self.compile, self.compile_expression = environment.compile, environment.compile_expression
        environment.compile = lambda *args, **options: self.template(*args, **options)
        environment.compile_expression = lambda *args, **options: self.expression(*args, **options)

    def name(self, environment, kind, text):
        """Return the name of a *text* of a *kind*."""
        context = _jinja_bits._TemplateCompileContext.current(optional=True)
        delimiters = [getattr(environment, field) for field in _jinja_bits._TEMPLATE_OVERRIDE_FIELD_NAMES]
        return repr((kind, str(text), delimiters, bool(context and context.escape_backslashes), self.versions))

    def load(self, environment, name, text):
        """Return the code of this *name*, or None where it has to be compiled."""
        if name not in self.memory and self.of_a_role(text):
            try:
                self.memory[name] = self.files.get_bucket(environment, name, None, name).code
            except Exception:  # a broken file is no reason to stop: the next one takes its place
                return None
        return self.memory.get(name)

    def dump(self, environment, name, text, code):
        """Keep *code*; where that cannot be done on disk, the next run compiles it again."""
        self.memory[name] = code
        if self.of_a_role(text):
            bucket = Bucket(environment, self.files.get_cache_key(name), self.files.get_source_checksum(name))
            bucket.code = code
            try:
                self.files.set_bucket(bucket)
            except OSError:
                pass

    @staticmethod
    def of_a_role(text):
        """Tell whether *text* was read from a file of a role."""
        origin = Origin.get_tag(text)
        return bool(origin and (origin.path or "").startswith(ROLES))

    def template(self, environment, source, *args, **options):
        """Return the code of a template, as ``Environment.compile`` does."""
        asked, self.asked = self.asked, None
        if isinstance(source, str) and not args and not options:
            asked = self.name(environment, "template", source), source
        if asked is None:
            return self.compile(environment, source, *args, **options)
        code = self.load(environment, *asked)
        if code is None:
            code = self.compile(environment, source)
            self.dump(environment, *asked, code)
        return code

    def expression(self, environment, source, undefined_to_none=True):
        """Return the compiled expression, as ``Environment.compile_expression`` does."""
        name = self.name(environment, "expression", source)
        code = self.load(environment, name, source)
        if code is not None:
            template = environment.template_class.from_code(environment, code, environment.make_globals(None), None)
            return TemplateExpression(template, undefined_to_none)
        self.asked = name, source  # Jinja parses it, and then asks for the code of what it has parsed
        try:
            return self.compile_expression(environment, source, undefined_to_none)
        finally:
            self.asked = None


class CallbackModule(CallbackBase):
    """Does its work before the first play."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "compile_once"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook):
        """Take over, where this Ansible has what is needed for it."""
        if _jinja_bits is None:
            return
        try:
            Kept(_jinja_bits.AnsibleEnvironment, Path(constants.config.get_config_value("ANSIBLE_HOME")) / "templates")
        except (OSError, AttributeError) as error:
            self._display.vv(f"templates are compiled anew in every task: {error}")
