"""What the child does: turn a model into a bundle, or compare a bundle with a model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo import registry
from modelzoo.building.build import build
from modelzoo.building.directory import load
from modelzoo.errors import ExportError
from modelzoo.exporting.bundle import files
from modelzoo.exporting.formats.artifact import WORK
from modelzoo.exporting.formats.format import Format, format_of
from modelzoo.exporting.process.options import check_cache, export_options, vocabulary_options
from modelzoo.exporting.quantization.precision import mode_for
from modelzoo.exporting.quantization.prepare import prepare
from modelzoo.exporting.quantization.quantize import quantization_of
from modelzoo.exporting.vocabulary import compare, cut_model, cut_of_bundle, cut_to_corpus
from modelzoo.recipe import override
from modelzoo.runtime.bundle import read_bundle, write_manifest
from modelzoo.runtime.engines.packed import check_packed
from modelzoo.runtime.trust import seen
from modelzoo.signature import Signature
from modelzoo.weights.origin import source_table, stamp

if TYPE_CHECKING:
    import keras

Progress = Callable[[str], None]


def export_bundle(job: dict, progress: Progress) -> dict:
    """Fill `job["folder"]` with a verified bundle.

    Args:
        job: `model` (a model directory or a recipe), `folder`, `name`, `format`, `quantize`,
            `options` (of export_signatures), `quantization` (over the recipe's `[quantize]`).

    Returns:
        The content of `parity.json`, and `manifest`.
    """
    from modelzoo.exporting.verification.verify import located, verify
    from modelzoo.runtime.model import load as load_bundle

    format = format_of(job["format"])
    mode = mode_for(job["quantize"], format)
    model = _chosen(open_model(job["model"], progress), job)
    files.media(model)  # what is wrong with it is reported before the conversion
    options = export_options(model, job["options"])
    vocabulary = vocabulary_options(model, job["options"])
    check_cache(options, mode)
    cut = None
    if vocabulary.vocabulary is not None:
        progress(f"cutting the vocabulary to {Path(vocabulary.vocabulary).name}")
        cut = cut_to_corpus(model, vocabulary.vocabulary, vocabulary.vocabulary_size)
        model, smaller = _smaller(model, cut, options)
    signatures = model.export_signatures(**options)
    weights = model.get_weights() if mode.quantized else None
    source = source_table(model)
    folder = Path(job["folder"])
    scratch = folder / WORK
    scratch.mkdir(exist_ok=True)

    if mode.quantized:
        progress(f"preparing the weights for {mode.name}")
        prepare(model, mode, quantization_of(model))
    progress(f"converting to {format.name}")
    artifact = registry.exporter(format.name)(model, signatures, folder, mode=mode, scratch=scratch)
    if mode.quantized:  # it is compared with the model as it was
        model = _chosen(open_model(job["model"], progress), job)
        model = model if cut is None else cut_model(model, cut)
        model.set_weights(weights)
        stamp(model, source)
        signatures = model.export_signatures(**options)
    files.write_sources(folder, model, job["model"] if cut is None else None)
    manifest = files.draft_manifest(
        model,
        signatures,
        artifact,
        name=job["name"],
        title=job.get("title"),
        format=format,
        mode=mode,
        options=options,
        vocabulary=None if cut is None else cut.facts,
    )
    write_manifest(folder, manifest)

    progress("loading the bundle")
    # From here on as a device does it: hashes, tokenizer, engine.
    if artifact.engine is None:
        loaded = load_bundle(folder, trust=True)
        engine, tokenizer = loaded.engine, loaded.tokenizer
        manifest = files.with_abilities(manifest, loaded.abilities)
    else:
        loaded = None
        engine, tokenizer = artifact.engine(read_bundle(folder)), model.tokenizer
    signatures = artifact.signatures or signatures
    try:
        figures = verify(engine, model, signatures, tokenizer, mode, progress, loaded)
    except ExportError as error:
        if artifact.reference is None:
            raise
        found = folder / artifact.model
        raise located(error, artifact.reference, found, engine, model, mode) from error
    shutil.rmtree(scratch)
    parity = {**artifact.facts, **_terms(format, mode), **_weights(manifest), **figures}
    if cut is not None:
        parity["vocabulary"] = smaller
    manifest = files.finish(folder, manifest, engine, parity, format)
    seen.remember_exported(manifest)
    return {"parity": parity, "manifest": manifest}


def verify_bundle(job: dict, progress: Progress) -> dict:
    """Hold the bundle `job["bundle"]` against the model `job["model"]`, all checks again."""
    from modelzoo.exporting.verification.verify import verify
    from modelzoo.runtime.model import load as load_bundle
    from modelzoo.runtime.model import open_tokenizer

    found = read_bundle(job["bundle"])
    manifest = found.manifest
    format = format_of(manifest["format"])
    mode = mode_for(manifest.get("precision"), format)
    model = open_model(job["model"], progress)
    facts, bundle = {}, None
    if "vocabulary" in manifest:
        progress("cutting the vocabulary as the bundle's was")
        cut = cut_of_bundle(model, open_tokenizer(found))
        model, facts["vocabulary"] = _smaller(model, cut, manifest["options"])
    signatures = stated_signatures(model, manifest)
    if format.reopen is not None:
        if format.engine == "litert-lm-api":
            check_packed(found, job.get("trust", False))
        artifact = format.reopen(model, signatures, mode)
        engine, tokenizer = artifact.engine(found), model.tokenizer
        signatures, facts = artifact.signatures, {**facts, **artifact.facts}
    else:
        bundle = load_bundle(job["bundle"], trust=job.get("trust", False))
        engine, tokenizer = bundle.engine, bundle.tokenizer
    figures = verify(engine, model, signatures, tokenizer, mode, progress, bundle)
    return {
        "parity": {**facts, **_terms(format, mode), **_weights(manifest), **figures},
        "manifest": manifest,
    }


def stated_signatures(model, manifest: dict) -> dict[str, Signature]:
    """The model's signatures with the bundle's options, as far as a bundle of 0.1 has them: without
    `verify_{T}` and `score_{T}` where the manifest names none."""
    found = model.export_signatures(**manifest.get("options", {}))
    return {
        name: signature
        for name, signature in found.items()
        if not name.startswith(("verify_", "score_")) or name in manifest["signatures"]
    }


def open_model(name: str, progress: Progress) -> keras.Model:
    """A model directory's model, or a recipe's with random weights; all float32."""
    progress(f"loading {name}")
    if Path(name).is_dir():
        model = load(name, compile=False)
    else:
        model = build(name, compile=False)
    if not hasattr(model, "export_signatures"):
        raise ExportError(
            f"{type(model).__name__} has no export_signatures(), so nobody knows what it does on "
            "a device",
            next_step="give it one: {name: modelzoo.signature.Signature(function, inputs)}",
        )
    from modelzoo.exporting.formats.graph import in_float32

    return in_float32(model)


def _smaller(model, cut, options: dict) -> tuple[keras.Model, dict]:
    """The model with its vocabulary cut, and how near its answers are to those of the whole one."""
    small = cut_model(model, cut)
    return small, compare(model, small, cut, options)


def _chosen(model, job: dict):
    """The model, with what the job says of the recipe's `[quantize]` table."""
    chosen = job.get("quantization")
    if chosen:
        model.recipe = override(model.recipe, {f"quantize.{k}": v for k, v in chosen.items()})
    return model


def register(registrations: list[dict]) -> None:
    """Give the child the names that were registered in the parent's process."""
    for entry in registrations:
        module, _, qualified = entry["target"].partition(":")
        try:
            item = import_module(module)
        except ModuleNotFoundError as error:
            raise ExportError(
                f"the export's child process cannot import {module}, which defines the "
                f"{entry['kind']} {entry['name']!r}: {error}",
                next_step="install it, or put its folder on PYTHONPATH: the working directory is "
                "not searched",
            ) from error
        for part in qualified.split("."):
            item = getattr(item, part)
        registry.register(entry["name"], **{entry["kind"]: item})


def _terms(format: Format, mode) -> dict:
    return {
        "format": format.name,
        "precision": mode.name,
        "tolerance": {
            "max_abs_error": mode.max_error,
            "relative": mode.relative,
            "cosine": mode.min_cosine,
        },
    }


def _weights(manifest: dict) -> dict[str, str]:
    """Whether the weights are random, where that is known."""
    weights = (manifest.get("source") or {}).get("weights")
    return {} if weights is None else {"weights": weights}


JOBS = {"export": export_bundle, "verify": verify_bundle}
