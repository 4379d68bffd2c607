"""Weights of one model for another of the same shape."""

from __future__ import annotations

from typing import Any

from modelzoo.errors import ModelDirectoryError
from modelzoo.weights.origin import source_table


def take_weights(model, source, where) -> dict[str, Any]:
    """Copy the backbone's weights, and the head's where it is the same.

    Returns: the table `[source]` of the model then.
    """
    into, of, facts = model, source, source_table(source)
    if type(source) is not type(model) or _shapes(source) != _shapes(model):
        into, of = model.backbone, source.backbone
        if facts.get("weights") != "random" and len(model.weights) > len(into.weights):
            facts["weights"] = "partly random"
    if _shapes(into) != _shapes(of):
        _refuse_sizes(model, source, where)
    copy_weights(into, of, where)
    if model.tokenizer is None:
        model.tokenizer = source.tokenizer
    if getattr(model, "chat_template", None) is None:
        model.chat_template = getattr(source, "chat_template", None)
    return facts


def _refuse_sizes(model, source, where) -> None:
    """
    Raises:
        ModelDirectoryError: the `[model]` tables of the two differ.
    """
    recipes = getattr(model, "recipe", None), getattr(source, "recipe", None)
    if None in recipes:
        return
    ours, theirs = ({"architecture": x.architecture, **x.table("model")} for x in recipes)
    differ = [
        f"{key} is {ours.get(key, 'not set')} here and {theirs.get(key, 'not set')} there"
        for key in {**ours, **theirs}
        if ours.get(key) != theirs.get(key) and "dropout" not in key
    ]
    if differ:
        raise ModelDirectoryError(
            f"{recipes[0].name} and {where} are of other sizes: {', '.join(differ)}",
            where=where,
            next_step=f"train that model itself: modelzoo train {where} --task {recipes[0].task}",
        )


def copy_weights(into, of, where) -> None:
    """Every weight of one model into another of the same shape."""
    if _shapes(into) != _shapes(of):
        what = f"{len(into.weights)} weights here and {len(of.weights)} there"
        pairs = zip(_shapes(into), _shapes(of), strict=False)
        for ours, theirs in pairs if len(into.weights) == len(of.weights) else ():
            if ours != theirs:
                what = f"{ours[0]} is {ours[1]} here and {theirs[1]} there"
                if ours[0] != theirs[0]:
                    what = f"{ours[0]} is here what {theirs[0]} is there"
                break
        raise ModelDirectoryError(
            what,
            where=where,
            next_step="build the two from recipes with the same [model] table",
        )
    for weight, other in zip(into.weights, of.weights, strict=True):
        weight.assign(other)


def _shapes(model) -> list[tuple[str, tuple[int, ...]]]:
    """Path, without the model's own name, and shape of each weight."""
    return [(weight.path.partition("/")[2], tuple(weight.shape)) for weight in model.weights]
