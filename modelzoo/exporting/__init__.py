"""A model becomes a bundle for a device, and proves that it answers as the model does.

    modelzoo.export(model, "gpt.bundle", format="tflite", quantize="float16")

The conversion works in a child process on Keras' TensorFlow backend, whatever backend the model
was trained with: the converter's memory goes with it. Nothing heavy is imported here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo.errors import ExportError
from modelzoo.exporting.formats.format import DEFAULT_FORMAT, format_of
from modelzoo.exporting.process import child
from modelzoo.exporting.quantization.precision import mode_for

if TYPE_CHECKING:
    from modelzoo.recipe import Recipe

__all__ = ["Report", "export", "export_bundle", "verify_bundle"]


@dataclass(frozen=True)
class Report:
    """What was written, and how near to Keras it is.

    Attributes:
        path: the bundle.
        manifest: the content of its `manifest.json`.
        parity: the content of its `parity.json`.
    """

    path: Path
    manifest: dict
    parity: dict

    def __repr__(self) -> str:
        return f"Report({str(self.path)!r}, max_abs_error={self.max_abs_error:.3g})"

    @property
    def max_abs_error(self) -> float:
        """The largest over all outputs of all signatures."""
        signatures = self.parity["signatures"].values()
        return max(figures["max_abs_error"] for one in signatures for figures in one.values())


def export(
    model_or_directory,
    path: str | os.PathLike,
    format: str = DEFAULT_FORMAT,
    quantize: str | None = None,
    force: bool = False,
    **export_options,
) -> Report:
    """Write a verified bundle.

    Args:
        model_or_directory: a model from `modelzoo.build` or `load`, or a model directory. A
            recipe's name exports random weights, to measure a size or a speed.
        path: the bundle's directory.
        format: the name of an exporter, as `modelzoo export --help` lists them.
        quantize: "float32", "float16", "int8" or "int4". Default: the recipe's `quantize.mode`,
            else the format's own: "int8" for devices, "float32" for servers.
        force: replace an existing bundle.
        **export_options: of the model's `export_signatures`, over the recipe's `[export]` table:
            `max_length=256`. And `vocabulary="corpus.txt"`, with `vocabulary_size=16_000`, to leave
            out tokens that these texts do not need; see `exporting.vocabulary`.

    Raises:
        ExportError: it cannot be converted, or the result does not answer as Keras does; nothing
            is written then.
        OutputError: `path` exists, or cannot be written.
        ModelzooError: a model, format or option that does not exist.

    Example:
        >>> # A conversion takes ten seconds, and tests/export runs many.
        >>> modelzoo.export("my-gpt", "my.bundle", quantize="float32")  # doctest: +SKIP
        Report('my.bundle', max_abs_error=2.1e-06)
    """
    return export_bundle(
        model_or_directory, path, format, quantize, force=force, options=export_options
    )


def export_bundle(
    model,
    path: str | os.PathLike,
    format: str = DEFAULT_FORMAT,
    quantize: str | None = None,
    *,
    force: bool = False,
    options: dict | None = None,
    quantization: dict | None = None,
    progress: Callable[[str], None] | None = None,
    begins: Callable[[Recipe], None] | None = None,
) -> Report:
    """As `export`, with the options as a dict and `progress(step)` for each step.

    Args:
        begins: called with the model's recipe when all is checked that needs no Keras.
        quantization: over the recipe's `[quantize]` table; see
            `exporting.quantization.quantize.Quantization`.
    """
    from modelzoo.exporting.formats.artifact import WORK
    from modelzoo.files import new_directory, reserved

    path = Path(os.path.realpath(path))
    with reserved(path, force):  # before anything that takes long
        recipe = _recipe_of(model)
        preferred = {**recipe.table("quantize"), **(quantization or {})}.get("mode")
        quantize = mode_for(quantize, format_of(format), preferred).name
        entries = child.registrations(recipe, format)
        if begins is not None:
            begins(recipe)
        with new_directory(path, force) as folder:
            job = {
                "job": "export",
                "model": _as_directory(model, folder / WORK),
                "folder": str(folder),
                "name": recipe.name,
                "title": _title(model),
                "format": format,
                "quantize": quantize,
                "options": options or {},
                "quantization": quantization or {},
                "registrations": entries,
            }
            result = child.run(job, progress)
    return Report(path, result["manifest"], result["parity"])


def verify_bundle(
    bundle: str | os.PathLike,
    against,
    *,
    progress: Callable[[str], None] | None = None,
    trust: bool = False,
) -> Report:
    """Every check of an export once more: the bundle on its runtime against the Keras model.

    Args:
        bundle: the bundle's directory.
        against: the model directory that it was exported from, or the model.
        trust: open the bundle's model file without the checks of `runtime.trust`.

    Raises:
        ExportError: what differs, by how much, and how much is allowed.
        BundleError: the bundle is damaged.
    """
    from modelzoo.files import scratch
    from modelzoo.runtime.bundle import bundle_directory, read_bundle

    manifest = read_bundle(bundle).manifest
    entries = child.registrations(_recipe_of(against), manifest["format"])
    with scratch() as folder:
        job = {
            "job": "verify",
            "bundle": os.path.abspath(bundle_directory(bundle)),
            "model": _as_directory(against, folder),
            "registrations": entries,
            "trust": trust,
        }
        result = child.run(job, progress)
    return Report(Path(bundle), result["manifest"], result["parity"])


def _recipe_of(model):
    """The recipe of a model, a model directory or a name."""
    from modelzoo import registry
    from modelzoo.runtime.bundle import is_bundle

    if isinstance(model, str | os.PathLike):
        if is_bundle(model):
            raise ExportError(
                f"{model} is a bundle already", next_step="give the model directory it came from"
            )
        return registry.recipe(model)
    if getattr(model, "recipe", None) is None:
        raise ExportError(
            f"this {type(model).__name__} has no recipe, so no other process can load it",
            next_step="make it with modelzoo.build, or give a model directory",
        )
    return model.recipe


def _title(model) -> str | None:
    """The name of the model directory, which says more than its recipe's."""
    if isinstance(model, str | os.PathLike) and Path(model).is_dir():
        return Path(model).resolve().name
    return None


def _as_directory(model, scratch: Path) -> str:
    """Where the child finds the model: a live one is written down first."""
    if isinstance(model, str | os.PathLike):
        return os.path.abspath(model) if Path(model).exists() else str(model)
    from modelzoo.building.directory import save

    return str(save(model, scratch / "model"))
