"""What a bundle holds beside the model: manifest, tokenizer, lock file, figures, README."""

from __future__ import annotations

import json
import platform
import re
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from modelzoo.about import VERSION
from modelzoo.errors import TokenizerError
from modelzoo.exporting.bundle.readme import readme
from modelzoo.exporting.bundle.readme_text import text_sections
from modelzoo.exporting.formats.format import Format
from modelzoo.recipe import write_lock
from modelzoo.runtime.bundle import MANIFEST, write_manifest
from modelzoo.runtime.engines.base import signatures_as_json
from modelzoo.runtime.media.processing import completed
from modelzoo.runtime.text.chat_template import FILE as CHAT_TEMPLATE
from modelzoo.tasks.profile import said
from modelzoo.weights.origin import source_table

# Task options that say how an answer comes out of what the model computes.
ANSWERING = ("problem_type", "thresholds", "generation")
PARITY, README, TOKENIZER = "parity.json", "README.md", "tokenizer.json"


def write_sources(folder: Path, model, source: str | None) -> None:
    """The tokenizer, chat template, the recipe's lock file.

    Args:
        source: a model directory, whose tokenizer is copied byte for byte if it has one.
    """
    import keras

    original = None if source is None else Path(source) / TOKENIZER
    if original is not None and original.is_file():
        shutil.copyfile(original, folder / TOKENIZER)
    elif model.tokenizer is not None:
        model.tokenizer.save(folder / TOKENIZER)
    if chat_template(model) is not None:
        (folder / CHAT_TEMPLATE).write_bytes(chat_template(model).encode())
    backend, facts = keras.backend.backend(), source_table(model)
    write_lock(folder, model.recipe, keras=keras.__version__, backend=backend, source=facts)


def draft_manifest(
    model, signatures, artifact, *, name, title=None, format: Format, mode, options, vocabulary=None
) -> dict:
    """All that is known before the file has been opened; `abilities` are all that the task has.

    Args:
        name: of the recipe.
        title: what the README calls the bundle. Default: `name`.
        vocabulary: the facts of an `exporting.vocabulary.Cut`.
    """
    tokenizer, recipe = model.tokenizer, model.recipe
    task_options = recipe.table("task_options")
    abilities = said(recipe.task, "abilities")
    backbone = getattr(model, "backbone", None)
    return {
        "modelzoo": VERSION,
        "name": name,
        "title": title or name,
        "task": recipe.task,
        "does": said(recipe.task, "does") or f"does the task {recipe.task}",
        "abilities": None if abilities is None else list(abilities),
        "format": format.name,
        "engine": format.engine,
        "precision": mode.name,
        "model": artifact.model,
        "max_length": max_length(signatures),
        "vocab_size": getattr(backbone, "vocab_size", None),
        **({"vocabulary": vocabulary} if vocabulary else {}),
        "signatures": {key: {} for key in signatures},
        "tokenizer": None if tokenizer is None else tokenizer_entry(model),
        "labels": task_options.get("labels"),
        **{key: task_options[key] for key in ANSWERING if key in task_options},
        "processing": {**processing(signatures, tokenizer), **media(model)},
        "options": options,
        "recipe_digest": recipe.digest,
        "source": source_table(model) or None,
        "parameters": int(model.count_params()),
    }


def with_abilities(manifest: dict, abilities: tuple[str, ...]) -> dict:
    """The manifest with the abilities that a bundle has, and an example of one of them.

    Args:
        abilities: of the task's, those that the loaded bundle's signatures allow.
    """
    example = said(manifest["task"], "example")
    if callable(example):
        example = example(abilities)
    called = re.search(r"\bmodel\.(\w+)\(", example)
    fits = called is not None and called[1] in abilities
    return {**manifest, "abilities": list(abilities), "example": example if fits else None}


def tokenizer_entry(model) -> dict:
    """The tokenizer's files and what a reader must know about it."""
    entry = {"file": TOKENIZER, "roles": model.tokenizer.stated_roles}
    stops = sorted(model.tokenizer.stop_tokens - {model.tokenizer.roles.get("eos")})
    if stops:
        entry["stop_tokens"] = [model.tokenizer.id_to_token(id) for id in stops]
    if chat_template(model) is not None:
        entry["chat_template"] = CHAT_TEMPLATE
    return entry


def chat_template(model) -> str | None:
    """The model's chat template, where it has one and reads text at all."""
    return None if model.tokenizer is None else getattr(model, "chat_template", None)


def max_length(signatures) -> int | None:
    """Tokens that fit: a decoder's window, else what the first signature reads; None: no limit."""
    inputs = (signatures.get("decode") or next(iter(signatures.values()))).inputs
    windows = [spec.shape[2] for key, spec in inputs.items() if key.startswith("kv_cache_k")]
    if windows:
        return min(windows)
    if "decode" in signatures or "token_ids" not in inputs:
        return None
    return inputs["token_ids"].shape[-1]


def processing(signatures, tokenizer) -> dict:
    """What a device must know to prepare inputs; see the README of a bundle."""
    if "encode" not in signatures or "decode" not in signatures or tokenizer is None:
        return {}
    from modelzoo.tasks.seq2seq_lm import start_token

    try:
        return {"start_token": start_token(tokenizer)}
    except TokenizerError:
        return {}  # the runtime says what is missing; single signatures run all the same


def media(model) -> dict:
    """How media become a model's inputs, complete.

    Raises:
        ModelzooError: a device could not do it.
    """
    return completed(model.processing()) if hasattr(model, "processing") else {}


def finish(folder: Path, manifest: dict, engine, parity: dict, format: Format) -> dict:
    """Write the figures, the README and the final manifest over what is in the folder."""
    # In the file's own order, which says each signature's index.
    infos = {k: info for k, info in engine.signatures.items() if k in manifest["signatures"]}
    manifest = {**manifest, "signatures": signatures_as_json(infos)}
    parity = {"format_version": 1, **parity, "versions": versions()}
    text = json.dumps(parity, indent=2, allow_nan=False)
    (folder / PARITY).write_text(text + "\n", encoding="utf-8")
    page = readme(manifest, parity, format, text_sections(folder, manifest))
    (folder / README).write_text(page, encoding="utf-8")
    (folder / MANIFEST).unlink(missing_ok=True)
    return write_manifest(folder, manifest)


def versions() -> dict[str, str]:
    """What the bundle was made and verified with."""
    found = {"modelzoo": VERSION, "python": platform.python_version()}
    for package in ("keras", "tensorflow", "ai-edge-litert", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # tensorflow-cpu is another distribution of the same module
            module = __import__(package.replace("-", "_"))
            found[package] = getattr(module, "__version__", "unknown")
    return found
