"""Gradients of several batches that are those of one batch of all their rows.

Keras takes the mean of the batches' gradients. Each is of a mean over the tokens that count in its
batch, and where the batches have different numbers of them, the mean of means is not the mean. So
the losses are sums, over weights that are shares of what the batches of an update count together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import keras

from modelzoo.data.batches import Batch

__all__ = ["in_shares", "sum_losses"]


def sum_losses(loss: Any) -> None:
    """Make sums of the losses that divide by the sum of the weights, in place.

    Args:
        loss: as `compile()` takes it: a loss, or a dict of them. Others stay as they are.
    """
    for one in keras.tree.flatten(loss):
        if getattr(one, "reduction", None) == "mean_with_sample_weight":
            one.reduction = "sum"


def in_shares(batches: Iterable[Batch], count: int, loss: Any) -> Iterator[Batch]:
    """The batches, with weights that add up to `count` over each group of `count` batches.

    Args:
        loss: the model's, after `sum_losses`. Only the weights of its sums change.
    """
    batches = iter(batches)
    while group := list(islice(batches, count)):
        shares = _shares([weight for _, _, weight in group], loss)
        yield from ((x, y, share) for (x, y, _), share in zip(group, shares, strict=True))


def _shares(weights: list, loss: Any) -> list:
    if isinstance(loss, Mapping):
        parts = {key: _shares([one[key] for one in weights], loss[key]) for key in loss}
        return [
            {**one, **{key: part[number] for key, part in parts.items()}}
            for number, one in enumerate(weights)
        ]
    total = sum(float(one.sum()) for one in weights) if _is_sum(loss) else 0.0
    return [one * (len(weights) / total) for one in weights] if total else weights


def _is_sum(loss: Any) -> bool:
    return getattr(loss, "reduction", None) == "sum"
