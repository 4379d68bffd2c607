"""A model's figures on raw data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelzoo.building.directory import load
from modelzoo.data.media_rows import readable_examples
from modelzoo.recipe.train_options import train_options
from modelzoo.registry.of_recipe import recipe_of, task_of
from modelzoo.runtime.bundle import is_bundle

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Evaluation:
    """What a model did on data.

    Attributes:
        figures: of its task, by name.
        labels: of a classifier, in the order of its logits; else `None`, as the next two.
        logits: (N, labels), an example a row, in the order of the data.
        truth: (N,), the right label's number; (N, labels), where several may apply, with 1 for
            those that do.
        thresholds: the least probability of each label that applies, where several may.
    """

    figures: dict[str, float]
    labels: tuple[str, ...] | None = None
    logits: np.ndarray | None = None
    truth: np.ndarray | None = None
    thresholds: list[float] | None = None


def evaluate(
    model,
    data,
    *,
    columns: Mapping[str, str] | None = None,
    batch_size: int | None = None,
    length: int | None = None,
) -> dict[str, float]:
    """The figures of a model's task on raw data, every example counted once.

    Args:
        model: a model with a recipe and a tokenizer, a model directory, or a bundle, which is run
            by the engine that a device has.
        data: as `data.read_examples` takes it.
        columns: field -> the column that holds it, `{"text": "review"}`. Default: those that the
            model was trained with, as far as this data has them.

    Example:
        >>> round(evaluate("my-gpt", "held-out.txt")["bits_per_byte"])
        2
    """
    found = evaluate_in_detail(model, data, columns=columns, batch_size=batch_size, length=length)
    return found.figures


def evaluate_in_detail(
    model,
    data,
    *,
    columns: Mapping[str, str] | None = None,
    batch_size: int | None = None,
    length: int | None = None,
) -> Evaluation:
    """As `evaluate`, with each answer of a classifier."""
    bundled = isinstance(model, str | os.PathLike) and is_bundle(model)
    if isinstance(model, str | os.PathLike):
        model = _bundle_model(model) if bundled else load(model, compile=False)
    recipe = recipe_of(model)
    options, task = train_options(recipe), task_of(recipe)
    if length is None and bundled and options.length and model.backbone.max_length:
        length = min(options.length, model.backbone.max_length)
    batches = task.batches(
        readable_examples(task, options, data, columns),
        model.need_tokenizer() if task.reads_text else None,
        batch_size=batch_size or options.batch_size,
        seed=0,
        shuffle=False,
        **task.batch_options(model, options, length),
    )
    figures, labels = task.evaluate(model, batches), batches.labels
    if not labels or batches.predicted is None:
        return Evaluation(figures)
    thresholds = recipe.table("task_options").get("thresholds")
    return Evaluation(figures, labels, *batches.predicted, thresholds)


def _bundle_model(path: str | os.PathLike):
    from modelzoo.recipe import read_lock
    from modelzoo.runtime.model import load as load_bundle
    from modelzoo.tasks.shared.bundle_model import BundleModel

    bundle = load_bundle(path)
    return BundleModel(bundle, read_lock(bundle.bundle.directory)[0])
