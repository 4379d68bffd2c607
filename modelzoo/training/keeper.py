"""What happens between the segments of a training: validate, keep a checkpoint, perhaps stop."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import numpy as np

from modelzoo.errors import ModelzooError
from modelzoo.recipe.train_options import TrainOptions
from modelzoo.training.checkpoint import save_checkpoint
from modelzoo.training.guests import Guests
from modelzoo.training.progress import Progress
from modelzoo.training.run_folder import RunFolder


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
        weights = (np.asarray(weight) for weight in self.model.trainable_variables)
        if math.isfinite(loss) and all(np.isfinite(weight).all() for weight in weights):
            return
        step = self.state["done"] // self.options.accumulate
        raise ModelzooError(
            f"the training diverged before step {step:,}: the loss is {loss}",
            where=self.run.path,
            next_step="lower train.learning_rate or raise train.warmup, and begin again "
            "with --restart",
        )
