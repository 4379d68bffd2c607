"""The training that `modelzoo train` runs: it may be killed at any moment, and goes on.

Everything random is a function of the seed and the step (batches) or a variable in the checkpoint
(dropout), so a run that was killed and one that was not end with the same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from pathlib import Path

import keras
import numpy as np

from modelzoo.build import build, load, save, task_of, train_tokenizer_for
from modelzoo.errors import OutputError
from modelzoo.files import check_replaceable, write_atomic
from modelzoo.recipe import Recipe, override
from modelzoo.runtime.tokenizer import Tokenizer
from modelzoo.training.checkpoint import load_checkpoint, read_state, save_checkpoint
from modelzoo.training.optimizer import compile_model
from modelzoo.training.options import train_options
from modelzoo.training.progress import Progress

CHECKPOINT, BEST, TOKENIZER, SETTINGS = "checkpoint.npz", "best.npz", "tokenizer.json", "run.json"


def train(
    recipe: Recipe,
    data,
    output: str | os.PathLike,
    *,
    validation=None,
    start: str | os.PathLike | None = None,
    tokenizer: Tokenizer | None = None,
    force: bool = False,
    restart: bool = False,
    stream=None,
) -> dict[str, float]:
    """Train a model and write its directory. The same call after a kill goes on.

    What is under way lives in `OUTPUT.training`: the tokenizer, the checkpoint, and the TensorBoard
    log, which stays when the training is done.

    Args:
        recipe: with its `[train]` table.
        data: raw data, as `data.read_examples` takes it.
        output: the model directory to write.
        validation: raw data to validate on. Default: `validation_fraction` of `data`.
        start: a model directory whose weights and tokenizer to start from.
        tokenizer: instead of one trained on the data.
        force: replace an existing `output`.
        restart: forget an unfinished run.
        stream: where progress is printed. Default: standard error.

    Returns: the figures of the last validation, of the weights that were written.

    Raises:
        OutputError: `output` exists, or an unfinished run with other settings stands in the way.
        DataError: the data is missing, empty or malformed.

    Example:
        >>> train(modelzoo.read_recipe("gpt-tiny"), "corpus.txt", "my-gpt")
    """
    output, options = Path(output), train_options(recipe)
    check_replaceable(output, force)
    keras.utils.set_random_seed(options.seed)
    if options.precision != keras.config.dtype_policy().name:
        keras.config.set_dtype_policy(options.precision)

    # === Data ===
    training, held_out = _examples(task_of(recipe), data, validation, options)
    run = Path(f"{output}.training")
    if restart:
        shutil.rmtree(run, ignore_errors=True)
    if start is not None and tokenizer is None:
        tokenizer = load(start, compile=False).tokenizer
    if tokenizer is None and (run / TOKENIZER).is_file():
        tokenizer = Tokenizer.load(run / TOKENIZER)
    tokenizer = tokenizer or train_tokenizer_for(recipe, training)
    recipe = _with_labels(recipe, training)
    task = task_of(recipe)

    # === Model ===
    model = build(recipe, tokenizer=tokenizer, weights=start, compile=False)
    shape = {"length": options.length_for(model), "seed": options.seed}
    batches = task.batches(training, tokenizer, batch_size=options.batch_size, **shape)
    checks = None
    if held_out:
        checks = task.batches(
            held_out, tokenizer, batch_size=options.batch_size, shuffle=False, **shape
        )
    updates = options.steps or max(1, round(options.epochs * len(batches) / options.accumulate))
    compile_model(model, updates)

    # === Where the run stands ===
    _claim(run, _settings(recipe, batches, updates, start))
    if not (run / TOKENIZER).is_file():
        tokenizer.save(run / TOKENIZER)
    state = {"done": 0, "best": math.inf, "waited": 0, "figures": {}}
    if (run / CHECKPOINT).is_file():
        state = load_checkpoint(run / CHECKPOINT, model)
    total = updates * options.accumulate
    progress = Progress(
        total,
        state["done"],
        options.batch_size * shape["length"],
        run / "log",
        options.accumulate,
        stream,
    )
    if state["done"]:
        progress.say(f"going on from step {state['done'] // options.accumulate:,} of {updates:,}")

    # === Train ===
    keeper = _Keeper(run, options, state, task, checks, progress, total)
    try:
        segment = options.checkpoint_steps * options.accumulate
        # Whole segments in one `fit`, and what remains in another.
        for size in (segment, total % segment):
            epochs = (total - state["done"]) // size if size and not keeper.stopped else 0
            if epochs:
                model.fit(
                    batches.as_pydataset(start_step=state["done"], steps=size),
                    epochs=epochs,
                    shuffle=False,
                    verbose=0,
                    callbacks=[progress, keeper],
                )
        if (run / BEST).is_file():
            state["figures"] = load_checkpoint(run / BEST, model)["figures"]
    finally:
        progress.close()

    # === Write ===
    compile_model(model)  # a fresh optimizer: what was written is to use or to tune, not to go on
    save(model, output, force=force)
    for name in (CHECKPOINT, BEST, SETTINGS, TOKENIZER):
        (run / name).unlink(missing_ok=True)
    return state["figures"]


class _Keeper(keras.callbacks.Callback):
    """After each segment: validate, keep a checkpoint, and stop where it no longer helps."""

    def __init__(self, run, options, state, task, checks, progress, total):
        super().__init__()
        self.run, self.options, self.state, self.task = run, options, state, task
        self.checks, self.progress, self.total = checks, progress, total
        self.stopped = self._is_stopped()

    def on_epoch_end(self, epoch, logs=None):
        state = self.state
        state["done"] = self.progress.done
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            raise OutputError(
                f"the loss is {logs['loss']} at step {state['done'] // self.options.accumulate}",
                where=self.run,
                next_step="lower train.learning_rate or raise train.warmup_steps; the checkpoint "
                "from before stands",
            )
        if self.checks is not None:
            state["figures"] = self.task.evaluate(self.model, self.checks)
            self.progress.validated(state["figures"])
            figure = state["figures"][self.task.best]
            better = figure < state["best"]
            state["waited"] = 0 if better else state["waited"] + 1
            if better:
                state["best"] = figure
                if self.options.patience is not None:
                    save_checkpoint(self.run / BEST, self.model, state)
        save_checkpoint(self.run / CHECKPOINT, self.model, state)
        self.stopped = self._is_stopped()
        if self.stopped:
            self.progress.say(f"no better for {state['waited']} validations: stopped")
            self.model.stop_training = True

    def _is_stopped(self) -> bool:
        patience = self.options.patience
        return patience is not None and self.state["waited"] >= patience


def _examples(task, data, validation, options) -> tuple[list, list]:
    from modelzoo.data import split

    examples = task.examples(data)
    if validation is not None:
        return examples, task.examples(validation)
    return split(examples, options.validation_fraction, options.seed)


def _with_labels(recipe: Recipe, examples) -> Recipe:
    """A classifier's labels are those of its data, unless the recipe names them."""
    if recipe.task != "text-classification" or recipe.table("task_options").get("labels"):
        return recipe
    from modelzoo.data.classification import label_names

    return override(recipe, {"task_options.labels": list(label_names(examples))})


