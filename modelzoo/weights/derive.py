"""A recipe from a checkpoint: its configuration in our words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath

from modelzoo import registry
from modelzoo.errors import WeightsError, nearest, parsing
from modelzoo.recipe import Recipe, from_values
from modelzoo.recipe.schema import defaults
from modelzoo.weights.checkpoint import Checkpoint
from modelzoo.weights.generation import generation_options
from modelzoo.weights.keys import Asked
from modelzoo.weights.lookup import table_of_type
from modelzoo.weights.table import Head, Table, nested
from modelzoo.weights.unknown_type import unknown_type


def recipe_of_checkpoint(checkpoint: Checkpoint) -> Recipe:
    """The recipe of the model that a checkpoint holds, its task as its class says.

    Raises:
        WeightsError: a model type, class or value that has no counterpart here.
    """
    with parsing(checkpoint.where, WeightsError, "the configuration cannot be read"):
        return _recipe(checkpoint)


def _recipe(checkpoint: Checkpoint) -> Recipe:
    table = table_of(checkpoint)
    config, names = checkpoint.config, base_names(checkpoint, table)
    task, options = _task(checkpoint, table, names)
    keys = keys_of_task(checkpoint, table, names)
    values = table.read_config(config, names, checkpoint.where, keys)
    values |= table.read_media(checkpoint.extras.get("preprocessor_config.json", {}))
    tokenizer = {}
    if checkpoint.tokenizer is not None:
        theirs = checkpoint.tokenizer.roles
        played = {ours: theirs[role] for ours, role in table.roles.items() if role in theirs}
        tokenizer["roles"] = {**theirs, **played}
        if checkpoint.tokenizer.stop_tokens:
            tokenizer["stop_tokens"] = list(checkpoint.tokenizer.stop_tokens)
    name = recipe_name(checkpoint.where)
    return from_values(
        {
            "summary": f"{name}, a {table.model_type} checkpoint",
            "architecture": table.architecture,
            "task": task,
            "model": nested({key: value for key, value in values.items() if value is not None}),
            **({"task_options": options} if options else {}),
            **({"tokenizer": tokenizer} if tokenizer else {}),
        },
        name=name,
        source=checkpoint.where,
    )


def keys_of_task(checkpoint: Checkpoint, table: Table, names: frozenset[str]) -> set[str]:
    """The keys of config.json that the task of the checkpoint's class reads."""
    from modelzoo.tasks.profile import said  # which imports Keras

    config = Asked(checkpoint.config, f"{checkpoint.where}, config.json")
    kinds = checkpoint.config.get("architectures") or ()
    for task, head in table.heads.items():
        if any(kind in head.classes for kind in kinds):
            said(task, "options_of_config")(config, names)
    return config.keys_asked


def table_of(checkpoint: Checkpoint) -> Table:
    """The table of a checkpoint's model type.

    Raises:
        WeightsError: it names none, or one that has no table here.
    """
    kind = checkpoint.config.get("model_type")
    if kind is None:
        raise WeightsError(
            "no config.json with a model_type says what these weights belong to",
            where=checkpoint.where,
            next_step="modelzoo build NAME --weights SOURCE takes the recipe of NAME",
        )
    table = table_of_type(kind)
    if table is None:
        raise unknown_type(checkpoint.config, f"{checkpoint.where}, config.json")
    return table


def base_names(checkpoint: Checkpoint, table: Table) -> frozenset[str]:
    """The checkpoint's names as a table has them, with the prefix that some files leave out."""
    return frozenset(with_prefix(checkpoint.tensors, table).values())


def with_prefix(names, table: Table) -> dict[str, str]:
    """A file's name of a tensor -> the table's."""
    prefix = table.prefix
    if not prefix or any(name.startswith(prefix) for name in names):
        return {name: name for name in names}
    return {name: prefix + name for name in names}


def recipe_name(where: str) -> str:
    """`smollm2-135m` for hf://HuggingFaceTB/SmolLM2-135M@main, or a path that ends so."""
    last = PurePath(where.rstrip("/").partition("@")[0]).name
    stem = last.removesuffix(".gguf").removesuffix(".safetensors")
    return re.sub(r"[^a-z0-9.]+", "-", stem.lower()).strip("-.") or "checkpoint"


def _task(checkpoint: Checkpoint, table: Table, names: frozenset) -> tuple[str, dict]:
    """Our task of a checkpoint, and the task's options."""
    from modelzoo.tasks.profile import said  # which imports Keras

    for task in table.heads:
        options = said(task, "options_of_extras")(checkpoint.extras)
        if options is not None:
            return task, {key: value for key, value in options.items() if value is not None}
    (kind,) = (checkpoint.config.get("architectures") or [None])[:1] or [None]
    for task, head in table.heads.items():
        if kind in head.classes and said(task, "claims")(checkpoint.config):
            config = {**checkpoint.config, **checkpoint.extras.get("generation_config.json", {})}
            of_config = said(task, "options_of_config")
            options = {**head.options, **of_config(config, names)}
            options |= head.read_options(config, names, checkpoint.where)
            if "generation" in defaults(registry.task(task)):
                asked = Asked(config, f"{checkpoint.where}, config.json")
                of_config(asked, names)  # for the keys that it asks for
                options["generation"] = (
                    generation_options(checkpoint.config, checkpoint.extras, asked.keys_asked)
                    or None
                )
            return task, {key: value for key, value in options.items() if value is not None}
    if kind is None or kind.endswith("Model"):
        task = _task_of_backbone(table.heads)
        head, where = table.heads.get(task, Head(())), checkpoint.where
        return task, {**head.options, **head.read_options(checkpoint.config, names, where)}
    known = [name for head in table.heads.values() for name in head.classes]
    raise WeightsError(
        f"the class {kind!r} has no counterpart here",
        where=f"{checkpoint.where}, config.json",
        did_you_mean=nearest(kind, known),
        next_step=f"there is {', '.join(known)}; or modelzoo build NAME --weights SOURCE, "
        "which takes the backbone's weights",
    )


def _task_of_backbone(heads: Mapping[str, Head]) -> str:
    """What a backbone alone becomes: the task that has a class of theirs without a head, else the
    first; for a table without heads the one task that adds no weights."""
    bare = (task for task, head in heads.items() if head.classes[0].endswith("Model"))
    return next(bare, next(iter(heads), "text-embedding"))
