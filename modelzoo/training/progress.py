"""What a person sees of a training, and what TensorBoard does."""

from __future__ import annotations

import sys
import time

import keras


class Progress(keras.callbacks.Callback):
    """A bar on a terminal, else a line every half minute; figures for TensorBoard as well.

    Args:
        total: batches of the whole training; `done` of them are over.
        work: (number, unit) of a batch, for the speed: (4096, "tokens").
        log_dir: of the TensorBoard events, or `None`.
        accumulate: batches of an update: steps are counted in updates.
    """

    EVERY = 30.0  # seconds between lines

    def __init__(self, total, done=0, work=(0, "tokens"), log_dir=None, accumulate=1, stream=None):
        super().__init__()
        self.total, self.done, self.work, self.accumulate = total, done, work, accumulate
        self.stream = stream or sys.stderr
        self.writer = _writer(log_dir)
        self.bar = self._task = self._rate = None
        self._since, self._since_done, self._said = time.monotonic(), done, time.monotonic()

    def on_train_begin(self, logs=None) -> None:
        if self.stream.isatty() and self.bar is None:
            self.bar, self._task = _bar(self.total // self.accumulate, self.stream)
            self.bar.start()
        self._since, self._since_done = time.monotonic(), self.done

    def on_train_batch_begin(self, batch, logs=None) -> None:
        if self.writer is not None:  # afterwards the optimizer has the next step's
            optimizer = self.model.optimizer
            optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of mixed_float16
            self._rate = float(keras.ops.convert_to_numpy(optimizer.applied_rate))

    def on_train_batch_end(self, batch, logs=None) -> None:
        self.done += 1
        if self.done % self.accumulate:
            return
        now, loss = time.monotonic(), (logs or {}).get("loss", float("nan"))
        speed = (self.done - self._since_done) / max(now - self._since, 1e-9)
        step = self.done // self.accumulate
        if self.writer is not None:
            self.writer.add_scalar("train/loss", loss, step)
            self.writer.add_scalar("train/learning_rate", self._rate, step)
        text = f"loss {loss:.4f}  {speed * self.work[0]:,.0f} {self.work[1]}/s"
        if self.bar is not None:
            self.bar.update(self._task, completed=step, note=text)
        elif now - self._said > self.EVERY or self.done == self.total:
            left = (self.total - self.done) / max(speed, 1e-9)
            self.say(
                f"step {step:,}/{self.total // self.accumulate:,}  {text}  {_clock(left)} left"
            )

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._said = time.monotonic()
        if self.bar is not None:
            self.bar.console.print(line, highlight=False)
        else:
            print(line, file=self.stream, flush=True)

    def validated(self, figures: dict) -> None:
        step = self.done // self.accumulate
        names = "  ".join(f"{key} {value:,.4g}" for key, value in figures.items())
        self.say(f"step {step:,}  validation: {names}")
        if self.writer is not None:
            for key, value in figures.items():
                self.writer.add_scalar(f"validation/{key}", value, step)
            self.writer.flush()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
        if self.writer is not None:
            self.writer.close()


def _bar(total, stream):
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    bar = Bar(*columns, console=Console(file=stream))
    return bar, bar.add_task("", total=total, note="")


def _writer(log_dir):
    if log_dir is None:
        return None
    from tensorboard.summary import Writer

    return Writer(str(log_dir))


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
