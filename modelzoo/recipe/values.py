"""Operations on a recipe's plain values: hold against what a recipe has, merge, override."""

from __future__ import annotations

import copy
import datetime
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from modelzoo.errors import RecipeError, nearest, parsing, shown
from modelzoo.recipe.toml import unfit

__all__ = [
    "PUBLISHED",
    "SCALARS",
    "TABLES",
    "Values",
    "changed",
    "checked",
    "merge",
    "parse_set",
    "published",
    "without_rivals",
    "without_stale_count",
]

Values = dict[str, Any]

SCALARS = ("summary", "architecture", "task", "parameters", "reference", "extends")
# Where the published weights lie, and other names of the model: of the file, not of the model, so
# that neither `extends` nor a lock file hands them on.
PUBLISHED = ("weights", "aliases")
TABLES = ("model", "tokenizer", "task_options", "mixture", "train", "export", "quantize")
# What the parameter count depends on: once one of these differs, a stated count is only a guess.
_SHAPES_PARAMETERS = ("architecture", "task", "task_options", "model")
# Of `[train]`, what stays when the task changes: the rest is how the other task is trained.
_ANY_TRAINING = ("seed", "precision", "jit_compile", "on_bad_file")
# Keys of `[train]` that say the same: who sets one drops the other.
_RIVALS = {"warmup": "warmup_steps", "warmup_steps": "warmup"}


def changed(values: Values, changes: Mapping[str, Any]) -> Values:
    """A checked copy of `values` with some of them changed. See `recipe.override`."""
    where = "an override"
    out = copy.deepcopy(values)
    if changes.get("task", out.get("task")) != out.get("task"):
        out.pop("task_options", None)  # those of the other task
        out.pop("mixture", None)
        kept = {key: v for key, v in out.pop("train", {}).items() if key in _ANY_TRAINING}
        out |= {"train": kept} if kept else {}
        out.pop("summary", None)  # it says what a model of the other task does
    out = without_rivals(out, changes)
    for key, value in changes.items():
        path = _override_path(key, value, out.get("model", {}))
        table = out
        for part in path[:-1]:
            # Dropping what is not there must not leave an empty table, which has another digest.
            table = table.get(part, {}) if value is None else table.setdefault(part, {})
            if not isinstance(table, dict):
                raise RecipeError(f"{key} is not a table's key: {part} is a value", where=where)
        old = table.get(path[-1])
        if value is None:
            table.pop(path[-1], None)
        elif isinstance(value, Mapping) and isinstance(old, dict):
            table[path[-1]] = merge(old, _listed(value))
        else:
            table[path[-1]] = _listed(value)
    return without_stale_count(values, checked(out, where), stated="parameters" in changes)


def without_rivals(base: Values, over: Mapping[str, Any]) -> Values:
    """`base` without those keys of `[train]` that say the same as one in `over`.

    Args:
        over: values of a recipe, or changes such as `{"train.warmup": 0.1}`.
    """
    keys = {key.removeprefix("train.") for key in over if key.startswith("train.")}
    keys |= over["train"].keys() if isinstance(over.get("train"), Mapping) else set()
    table = base.get("train", {})
    dropped = {_RIVALS[key] for key in keys & _RIVALS.keys()} - keys
    if not dropped & table.keys():
        return base
    return {**base, "train": {key: v for key, v in table.items() if key not in dropped}}


def parse_set(pairs: Iterable[str]) -> Values:
    """`["num_layers=6", "train.learning_rate=1e-3"]` as changes for `override`.

    Each pair is split at its first `=`. What is a TOML value is read as one, all else is text, so
    neither `--set activation=gelu` nor a value that contains `=` needs quotes.
    """
    changes: Values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise RecipeError(
                f"{pair!r} is not KEY=VALUE", next_step="write it as --set num_layers=6"
            )
        changes[key.strip()] = _toml_value(text.strip(), f"--set {key.strip()}")
    return changes