def _settings(recipe: Recipe, batches, updates: int, start) -> dict:
    """What must be the same for a run to go on: the recipe and the data."""
    hasher = hashlib.sha256(f"{len(batches)} {batches.num_rows}".encode())
    for step in (0, len(batches) // 2, len(batches) - 1):
        for part in batches.batch(step):
            for array in part.values() if isinstance(part, dict) else [part]:
                hasher.update(np.ascontiguousarray(array).tobytes())
    return {
        "recipe": recipe.digest,
        "data": hasher.hexdigest(),
        "updates": updates,
        "start": None if start is None else str(Path(start).resolve()),
    }


def _claim(run: Path, settings: dict) -> None:
    """Make the run's folder, or see that the run in it is this one."""
    known = run / SETTINGS
    if known.is_file():
        before = json.loads(known.read_text("utf-8"))
        changed = [key for key in settings if before.get(key) != settings[key]]
        if changed:
            done = read_state(run / CHECKPOINT)["done"] if (run / CHECKPOINT).is_file() else 0
            raise OutputError(
                f"an unfinished run with another {' and '.join(changed)} is there "
                f"({done:,} batches done)",
                where=run,
                next_step="give the same command to go on with it, or --restart to forget it",
            )
        return
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {run}: {error.strerror}") from error
    write_atomic(known, json.dumps(settings, indent=1))
