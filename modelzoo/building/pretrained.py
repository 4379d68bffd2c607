"""The published weights of a recipe, and what comes with them: tokenizer, labels, settings."""

from __future__ import annotations

import os
from typing import Any

from modelzoo import registry
from modelzoo.building.directory import load_tokenizer
from modelzoo.errors import RecipeError, nearest
from modelzoo.recipe import Recipe, override, read_lock
from modelzoo.runtime.text.tokenizer import Tokenizer
from modelzoo.weights import is_source, open_checkpoint, recipe_of_checkpoint
from modelzoo.weights.checkpoint import Checkpoint
from modelzoo.weights.provenance import source_of

__all__ = ["as_published", "begun_from", "published_weights", "tokenizer_of", "with_roles"]


def published_weights(recipe: Recipe, given: str | os.PathLike | None = None) -> str:
    """Where the published weights of a recipe lie.

    Args:
        given: other weights that were asked for as well; there must be none.

    Raises:
        RecipeError: the recipe does not say it, or other weights were asked for.

    Example:
        >>> published_weights(modelzoo.read_recipe("gpt-small"))
        'hf://openai-community/gpt2'
    """
    if given is not None:
        raise RecipeError(
            f"both the published weights of {recipe.name} and those of {given} are asked for",
            next_step=f"leave --pretrained out, or {given}",
        )
    if recipe.weights is not None:
        return recipe.weights
    having = [entry.name for entry in registry.names() if entry.weights]
    raise RecipeError(
        f"{recipe.name} states no published weights",
        where=recipe.place,
        did_you_mean=nearest(recipe.name, having),
        next_step="modelzoo list shows which recipes have weights; --weights SOURCE takes others",
    )


def with_roles(recipe: Recipe, checkpoint: Checkpoint) -> Recipe:
    """The recipe with the roles of a checkpoint's tokens, where it states none itself."""
    if checkpoint.tokenizer is None or recipe.table("tokenizer").get("roles"):
        return recipe
    roles = dict(checkpoint.tokenizer.roles)
    stops = list(checkpoint.tokenizer.stop_tokens) or None
    return override(recipe, {"tokenizer.roles": roles, "tokenizer.stop_tokens": stops})


def as_published(recipe: Recipe, checkpoint: Checkpoint) -> Recipe:
    """The recipe with what its published checkpoint says and it does not: labels, tokens, settings.

    Where the task is another than the checkpoint's, the tokens alone.

    Raises:
        WeightsError: the checkpoint's configuration has no counterpart here.
    """
    theirs = recipe_of_checkpoint(checkpoint)
    changes = {"tokenizer": {**theirs.table("tokenizer"), **recipe.table("tokenizer")}}
    if theirs.task == recipe.task:
        ours = recipe.table("task_options")
        options = {**theirs.table("task_options"), **ours}
        if ours.get("num_labels", len(options.get("labels", ()))) != len(options.get("labels", ())):
            options.pop("labels", None)
        changes["task_options"] = options
    return override(recipe, {key: value for key, value in changes.items() if value})


def begun_from(
    recipe: Recipe, start: str | os.PathLike | None
) -> tuple[Recipe, Tokenizer | None, dict[str, Any]]:
    """What a training begins with: its recipe, the tokenizer, and the table `[source]`.

    Args:
        recipe: of the model that is trained.
        start: a model directory or a checkpoint, or `None` for random weights.

    Raises:
        WeightsError, ModelDirectoryError: there is no such thing, or it cannot be read.
    """
    if start is None:
        return recipe, None, {}
    if not is_source(start):
        tokenizer = load_tokenizer(start)
        source = read_lock(start)[1].get("source", {})
        return recipe, tokenizer, {k: v for k, v in source.items() if k != "training"}
    checkpoint = open_checkpoint(start)
    published = os.fspath(start) == recipe.weights
    recipe = as_published(recipe, checkpoint) if published else with_roles(recipe, checkpoint)
    return recipe, tokenizer_of(checkpoint, recipe), source_of(checkpoint)


def tokenizer_of(checkpoint: Checkpoint, recipe: Recipe) -> Tokenizer | None:
    """A checkpoint's tokenizer with the recipe's roles, or `None`."""
    if checkpoint.tokenizer is None:
        return None
    return Tokenizer.from_str(
        checkpoint.tokenizer.json,
        recipe.table("tokenizer").get("roles", checkpoint.tokenizer.roles),
        checkpoint.tokenizer.stop_tokens,
        where=checkpoint.where,
    )
