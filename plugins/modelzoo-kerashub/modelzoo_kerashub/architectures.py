"""KerasHub's backbones as architectures: one a class, and `preset` for all that is published.

`architectures:BertBackbone` is made when it is asked for. Its schema is the class's own
constructor, read from KerasHub's source, so that a wrong key is refused before KerasHub loads.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from modelzoo_kerashub import index
from modelzoo_kerashub.sizes import small_values

if TYPE_CHECKING:
    import keras

__all__ = ["decoder", "preset"]

_DOC = """{0}.

Args: those of `keras_hub.models.{1}`; a table with `class` in it is an object of that class.

Returns: a `HubBackbone` over it, with its inputs and outputs by name.

Source: {2}.
"""


def preset(*, preset: str, load_weights: bool = True) -> keras.Model:
    """Build a backbone from a preset, wherever KerasHub finds it.

    Args:
        preset: a built-in name, the directory of a preset, `hf://user/name`, `kaggle://...`.
        load_weights: off builds the same model with random weights; the configuration is still
            read from the preset.

    Returns: a `HubBackbone`.

    Example:
        >>> # Downloads the preset's configuration and weights.
        >>> build = preset(preset="bert_tiny_en_uncased")  # doctest: +SKIP
    """
    from modelzoo_kerashub.backbone import HubBackbone
    from modelzoo_kerashub.construct import load_preset

    backbone = load_preset("Backbone", preset, load_weights=load_weights)
    return HubBackbone(backbone, preset if load_weights else None)


def decoder(
    *,
    preset: str | None = None,
    backbone: str | None = None,
    values: dict | None = None,
    load_weights: bool = True,
    max_length: int = 1024,
) -> keras.Model:
    """Build a decoder of the zoo's own core from one of KerasHub's: with a key/value cache.

    Args:
        preset: as in `preset`; or else
        backbone: a class such as `GPT2Backbone`, with random weights, and
        values: the arguments of its constructor. Default: small ones.
        max_length: tokens of the cache, where the backbone itself knows no limit.

    Returns: the zoo's `Decoder`, which `causal-lm` generates with and exports step by step.

    Raises:
        ModelzooError: not one of the families of `modelzoo_kerashub.families`.
    """
    from modelzoo.errors import RecipeError

    from modelzoo_kerashub.carrying import carry
    from modelzoo_kerashub.construct import construct, load_preset

    if (preset is None) == (backbone is None):
        raise RecipeError(
            "a decoder comes from a preset or from a backbone's values, and from one of the two",
            next_step="--set preset=gpt2_base_en",
        )
    if preset is not None:
        source = load_preset("Backbone", preset, load_weights=load_weights)
    else:
        found = index.backbone(backbone)
        source = construct(found.name, small_values(found) if values is None else values)
    return carry(source, max_length=max_length).backbone


def __getattr__(name: str) -> Callable:
    if name.startswith("_") or name not in index.backbones():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=None)
    return _architecture(name)


@cache
def _architecture(name: str) -> Callable:
    found = index.backbone(name)

    def build(**values):
        from modelzoo_kerashub.backbone import HubBackbone
        from modelzoo_kerashub.construct import construct

        return HubBackbone(construct(found.name, values))

    build.__name__ = build.__qualname__ = found.name
    build.__module__ = __name__
    build.__doc__ = _DOC.format(found.summary, found.name, found.reference)
    parameters = [
        inspect.Parameter(
            argument.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if argument.default is ... else argument.default,
            annotation=_annotation(argument),
        )
        for argument in found.arguments
    ]
    build.__signature__ = inspect.Signature(parameters)
    return build


def _annotation(argument: index.Argument) -> object:
    if argument.hint is object:
        return typing.Any  # a number or a list of them, a table: KerasHub decides
    return argument.hint if argument.default is not None else argument.hint | None
