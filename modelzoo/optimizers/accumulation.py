"""A large batch in parts whose gradients together are those of the whole.

Keras takes the mean of the parts' gradients. Each is of a mean over the tokens that count in its
part, and where the parts have different numbers of them, the mean of means is not the mean. So the
losses are sums, over weights that are shares of what counts in the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from modelzoo.data.batches import Batch

__all__ = ["in_parts", "sum_losses"]


def sum_losses(loss: Any) -> None:
    """Make sums of the losses that divide by the sum of the weights, in place.

    Args:
        loss: as `compile()` takes it: a loss, or a dict of them. Others stay as they are.
    """
    for one in keras.tree.flatten(loss):
        if getattr(one, "reduction", None) == "mean_with_sample_weight":
            one.reduction = "sum"


def in_parts(batch: Batch, count: int, loss: Any) -> list[Batch]:
    """A batch of `count` times B rows as `count` batches of B rows, in order.

    Args:
        loss: the model's, after `sum_losses`. The weights of its sums add up to `count` over all
            parts; others stay as they are.
    """
    x, y, weight = batch
    whole = x, y, _shares(weight, count, loss)
    size = len(keras.tree.flatten(x)[0]) // count

    def part(number: int) -> Batch:
        rows = slice(number * size, (number + 1) * size)
        return keras.tree.map_structure(lambda array: array[rows], whole)

    return [part(number) for number in range(count)]


def _shares(weight: Any, count: int, loss: Any) -> Any:
    if isinstance(loss, Mapping):
        return {key: _shares(one, count, loss.get(key)) for key, one in weight.items()}
    total = float(weight.sum()) if getattr(loss, "reduction", None) == "sum" else 0.0
    return weight * (count / total) if total else weight
