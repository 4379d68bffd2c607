"""The Jinja environment that chat templates run in. Needs jinja2: import it after `require`.

A template is a stranger's code. Jinja's sandbox keeps it from Python's internals and from changing
what it is given. What it may use up is bounded here: the template's tree is changed, so that every
loop, macro, operator, filter and call pays out of a `Budget` for what it makes.

Which filters, functions and tags templates count on: Hugging Face transformers,
`utils/chat_template_utils.py`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2 import Template, nodes, pass_context
from jinja2.ext import Extension
from jinja2.ext import loopcontrols as LoopControls
from jinja2.filters import make_attrgetter
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import LoopContext, markup_join, str_join
from jinja2.sandbox import (
    ImmutableSandboxedEnvironment,
    SandboxedEscapeFormatter,
    SandboxedFormatter,
)
from jinja2.utils import Namespace, _PassArg
from markupsafe import Markup

from modelzoo.runtime.text.budget import Budget, TooMuch, number, width
from modelzoo.runtime.text.template_tree import Paying

__all__ = ["MAX_SOURCE", "Refused", "Sandbox", "TooMuch"]

MAX_SOURCE = 200_000  # characters of a template
_CALL, _EACH = 24, 12  # of a call, and of each element that a filter looks at

# Filters that look at a list's elements and print none of them, and those that take one thing.
_PICKS = {"attr", "count", "d", "default", "first", "last", "length", "random", "safe"}
_LISTS = {"batch", "items", "list", "map", "reject", "rejectattr", "reverse", "select"}
_LISTS |= {"selectattr", "slice", "sum"}
_SORTS = {"dictsort", "groupby", "max", "min", "sort", "unique"}
_LARGER = {"e": 5, "escape": 5, "forceescape": 5, "urlencode": 12, "xmlattr": 12, "upper": 3}
_LARGER |= {"capitalize": 3, "lower": 3, "title": 3}
_COMPARISONS = {"!=", "<", "<=", "==", ">", ">=", "eq", "equalto", "ge", "greaterthan", "gt", "in"}
# Methods of a text whose answer may be more than three times as long.
_MAKING = {"center", "expandtabs", "join", "ljust", "replace", "rjust", "rsplit", "split"}
_MAKING |= {"splitlines", "translate", "zfill"}
_COMPARISONS |= {"le", "lessthan", "lower", "lt", "ne", "upper"}


class Refused(Exception):
    """The template called `raise_exception`."""


class GenerationTag(Extension):
    """`{% generation %}`, which marks the model's words for training, and prints what it holds."""

    tags = {"generation"}

    def parse(self, parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class Sandbox(ImmutableSandboxedEnvironment):
    """One template's environment; `begin` before each rendering."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self):
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[LoopControls, GenerationTag],
            optimized=False,  # or constants are computed before anybody counts
            finalize=self._printed,
        )
        self.budget = Budget()
        self.filters["tojson"] = to_json
        self.filters["sum"] = self._sum
        self.filters.update({name: self._paid(name, f) for name, f in self.filters.items()})
        for name in _COMPARISONS:
            self.tests[name] = self._read(self.tests[name])
        self.globals.update(
            raise_exception=_raising(self.budget),
            strftime_now=strftime_now,
            dict=new_dict,
            namespace=Names,
        )
        del self.globals["lipsum"]

    def compile_template(self, source: str, filename: str) -> Template:
        """A template that pays for what it does.

        Raises:
            TooMuch: it is longer than `MAX_SOURCE`.
        """
        if len(source) > MAX_SOURCE:
            raise TooMuch(f"it is longer than {MAX_SOURCE:,} characters")
        self.budget.begin(None)
        tree = Paying().visit(self.parse(source, filename=filename))
        tree.set_environment(self)
        code = self.compile(tree, filename=filename)
        return self.template_class.from_code(self, code, self.make_globals(None))

    def names_in(self, source: str) -> frozenset[str]:
        """The variables that a template reads and does not set: `{"messages", "tools"}`."""
        return frozenset(find_undeclared_variables(self.parse(source)))

    def begin(self, values: dict) -> None:
        """A new budget, for a rendering of these values."""
        self.budget.begin(values)

    # === Called by the template, where `Paying` has put them ===

    def call(self, context, obj, /, *args, **kwargs) -> Any:
        if getattr(obj, "__self__", None) is self:
            return obj(context, *args)
        budget = self.budget
        budget.step(_CALL)
        if isinstance(obj, BuiltinMethodType | MethodType):
            args = self._pay_for_method(obj.__self__, obj.__name__, args, kwargs)
        budget.read(*args, *kwargs.values())
        return budget.made(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Any, operator, left, right) -> Any:
        self.budget.operator(operator, left, right)
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, list | tuple):
            self.budget.size(result)
        return result

    def getitem(self, obj, argument) -> Any:
        if isinstance(argument, tuple):  # its hash looks at all of it
            self.budget.read(argument)
        return super().getitem(obj, argument)

    def wrap_str_format(self, value) -> Callable[..., str] | None:
        if not isinstance(value, MethodType | BuiltinMethodType):
            return None
        text, name = value.__self__, value.__name__
        if not isinstance(text, str) or name not in ("format", "format_map"):
            return None
        escapes = isinstance(text, Markup)
        formatter = _EscapeFormatter(self, escape=text.escape) if escapes else _Formatter(self)

        def formatted(*args, **kwargs) -> str:
            if name == "format_map":
                args, kwargs = (), dict(*args, **kwargs)
            return type(text)(formatter.vformat(text, args, kwargs))

        return formatted

    def tick(self, context, count: int) -> bool:
        """A pass of a loop, or a call of a macro."""
        self.budget.step(count)
        return True

    def joined(self, context, *values) -> str:
        """`a ~ b`."""
        self.budget.print(*values)
        return (markup_join if context.eval_ctx.autoescape else str_join)(values)

    def compared(self, context, value) -> Any:
        """One side of a comparison."""
        self.budget.read(value)
        return value

    def sliced(self, context, value, start, stop, step) -> Any:
        """`value[start:stop:step]`."""
        return self.budget.made(value[start:stop:step])

    def listed(self, context, value) -> Any:
        """A list, tuple or dict that the template writes down."""
        if isinstance(value, dict):
            self.budget.read(*value)
        return self.budget.made(value)

    @pass_context  # so that it is never called while a template is compiled
    def _printed(self, context, value) -> Any:
        if not isinstance(value, int | float):
            self.budget.print(value)
        return value

    # === Filters, tests and methods ===

    def _paid(self, name: str, function: Callable) -> Callable:
        """The filter, which pays for what it makes."""
        skip = 0 if _PassArg.from_obj(function) is None else 1

        if name in _PICKS:

            @functools.wraps(function)
            def picked(*args, **kwargs):
                self.budget.step(_CALL)
                return function(*args, **kwargs)

            return picked

        @functools.wraps(function)
        def paid(*args, **kwargs):
            self.budget.step(_CALL)
            own, values = args[:skip], [self._counted(value) for value in args[skip:]]
            self._pay_for_filter(name, values, kwargs)
            result = function(*own, *values, **kwargs)
            if any(result is value for value in values):
                return result
            return self.budget.made(result)

        return paid

    def _read(self, function: Callable) -> Callable:
        """The test, which pays for what it compares."""

        @functools.wraps(function)
        def read(*args):
            self.budget.read(*args)
            return function(*args)

        return read

    def _counted(self, value: Any) -> Any:
        """An iterator that pays for each element; anything else as it is."""
        if isinstance(value, Iterator) and not isinstance(value, LoopContext):
            return self.budget.counted(value)
        return value

    def _pay_for_filter(self, name: str, values: list, kwargs: dict) -> None:
        """Pay ahead; may change `values` to what can be counted."""
        budget, value = self.budget, values[0] if values else None
        given = _Arguments(values, kwargs)
        length = len(value) if isinstance(value, str | bytes | list | tuple | dict | range) else 0
        if name in _LISTS or name in _SORTS or name == "join":
            budget.step(_EACH * length)
            budget.write(8 * length)
        if name in _SORTS:
            size = budget.size(value)
            budget.step(size.count * max(length, 1).bit_length() + (size.bytes >> 4))
            if isinstance(value, Iterator):
                values[0] = value = list(value)
                budget.made(value)
                budget.step(_EACH * len(value) + budget.size(value).count * len(value).bit_length())
        elif name == "join":
            if isinstance(value, str | list | tuple | dict | Iterator | range):
                values[0] = value = list(value)
                budget.made(value)
                budget.join(given(1, "d", ""), value)
        elif name == "replace":
            budget.replace(value, given(1, "old", ""), given(2, "new", ""))
        elif name == "format":
            budget.percent(str(value), tuple(values[1:]) or kwargs)
        elif name == "tojson":
            size, indent = budget.size(value), given(2, "indent", None)
            marks = given(3, "separators", None) or ()
            each = number(indent) if isinstance(indent, int) else len(indent or "")
            each = each * (size.depth + 1) + sum(len(mark) for mark in marks)
            budget.write(size.bytes + size.count * each)
        elif name == "pprint":
            size = budget.size(value)
            budget.step(size.bytes * (size.depth + 1))
            budget.write(size.bytes)
        elif name == "indent":
            by = given(1, "width", 4)
            lines = value.count("\n") + 1 if isinstance(value, str) else 0
            budget.write(width(value) * lines * (len(by) if isinstance(by, str) else number(by)))
        elif name == "center":
            budget.write(4 * number(given(1, "width", 80)))
        elif name == "batch":
            budget.write(8 * number(given(1, "linecount", 0)))
        elif name == "slice":
            budget.write(64 * number(given(1, "slices", 0)))
            budget.step(number(given(1, "slices", 0)))
        elif name == "round":
            budget.precision(given(1, "precision", 0))
        elif name == "wordwrap":
            by = number(given(1, "width", 79)) or 1
            budget.step(length + length * length // by // 64)
            budget.write(
                width(value) * length * (1 + len(str(given(3, "wrapstring", "\n") or "\n")))
            )
        elif name in ("urlize", "striptags"):
            budget.step(length + length * length // 2000)
        elif name not in _LISTS:
            budget.need(_LARGER.get(name, 1) * width(value) * length)
            budget.step(length >> 8)
        if name not in _LISTS and name not in _SORTS:
            budget.print(*(one for one in values if not isinstance(one, str | Iterator)))

    def _pay_for_method(self, owner: Any, name: str, args: tuple, kwargs: dict) -> tuple:
        """Pay ahead for a method of a text, a number or a list; the arguments to call it with."""
        budget, plain = self.budget, isinstance(owner, str) and name not in _MAKING
        if plain:
            budget.step(len(owner) >> 10)
            budget.need(3 * width(owner) * len(owner))
            return args
        given = _Arguments(args, kwargs)
        numbers = [number(value) for value in (*args, *kwargs.values()) if isinstance(value, int)]
        if isinstance(owner, str | bytes):
            length, wide = (
                len(owner),
                max(width(owner), *map(width, args), 1) if args else width(owner),
            )
            budget.step(length >> 10)
            budget.need(3 * wide * length)
            if name in ("center", "ljust", "rjust", "zfill"):
                budget.write(min(wide, 4) * sum(numbers))
            elif name == "expandtabs":
                tabs = owner.count("\t") if isinstance(owner, str) else owner.count(b"\t")
                budget.write(width(owner) * tabs * (sum(numbers) if args or kwargs else 8))
            elif name == "replace":
                budget.replace(owner, given(0, "old", ""), given(1, "new", ""))
            elif name in ("split", "rsplit", "splitlines"):
                budget.split(owner, given(0, "sep", None) if name != "splitlines" else None)
            elif name == "translate":
                table = given(0, "table", {})
                parts = table.values() if isinstance(table, dict) else [table]
                budget.write(
                    4 * length * max((budget.size(part).bytes for part in parts), default=1)
                )
            elif name == "join" and args:
                parts = list(self._counted(args[0]))
                budget.made(parts)
                budget.join(owner, parts)
                return parts, *args[1:]
            elif name == "hex":
                budget.write(3 * length)
        elif isinstance(owner, int | float):
            budget.write(sum(numbers))
        elif isinstance(owner, list | tuple | dict) and name not in (
            "get",
            "keys",
            "values",
            "items",
        ):
            budget.read(owner)
        elif isinstance(owner, type):
            for value in args:
                length = len(value) if hasattr(value, "__len__") else 0
                budget.step(length)
                budget.write(100 * length)
        return args

    def _sum(self, iterable, attribute=None, start=0) -> Any:
        """As Jinja's, by additions that are paid for."""
        if attribute is not None:
            iterable = map(make_attrgetter(self, attribute), iterable)
        return functools.reduce(lambda a, b: self.call_binop(None, "+", a, b), iterable, start)


class _Arguments:
    """Arguments by place or name."""

    def __init__(self, args, kwargs: dict):
        self._args, self._kwargs = args, kwargs

    def __call__(self, place: int, name: str, default: Any) -> Any:
        return self._args[place] if place < len(self._args) else self._kwargs.get(name, default)


class _Formatter(SandboxedFormatter):
    """`str.format`, which pays for each field."""

    _env: Sandbox

    def format_field(self, value, format_spec) -> Any:
        self._env.budget.write(sum(map(number, re.findall(r"\d+", format_spec))))
        self._env.budget.print(value)
        return super().format_field(value, format_spec)

    def convert_field(self, value, conversion) -> Any:
        if conversion:
            self._env.budget.write(self._env.budget.size(value).bytes)
        return super().convert_field(value, conversion)


class _EscapeFormatter(_Formatter, SandboxedEscapeFormatter):
    pass


class Names(Namespace):
    """Jinja's `namespace`, which does not print what it holds: that may be itself."""

    def __repr__(self) -> str:
        return "<Namespace>"


def _raising(budget: Budget) -> Callable:
    def raise_exception(message="") -> None:
        budget.print(message)
        raise Refused(str(message))

    return raise_exception


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
    """As Hugging Face has it: no HTML escapes, other scripts as they are."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def strftime_now(format: str) -> str:
    if len(format) > 1000 or re.search(r"%\D?\d{3}", format):
        raise TooMuch("the time that it writes is too long")
    return datetime.now().strftime(format)


def new_dict(*args, **kwargs) -> dict:
    # The type itself would give templates its methods.
    return dict(*args, **kwargs)
