"""From a name to a Keras model, and from a model to a directory and back."""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from contextlib import nullcontext
from pathlib import Path

from modelzoo import registry
from modelzoo.callable_module import make_callable
from modelzoo.errors import (
    DataError,
    ModelDirectoryError,
    ModelzooError,
    RecipeError,
    TokenizerError,
    require,
)
from modelzoo.files import new_directory
from modelzoo.parts import parts_of
from modelzoo.recipe import Recipe, override, read_lock, validate_against, write_lock
from modelzoo.runtime.chat_template import FILE as CHAT_TEMPLATE
from modelzoo.runtime.chat_template import read_source
from modelzoo.runtime.native_log import native_log
from modelzoo.runtime.tokenizer import Tokenizer
from modelzoo.weights import (
    is_source,
    open_checkpoint,
    read_weights,
    recipe_of_checkpoint,
    write_checkpoint,
)
from modelzoo.weights.checkpoint import Checkpoint

__all__ = [
    "build",
    "dataset",
    "load",
    "need_keras",
    "save",
    "train_tokenizer_for",
    "write_checkpoint",
]

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
        name: a recipe's name, the path of a TOML file, a model directory (its recipe), or a
            checkpoint (its recipe and its weights): a directory in Hugging Face layout, a
            `.safetensors` or `.gguf` file, `hf://owner/name`.
        tokenizer: a `tokenizer.json`, or a `Tokenizer`. Default: the one of the weights.
        weights: a model directory or a checkpoint to take the backbone's weights from, and the
            head's where it is the same.
        compile: with the optimizer, loss and metrics of the recipe.
        **overrides: values of the recipe's `[model]` table; other tables through a dict,
            `**{"train.learning_rate": 1e-3}`.

    Raises:
        ModelzooError: no such name, a wrong key or value, no Keras.

    Example:
        >>> model = modelzoo.build("gpt-small", num_layers=6)
        >>> model.fit(modelzoo.dataset(model, "corpus.txt"))
    """
    recipe, checkpoint = _resolve(name, weights, overrides)
    architecture = registry.architecture(recipe.architecture)
    arguments = validate_against(recipe, architecture)
    if isinstance(tokenizer, str | os.PathLike):
        tokenizer = Tokenizer.load(tokenizer)
    if tokenizer is None and checkpoint is not None and checkpoint.tokenizer is not None:
        tokenizer = Tokenizer.from_str(
            checkpoint.tokenizer.json,
            recipe.table("tokenizer").get("roles", checkpoint.tokenizer.roles),
            checkpoint.tokenizer.stop_tokens,
            where=checkpoint.where,
        )
    if tokenizer is not None:
        check_vocabulary(tokenizer, vocabulary_of(recipe)[0])
    need_keras()  # what could be wrong without it has been told by now
    from modelzoo.layers.initial import blank_weights

    registry.import_for(recipe)
    with blank_weights() if checkpoint is not None else nullcontext():
        backbone = architecture(**arguments)
    model = task_of(recipe).model(backbone)
    model.recipe, model.tokenizer = recipe, tokenizer
    if checkpoint is not None:
        _take_checkpoint(model, checkpoint)
    elif weights is not None:
        take_weights(model, load(weights, compile=False), weights)
    else:
        _take_part_weights(model)
    if compile:
        from modelzoo.training.optimizer import compile_model

        compile_model(model)
    return model


def _resolve(name, weights, overrides) -> tuple[Recipe, Checkpoint | None]:
    """The recipe, and the checkpoint where a name or the weights are one."""
    if not isinstance(name, Recipe) and is_source(name):
        if weights is not None:
            raise RecipeError(
                f"{name} is a checkpoint, which has weights of its own",
                next_step="leave --weights out, or name a recipe",
            )
        checkpoint = open_checkpoint(name)
        return override(recipe_of_checkpoint(checkpoint), overrides), checkpoint
    else:
        recipe = registry.recipe(name, overrides)
    if weights is None or not is_source(weights):
        return recipe, None
    checkpoint = open_checkpoint(weights)
    if checkpoint.tokenizer is None or recipe.table("tokenizer").get("roles"):
        return recipe, checkpoint
    roles = dict(checkpoint.tokenizer.roles)
    stops = list(checkpoint.tokenizer.stop_tokens) or None
    return override(recipe, {"tokenizer.roles": roles, "tokenizer.stop_tokens": stops}), checkpoint


def _take_checkpoint(model, checkpoint: Checkpoint) -> None:
    if checkpoint.tokenizer is not None:
        model.chat_template = checkpoint.tokenizer.chat_template
    loaded = read_weights(model, checkpoint)
    if loaded.fresh:
        warnings.warn(
            f"{checkpoint.where} has no weights for {', '.join(loaded.fresh)}: they are random, "
            "and have to be trained",
            stacklevel=3,
        )


def _take_part_weights(model) -> None:
    """The weights that the recipe names for its parts, `[model.image] weights = "runs/vit"`.

    Of a model that is composed itself, such as a CLIP, they are those of its part of that name.
    """
    for name, table in parts_of(model.recipe.values):
        where = table.get("weights")
        if where is None:
            continue
        source = build(where, compile=False) if is_source(where) else load(where, compile=False)
        of = source.backbone
        if name in dict(parts_of(source.recipe.values)):
            of = getattr(of, name)
        copy_weights(getattr(model.backbone, name), of, where)


def load(directory: str | os.PathLike, *, compile: bool = True):
    """Open a model directory that `build` or `train` wrote.

    Raises:
        ModelDirectoryError: missing, incomplete, damaged, or written by a newer modelzoo.
    """
    directory, recipe = Path(directory), _locked_recipe(directory)
    path = directory / MODEL_FILE
    if not path.is_file():
        raise ModelDirectoryError(f"{directory} holds no {MODEL_FILE}")
    keras = need_keras()
    registry.import_for(recipe)
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        unknown = re.search(r"Could not locate class '([^']+)'", str(error))
        if unknown:
            raise ModelDirectoryError(
                f"{MODEL_FILE} holds a {unknown[1]}, a class that Keras does not know",
                where=directory,
                next_step="import the module that registers it; a plugin says which one with "
                "modelzoo.keras_hook.install",
            ) from error
        raise ModelDirectoryError(
            f"{MODEL_FILE} cannot be read: {str(error).splitlines()[0]}",
            where=directory,
            next_step="write the directory again: the file is damaged",
        ) from error
    model.recipe, model.tokenizer = recipe, load_tokenizer(directory)
    if (directory / CHAT_TEMPLATE).is_file():
        model.chat_template = read_source(directory / CHAT_TEMPLATE)
    if model.tokenizer is not None:
        check_vocabulary(model.tokenizer, getattr(model.backbone, "vocab_size", None))
    if compile:
        from modelzoo.training.optimizer import compile_model

        compile_model(model)
    return model


def load_tokenizer(directory: str | os.PathLike) -> Tokenizer | None:
    """The tokenizer of a model directory, or `None` where it has none."""
    table = _locked_recipe(directory).table("tokenizer")
    path = Path(directory) / TOKENIZER_FILE
    if not path.is_file():
        return None
    return Tokenizer.load(path, table.get("roles"), table.get("stop_tokens", ()))


def _locked_recipe(directory: str | os.PathLike) -> Recipe:
    if Path(directory).is_file():
        raise ModelDirectoryError(
            f"{directory} is a file, and no model directory",
            next_step="modelzoo build NAME -o DIR writes one",
        )
    return read_lock(directory)[0]


def save(model, directory: str | os.PathLike, *, force: bool = False) -> Path:
    """Write a model directory: `model.keras`, `recipe.lock.toml`, `tokenizer.json`, `README.md`.

    And `chat_template.jinja` where the model has one.

    Raises:
        OutputError: it exists and `force` is off, or cannot be written; nothing is lost then.
    """
    import keras

    from modelzoo.card import model_card

    recipe = recipe_of(model)
    with new_directory(directory, force) as folder:
        model.save(folder / MODEL_FILE)
        write_lock(folder, recipe, keras=keras.__version__, backend=keras.backend.backend())
        if model.tokenizer is not None:
            model.tokenizer.save(folder / TOKENIZER_FILE)
        if getattr(model, "chat_template", None) is not None:
            (folder / CHAT_TEMPLATE).write_bytes(model.chat_template.encode())
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
    from modelzoo.training.options import readable_examples, train_options

    recipe = recipe_of(model)
    options = train_options(recipe)
    examples = readable_examples(task_of(recipe), options, raw)
    model.recipe = recipe = task_of(recipe).completed(recipe, examples)
    labels = recipe.table("task_options").get("labels")
    if labels and len(labels) != model.num_labels:
        raise DataError(
            f"the data has {len(labels)} labels and the model {model.num_labels}",
            next_step=f"build it with **{{'task_options.labels': {labels}}}",
        )
    task = task_of(recipe)
    if model.tokenizer is None and task.reads_text:
        model.tokenizer = train_tokenizer_for(recipe, examples)
    batches = task.batches(
        examples,
        model.tokenizer,
        batch_size=batch_size or options.batch_size,
        seed=seed,
        **task.batch_options(model, options, length),
    )
    return batches.as_pydataset()


def train_tokenizer_for(recipe: Recipe, examples) -> Tokenizer:
    """A tokenizer as the recipe's `[tokenizer]` table says, trained on the examples' texts."""
    from modelzoo.data.raw import iterate_texts
    from modelzoo.data.train_tokenizer import specials_for, train_tokenizer

    table = recipe.table("tokenizer")
    size, default = vocabulary_of(recipe)
    # Where three kinds of media are bound in pairs, some examples are an image and a sound alone.
    texts = [one for one in examples if "text" in one] or examples
    tokenizer = train_tokenizer(
        iterate_texts(texts),
        kind=table.get("kind", "bpe"),
        vocab_size=size or default,
        specials=specials_for(recipe.task),
    )
    check_vocabulary(tokenizer, size)
    return tokenizer


def vocabulary_of(recipe: Recipe) -> tuple[int | None, int | None]:
    """Tokens that the recipe states, for the model or the part that reads text; and the default."""
    stated = [(recipe.architecture, recipe.table("model"))]
    stated += [
        (table["architecture"], table.get("model", {})) for _, table in parts_of(recipe.values)
    ]
    size = next((table["vocab_size"] for _, table in stated if "vocab_size" in table), None)
    defaults = (default_vocabulary(registry.architecture(name)) for name, _ in stated)
    return size, next(filter(None, defaults), None)


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


def recipe_of(model) -> Recipe:
    """The recipe that a model was built from.

    Raises:
        ModelzooError: it knows none.
    """
    if getattr(model, "recipe", None) is None:
        raise ModelzooError(
            "the model does not know its recipe",
            next_step="make it with modelzoo.build(NAME), or open it with modelzoo.load(DIR)",
        )
    return model.recipe


def task_of(recipe: Recipe):
    """The recipe's task, made with its `[task_options]`."""
    if recipe.task is None:
        raise RecipeError(
            f"{recipe.name}: the recipe names no task",
            where=recipe.source,
            next_step='add a line such as task = "causal-lm"',
        )
    kind = registry.task(recipe.task)
    return kind(**validate_against(recipe, kind, table="task_options"))


