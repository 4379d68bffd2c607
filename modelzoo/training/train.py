"""The training that `modelzoo train` runs: it may be killed at any moment, and goes on.

Everything random is a function of the seed and the step (batches) or a variable in the checkpoint
(dropout), so a run that was killed and one that was not end with the same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from modelzoo import registry
from modelzoo.building.build import build
from modelzoo.building.directory import MODEL_FILE, fill
from modelzoo.building.keras_backend import need_keras
from modelzoo.building.pretrained import begun_from
from modelzoo.building.vocabulary import train_tokenizer_for
from modelzoo.data.media_rows import readable_examples
from modelzoo.errors import RecipeError
from modelzoo.files import new_directory, reserved
from modelzoo.recipe import LOCK_NAME, Recipe, dumps
from modelzoo.recipe.train_options import train_options
from modelzoo.registry.of_recipe import task_of
from modelzoo.runtime.text.tokenizer import Tokenizer
from modelzoo.tasks.profile import said
from modelzoo.training.checkpoint import load_checkpoint
from modelzoo.training.run_folder import RunFolder, run_of
from modelzoo.weights.hub.download import is_hub
from modelzoo.weights.origin import stamp


def train(
    recipe: str | os.PathLike | Recipe,
    data,
    output: str | os.PathLike,
    *,
    validation=None,
    columns: Mapping[str, str] | None = None,
    start: str | os.PathLike | None = None,
    tokenizer: Tokenizer | None = None,
    callbacks: Sequence = (),
    force: bool = False,
    restart: bool = False,
    stream=None,
) -> dict[str, float]:
    """Train a model and write its directory. The same call after a kill goes on.

    What is under way lives in `OUTPUT.training`: the tokenizer, the checkpoint, and the TensorBoard
    log, which stays when the training is done. Where there is validation data, the best weights are
    written, and not the last.

    Args:
        recipe: a recipe with its `[train]` table, the name of one, a TOML file, or a model
            directory, whose weights are then the start.
        data: raw data, as `data.read_examples` takes it; of a mixture `{name of a part: raw data}`,
            or `None` where the recipe names the data of all parts.
        output: the model directory to write.
        validation: raw data to validate on. Default: `validation_fraction` of `data`.
        columns: field -> the column of the data that holds it, `{"text": "review"}`. The model
            keeps it as `train.columns`, and `evaluate` reads its data so.
        start: a model directory or a checkpoint whose weights and tokenizer to start from.
        tokenizer: instead of one trained on the data.
        callbacks: Keras callbacks. An epoch of theirs is what lies between two checkpoints, and
            its logs hold the figures of the validation as `val_loss` and so on. One that sets
            `model.stop_training` ends the training, and what was learned is written. The weights
            of a run that goes on are those of one that was not killed; what callbacks remember
            begins again. To set the learning rate they need `train.schedule = "constant"`; a rate
            that is set ends the warm-up, and is part of the checkpoint.
        force: replace an existing `output`.
        restart: forget an unfinished run.
        stream: where the plan and the progress are printed. Default: standard error.

    Returns: the figures of the validation of the weights that were written.

    Raises:
        OutputError: `output` exists, or an unfinished run with other settings stands in the way.
        DataError: the data is missing, empty or malformed.
        RecipeError: a wrong value; a batch that needs more memory than there is; a callback that
            sets the learning rate where the recipe has a schedule.
        ModelzooError: the training diverged, or begins with weights that are not numbers.

    Example:
        >>> tiny = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "vocab_size": 300}
        >>> tiny |= {"train.steps": 2, "train.length": 16}
        >>> figures = train(modelzoo.read_recipe("gpt-tiny", tiny), "corpus.txt", "trained-gpt")
        >>> sorted(figures)
        ['accuracy', 'bits_per_byte', 'loss', 'perplexity', 'tokens']
    """
    output = Path(output)
    found = registry.recipe(recipe, {"train.columns": dict(columns)} if columns else None)
    if start is None and not isinstance(recipe, Recipe) and found.source == _lock_of(recipe):
        start = recipe
    with run_of(output, force=force, restart=restart) as (run, ended):
        return _train(
            found,
            data,
            output,
            run,
            ended,
            validation=validation,
            columns=columns,
            start=start,
            tokenizer=tokenizer,
            callbacks=callbacks,
            force=force,
            restart=restart,
            stream=stream,
        )


def _train(
    recipe: Recipe,
    data,
    output: Path,
    run: RunFolder,
    ended: dict | None,
    *,
    validation,
    columns: Mapping[str, str] | None,
    start: str | os.PathLike | None,
    tokenizer: Tokenizer | None,
    callbacks: Sequence,
    force: bool,
    restart: bool,
    stream,
) -> dict[str, float]:
    """As `train`; `ended` is what a run that was killed after its end has noted."""
    options = train_options(recipe)
    keras = need_keras()
    from modelzoo.data import split
    from modelzoo.data.media_rows import ahead
    from modelzoo.data.weighing import row_weights
    from modelzoo.layers.backend.streams import of_any_length
    from modelzoo.optimizers.optimizer import compile_model
    from modelzoo.training.guests import Guests, check_rates
    from modelzoo.training.keeper import Keeper, check_weights
    from modelzoo.training.plan import fit_batch, plan
    from modelzoo.training.progress import Progress

    check_rates(callbacks, options)

    # === Data ===
    if said(recipe.task, "named_data"):
        data = task_of(recipe).training_data(data)
    examples = readable_examples(task_of(recipe), options, data, columns)
    held_out = None
    if validation is not None:
        held_out = readable_examples(task_of(recipe), options, validation)
        _check_labels(examples, held_out)
    settings = {
        "recipe": recipe.values,
        "data": _digest(examples),
        "validation": _digest(held_out),
        "start": start if start is None or is_hub(str(start)) else str(Path(start).resolve()),
        "tokenizer": None if tokenizer is None else _digest([tokenizer.to_str()]),
    }
    if ended is not None:
        if ended["settings"] == settings:
            run.clear()
            return ended["figures"]
        with reserved(output, force):  # another run, to which the output is one like any other
            run.clear()
    recipe = task_of(recipe).completed(recipe, examples)
    dumps(recipe.values)  # what cannot be written is found now, not after the training
    task = task_of(recipe)
    if held_out is None:
        examples, held_out = split(examples, options.validation_fraction, options.seed)
    if options.patience is not None and not held_out:
        raise RecipeError("train.patience needs validation data, and validation_fraction is 0")

    # === Where the run stands ===
    recipe, given, source = begun_from(recipe, start)
    goes_on = not restart and run.holds(settings)
    if goes_on and task.reads_text:
        tokenizer = Tokenizer.load(run.tokenizer, recipe.table("tokenizer").get("roles"))
    elif tokenizer is None:
        tokenizer = given
    if task.reads_text:
        tokenizer = tokenizer or train_tokenizer_for(recipe, examples)

    # === Model ===
    keras.utils.set_random_seed(options.seed)
    with _precision(options.precision):
        weights = None if goes_on else start
        model = build(recipe, tokenizer=tokenizer, weights=weights, compile=False)
    shape = {**task.batch_options(model, options), "batch_size": options.batch_size}
    shape |= {"trim": True} if said(task, "trims") else {}
    batches = task.batches(examples, tokenizer, seed=options.seed, **shape)
    cut = fit_batch(batches, options.accumulate)
    batches.row_weights = row_weights(examples, batches.labels, options.class_weights)
    validate = None
    if held_out:
        checks = task.batches(held_out, tokenizer, seed=options.seed, shuffle=False, **shape)
        fit_batch(checks, 1)

        def validate():
            return task.evaluate(model, checks)

    updates = options.steps or max(1, round(options.epochs * len(batches)))
    total = updates * options.accumulate
    compile_model(model, updates)
    planned = plan(model, options, batches, len(held_out or ()), updates)
    planned.check_memory()
    state = {"done": 0, "best": math.inf, "waited": 0, "figures": {}, "stopped": 0}
    if goes_on:
        run.sweep()
        state |= load_checkpoint(run.checkpoint, model)
    else:
        check_weights(model, start)
        run.begin(settings, tokenizer)

    # === Train ===
    progress = Progress(
        total,
        state["done"],
        (planned.rows, "examples")
        if task.media
        else (planned.rows * (batches.length or shape["length"]), "tokens"),
        run.log,
        options.accumulate,
        stream,
    )
    for line in (*str(planned).splitlines(), cut):
        if line:
            progress.say(line)
    if goes_on:
        progress.say(f"going on from step {state['done'] // options.accumulate:,} of {updates:,}")
    guests = Guests(
        callbacks, model, state["done"] // (options.checkpoint_steps * options.accumulate)
    )
    keeper = Keeper(run, options, state, progress, task.best, validate, guests)
    guests.begin()
    try:
        segment = options.checkpoint_steps * options.accumulate
        # Whole segments in one `fit`, and what remains in another.
        for size in (segment, total % segment):
            epochs = (total - state["done"]) // size if size and not keeper.stopped else 0
            if epochs:
                stream = _from(batches, state["done"], options.accumulate, model.loss)
                stream = ahead(stream) if task.media else stream
                model.fit(
                    of_any_length(stream) if batches.varies else stream,
                    steps_per_epoch=size,
                    epochs=epochs,
                    shuffle=False,
                    verbose=0,
                    callbacks=[progress, keeper],
                )
        guests.end()
        if run.best.is_file():
            best, last = load_checkpoint(run.best, model), state["done"]
            state["figures"] = best["figures"]
            if best["done"] != last:
                step = best["done"] // options.accumulate
                progress.say(f"step {step:,} was the best: its weights are written")
    finally:
        progress.close()

    # === Write ===
    if held_out:
        model.recipe = task.settled(model.recipe, model, checks)
        if model.recipe.values != recipe.values:
            state["figures"] = task_of(model.recipe).evaluate(model, checks)
    facts = {
        "steps": state["done"] // options.accumulate,
        "examples": len(examples),
        "data_sha256": settings["data"],
        "seed": options.seed,
        "figures": {k: v for k, v in state["figures"].items() if math.isfinite(v)},
    }
    if isinstance(data, str | os.PathLike):
        facts["data"] = Path(data).name
    stamp(model, {**source, "weights": "trained", "training": facts})
    compile_model(model)  # a fresh optimizer: what was written is to use or to tune, not to go on
    with new_directory(output, force) as folder:
        fill(model, folder, output.name)
        run.end(folder / MODEL_FILE, settings, state["figures"])
    run.clear()
    return state["figures"]


def _lock_of(name: str | os.PathLike) -> str:
    """The lock file of a model directory, as `Recipe.source` names it."""
    return str(Path(name) / LOCK_NAME)


def _from(batches, step: int, accumulate: int, loss) -> Iterator:
    """What `fit` reads from a step on, without end: the batches, or their parts."""
    from modelzoo.optimizers.accumulation import in_parts

    while accumulate == 1:
        yield batches.batch(step)
        step += 1
    update, first = divmod(step, accumulate)
    while True:
        yield from in_parts(batches.batch(update), accumulate, loss)[first:]
        update, first = update + 1, 0


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Layers made here compute in `policy`; those of the caller as before."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _check_labels(examples: list, held_out: list) -> None:
    """Reject labels that are numbers in the training data and names in the validation data."""
    from modelzoo.data.raw import alike

    parts = {"the training data": examples, "the validation data": held_out}
    labelled = (
        ((one, name) for one in some if isinstance(one, dict)) for name, some in parts.items()
    )
    for _ in alike(labelled):
        pass  # it raises where they differ


def _digest(items: list | None) -> str | None:
    """sha256 of examples or texts."""
    if items is None:
        return None
    hasher = hashlib.sha256()
    for item in items:
        hasher.update(json.dumps(item, sort_keys=True, default=_content).encode() + b"\n")
    return hasher.hexdigest()


def _content(value) -> str:
    """What stands for a value that JSON does not know: the hash of bytes or an array; of a file its
    path, size and time, for reading thousands of pictures to resume takes minutes."""
    if isinstance(value, os.PathLike):
        try:
            about = os.stat(value)
        except OSError:  # for whoever reads it to say
            return os.fspath(value)
        return f"{os.fspath(value)} {about.st_size} {about.st_mtime_ns}"
    data = value if isinstance(value, bytes) else value.tobytes()
    return hashlib.sha256(data).hexdigest()
