"""Model directories: `model.keras`, the locked recipe, the tokenizer; written and read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo import registry
from modelzoo.building.keras_backend import need_keras
from modelzoo.building.memory import within_memory
from modelzoo.building.model_file import check_model_file
from modelzoo.building.vocabulary import check_vocabulary
from modelzoo.errors import ModelDirectoryError, parsing
from modelzoo.files import new_directory
from modelzoo.recipe import LOCK_NAME, Recipe, read_lock, write_lock
from modelzoo.registry.of_recipe import recipe_of
from modelzoo.runtime.text.chat_template import FILE as CHAT_TEMPLATE
from modelzoo.runtime.text.chat_template import read_source
from modelzoo.runtime.text.tokenizer import Tokenizer
from modelzoo.weights.origin import source_table, stamp

if TYPE_CHECKING:
    from modelzoo.building.zoo_model import ZooModel

MODEL_FILE, TOKENIZER_FILE = "model.keras", "tokenizer.json"


def load(directory: str | os.PathLike, *, compile: bool = True) -> ZooModel:
    """Open a model directory that `build` or `train` wrote.

    Raises:
        ModelDirectoryError: missing, incomplete, damaged, or written by a newer modelzoo.
    """
    directory, (recipe, lock) = Path(directory), _lock(directory)
    source = lock.get("source", {})
    path = directory / MODEL_FILE
    if not path.is_file():
        raise ModelDirectoryError(f"{directory} holds no {MODEL_FILE}")
    keras = need_keras()
    registry.import_for(recipe)
    again = "write the directory again: the file is damaged"
    with (
        parsing(directory, ModelDirectoryError, f"{MODEL_FILE} cannot be read", next_step=again),
        within_memory(recipe.name, ModelDirectoryError),
    ):
        check_model_file(path)
        try:
            model = keras.saving.load_model(path, compile=False)
        except (ValueError, TypeError) as error:
            unknown = re.search(r"Could not locate class '([^']+)'", str(error))
            if unknown is None:
                raise
            raise ModelDirectoryError(
                f"{MODEL_FILE} holds a {unknown[1]}, a class that Keras does not know",
                where=directory,
                next_step="import the module that registers it; a plugin says which one with "
                "modelzoo.keras_registration.install",
            ) from error
    model.recipe, model.tokenizer = recipe, load_tokenizer(directory)
    stamp(model, source)
    if (directory / CHAT_TEMPLATE).is_file():
        model.chat_template = read_source(directory / CHAT_TEMPLATE)
    if model.tokenizer is not None:
        check_vocabulary(model.tokenizer, getattr(model.backbone, "vocab_size", None))
    if compile:
        from modelzoo.optimizers.optimizer import compile_model

        what = f"{MODEL_FILE} holds no model that can be compiled"
        with parsing(directory, ModelDirectoryError, what, next_step=again):
            compile_model(model)
    return model


def load_tokenizer(directory: str | os.PathLike) -> Tokenizer | None:
    """The tokenizer of a model directory, or `None` where it has none."""
    table = _lock(directory)[0].table("tokenizer")
    path = Path(directory) / TOKENIZER_FILE
    if not path.is_file():
        return None
    return Tokenizer.load(path, table.get("roles"), table.get("stop_tokens", ()))


def _lock(directory: str | os.PathLike) -> tuple[Recipe, dict[str, Any]]:
    """As `read_lock`; what is wrong with a file or a name that is given instead is said."""
    path = Path(directory)
    if not path.exists():
        raise _no_directory(directory)
    if not path.is_file():
        return read_lock(path)
    step = "modelzoo build NAME -o DIR writes one"
    folder = next((one for one in path.parents if (one / LOCK_NAME).is_file()), None)
    if folder is not None and folder != Path("."):
        step = f"name the folder: {folder}"
    elif path.suffix == ".keras":
        step = f"keras.saving.load_model({str(path)!r}) opens it, without a tokenizer"
    raise ModelDirectoryError(f"{directory} is a file, not a model directory", next_step=step)


def _no_directory(name: str | os.PathLike) -> ModelDirectoryError:
    """The error about a path where nothing is; it may be the name of a recipe."""
    if not registry.is_name(name):
        step = "modelzoo build NAME -o DIR writes one"
        return ModelDirectoryError(f"there is no model directory {name}", next_step=step)
    published = " --pretrained" if registry.recipe(name).weights else ""
    return ModelDirectoryError(
        f"{name} is a recipe, not a model directory",
        next_step=f"modelzoo build {name}{published} -o DIR, then give DIR",
    )


def save(model, directory: str | os.PathLike, *, force: bool = False) -> Path:
    """Write a model directory: `model.keras`, `recipe.lock.toml`, `tokenizer.json`, `README.md`.

    And `chat_template.jinja` where the model has one.

    Raises:
        OutputError: it exists and `force` is off, or cannot be written; nothing is lost then.
    """
    with new_directory(directory, force) as folder:
        fill(model, folder, Path(directory).name)
    return Path(directory)


def fill(model, folder: Path, name: str) -> None:
    """Write the files of a model directory into `folder`, which is to be called `name`."""
    import keras

    from modelzoo.building.card import model_card

    recipe, backend = recipe_of(model), keras.backend.backend()
    model.save(folder / MODEL_FILE)
    source = source_table(model)
    write_lock(folder, recipe, keras=keras.__version__, backend=backend, source=source)
    if model.tokenizer is not None:
        model.tokenizer.save(folder / TOKENIZER_FILE)
    if getattr(model, "chat_template", None) is not None:
        (folder / CHAT_TEMPLATE).write_bytes(model.chat_template.encode())
    (folder / "README.md").write_text(model_card(model, name), "utf-8")
