"""A recipe from a checkpoint: its configuration in our words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath

from modelzoo.errors import WeightsError, nearest
from modelzoo.recipe import Recipe, from_values
from modelzoo.weights.checkpoint import Checkpoint
from modelzoo.weights.lookup import known_types, table_of_type
from modelzoo.weights.sentence_transformers import embedding_options
from modelzoo.weights.table import Table, nested

# Classes of theirs that hold a backbone alone become this task, by architecture.
_BACKBONE_TASKS = {
    "ast": "audio-classification",
    "bart": "seq2seq-lm",
    "contrastive": "contrastive",
    "gpt": "causal-lm",
    "prefix": "captioning",
    "t5": "seq2seq-lm",
    "vit": "image-classification",
    "moonshine": "speech-to-text",
    "whisper": "speech-to-text",
}
_SEVERAL_LANGUAGES = 51_865  # tokens of a Whisper


def recipe_of_checkpoint(checkpoint: Checkpoint) -> Recipe:
    """The recipe of the model that a checkpoint holds, its task as its class says.

    Raises:
        WeightsError: a model type, class or value that has no counterpart here.
    """
    table = table_of(checkpoint)
    config, names = checkpoint.config, base_names(checkpoint, table)
    task, options = _task(checkpoint, table, names)
    values = table.read_config(config, names, checkpoint.where)
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
        known = known_types()
        raise WeightsError(
            f"the model type {kind!r} has no architecture here",
            where=checkpoint.where,
            did_you_mean=nearest(str(kind), known),
            next_step=f"there is {', '.join(known)}",
        )
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
    embedding = embedding_options(checkpoint.extras)
    if embedding is not None and "text-embedding" in table.heads:
        return "text-embedding", {k: v for k, v in embedding.items() if v is not None}
    (kind,) = (checkpoint.config.get("architectures") or [None])[:1] or [None]
    for task, head in table.heads.items():
        if kind in head.classes:
            config = {**checkpoint.config, **checkpoint.extras.get("generation_config.json", {})}
            return task, _options(task, head, config, names)
    # Of a plugin's, the first task that its table has a head for.
    first = next(iter(table.heads), None) if "/" in table.architecture else None
    fallback = _BACKBONE_TASKS.get(table.architecture, first or "text-embedding")
    if kind is None or kind.endswith("Model"):
        return fallback, {}
    known = [name for head in table.heads.values() for name in head.classes]
    raise WeightsError(
        f"the class {kind!r} has no counterpart here",
        where=f"{checkpoint.where}, config.json",
        did_you_mean=nearest(kind, known),
        next_step=f"there is {', '.join(known)}; or modelzoo build NAME --weights SOURCE, "
        "which takes the backbone's weights",
    )


def _options(task: str, head, config: Mapping, names: frozenset) -> dict:
    if task == "masked-lm":
        return {"next_sentence": any("seq_relationship" in name for name in names)}
    if task.endswith("-classification"):
        labels = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
        return {**head.options, "labels": [labels[key] for key in sorted(labels, key=int)]}
    if task == "speech-to-text":
        return {**head.options, **_speech_options(config)}
    return dict(head.options)


def _speech_options(config: Mapping) -> dict:
    """What a Whisper may not write, and English where it writes several languages."""
    keys = ("suppress_tokens", "begin_suppress_tokens")
    found = {key: [id for id in config[key] if id >= 0] for key in keys if config.get(key)}
    # The one with English alone has a token less.
    whisper = config.get("model_type") == "whisper"
    several = config.get("is_multilingual", whisper and config["vocab_size"] >= _SEVERAL_LANGUAGES)
    return {**found, "language": "en"} if several else found
