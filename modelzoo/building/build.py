"""`modelzoo.build`: from a name to a Keras model."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from modelzoo import registry
from modelzoo.building.directory import load
from modelzoo.building.keras_backend import need_keras
from modelzoo.building.memory import only_shapes, within_memory
from modelzoo.building.pretrained import (
    as_published,
    published_weights,
    tokenizer_of,
    with_roles,
)
from modelzoo.building.transfer import copy_weights, take_weights
from modelzoo.building.vocabulary import check_vocabulary, vocabulary_of
from modelzoo.errors import RecipeError, parsing, warn
from modelzoo.recipe import Recipe
from modelzoo.recipe.composition import parts_of
from modelzoo.recipe.schema import validate_against
from modelzoo.recipe.train_options import train_options
from modelzoo.registry.of_recipe import task_of
from modelzoo.runtime.text.tokenizer import Tokenizer
from modelzoo.weights import (
    is_source,
    open_checkpoint,
    read_weights,
    recipe_of_checkpoint,
)
from modelzoo.weights.checkpoint import Checkpoint
from modelzoo.weights.origin import stamp
from modelzoo.weights.provenance import source_of

if TYPE_CHECKING:
    from modelzoo.building.zoo_model import ZooModel

__all__ = ["build"]


def build(
    name: str | os.PathLike | Recipe,
    *,
    tokenizer: str | os.PathLike | Tokenizer | None = None,
    weights: str | os.PathLike | None = None,
    pretrained: bool = False,
    compile: bool = True,
    **overrides,
) -> ZooModel:
    """Build a model from its recipe: a `keras.Model`, compiled, with random weights by default.

    Args:
        name: a recipe's name, the path of a TOML file, a model directory (its recipe), or a
            checkpoint (its recipe and its weights): a directory in Hugging Face layout, a
            `.safetensors` or `.gguf` file, `hf://owner/name`.
        tokenizer: a `tokenizer.json`, or a `Tokenizer`. Default: the one of the weights.
        weights: a model directory or a checkpoint to take the backbone's weights from, and the
            head's where it is the same.
        pretrained: take the published weights that the recipe names, and with them tokenizer and
            labels; `modelzoo list` shows which recipes have some.
        compile: with the optimizer, loss and metrics of the recipe.
        **overrides: values of the recipe's `[model]` table; other tables through a dict,
            `**{"train.learning_rate": 1e-3}`.

    Raises:
        ModelzooError: no such name, a wrong key or value, no published weights, weights that cannot
            be fetched or that the machine's memory does not hold, no Keras.

    Example:
        >>> model = modelzoo.build("gpt-tiny", num_layers=1, vocab_size=300)
        >>> model.count_params()
        552000
    """
    recipe, checkpoint = _resolve(name, weights, pretrained, overrides)
    architecture = registry.architecture(recipe.architecture)
    arguments = validate_against(recipe, architecture)
    if isinstance(tokenizer, str | os.PathLike):
        tokenizer = Tokenizer.load(tokenizer)
    if tokenizer is None and checkpoint is not None:
        tokenizer = tokenizer_of(checkpoint, recipe)
    if tokenizer is not None:
        check_vocabulary(tokenizer, vocabulary_of(recipe)[0])
    if compile:
        train_options(recipe)
    need_keras()  # what could be wrong without it has been reported by now
    from modelzoo.layers.dense import blank_weights

    registry.import_for(recipe)
    with (
        parsing(recipe.place, RecipeError, f"{recipe.name} cannot be built"),
        within_memory(recipe.name, RecipeError),
    ):
        with blank_weights() if checkpoint is not None else nullcontext():
            backbone = architecture(**arguments)
        model = task_of(recipe).model(backbone)
    model.recipe, model.tokenizer = recipe, tokenizer
    if checkpoint is not None:
        source = _take_checkpoint(model, checkpoint)
    elif weights is not None:
        source = take_weights(model, load(weights, compile=False), weights)
    else:
        source = _take_part_weights(model)
    if not only_shapes():
        stamp(model, source)
    if compile:
        from modelzoo.optimizers.optimizer import compile_model

        compile_model(model)
    return model


def _resolve(name, weights, pretrained: bool, overrides) -> tuple[Recipe, Checkpoint | None]:
    """The recipe, and the checkpoint where a name or the weights are one."""
    if _is_checkpoint(name):
        if weights is not None:
            raise RecipeError(
                f"{name} is a checkpoint, which has weights of its own",
                next_step="leave --weights out, or name a recipe",
            )
        checkpoint = open_checkpoint(name)
        return registry.recipe(recipe_of_checkpoint(checkpoint), overrides), checkpoint
    recipe = registry.recipe(name, overrides)
    if pretrained:
        checkpoint = open_checkpoint(published_weights(recipe, weights))
        return as_published(recipe, checkpoint), checkpoint
    if weights is None or not is_source(weights):
        return recipe, None
    checkpoint = open_checkpoint(weights)
    return with_roles(recipe, checkpoint), checkpoint


def _is_checkpoint(name: str | os.PathLike | Recipe) -> bool:
    """Whether it means a checkpoint. Names win over paths: `./gpt-small` is a directory."""
    return not isinstance(name, Recipe) and is_source(name) and not registry.is_name(name)


def _take_checkpoint(model, checkpoint: Checkpoint) -> dict[str, Any]:
    """Read the weights; the table `[source]` that says so."""
    if checkpoint.tokenizer is not None:
        model.chat_template = checkpoint.tokenizer.chat_template
    loaded = read_weights(model, checkpoint)
    if loaded.fresh:
        warn(
            f"{checkpoint.where} has no weights for {', '.join(loaded.fresh)}: they are random, "
            "and have to be trained"
        )
    return {**source_of(checkpoint), **({"weights": "partly random"} if loaded.fresh else {})}


def _take_part_weights(model) -> dict[str, Any]:
    """The weights that the recipe names for its parts, `[model.image] weights = "runs/vit"`.

    Of a model that is composed itself, such as a CLIP, they are those of its part of that name.

    Returns: the table `[source]`; empty where a plugin's architecture may have read weights itself.
    """
    parts = dict(parts_of(model.recipe.values))
    taken = False
    for name, table in parts.items():
        where = table.get("weights")
        if where is None:
            continue
        source = build(where, compile=False) if is_source(where) else load(where, compile=False)
        of = source.backbone
        if name in dict(parts_of(source.recipe.values)):
            of = getattr(of, name)
        copy_weights(getattr(model.backbone, name), of, where)
        taken = True
    makers = [model.recipe.architecture, *(table["architecture"] for table in parts.values())]
    if any("/" in maker for maker in makers):
        return {}
    return {"weights": "partly random" if taken else "random"}
