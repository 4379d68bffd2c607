"""Plain values to a KerasHub object, and a preset to one: the only place that builds them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

from modelzoo.errors import MissingDependencyError, ModelzooError, RecipeError, nearest

__all__ = ["construct", "hub", "load_preset"]


def hub() -> ModuleType:
    """KerasHub itself, imported now.

    Raises:
        MissingDependencyError: it is not installed, or does not import (tensorflow-text).
    """
    try:
        return import_module("keras_hub")
    except ImportError as error:
        raise MissingDependencyError(
            f"keras_hub does not import: {error}", next_step="pip install keras-hub"
        ) from error


def construct(name: str, values: Mapping[str, object]):
    """An object of KerasHub's class `name`; a table with `class` among the values is one too.

    Raises:
        RecipeError: no such class, or KerasHub refuses the values.

    Example:
        >>> values = dict(stackwise_num_repeats=[1], stackwise_num_filters=[8])
        >>> construct("VGGBackbone", {**values, "image_shape": [32, 32, 3]}).count_params()
        224
    """
    kind = _class(name)
    arguments = {key: _value(value) for key, value in values.items()}
    try:
        return kind(**arguments)
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
        raise RecipeError(
            f"KerasHub cannot build a {name} of these values: {_first_line(error)}",
            where=name,
            next_step="help(keras_hub.models." + name + ") tells what fits together",
        ) from error


def load_preset(kind: str, preset: str, **options):
    """`keras_hub.models.KIND.from_preset(preset)`; the handle is KerasHub's own affair.

    Args:
        kind: `Backbone`, `TextClassifier`, `Tokenizer` ...
        preset: a built-in name, a local directory, `hf://user/name`, `kaggle://...`.

    Raises:
        ModelzooError: it cannot be found, downloaded or read.
    """
    try:
        home = hub().tokenizers if kind == "Tokenizer" else hub().models
        return getattr(home, kind).from_preset(preset, **options)
    except ModelzooError:
        raise
    except Exception as error:  # the libraries of two hubs raise what they like
        known = list(hub().models.Backbone.presets)
        raise ModelzooError(
            f"the preset {preset!r} cannot be loaded: {_first_line(error)}",
            where=f"KerasHub, {kind}.from_preset",
            did_you_mean=None if preset in known else nearest(preset, known),
            next_step="give a built-in preset's name, a directory, hf://user/name or kaggle://…",
        ) from error


def _class(name: str) -> type:
    for home in (hub().models, hub().layers):
        if isinstance(getattr(home, name, None), type):
            return getattr(home, name)
    from modelzoo_kerashub import index

    if name in index.classes():  # a part of a backbone that KerasHub keeps to itself
        return getattr(import_module(index.classes()[name].module), name)
    raise RecipeError(
        f"KerasHub has no class {name!r}", did_you_mean=nearest(name, index.classes())
    )


def _value(value: object) -> object:
    if isinstance(value, Mapping):
        if "class" in value:
            rest = {key: item for key, item in value.items() if key != "class"}
            return construct(str(value["class"]), rest)
        return {key: _value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    return value


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
