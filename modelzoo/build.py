"""From a name to a Keras model, and from a model to a directory and back."""

from __future__ import annotations

import os
from pathlib import Path

from modelzoo import registry
from modelzoo.callable_module import make_callable
from modelzoo.errors import ModelDirectoryError, TokenizerError, require
from modelzoo.files import new_directory
from modelzoo.recipe import Recipe, read_lock, validate_against, write_lock
from modelzoo.runtime.native_log import native_log
from modelzoo.runtime.tokenizer import Tokenizer

__all__ = ["build", "dataset", "load", "need_keras", "save", "train_tokenizer_for"]

MODEL_FILE, TOKENIZER_FILE = "model.keras", "tokenizer.json"


def build(
    name: str | os.PathLike | Recipe,
    *,
    tokenizer: str | os.PathLike | Tokenizer | None = None,
    weights: str | os.PathLike | None = None,
    compile: bool = True,
    **overrides,
):
    """Build a model from its recipe: a `keras.Model`, compiled, with random weights.

    Args:
        name: a recipe's name, the path of a TOML file, or a model directory (its recipe).
        tokenizer: a `tokenizer.json`, or a `Tokenizer`.
        weights: a model directory to take the backbone's weights from, and the head's where it is
            the same.
        compile: with the optimizer, loss and metrics of the recipe.
        **overrides: values of the recipe's `[model]` table; other tables through a dict,
            `**{"train.learning_rate": 1e-3}`.

    Raises:
        ModelzooError: no such name, a wrong key or value, no Keras.

    Example:
        >>> model = modelzoo.build("gpt-small", num_layers=6)
        >>> model.fit(modelzoo.dataset(model, "corpus.txt"))
    """
    recipe = name if isinstance(name, Recipe) else registry.recipe(name, overrides)
    task, arguments = task_of(recipe), None
    architecture = registry.architecture(recipe.architecture)
    arguments = validate_against(recipe, architecture)
    if isinstance(tokenizer, str | os.PathLike):
        tokenizer = Tokenizer.load(tokenizer)
    if tokenizer is not None:
        check_vocabulary(tokenizer, arguments.get("vocab_size"))
    need_keras()
    registry.import_for(recipe)
    model = task.model(architecture(**arguments))
    model.recipe, model.tokenizer = recipe, tokenizer
    if weights is not None:
        take_weights(model, load(weights, compile=False), weights)
    if compile:
        from modelzoo.training.optimizer import compile_model

        compile_model(model)
    return model


def load(directory: str | os.PathLike, *, compile: bool = True):
    """Open a model directory that `build` or `train` wrote.

    Raises:
        ModelDirectoryError: missing, incomplete, damaged, or written by a newer modelzoo.
    """
    directory = Path(directory)
    recipe, _ = read_lock(directory)
    path = directory / MODEL_FILE
    if not path.is_file():
        raise ModelDirectoryError(f"{directory} holds no {MODEL_FILE}")
    keras = need_keras()
    registry.import_for(recipe)
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, EOFError) as error:
        raise ModelDirectoryError(
            f"{MODEL_FILE} cannot be read: {str(error).splitlines()[0]}",
            where=directory,
            next_step="write the directory again: the file is damaged",
        ) from error
    model.recipe = recipe
    if (directory / TOKENIZER_FILE).is_file():
        model.tokenizer = Tokenizer.load(
            directory / TOKENIZER_FILE, recipe.table("tokenizer").get("roles")
        )
    if compile:
        from modelzoo.training.optimizer import compile_model

        compile_model(model)
    return model


def save(model, directory: str | os.PathLike, *, force: bool = False) -> Path:
    """Write a model directory: `model.keras`, `recipe.lock.toml`, `tokenizer.json`, `README.md`.

    Raises:
        OutputError: it exists and `force` is off, or cannot be written; nothing is lost then.
    """
    import keras

    from modelzoo.card import model_card

    with new_directory(directory, force) as folder:
        model.save(folder / MODEL_FILE)
        write_lock(folder, model.recipe, keras=keras.__version__, backend=keras.backend.backend())
        if model.tokenizer is not None:
            model.tokenizer.save(folder / TOKENIZER_FILE)
        (folder / "README.md").write_text(model_card(model, Path(directory).name), "utf-8")
    return Path(directory)


