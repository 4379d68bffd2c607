"""From a Keras model to a directory in Hugging Face layout, through the tables that read it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelzoo import registry
from modelzoo.errors import OutputError, WeightsError, require
from modelzoo.files import new_directory, write_mark
from modelzoo.recipe.schema import defaults
from modelzoo.weights.hub_card import hub_card
from modelzoo.weights.lookup import tables_of
from modelzoo.weights.mapping import (
    check_convolutions,
    model_values,
    parted,
    rules_for,
    to_theirs,
    unsaid,
    weights_by_path,
)
from modelzoo.weights.origin import source_table
from modelzoo.weights.small_files import MODULES
from modelzoo.weights.table import Head, Rule, Table, nested
from modelzoo.weights.tables import TABLES
from modelzoo.weights.tokenizer_writing import tokenizer_config, tokenizer_json

_IDS = ("pad", "bos", "eos")  # what config.json names by id


_SHOWN = 4  # tables whose reasons a message lists


def write_checkpoint(model, directory: str | os.PathLike, *, force: bool = False) -> Path:
    """Write `config.json`, `model.safetensors` and the tokenizer's files; nothing is pickled.

    And `README.md` with the hub's metadata, as far as they are known; and `modelzoo.json`, which
    names all files: `force` replaces a folder that holds nothing else.

    `transformers` opens the directory with `from_pretrained`, `modelzoo build DIR` too.

    Args:
        model: with a recipe whose architecture has a table; float32 is written.
        force: replace an existing checkpoint.

    Raises:
        WeightsError: Hugging Face has no counterpart of the model.
        OutputError: the directory exists, or cannot be written; nothing is lost then.

    Example:
        >>> write_checkpoint(modelzoo.load("my-gpt"), "my-gpt-hf")
        PosixPath('my-gpt-hf')
    """
    from modelzoo.tasks.profile import said  # which imports Keras

    save_file = require("safetensors.numpy", "tensorflow").save_file
    table, values, rules = _table_for(model)
    head = table.heads[model.recipe.task]
    tensors = {**_tensors(model, table, head, rules), **table.derived(values)}
    config = {**table.write_config(values), **_config(model, head)}
    if "pad_token_id" in table.assumed:  # positions count from it, whatever the tokenizer pads with
        config["pad_token_id"] = table.assumed["pad_token_id"]
    for role, theirs in table.roles.items():  # the text tower's own table names these
        if model.tokenizer is not None and role in model.tokenizer.roles:
            config["text_config"][f"{theirs}_token_id"] = model.tokenizer.roles[role]
    with new_directory(directory, force) as folder:
        try:
            save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        except require("safetensors", "tensorflow").SafetensorError as error:
            raise OutputError(
                f"cannot write {directory}: {error}", next_step="check its folder and free space"
            ) from error
        _write_json(folder / "config.json", config)
        # The package makes a file that no one else may read.
        os.chmod(folder / "model.safetensors", (folder / "config.json").stat().st_mode)
        media = nested(table.write_media(values))
        extras = _extras(model, config) | ({"preprocessor_config.json": media} if media else {})
        for name, content in extras.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            _write_json(path, content)
        if model.tokenizer is not None:
            frame = said(model.recipe.task, "frame")
            text = tokenizer_json(model.tokenizer, frame, config)
            (folder / "tokenizer.json").write_text(text, "utf-8")
        library = "sentence-transformers" if MODULES in extras else "transformers"
        does = {key: said(model.recipe.task, key) for key in ("does", "pipeline_tag")}
        facts, title = source_table(model), Path(directory).resolve().name
        card = hub_card(model.recipe, facts, title=title, library=library, does=does)
        (folder / "README.md").write_text(card, "utf-8")
        if model.chat_template is not None:
            (folder / "chat_template.jinja").write_text(model.chat_template, "utf-8")
        write_mark(folder)
    return Path(directory)


def _table_for(model) -> tuple[Table, Mapping, list[Rule]]:
    """The first table that says everything of this model, its values and its rules."""
    recipe, weights, values = model.recipe, weights_by_path(model), model_values(model.recipe)
    reasons: list[tuple[int, list[str]]] = []  # how far from this model, and why, for each table
    tables = [table for table in tables_of(recipe.architecture) if table.written_as is None]
    for table in sorted(tables, key=lambda table: -len(table.fixed)):  # the most particular first
        kind = f"a {table.model_type}"
        if recipe.task not in table.heads:
            reasons.append((1, [f"{kind} has no task {recipe.task}"]))
            continue
        try:
            table.write_config(values)
        except WeightsError as error:
            apart = unsaid(recipe.architecture, values, table.said_outright())
            reasons.append((len(table.differing(values)) + len(apart), [error.what]))
            continue
        other = unsaid(recipe.architecture, values, table.said(values))
        if other:
            more = [
                f"{kind} has {k} = {v!r}, and this model {values[k]!r}" for k, v in other.items()
            ]
            reasons.append((len(more), more))
            continue
        options = recipe.table("task_options")
        head = table.heads[recipe.task]
        if any(options.get(key) != value for key, value in head.options.items()):
            reasons.append((0, [f"{kind} has another head"]))
            continue
        rules = _chosen(rules_for(table.all_rules(recipe.task, values), weights), values)
        missing = set(weights) - {path for rule in rules for path in rule.ours}
        if not missing:
            return table, values, rules
        reasons.append((0, [f"{kind} has no {min(missing)}"]))
    nearest = sorted(reasons, key=lambda one: one[0])[:_SHOWN]
    said = [reason for _, each in nearest for reason in each]
    raise WeightsError(
        f"Hugging Face has no counterpart of {recipe.name}: "
        + ("; ".join(dict.fromkeys(said)) or f"the architecture {recipe.architecture}"),
        next_step=f"there is one of {', '.join(sorted({t.architecture for t in TABLES.values()}))}",
    )


def _chosen(rules: list[Rule], values: Mapping) -> list[Rule]:
    """One rule a weight: the first, or of a gated model the last.

    A gated T5 calls `wi_1` what a plain one calls `wi`.
    """
    kept: list[Rule] = []
    written: set[str] = set()
    for rule in reversed(rules) if values.get("gated") else rules:
        if not written.intersection(rule.ours):
            kept.append(rule)
            written.update(rule.ours)
    return kept


def _tensors(model, table: Table, head: Head, rules: list[Rule]) -> dict:
    import numpy as np
    from keras import ops

    check_convolutions(model, rules)
    weights, merged = weights_by_path(model), _merged(model)
    # A backbone alone has names without the prefix.
    bare = head.classes[0].endswith("Model") and not head.rules
    tensors = {}
    for rule in rules:
        arrays = [
            np.asarray(ops.convert_to_numpy(merged.get(id(weights[path]), weights[path])))
            for path in rule.ours
        ]
        parts = parted(rule, to_theirs(rule, arrays))
        for full, part in zip(rule.tensors, parts, strict=True):
            name = full.removeprefix(table.prefix) if bare else full
            tensors[name] = part
            if name.endswith(".running_var"):
                tensors[name.replace("running_var", "num_batches_tracked")] = np.zeros((), np.int64)
    return tensors


def _merged(model) -> dict[int, Any]:
    """The kernels, or embeddings, with Keras' LoRA added: id of the weight -> value."""
    found = {}
    for layer in model._flatten_layers():
        if getattr(layer, "lora_enabled", False):
            for name in ("kernel", "embeddings"):
                if hasattr(layer, f"_{name}"):  # the property of the same name adds LoRA to it
                    found[id(getattr(layer, f"_{name}"))] = getattr(layer, name)
    return found


def _config(model, head: Head) -> dict:
    """What config.json says besides the sizes: the class, the special tokens, the task's own."""
    from modelzoo.tasks.profile import said  # which imports Keras

    roles = {} if model.tokenizer is None else model.tokenizer.roles
    config: dict[str, Any] = {"architectures": [head.classes[0]], "dtype": "float32"}
    config.update({f"{role}_token_id": roles.get(role) for role in _IDS})
    if "start" in roles:
        config["decoder_start_token_id"] = roles["start"]
    of_task = said(model.recipe.task, "config_of")(model, head.classes)
    options = defaults(registry.task(model.recipe.task)) | model.recipe.table("task_options")
    return {**config, **of_task, **head.write_options(options)}


def _extras(model, config: Mapping) -> dict[str, Any]:
    """The other small JSON files, by name."""
    from modelzoo.tasks.profile import said

    found: dict[str, Any] = {}
    if model.tokenizer is not None:
        length = model.backbone.max_length
        found["tokenizer_config.json"] = tokenizer_config(model.tokenizer, length, config)
    return {**found, **said(model.recipe.task, "extras_of")(model, config)}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
