"""What happens between the segments of a training: validate, keep a checkpoint, perhaps stop."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import keras
import numpy as np

from modelzoo.errors import ModelzooError
from modelzoo.recipe.train_options import TrainOptions
from modelzoo.training.checkpoint import save_checkpoint
from modelzoo.training.guests import Guests
from modelzoo.training.progress import Progress
from modelzoo.training.run_folder import RunFolder


def check_weights(model, where: str | os.PathLike | None) -> None:
    """Raise a ModelzooError that names the layer where a model begins with NaN or infinity.

    Args:
        where: what the weights come from.
    """
    if broken := not_numbers(model):
        raise ModelzooError(
            f"the model begins with weights that are not numbers{_named(broken)}",
            where=where,
            next_step="begin with other weights: no step can mend these",
        )


def not_numbers(model) -> list[str]:
    """The paths of the trainable weights that hold NaN or infinity."""
    weights = model.trainable_variables
    return [one.path for one in weights if not np.isfinite(np.asarray(one)).all()]


def _named(paths: list[str]) -> str:
    """The first of the paths, for a message."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"; {paths[0]}{more} hold NaN or infinity" if paths else ""


class Keeper(keras.callbacks.Callback):
    """Works at the end of each Keras epoch, which is one segment.

    Args:
        state: how far the training is, as checkpoints hold it: batches `done`, the `best` figure,
            validations `waited` since, the last `figures`, whether it was `stopped` (0 or 1). It
            is kept up to date.
        validate: gives the figures, the watched one by the name `watched`; or `None`.
        guests: the caller's callbacks.
    """

    def __init__(
        self,
        run: RunFolder,
        options: TrainOptions,
        state: dict,
        progress: Progress,
        watched: str,
        validate: Callable[[], dict[str, float]] | None,
        guests: Guests,
    ):
        super().__init__()
        self.guests = guests
        self.run, self.options, self.state, self.progress = run, options, state, progress
        self.watched, self.validate = watched, validate

    @property
    def stopped(self) -> bool:
        """Whether enough validations brought nothing better, or a callback has ended it."""
        return bool(self.state["stopped"])

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.guests.begin_epoch()

    def on_train_batch_begin(self, batch, logs=None) -> None:
        self.guests.begin_batch()

    def on_train_batch_end(self, batch, logs=None) -> None:
        self.guests.end_batch(logs)

    def on_epoch_end(self, epoch, logs=None) -> None:
        state = self.state
        state["done"] = self.progress.done
        self._refuse_divergence(logs["loss"])
        better = self.validate is not None and self._judge(self.validate())
        self.guests.end_epoch(logs, state["figures"])
        if self.options.patience is not None and state["waited"] >= self.options.patience:
            self.progress.say(f"no better for {state['waited']} validations: stopped")
            self.model.stop_training = True
        elif self.model.stop_training:
            self.progress.say("a callback has stopped the training")
        state["stopped"] = int(self.model.stop_training)
        if better:
            save_checkpoint(self.run.best, self.model, state)
        save_checkpoint(self.run.checkpoint, self.model, state)

    def _judge(self, figures: dict[str, float]) -> bool:
        """Keep the figures in mind; returns whether they are the best so far."""
        self.progress.validated(figures)
        state, figure = self.state, figures[self.watched]
        better = figure < state["best"]
        state.update(figures=figures, waited=0 if better else state["waited"] + 1)
        if better:
            state["best"] = figure
        return better

    def _refuse_divergence(self, loss: float) -> None:
        """No checkpoint of what has no numbers left; the loss is that of before the last update."""
        broken = not_numbers(self.model)
        if math.isfinite(loss) and not broken:
            return
        step = self.state["done"] // self.options.accumulate
        raise ModelzooError(
            f"the training diverged before step {step:,}: the loss is {loss}{_named(broken)}",
            where=self.run.path,
            next_step="lower train.learning_rate or raise train.warmup, and begin again "
            "with --restart",
        )
