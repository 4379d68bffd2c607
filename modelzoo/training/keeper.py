"""What happens between the segments of a training: validate, keep a checkpoint, perhaps stop."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import numpy as np

from modelzoo.errors import ModelzooError
from modelzoo.recipe.train_options import TrainOptions
from modelzoo.training.checkpoint import save_checkpoint
from modelzoo.training.progress import Progress
from modelzoo.training.run_folder import RunFolder


class Keeper(keras.callbacks.Callback):
    """Works at the end of each Keras epoch, which is one segment.

    Args:
        state: how far the training is, as checkpoints hold it: batches `done`, the `best` figure,
            validations `waited` since, the last `figures`. It is kept up to date.
        validate: gives the figures, the watched one by the name `watched`; or `None`.
    """

    def __init__(
        self,
        run: RunFolder,
        options: TrainOptions,
        state: dict,
        progress: Progress,
        watched: str,
        validate: Callable[[], dict[str, float]] | None,
    ):
        super().__init__()
        self.run, self.options, self.state, self.progress = run, options, state, progress
        self.watched, self.validate = watched, validate

    @property
    def stopped(self) -> bool:
        """Whether enough validations brought nothing better."""
        return self.options.patience is not None and self.state["waited"] >= self.options.patience

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.state["done"] = self.progress.done
        self._refuse_divergence(logs["loss"])
        if self.validate is not None:
            self._judge(self.validate())
        save_checkpoint(self.run.checkpoint, self.model, self.state)
        if self.stopped:
            self.progress.say(f"no better for {self.state['waited']} validations: stopped")
            self.model.stop_training = True

    def _judge(self, figures: dict[str, float]) -> None:
        self.progress.validated(figures)
        state, figure = self.state, figures[self.watched]
        better = figure < state["best"]
        state.update(figures=figures, waited=0 if better else state["waited"] + 1)
        if better:
            state["best"] = figure
            if self.options.patience is not None:
                save_checkpoint(self.run.best, self.model, state)

    def _refuse_divergence(self, loss: float) -> None:
        """No checkpoint of what has no numbers left; the loss is that of before the last update."""
        weights = (np.asarray(weight) for weight in self.model.trainable_variables)
        if math.isfinite(loss) and all(np.isfinite(weight).all() for weight in weights):
            return
        step = self.state["done"] // self.options.accumulate
        raise ModelzooError(
            f"the training diverged before step {step:,}: the loss is {loss}",
            where=self.run.path,
            next_step="lower train.learning_rate or raise train.warmup_steps, and begin anew "
            "with --restart",
        )
