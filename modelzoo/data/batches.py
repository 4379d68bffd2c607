"""Batches by number: batch 1,000 is the same in every run, whatever was asked for before.

So a training that was killed goes on with exactly the batch that it would have seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from modelzoo.errors import DataError, nearest
from modelzoo.recipe.train_options import MOST_ROWS

if TYPE_CHECKING:
    import keras

__all__ = ["Batch", "Batches", "class_weights_by_number"]

# (x, y, sample_weight): arrays, or dicts of arrays, with the batch as their first axis; or (x,).
Batch = tuple[Any, ...]
Make = Callable[[np.ndarray, np.random.Generator], Batch]

# Keeps the random numbers of training and of evaluation apart: streams of default_rng([seed, ...]).
_ORDER, _TRAINING, _EVALUATION = 0, 1, 2


class Batches:
    """Random access to the batches of a data set.

    An epoch sees every row; where the rows do not fill its last batch, that epoch's first rows do.

    Args:
        make: (row numbers (B,) int, random generator) -> (x, y, sample_weight); y and sample_weight
            are `None` where the data has no labels.
        num_rows: rows of the data set.
        batch_size: rows of every batch, B.
        seed: with the step it decides everything that is random.
        shuffle: whether each epoch has its own order; else the rows come as they stand.
        num_tokens: tokens that one evaluation predicts, if it makes sense to count them.
        num_bytes: UTF-8 bytes of the text of these tokens.
        labels: class names by number, of a classification.
        unlabelled: whether the examples have no labels: only `predict` can use them.
        predicted: what `tasks.shared.scores.predictions` found last: answers and right ones.
        make_evaluation: instead of `make` for evaluation, where training alters its rows.
        length: tokens of a row, where it may be less than was asked for.

    Attributes: all the arguments but `make` and `make_evaluation`.
        row_weights: (N,) what each row counts in training, or `None`; evaluation counts all alike.
        groups: (N,), of a reranking: equal where rows have the same query.
        baseline: (N,) what a method without a model says of each row, to compare with.
        varies: whether batches differ in their second axis.
        texts: N, of a text classification, with both texts of a pair.
        baseline_figures: what a method without a model reaches, once that is measured.
    """

    varies = False

    def __init__(
        self,
        make: Make,
        *,
        num_rows: int,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        num_tokens: int | None = None,
        num_bytes: int | None = None,
        labels: tuple[str, ...] | None = None,
        unlabelled: bool = False,
        make_evaluation: Make | None = None,
        length: int | None = None,
    ) -> None:
        if num_rows < 1:
            raise DataError("the data gives no row to train on", next_step="add text")
        if batch_size < 1:
            raise DataError(f"batch_size must be at least 1, not {batch_size}")
        if batch_size > MOST_ROWS:
            raise DataError(f"batch_size must be at most {MOST_ROWS:,}, not {batch_size}")
        if seed < 0:
            raise DataError(f"seed must not be negative: {seed}")
        self._make, self._make_evaluation = make, make_evaluation or make
        self.num_rows = num_rows
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.num_tokens = num_tokens
        self.num_bytes = num_bytes
        self.labels = labels
        self.unlabelled = unlabelled
        self.length = length
        self.row_weights: np.ndarray | None = None
        self.groups: np.ndarray | None = None
        self.baseline: np.ndarray | None = None
        self.texts: list[str] | None = None
        self.baseline_figures: dict[str, float] | None = None
        self.predicted: tuple[np.ndarray, np.ndarray] | None = None
        self._order: tuple[int, np.ndarray] | None = None  # of the epoch asked for last

    def __len__(self) -> int:
        """Steps per epoch, and steps of one evaluation."""
        return -(-self.num_rows // self.batch_size)

    def batch(self, step: int) -> Batch:
        """The batch of a global step, from 0 on and without end: epoch `step // len(self)`."""
        if step < 0:
            raise DataError(f"a step must not be negative: {step}")
        epoch, index = divmod(step, len(self))
        order = self._epoch_order(epoch)
        first = index * self.batch_size
        rows = order[np.arange(first, first + self.batch_size) % self.num_rows]
        x, y, weight = self._make(rows, np.random.default_rng([self.seed, _TRAINING, step]))
        if self.row_weights is not None and weight is not None:
            weight = weight * self.row_weights[rows]
        return x, y, weight

    def evaluation_batch(self, index: int) -> Batch:
        """Rows `index * B` on, in order. What is missing in the last one has weight 0."""
        if not 0 <= index < len(self):
            raise DataError(f"there are {len(self)} evaluation batches, no number {index}")
        first = index * self.batch_size
        rows = np.arange(first, first + self.batch_size)
        real = rows < self.num_rows
        generator = np.random.default_rng([self.seed, _EVALUATION, index])
        x, y, weight = self._make_evaluation(np.where(real, rows, 0), generator)
        return x, y, _zero_where(weight, ~real)

    def ordered_batch(self, index: int) -> Batch:
        """Rows `index * B` on, in order, as evaluation reads them; the last one may be shorter."""
        if not 0 <= index < len(self):
            raise DataError(f"there are {len(self)} batches, no number {index}")
        first = index * self.batch_size
        rows = np.arange(first, min(first + self.batch_size, self.num_rows))
        return self._make_evaluation(rows, np.random.default_rng([self.seed, _EVALUATION, index]))

    def evaluation(self) -> Iterator[Batch]:
        """Every row once, in order."""
        return (self.evaluation_batch(index) for index in range(len(self)))

    def as_pydataset(
        self,
        start_step: int = 0,
        steps: int | None = None,
        *,
        evaluation: bool = False,
        ordered: bool = False,
    ) -> keras.utils.PyDataset:
        """A `keras.utils.PyDataset`, for `model.fit(dataset, shuffle=False)`.

        Args:
            start_step: the global step of the first batch. After e complete epochs of `fit`,
                element i is the batch of step `start_step + e * steps + i`. (With `steps=1` on
                JAX, Keras' look at the first batch looks like an epoch: take more.)
            steps: batches in an epoch of Keras; `len(self)` if not given.
            evaluation: instead, the evaluation batches, each epoch the same: for
                `validation_data` and `model.evaluate`.
            ordered: instead, every row once as `ordered_batch` reads it: for `model.predict`.
        """
        if evaluation or ordered:
            read = self.evaluation_batch if evaluation else self.ordered_batch
            return _pydataset_class()(self, 0, len(self), read, ordered)
        return _pydataset_class()(self, start_step, steps or len(self), None, False)

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.num_rows)
        kept = self._order
        if kept is None or kept[0] != epoch:
            generator = np.random.default_rng([self.seed, _ORDER, epoch])
            # One assignment, so that threads which prefetch never see half of it.
            self._order = kept = (epoch, generator.permutation(self.num_rows))
        return kept[1]


def _zero_where(weight: Any, rows: np.ndarray) -> Any:
    if weight is None:
        return None
    if isinstance(weight, dict):
        return {name: _zero_where(value, rows) for name, value in weight.items()}
    weight = weight.copy()
    weight[rows] = 0
    return weight


def class_weights_by_number(weights: Mapping, labels: tuple[str, ...] | None) -> np.ndarray:
    """The weight of each class by its number, 1 where none is given.

    Raises:
        DataError: the data has no classes, or not this one; a weight that is not a number above 0.
    """
    if labels is None:
        raise DataError(
            "class_weight needs data with classes, and this data has none",
            next_step="leave class_weight out",
        )
    found = np.ones(len(labels), np.float32)
    for key, weight in weights.items():
        number = labels.index(key) if key in labels else key
        if isinstance(number, str) or not 0 <= number < len(labels):
            raise DataError(
                f"class_weight names the class {key!r}, which is not one of {', '.join(labels)}",
                did_you_mean=nearest(str(key), labels),
                next_step=f"name a class, or its number from 0 to {len(labels) - 1}",
            )
        if not (np.isreal(weight) and 0 <= weight < np.inf):
            raise DataError(f"the weight of class {key!r} must be 0 or more, not {weight!r}")
        found[int(number)] = weight
    return found


@functools.cache
def _pydataset_class() -> type:
    """Made on demand: Keras is slow to import, and not everyone who reads batches has it."""
    from keras.utils import PyDataset

    class BatchesDataset(PyDataset):
        def __init__(
            self,
            batches: Batches,
            start_step: int,
            steps: int,
            read: Callable[[int], Batch] | None,
            ordered: bool,
        ):
            super().__init__()
            self._batches = batches
            self._start_step = start_step
            self._steps = steps
            self._read = read  # the batch of a number, where each epoch has the same
            self._ordered = ordered
            self._epoch = 0
            self._within_epoch = False
            self._reached_end = False
            self._weight_of: np.ndarray | None = None  # of a class by its number

        def __len__(self) -> int:
            return self._steps

        def __repr__(self) -> str:
            batches = self._batches
            order = "in order" if self._ordered or self._read or not batches.shuffle else "shuffled"
            said = [
                f"rows {batches.num_rows:,}, {order}",
                f"batches {self._steps:,} of {batches.batch_size:,}",
            ]
            if batches.labels:
                shown = ", ".join(batches.labels)
                said.append(
                    f"labels {shown}" if len(shown) < 60 else f"{len(batches.labels)} labels"
                )
            return f"<modelzoo dataset: {'; '.join(said)}>"

        def __getitem__(self, index: int) -> Batch:
            if self._read is not None:
                return self._weighed(self._read(index))
            self._reached_end |= index == self._steps - 1
            step = self._start_step + self._epoch * self._steps + index
            return self._weighed(self._batches.batch(step))

        def check_labelled(self, method: str) -> None:
            """
            Raises:
                DataError: the examples have no labels, so nothing can be trained or measured.
            """
            if self._batches.unlabelled:
                raise DataError(
                    f"{method}() needs labels, and the data has none",
                    next_step="add a column 'label', or call predict()",
                )

        def check_order(self) -> None:
            """
            Raises:
                DataError: what `predict` gives would not be the rows of the data, in their order.
            """
            rows, given = self._batches.num_rows, self._steps * self._batches.batch_size
            steady = self._read is not None or not (self._batches.shuffle or self._start_step)
            if self._ordered or (steady and rows == given):
                return
            order = "in the order of the data" if steady else "in a shuffled order"
            raise DataError(
                f"predict() would give {given:,} rows {order} for data of {rows:,} rows",
                next_step="model.predict(modelzoo.dataset(model, data, shuffle=False))",
            )

        def _weighed(self, batch: Batch) -> Batch:
            x, y, weight = batch
            if y is None:
                return (x,)
            if self._weight_of is None:
                return batch
            if y.ndim > 1:
                raise DataError(
                    "class_weight needs one class for each example, and here several may apply",
                    next_step="leave class_weight out",
                )
            return x, y, weight * self._weight_of[y]

        @contextmanager
        def class_weights(self, weights: Mapping[int | str, float]) -> Iterator[None]:
            """Rows weigh what their class does, as `fit(class_weight=...)` asks."""
            self._weight_of = class_weights_by_number(weights, self._batches.labels)
            try:
                yield
            finally:
                self._weight_of = None

        # Keras reads batches before the first epoch, to learn their shapes, and then calls
        # on_epoch_end: only an epoch that was begun and read to its end has passed.

        def on_epoch_begin(self) -> None:
            self._within_epoch = True

        def on_epoch_end(self) -> None:
            self._epoch += self._within_epoch and self._reached_end
            self._within_epoch = self._reached_end = False

    return BatchesDataset
