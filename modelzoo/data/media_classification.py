"""Batches for the classification of images, sounds and videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modelzoo.data.augment import augmenter
from modelzoo.data.batches import Batch, Batches
from modelzoo.data.classification import classes_of, labelled, names_of
from modelzoo.data.media import read_media_examples
from modelzoo.data.media_rows import MediaRows, preparer

__all__ = ["INPUTS", "media_classification_batches", "media_label_names"]

INPUTS = {"image": ("images",), "audio": ("audio", "num_samples"), "video": ("frames",)}


def media_classification_batches(
    examples: object,
    kind: str,
    *,
    processing: Mapping,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
    labels: Sequence[str | int] | None = None,
    augment: Mapping[str, float] | None = None,
    truncate: bool = True,
    cache: bool | int = True,
    unlabelled: bool = False,
) -> Batches:
    """Media as a model reads them, and their classes.

    Args:
        examples: `kind` and `label`: whatever `read_media_examples` reads.
        kind: "image", "audio" or "video".
        processing: the model's; see `TaskModel.processing`.
        labels: the class names in the order of their numbers; default: those of the examples.
        augment: how training alters them; see `augment.augmenter`. Evaluation does not.
        truncate: of a sound longer than the window take the beginning; else it is an error.
        cache: see `decoding.MediaRows`. What is kept is decoded here.
        unlabelled: the examples have no labels; y and sample_weight are `None`.

    Returns:
        Batches of x = {"images": (B, H, W, 3) uint8}, {"frames": (B, F, H, W, 3) uint8} or
        {"audio": (B, N) float32, "num_samples": (B,) int32}, y = (B,) int32, and sample_weight =
        (B,) float32. `labels` are the class names, as str.

    Raises:
        DataError: a file that cannot be read, by name; a label that `labels` does not hold; one
            class alone.
        RecipeError: an augmentation that there is not.
    """
    examples = read_media_examples(examples, (kind,) if unlabelled else (kind, "label"))
    found = [] if unlabelled else [str(example["label"]) for example in examples]
    names, classes = classes_of(found, labels, unlabelled)
    alter = augmenter(kind, augment)
    rows_of = MediaRows(examples, kind, preparer(kind, processing, truncate), cache=cache)
    rows_of.load()

    def make_evaluation(rows: np.ndarray, generator: np.random.Generator) -> Batch:
        arrays = rows_of[rows]
        arrays = arrays if isinstance(arrays, tuple) else (arrays,)
        x = dict(zip(INPUTS[kind], arrays, strict=True))
        return x, *labelled(classes, rows)

    def make(rows: np.ndarray, generator: np.random.Generator) -> Batch:
        x, y, weight = make_evaluation(rows, generator)
        if alter is not None:
            x[INPUTS[kind][0]] = alter(x[INPUTS[kind][0]], generator)
        return x, y, weight

    return Batches(
        make,
        num_rows=len(rows_of),
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        labels=names,
        unlabelled=unlabelled,
        make_evaluation=make_evaluation,
    )


def media_label_names(examples: object, kind: str) -> tuple[str, ...]:
    """The class names in examples, sorted; as numbers if all are whole numbers."""
    examples = read_media_examples(examples, (kind, "label"))
    return names_of([str(example["label"]) for example in examples])