def dataset(model, raw, *, batch_size: int | None = None, length: int | None = None, seed: int = 0):
    """Raw data as a `keras.utils.PyDataset` for `model.fit`.

    A model that has no tokenizer yet gets one, trained on this text as its recipe says.

    Args:
        raw: a path, an iterable, a `tf.data.Dataset`; see `data.read_examples`.
        batch_size, length: default: the recipe's `[train]` table.

    Example:
        >>> model.fit(modelzoo.dataset(model, ["a text", "another"]), epochs=1)
    """
    from modelzoo.training.options import train_options

    task, options = task_of(model.recipe), train_options(model.recipe)
    examples = task.examples(raw)
    if model.tokenizer is None:
        model.tokenizer = train_tokenizer_for(model.recipe, examples)
    batches = task.batches(
        examples,
        model.tokenizer,
        length=length or options.length_for(model),
        batch_size=batch_size or options.batch_size,
        seed=seed,
    )
    return batches.as_pydataset()


def train_tokenizer_for(recipe: Recipe, examples) -> Tokenizer:
    """A tokenizer as the recipe's `[tokenizer]` table says, trained on the examples' texts."""
    from modelzoo.data.raw import iterate_texts
    from modelzoo.data.train_tokenizer import specials_for, train_tokenizer

    table = recipe.table("tokenizer")
    architecture = registry.architecture(recipe.architecture)
    size = validate_against(recipe, architecture).get("vocab_size")
    tokenizer = train_tokenizer(
        iterate_texts(examples),
        kind=table.get("kind", "bpe"),
        vocab_size=size or default_vocabulary(architecture),
        specials=specials_for(recipe.task),
    )
    check_vocabulary(tokenizer, size)
    return tokenizer


def default_vocabulary(architecture) -> int | None:
    import inspect

    parameter = inspect.signature(architecture).parameters.get("vocab_size")
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def check_vocabulary(tokenizer: Tokenizer, vocab_size: int | None) -> None:
    if vocab_size is not None and tokenizer.vocab_size > vocab_size:
        raise TokenizerError(
            f"the tokenizer has {tokenizer.vocab_size:,} tokens and the model {vocab_size:,}",
            next_step=f"build with --set vocab_size={tokenizer.vocab_size}, "
            "or train a smaller tokenizer",
        )


def task_of(recipe: Recipe):
    """The recipe's task, made with its `[task_options]`."""
    kind = registry.task(recipe.task)
    return kind(**validate_against(recipe, kind, table="task_options"))


def take_weights(model, source, where) -> None:
    """Copy the backbone's weights, and the head's where the tasks are the same."""
    same_head = type(source) is type(model)
    into, of = (model, source) if same_head else (model.backbone, source.backbone)
    mine, theirs = into.weights, of.weights
    shapes = [tuple(weight.shape) for weight in mine], [tuple(weight.shape) for weight in theirs]
    if shapes[0] != shapes[1]:
        for weight, shape in zip(mine, shapes[1], strict=False):
            if tuple(weight.shape) != shape:
                raise ModelDirectoryError(
                    f"{weight.path} is {tuple(weight.shape)} here and {shape} there",
                    where=where,
                    next_step="build the two from recipes with the same [model] table",
                )
        raise ModelDirectoryError(
            f"{len(mine)} weights here and {len(theirs)} there",
            where=where,
            next_step="build the two from recipes with the same [model] table",
        )
    for weight, other in zip(mine, theirs, strict=True):
        weight.assign(other)
    if model.tokenizer is None:
        model.tokenizer = source.tokenizer


def need_keras():
    """Keras, on JAX where that is installed and TensorFlow is not and nobody chose a backend."""
    from importlib.util import find_spec

    if "KERAS_BACKEND" not in os.environ and find_spec("tensorflow") is None and find_spec("jax"):
        os.environ["KERAS_BACKEND"] = "jax"
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    with native_log():
        if backend in ("tensorflow", "jax"):
            require(backend, backend)
        return require("keras", "tensorflow")


make_callable(__name__, "build")
