"""A recipe is data, never code: a TOML file that names an architecture and its values.

It can be listed, hashed, copied and diffed without importing Keras. A recipe may extend one other:
tables merge, arrays replace, and there is no interpolation.

    summary      = "GPT-2 small: decoder-only language model"
    architecture = "gpt"
    task         = "causal-lm"
    [model]
    num_layers = 12
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path

import modelzoo
from modelzoo.errors import ModelDirectoryError, RecipeError, UnknownNameError
from modelzoo.files import write_atomic
from modelzoo.parts import begin_afresh, renamed, resolve_parts
from modelzoo.schema import validate_against
from modelzoo.toml import dumps, read_lines, read_toml
from modelzoo.values import TABLES, Values, changed, checked, merge, parse_set, without_stale_count

__all__ = [
    "LOCK_NAME",
    "Recipe",
    "TABLES",
    "dumps",
    "from_values",
    "glance",
    "lock_text",
    "override",
    "parse_set",
    "read",
    "read_lock",
    "validate_against",
    "write_lock",
]

LOCK_NAME = "recipe.lock.toml"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Recipe:
    """A fully resolved recipe.

    Attributes:
        name: `gpt-small`, `acme/tiny`, or the stem of the file.
        values: the merged tables and scalars, without `extends`. Treat as read-only.
        source: path of the file as text, or `<registered>`.
        plugin: the distribution that the recipe needs, `modelzoo-acme 0.2.1`; `None` for the core.
        extends: the names it was merged from, nearest parent first.
    """

    name: str
    values: Values
    source: str
    plugin: str | None = None
    extends: tuple[str, ...] = ()

    @property
    def architecture(self) -> str:
        return self.values["architecture"]

    @property
    def task(self) -> str | None:
        return self.values.get("task")

    @property
    def summary(self) -> str:
        return self.values.get("summary", "")

    @property
    def parameters(self) -> int | None:
        return self.values.get("parameters")

    @property
    def reference(self) -> str | None:
        return self.values.get("reference")

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of the values: equal digests build equal models."""
        canonical = json.dumps(
            self.values, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return hashlib.sha256(canonical.encode("utf-8")).hexdigest()

    def table(self, name: str) -> Values:
        """A copy of one of the `TABLES`, or `{}`."""
        return copy.deepcopy(self.values.get(name, {}))


# The recipes being read, outermost first: (name, identity). Finds a circle of `extends`.
_READING: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("_READING", default=())


def read(
    path: str | Path,
    *,
    resolve: Callable[[str], Recipe] | None = None,
    name: str | None = None,
    plugin: str | None = None,
) -> Recipe:
    """Reads a recipe file and merges it over the recipe that it extends.

    Args:
        path: a TOML file.
        resolve: gives the recipe of a name; needed where the file says `extends`.
        name: what to call it; the stem of the file by default.
        plugin: the distribution it came with.

    Raises:
        RecipeError: not found, not TOML (with line and column), an unknown key, a circle.
    """
    path = Path(path)
    return from_values(
        read_toml(path),
        name=name or path.stem,
        source=str(path),
        resolve=resolve,
        plugin=plugin,
    )


# A table's header at the beginning of a line, and what makes a model of several recipes.
_HEADER = re.compile(rb"^[ \t]*\[+[ \t]*([^\].\s]*)", re.MULTILINE)
_PARTS = re.compile(rb"\brecipe\"?[ \t]*=")
_TABLE_NAMES = frozenset(name.encode() for name in TABLES)
_HEAD_KEYS = {"summary", "architecture", "task", "parameters", "reference", "extends"}


def glance(
    path: str, find: Callable[[str], str | None] | None = None, seen: tuple[str, ...] = ()
) -> Values | None:
    """The scalars of a recipe, out of the lines above its first table: what a list shows.

    A list of thousands of recipes reads them so, in a tenth of the time of `read`. What stands in
    the tables is not looked at.

    Args:
        find: gives the path of a recipe by name, or `None`; needed where one extends another.
        seen: the files on the way here.

    Returns:
        The values; or `None` for a recipe that has to be read in full to know what it is, or what
        is wrong with it: one that has parts, that extends another and states no parameters, that
        is not valid in its head, or has tables that a recipe does not have.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read()
        first = _HEADER.search(raw)
        head = raw[: first.start() if first else None].decode("utf-8")
        values = read_lines(head)
        if values is None:
            values = tomllib.loads(head)
    except (OSError, ValueError):
        return None
    if _PARTS.search(raw) or not _TABLE_NAMES.issuperset(_HEADER.findall(raw)):
        return None
    count = values.get("parameters", 0)
    texts = (value for key, value in values.items() if key != "parameters")
    sound = values.keys() <= _HEAD_KEYS and all(type(text) is str for text in texts)
    if not sound or type(count) is not int or count < 0:
        return None
    extends = values.pop("extends", None)
    if extends is not None:
        parent = find(extends) if find is not None and "parameters" in values else None
        if parent is None or parent in seen or parent == path:
            return None
        base = glance(parent, find, (*seen, path))
        values = None if base is None else {**base, **values}
    return values if values is not None and "architecture" in values else None


def from_values(
    values: Mapping[str, object],
    *,
    name: str,
    source: str = "<registered>",
    resolve: Callable[[str], Recipe] | None = None,
    plugin: str | None = None,
) -> Recipe:
    """A recipe out of values as a file would give them. See `read` for arguments and errors."""
    # A file is known by its path: gpt-small.toml may extend the core's gpt-small.
    identity = source if source != "<registered>" else name
    reading = _READING.get()
    if identity in (other for _, other in reading):
        circle = " -> ".join([*(other for other, _ in reading), name])
        raise RecipeError(f"recipes extend each other in a circle: {circle}", where=source)
    own = checked(values, source)
    parent = None
    token = _READING.set((*reading, (name, identity)))
    try:
        if "extends" in own:
            parent = _parent(own.pop("extends"), source, resolve)
        own = resolve_parts(own, lambda name: _named(name, source, resolve), source)
    finally:
        _READING.reset(token)

    extends = ()
    if parent is not None:
        merged = merge(begin_afresh(parent.values, own), own)
        own = without_stale_count(parent.values, merged, stated="parameters" in own)
        extends = (parent.name, *parent.extends)
        plugin = plugin or parent.plugin
    _require_architecture(own, source)
    return Recipe(name=name, values=own, source=source, plugin=plugin, extends=extends)


def override(
    recipe: Recipe,
    changes: Mapping[str, object] | None,
    resolve: Callable[[str], Recipe] | None = None,
) -> Recipe:
    """A recipe with some values changed.

    Args:
        recipe: what to start from.
        changes: a bare key is `model.KEY`; any other table is written out, `train.learning_rate`.
            `None` drops the key, which gives back the architecture's default.
        resolve: gives the recipe of a name; needed where `changes` name one for a part.

    Raises:
        RecipeError: an unknown table, or a value that a recipe cannot hold.
    """
    if not changes:
        return recipe
    where = "an override"
    values = changed(begin_afresh(recipe.values, renamed(changes)), changes)
    values = resolve_parts(values, lambda name: _named(name, where, resolve), where)
    _require_architecture(values, "an override")
    return replace(recipe, values=values)


def _require_architecture(values: Values, where: str) -> None:
    if "architecture" not in values:
        raise RecipeError(
            "the recipe names no architecture",
            where=where,
            next_step='add a line such as architecture = "gpt", or extends = "gpt-small"',
        )


def _parent(name: str, source: str, resolve: Callable[[str], Recipe] | None) -> Recipe:
    return _named(name, source, resolve, "extends")


def _named(
    name: str, source: str, resolve: Callable[[str], Recipe] | None, word: str = "has a part"
) -> Recipe:
    if resolve is None:
        raise RecipeError(f"{word} {name!r}, which can only be followed by name", where=source)
    try:
        return resolve(name)
    except UnknownNameError as error:
        raise RecipeError(
            f"{word} {name!r}, and there is no recipe of that name",
            where=source,
            did_you_mean=error.did_you_mean,
        ) from error


def lock_text(recipe: Recipe, *, keras: str | None = None, backend: str | None = None) -> str:
    """The text of the lock file: the resolved values, and a table `[lock]`."""
    lock: Mapping[str, object] = {
        "format_version": FORMAT_VERSION,
        "name": recipe.name,
        "digest": recipe.digest,
        "modelzoo": modelzoo.__version__,
        "keras": keras,
        "backend": backend,
        "plugin": recipe.plugin,
    }
    known = {key: value for key, value in lock.items() if value is not None}
    return dumps({**recipe.values, "lock": known})


def write_lock(
    directory: str | Path, recipe: Recipe, *, keras: str | None = None, backend: str | None = None
) -> Path:
    """Writes `recipe.lock.toml` into `directory`; a reader never sees half of it."""
    return write_atomic(
        Path(directory) / LOCK_NAME, lock_text(recipe, keras=keras, backend=backend)
    )


def read_lock(directory: str | Path) -> tuple[Recipe, dict[str, object]]:
    """The recipe and the table `[lock]` of a model directory or bundle.

    Raises:
        ModelDirectoryError: no lock file, one that a newer modelzoo wrote, or one that was edited.
    """
    path = Path(directory)
    path = path / LOCK_NAME if path.is_dir() else path
    try:
        values = read_toml(path)
    except RecipeError as error:
        if path.exists():
            raise ModelDirectoryError(error.what, where=error.where) from error
        raise ModelDirectoryError(
            f"{directory} is not a model directory: it holds no {LOCK_NAME}",
            next_step="modelzoo build NAME -o DIR writes one",
        ) from error
    lock = values.pop("lock", None)
    version = lock.get("format_version") if isinstance(lock, dict) else None
    if type(version) is not int or not isinstance(lock.get("name"), str):
        raise ModelDirectoryError("the table [lock] is missing or incomplete", where=path)
    if version > FORMAT_VERSION:
        raise ModelDirectoryError(
            f"written by a newer modelzoo ({lock.get('modelzoo', 'unknown')}): "
            f"lock format {version}, and this one reads up to {FORMAT_VERSION}",
            where=path,
            next_step="pip install --upgrade modelzoo",
        )
    try:
        recipe = from_values(values, name=lock["name"], source=str(path), plugin=lock.get("plugin"))
    except RecipeError as error:
        raise ModelDirectoryError(error.what, where=error.where or path) from error
    if recipe.digest != lock.get("digest"):
        raise ModelDirectoryError(
            "the values do not match the recorded digest: the file was edited by hand",
            where=path,
            next_step="build the model again from its recipe",
        )
    return recipe, lock
