"""Callbacks of the caller, in a training that is several `fit()`s and may begin in its middle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras

from modelzoo.errors import RecipeError
from modelzoo.optimizers.optimizer import SETTABLE
from modelzoo.recipe.train_options import TrainOptions

_RATES = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


def check_rates(callbacks: Sequence[keras.callbacks.Callback], options: TrainOptions) -> None:
    """
    Raises:
        RecipeError: a callback sets the learning rate, and a schedule of the recipe does too.
    """
    found = next((one for one in callbacks if isinstance(one, _RATES)), None)
    if found is not None and options.schedule != "constant":
        raise RecipeError(
            f"the callback {type(found).__name__} sets the learning rate, and so does "
            f'train.schedule, which is "{options.schedule}"',
            next_step=SETTABLE,
        )


class Guests:
    """The caller's callbacks, for which a training is one: begun once, its epochs counted on.

    An epoch is what lies between two checkpoints; its logs hold the training's loss and the
    validation's figures, as `val_loss` and so on.

    Args:
        callbacks: Keras callbacks.
        first: number of the epoch that comes first.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback], model, first: int = 0):
        self._all = keras.callbacks.CallbackList(list(callbacks), model=model)
        self._epoch, self._batch = first, 0

    def begin(self) -> None:
        self._all.on_train_begin()

    def end(self) -> None:
        self._all.on_train_end()

    def begin_epoch(self) -> None:
        self._all.on_epoch_begin(self._epoch)
        self._batch = 0

    def end_epoch(self, logs: Mapping, figures: Mapping) -> None:
        validation = {f"val_{name}": value for name, value in figures.items()}
        self._all.on_epoch_end(self._epoch, {**logs, **validation})
        self._epoch += 1

    def begin_batch(self) -> None:
        self._all.on_train_batch_begin(self._batch)

    def end_batch(self, logs: Mapping | None) -> None:
        self._all.on_train_batch_end(self._batch, dict(logs or {}))
        self._batch += 1