def _toml_value(text: str, where: str) -> object:
    with parsing(where, RecipeError, "the value cannot be read"):
        try:
            parsed = tomllib.loads(f"value = {text}")
        except tomllib.TOMLDecodeError:
            parsed = {}
    # A newline in the text could smuggle in more keys, and a date is no value of a recipe.
    value = parsed["value"] if len(parsed) == 1 else text
    value = text if isinstance(value, datetime.date | datetime.time) else value
    wrong = unfit(value)
    if wrong is not None:
        raise RecipeError(f"the value holds {wrong}", where=where)
    return value


def _override_path(key: str, value: object, model: Mapping) -> list[str]:
    path = key.split(".")
    if len(path) == 1:
        if key == "extends":
            raise RecipeError("extends cannot be overridden", next_step="build the other recipe")
        as_table = key in TABLES and (value is None or isinstance(value, Mapping))
        return path if key in SCALARS or as_table else ["model", key]
    if path[0] not in TABLES and isinstance(model.get(path[0]), dict):  # a part of the model
        return ["model", *path]
    if path[0] not in TABLES:
        raise RecipeError(
            f"{key}: a recipe has no table {path[0]!r}",
            where="an override",
            did_you_mean=nearest(path[0], TABLES),
            next_step=f"its tables are {', '.join(TABLES)}",
        )
    return path


def _listed(value: object) -> Any:
    """Tuples as lists, all the way down: TOML and JSON know one kind of sequence."""
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value


def checked(values: Mapping[str, Any], source: str) -> Values:
    """A deep copy of `values` after its top level was held against what a recipe has."""
    known = (*SCALARS, *PUBLISHED, *TABLES)
    out = {}
    for key, value in values.items():
        if key not in known:
            raise RecipeError(
                f"a recipe has no key {key!r}",
                where=source,
                did_you_mean=nearest(key, known),
                next_step=f"its keys are {', '.join(known)}",
            )
        for name, part in value.items() if isinstance(value, Mapping) else ((None, value),):
            wrong = unfit({name: part} if name is not None else part)
            if wrong is not None:
                full = key if name is None else f"{key}.{shown(name)[1:-1]}"
                raise RecipeError(f"{full} holds what a recipe cannot: {wrong}", where=source)
        value = _listed(value)
        kind = dict if key in TABLES else int if key == "parameters" else str
        if not isinstance(value, kind) or isinstance(value, bool):
            word = {dict: f"a table, [{key}]", int: "a whole number", str: "a string"}[kind]
            raise RecipeError(f"{key} must be {word}, not {shown(value)}", where=source)
        if key == "parameters" and isinstance(value, int) and value < 0:
            raise RecipeError(f"parameters must not be negative: {value}", where=source)
        out[key] = value  # `_listed` has made it ours
    return out


def published(values: Mapping[str, Any], source: str) -> tuple[str | None, tuple[str, ...]]:
    """`weights` and `aliases` of a recipe: where its published weights lie, and its other names.

    Raises:
        RecipeError: they are not an address on the hub, and not a list of names.

    Example:
        >>> published({"weights": "hf://openai-community/gpt2", "aliases": ["gpt2"]}, "gpt.toml")
        ('hf://openai-community/gpt2', ('gpt2',))
    """
    weights, aliases = values.get("weights"), values.get("aliases", [])
    if weights is not None and not (isinstance(weights, str) and weights.startswith("hf://")):
        raise RecipeError(
            f"weights must be an address on the hub, not {shown(weights)}",
            where=source,
            next_step='write weights = "hf://owner/name"; weights of this disk are given when the '
            "model is built: --weights DIR",
        )
    if not isinstance(aliases, list) or not all(isinstance(one, str) and one for one in aliases):
        raise RecipeError(
            f"aliases must be a list of names, not {shown(aliases)}",
            where=source,
            next_step='write aliases = ["gpt2", "openai-community/gpt2"]',
        )
    return weights, tuple(aliases)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    """Tables merge, everything else of `over` replaces. Neither argument is changed."""
    merged = copy.deepcopy(dict(base))
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            merged[key] = merge(old, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def without_stale_count(before: Values, after: Values, *, stated: bool) -> Values:
    changed = any(before.get(key) != after.get(key) for key in _SHAPES_PARAMETERS)
    if changed and not stated:
        after.pop("parameters", None)
    return after
