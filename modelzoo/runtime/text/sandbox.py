"""The Jinja environment that chat templates run in. Needs jinja2: import it after `require`.

A template is a stranger's code. Jinja's sandbox keeps it from Python's internals and from changing
what it is given; what it may use up is bounded here.

Which filters, functions and tags templates count on: Hugging Face transformers,
`utils/chat_template_utils.py`.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from jinja2 import Template, nodes
from jinja2.ext import Extension
from jinja2.ext import loopcontrols as LoopControls
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_PASSES = 300_000  # of all loops of one rendering
MAX_SIZE = 20_000_000  # characters, or elements of a list
MAX_EXPONENT = 64


class Refused(Exception):
    """The template called `raise_exception`."""


class TooMuch(Exception):
    """The template loops or writes without end, or as good as that."""


class GenerationTag(Extension):
    """`{% generation %}`, which marks the model's words for training, and prints what it holds."""

    tags = {"generation"}

    def parse(self, parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class Sandbox(ImmutableSandboxedEnvironment):
    """One template's environment; `reset` before each rendering."""

    intercepted_binops = frozenset({"+", "*", "**"})

    def __init__(self):
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[LoopControls, GenerationTag]
        )
        self.filters["tojson"] = to_json
        self.globals.update(
            raise_exception=raise_exception, strftime_now=strftime_now, dict=new_dict
        )
        del self.globals["lipsum"]
        self._passes = 0

    def compile_template(self, source: str, filename: str) -> Template:
        """A template whose loops count their passes."""
        tree = self.parse(source, filename=filename)
        for loop in list(tree.find_all(nodes.For)):
            tick = nodes.Call(nodes.EnvironmentAttribute("tick"), [], [], None, None)
            loop.body.insert(0, nodes.ExprStmt(tick).set_lineno(loop.lineno))
        tree.set_environment(self)
        code = self.compile(tree, filename=filename)
        return self.template_class.from_code(self, code, self.make_globals(None))

    def names_in(self, source: str) -> frozenset[str]:
        """The variables that a template reads and does not set: `{"messages", "tools"}`."""
        return frozenset(find_undeclared_variables(self.parse(source)))

    def reset(self) -> None:
        self._passes = 0

    def tick(self) -> None:
        """Called by the template at each pass of a loop."""
        self._passes += 1
        if self._passes > MAX_PASSES:
            raise TooMuch(f"its loops make more than {MAX_PASSES:,} passes")

    def call_binop(self, context, operator, left, right) -> Any:
        if operator == "**":
            large = isinstance(right, int | float) and abs(right) > MAX_EXPONENT
        elif operator == "*":
            large = max(_size(left) * _count(right), _size(right) * _count(left)) > MAX_SIZE
        else:
            large = _size(left) + _size(right) > MAX_SIZE
        if large:
            raise TooMuch(f"what {operator} gives is too large")
        return super().call_binop(context, operator, left, right)


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
    """As Hugging Face has it: no HTML escapes, other scripts as they are."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def raise_exception(message="") -> None:
    raise Refused(str(message))


def strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


def new_dict(*args, **kwargs) -> dict:
    # The type itself would give templates its methods.
    return dict(*args, **kwargs)


def _size(value) -> int:
    return len(value) if isinstance(value, str | list | tuple) else 0


def _count(value) -> int:
    return abs(value) if isinstance(value, int) else 0
