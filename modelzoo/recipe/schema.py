"""The schema of a recipe's table is the signature of the function that it is for.

An architecture is `build(*, num_layers: int, dropout: float = 0.0, ...)`: keyword-only, annotated,
no `**kwargs`. So a wrong key, type or choice is rejected before Keras is imported.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Collection
from typing import Any

from modelzoo.errors import ModelzooError, RecipeError, nearest, shown
from modelzoo.recipe.ranges import out_of_range

if typing.TYPE_CHECKING:
    from modelzoo.recipe.recipe import Recipe

__all__ = ["arguments", "defaults", "schema_of", "validate_against"]


def validate_against(recipe: Recipe, function: Callable, table: str = "model") -> dict[str, Any]:
    """Holds one table of a recipe against the keyword-only signature of `function`.

    Args:
        recipe: the resolved recipe.
        function: an architecture; or a task's class, with `table="task_options"`.
        table: which table holds the values.

    Returns:
        The keyword arguments for `function`: arrays as tuples where it asks for tuples, whole
        numbers as floats where it asks for floats. Defaults are left to the function.

    Raises:
        RecipeError: an unknown key (with the nearest right one), a missing one, a value of the
            wrong type or out of its range, or a wrong choice.
    """
    schema = arguments(function)
    values = recipe.table(table)
    for key, value in values.items():
        where = f"{recipe.place}, {table}.{key}"
        if key not in schema:
            raise RecipeError(
                f"{recipe.name}: {_title(recipe, table)} takes no {key!r}",
                where=where,
                did_you_mean=_meant(key, schema, table, recipe),
                next_step=f"it takes {', '.join(schema) or 'nothing'}",
            )
        hint, _ = schema[key]
        if not _fits(value, hint):
            raise RecipeError(
                f"{recipe.name}: {table}.{key} must be {_words(hint)}, not {_show(value)}",
                where=where,
                did_you_mean=_nearest_value(value, hint),
            )
        wanted = out_of_range(key, value) if table == "model" else None
        if wanted is not None:
            raise RecipeError(
                f"{recipe.name}: {table}.{key} must be {wanted}, not {_show(value)}", where=where
            )
        values[key] = _convert(value, hint)
    missing = [key for key, (_, needed) in schema.items() if needed and key not in values]
    if missing:
        raise RecipeError(
            f"{recipe.name}: {_title(recipe, table)} needs {', '.join(missing)}",
            where=f"{recipe.place}, {table}",
            next_step=f"state it under [{table}]",
        )
    return values


def _meant(key: str, schema: Collection[str], table: str, recipe: Recipe) -> str | None:
    """The key that was probably meant: of this table, or `table.key` of another."""
    if (table, key) in _ELSEWHERE:
        return _ELSEWHERE[table, key]
    others = {
        name: f"{other}.{name}"
        for other, names in _others(recipe).items()
        if other != table
        for name in names
    }
    if key in others:
        return others[key]
    near = nearest(key, {*schema, *others})
    return near if near is None or near in schema else others[near]


# What other libraries call a key, where no spelling leads there.
_ELSEWHERE = {
    ("model", "lr"): "train.learning_rate",
    ("model", "early_stopping"): "train.patience",
    ("model", "num_labels"): "task_options.labels",
    ("model", "num_classes"): "task_options.labels",
    ("model", "classes"): "task_options.labels",
    ("train", "lr"): "learning_rate",
    ("train", "early_stopping"): "patience",
    ("train", "num_epochs"): "epochs",
    ("train", "max_steps"): "steps",
    ("train", "max_length"): "length",
}


def _others(recipe: Recipe) -> dict[str, Collection[str]]:
    """The keys of the other tables, as far as they are known without Keras."""
    known: dict[str, Collection[str]] = {
        table: arguments(function) for table, function in _schemas.items()
    }
    return {"task_options": {"labels", *recipe.table("task_options")}, **known}


_schemas: dict[str, Callable] = {}  # of the tables whose function is always the same one


def schema_of(table: str) -> Callable[[type], type]:
    """A decorator: the class states the keys of this table in every recipe."""

    def register(function: type) -> type:
        _schemas[table] = function
        return function

    return register


def arguments(function: Callable) -> dict[str, tuple[object, bool]]:
    """The keyword-only parameters of `function`: name -> (type hint, whether it must be given)."""
    named = f"{function.__module__}:{function.__qualname__}"
    try:
        parameters = [
            item for item in inspect.signature(function).parameters.values() if item.name != "self"
        ]
    except (TypeError, ValueError) as error:
        raise ModelzooError(f"{named} has no signature to read", where=named) from error
    loose = [item.name for item in parameters if item.kind is not inspect.Parameter.KEYWORD_ONLY]
    bare = [item.name for item in parameters if item.annotation is inspect.Parameter.empty]
    if loose or bare:
        fault = f"{loose[0]} is not keyword-only" if loose else f"{bare[0]} has no annotation"
        raise ModelzooError(
            f"the signature of {named} cannot serve as a schema: {fault}",
            next_step="write it as build(*, name: type, ...), without *args and **kwargs",
        )
    hints = _hints(function, {item.name: item.annotation for item in parameters})
    return {
        item.name: (hints[item.name], item.default is inspect.Parameter.empty)
        for item in parameters
    }


def defaults(function: Callable) -> dict[str, Any]:
    """The keyword-only parameters of `function` that have a default: name -> default."""
    return {
        item.name: item.default
        for item in inspect.signature(function).parameters.values()
        if item.default is not inspect.Parameter.empty
    }


def _hints(function: Callable, annotations: dict[str, Any]) -> dict[str, Any]:
    # Only the parameters: the return annotation is `keras.Model`, and Keras is not imported yet.
    body = function.__init__ if isinstance(function, type) else inspect.unwrap(function)
    holder = types.SimpleNamespace(__annotations__=annotations)
    try:
        return typing.get_type_hints(holder, globalns=getattr(body, "__globals__", {}))
    except NameError as error:
        raise ModelzooError(
            f"an annotation of {function.__module__}:{function.__qualname__} cannot be read: "
            f"{error}",
            next_step="annotate with int, float, bool, str, Literal, tuple, list, dict or X | None",
        ) from error


def _alternatives(hint: object) -> tuple[object, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _fits(value: object, hint: object) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is typing.Any:
        return True
    if len(_alternatives(hint)) > 1:
        return any(_fits(value, one) for one in _alternatives(hint))
    if origin is typing.Literal:  # by type too: True == 1
        return any(type(value) is type(one) and value == one for one in inner)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str):
        return isinstance(value, hint)
    kind = origin or hint
    if kind is tuple:
        if not isinstance(value, list):
            return False
        if not inner or inner[-1] is Ellipsis:
            return not inner or all(_fits(item, inner[0]) for item in value)
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if kind is list:
        return isinstance(value, list) and all(_fits(item, one) for item in value for one in inner)
    if kind is dict:
        return isinstance(value, dict) and all(
            _fits(item, inner[1]) for item in value.values() if inner
        )
    return False  # None, and objects that a recipe cannot write


def _convert(value: Any, hint: object) -> object:
    """`value`, which fits `hint`, as the function expects it."""
    for one in _alternatives(hint):
        if not _fits(value, one):
            continue
        kind, inner = typing.get_origin(one) or one, typing.get_args(one)
        if kind is float:
            return float(value)
        if kind is tuple:
            each = inner[:1] * len(value) if inner[1:] == (Ellipsis,) else inner
            return tuple(map(_convert, value, each)) if inner else tuple(value)
        if kind is list and inner:
            return [_convert(item, inner[0]) for item in value]
        return value
    return value


def _choices(hint: object) -> list[object]:
    return [
        choice
        for one in _alternatives(hint)
        if typing.get_origin(one) is typing.Literal
        for choice in typing.get_args(one)
    ]


def _nearest_value(value: object, hint: object) -> str | None:
    if not isinstance(value, str):
        return None
    options = [str(choice) for choice in _choices(hint)]
    if bool in _alternatives(hint):
        options += ["true", "false"]
    return nearest(value, options)


def _words(hint: object) -> str:
    """A type as a person would say it: `int`, `"gelu" or "relu"`, `array of int`."""
    alternatives = [one for one in _alternatives(hint) if one is not type(None)]
    words = []
    for one in alternatives:
        origin, inner = typing.get_origin(one), typing.get_args(one)
        if origin is typing.Literal:
            words += [_show(choice) for choice in inner]
        elif origin in (tuple, list):
            kinds = [
                _words(item).removeprefix("an ").removeprefix("a ")
                for item in inner
                if item is not Ellipsis
            ]
            fixed = origin is tuple and Ellipsis not in inner
            words.append(f"[{', '.join(kinds)}]" if fixed else f"an array of {kinds[0]}")
        elif one in (dict, list, tuple) or origin is dict:
            words.append("a table" if dict in (one, origin) else "an array")
        elif one in (int, float, bool, str):
            words.append({int: "an int", float: "a float", bool: "a bool", str: "a string"}[one])
        else:
            words.append(f"{getattr(one, '__name__', one)} (which no recipe can hold)")
    return " or ".join(words)


def _show(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else shown(value, 120)


def _title(recipe: Recipe, table: str) -> str:
    if table == "model":
        return f"architecture {recipe.architecture}"
    return f"task {recipe.task}" if table == "task_options" else f"[{table}]"