def take_weights(model, source, where) -> None:
    """Copy the backbone's weights, and the head's where it is the same."""
    into, of = model, source
    if type(source) is not type(model) or _shapes(source) != _shapes(model):
        into, of = model.backbone, source.backbone
    copy_weights(into, of, where)
    if model.tokenizer is None:
        model.tokenizer = source.tokenizer
    if getattr(model, "chat_template", None) is None:
        model.chat_template = getattr(source, "chat_template", None)


def copy_weights(into, of, where) -> None:
    """Every weight of one model into another of the same shape."""
    if _shapes(into) != _shapes(of):
        what = f"{len(into.weights)} weights here and {len(of.weights)} there"
        pairs = zip(_shapes(into), _shapes(of), strict=False)
        for ours, theirs in pairs if len(into.weights) == len(of.weights) else ():
            if ours != theirs:
                what = f"{ours[0]} is {ours[1]} here and {theirs[1]} there"
                if ours[0] != theirs[0]:
                    what = f"{ours[0]} is here what {theirs[0]} is there"
                break
        raise ModelDirectoryError(
            what,
            where=where,
            next_step="build the two from recipes with the same [model] table",
        )
    for weight, other in zip(into.weights, of.weights, strict=True):
        weight.assign(other)


def _shapes(model) -> list[tuple[str, tuple[int, ...]]]:
    """Path, without the model's own name, and shape of each weight."""
    return [(weight.path.partition("/")[2], tuple(weight.shape)) for weight in model.weights]


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
