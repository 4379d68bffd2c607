"""What each example counts in training: its own weight, and that of its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modelzoo.data.batches import class_weights_by_number
from modelzoo.data.classification import numbers_of
from modelzoo.errors import DataError, RecipeError

__all__ = ["row_weights"]


def row_weights(
    examples: Sequence[Mapping],
    labels: Sequence[str] | None = None,
    class_weights: str | Mapping[str, float] | None = None,
) -> np.ndarray | None:
    """(N,) float32, what each example counts; `None` where all count the same.

    Args:
        examples: with a `weight` or without.
        labels: of a classifier, by number.
        class_weights: `train.class_weights`.

    Raises:
        RecipeError: weights of classes, and the examples have none.
        DataError: no such class; all examples count nothing.

    Example:
        >>> rows = [{"label": "rare"}, {"label": "often"}, {"label": "often", "weight": 2.0}]
        >>> row_weights(rows, ["often", "rare"], "balanced").tolist()
        [1.5, 0.75, 1.5]
    """
    weights = np.array([example.get("weight", 1.0) for example in examples], np.float32)
    if class_weights is not None:
        if not labels or not isinstance(examples[0].get("label", []), str | int):
            raise RecipeError(
                "train.class_weights is for a classifier with one label for each example",
                next_step="--set train.class_weights=None, or another --task",
            )
        names = tuple(map(str, labels))
        classes = numbers_of([str(example["label"]) for example in examples], names)
        if isinstance(class_weights, str):
            counts = np.bincount(classes, minlength=len(names))
            by_class = len(classes) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        else:
            by_class = class_weights_by_number(class_weights, names)
        weights *= by_class.astype(np.float32)[classes]
    if not weights.any():
        raise DataError("every example has the weight 0: there is nothing to learn from")
    return None if (weights == 1).all() else weights
