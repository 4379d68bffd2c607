"""Names to things: recipes, architectures, tasks, exporters. Looking never imports Keras.

Bare names are the core's (or registered here, in this process) and resolve before any scan for
plugins; every other name is `namespace/name`. A recipe may also be given as the path of a TOML file
or of a model directory.
"""

from __future__ import annotations

import os
from collections import ChainMap, Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from modelzoo import plugins
from modelzoo.errors import ModelzooError, UnknownNameError, nearest, warn
from modelzoo.plugins.catalogue import RecipeText, recipe_files
from modelzoo.recipe import LOCK_NAME, Recipe, from_values, glance, override, read, read_lock
from modelzoo.recipe.composition import parts_of
from modelzoo.recipe.train_options import FINE_TUNING
from modelzoo.recipe.values import without_rivals
from modelzoo.registry import components
from modelzoo.registry.components import architecture, exporter, task
from modelzoo.registry.entries import Entries, Entry

__all__ = [
    "Entry",
    "Place",
    "architecture",
    "bundles",
    "exporter",
    "find",
    "import_for",
    "is_name",
    "names",
    "read_recipe",
    "recipe",
    "recipes_directory",
    "register",
    "task",
    "where",
]

# What `register` was given in this process.
_registered_recipes: dict[str, Path | dict[str, object]] = {}


@dataclass(frozen=True)
class Place:
    """Where something is defined: `kind` is recipe, architecture, task or exporter."""

    kind: str
    name: str
    file: str
    line: int


def recipes_directory() -> Path:
    """The core's recipes: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


# === Recipes ===


def names(word: str = "") -> Entries:
    """Every recipe: the core's first, then by namespace. Never raises for one that is broken.

    Args:
        word: only those with this word in their name, an alias, their task or summary, as
            `modelzoo list WORD`.

    Returns: a list, which is shown as a table.

    Example:
        >>> [entry.name for entry in modelzoo.names("minilm")]
        ['minilm-l6', 'minilm-l6-classifier']
    """
    core = _core_files()
    entries = [_text_entry(name, text, core.get) for name, text in core.items()]
    entries += [
        _entry(name, _source(name), lambda name=name: _read_registered(name))
        for name in _registered_recipes
    ]
    found = plugins.discover()
    claimed = Counter(plugin.namespace for plugin in found)
    for plugin in found:
        if claimed[plugin.namespace] > 1:  # which of the two a name means is not decided
            continue
        own = plugin.recipes()
        known = ChainMap(core, own)
        for name, text in own.items():
            entry = _text_entry(name, text, known.get, plugin.title)
            entries.append(entry if plugin.usable else replace(entry, problem=plugin.problem))
    found = [entry for entry in entries if entry.has(word)]
    return Entries(sorted(found, key=lambda entry: ("/" in entry.name, entry.name)))


def bundles() -> list[Entry]:
    """Every bundle that an installed plugin brings, by name. Never raises for one that is broken.

    Only manifests are read, so a file that is damaged is not seen here.
    """
    found = [
        _bundle_entry(name, folder, plugin)
        for plugin in plugins.discover()
        for name, folder in plugin.bundles().items()
    ]
    return sorted(found, key=lambda entry: entry.name)


def _bundle_entry(name: str, folder: Path, plugin: plugins.Plugin) -> Entry:
    said, problem = plugins.glance_manifest(folder)
    problem = problem if plugin.usable else plugin.problem
    summary = said.get("summary") or said.get("does")
    task, parameters = said.get("task"), said.get("parameters")
    return Entry(
        name,
        summary if isinstance(summary, str) else "",
        task if isinstance(task, str) else None,
        None,
        parameters if isinstance(parameters, int) else None,
        plugin.title,
        str(folder / "manifest.json"),
        problem,
        kind="bundle",
    )


def recipe(
    name: str | os.PathLike[str] | Recipe, overrides: Mapping[str, object] | None = None
) -> Recipe:
    """The resolved recipe of a name, a TOML file or a model directory; or a recipe, changed.

    Args:
        name: `gpt-small`, `acme/tiny`, `my.toml`, or a directory that holds `recipe.lock.toml`.
            Names win over paths: write `./gpt-small` for a directory that is called like a recipe.
            Paths win over aliases such as `gpt2`, and for an alias a warning names the recipe.
        overrides: as in `modelzoo.recipe.override`: `{"num_layers": 6}`. Another `task` brings its
            own `[train]`, for the recipe's is how its weights were made.

    Raises:
        UnknownNameError: no such name and no such path, with the nearest name; an alias of two.
        RecipeError, ModelDirectoryError, PluginError: it is there and cannot be used.
    """
    if isinstance(name, Recipe):
        return override(name, _for_task(name, overrides), _by_name)
    found = _by_path(Path(name)) if isinstance(name, os.PathLike) else _by_name_or_path(name)
    if found.plugin is None:
        found = replace(found, plugin=_plugin_behind(found))
    return override(found, _for_task(found, overrides), _by_name)


def _for_task(found: Recipe, overrides: Mapping[str, object] | None) -> Mapping[str, object] | None:
    """The overrides; where they change the task, over what its training begins with."""
    if not overrides:
        return overrides
    task = overrides.get("task")
    if not isinstance(task, str) or task == found.task:
        return overrides
    components.check("task", task)
    table = {"train": FINE_TUNING | (components.stated(task, "fine_tuning") or {})}
    table = without_rivals(table, overrides)["train"]
    longest = overrides.get("max_length") or found.table("model").get("max_length")
    if isinstance(longest, int) and "length" in table:
        table["length"] = min(table["length"], longest)
    return {f"train.{key}": value for key, value in table.items()} | dict(overrides)


def is_name(name: str | os.PathLike[str]) -> bool:
    """Whether it is the name of a recipe: the core's, a plugin's, or one of this process.

    >>> is_name("gpt-small"), is_name("./gpt-small")
    (True, False)
    """
    if isinstance(name, os.PathLike) or name.endswith(".toml"):
        return False
    if name in _registered_recipes or name in _core_files():
        return True
    namespace, slash, _ = name.partition("/")
    return bool(slash) and any(
        plugin.namespace == namespace and plugin.usable and name in plugin.recipes()
        for plugin in plugins.discover()
    )


# The public name: `modelzoo.recipe` is the module.
read_recipe = recipe


def _by_name_or_path(name: str) -> Recipe:
    path = Path(name)
    if name.endswith(".toml"):
        return _by_path(path)
    try:
        return _by_name(name)
    except UnknownNameError:
        if path.exists():
            return _by_path(path)
        meant = _by_alias(name)
        if meant is None:
            raise
        warn(f"{name} is another name of the recipe {meant}")
        return _by_name(meant)


def _by_alias(name: str) -> str | None:
    """The recipe that is called `name` elsewhere, upper or lower case, or `None`."""
    wanted = name.lower()
    meant = [entry for entry in names() if wanted in map(str.lower, entry.aliases)]
    if len(meant) > 1:
        raise UnknownNameError(
            f"{name!r} means two recipes: {' and '.join(entry.name for entry in meant)}",
            where=", ".join(entry.source for entry in meant),
            next_step=f"name one of them: {meant[0].name} or {meant[1].name}",
        )
    return meant[0].name if meant else None


def _by_name(name: str) -> Recipe:
    if name in _registered_recipes:
        return _read_registered(name)
    if "/" not in name:
        text = _core_files().get(name)
        if text is not None:
            return _read(text, name)
        raise _unknown(name)
    plugin = plugins.get(name.partition("/")[0]) if not name.startswith((".", "/")) else None
    text = plugin.recipes().get(name) if plugin else None
    if plugin is None or text is None:
        raise _unknown(name)
    return _read(text, name, plugin.title)


def _by_path(path: Path) -> Recipe:
    if path.is_dir() or path.name == LOCK_NAME:
        return read_lock(path)[0]
    return _read(path, path.stem)


def _read(text: Path | RecipeText, name: str, plugin: str | None = None) -> Recipe:
    return read(text, name=name, resolve=_by_name, change=recipe, plugin=plugin)


def _read_registered(name: str) -> Recipe:
    given = _registered_recipes[name]
    if isinstance(given, Path):
        return _read(given, name)
    return from_values(given, name=name, resolve=_by_name, change=recipe)


def _core_files() -> dict[str, RecipeText]:
    return recipe_files(recipes_directory())


def _source(name: str) -> str:
    given = _registered_recipes[name]
    return str(given) if isinstance(given, Path) else "<registered>"


def _text_entry(
    name: str,
    text: RecipeText,
    find: Callable[[str], RecipeText | None],
    plugin: str | None = None,
) -> Entry:
    """The line of a recipe, whose text is read in full where its head does not tell."""
    head = glance(text, find)
    if head is None:
        return _entry(name, text.path, lambda: _read(text, name, plugin), plugin)
    task, architecture, parameters = map(head.get, ("task", "architecture", "parameters"))
    return Entry(
        name,
        head.get("summary", ""),
        task,
        architecture,
        parameters,
        plugin,
        text.path,
        weights=head.get("weights"),
        aliases=tuple(head.get("aliases", ())),
    )


def _entry(name: str, file: str, reader: Callable[[], Recipe], plugin: str | None = None) -> Entry:
    try:
        found = reader()
    except ModelzooError as error:
        return Entry(name, "", None, None, None, plugin, file, problem=error.what)
    return Entry(
        name,
        found.summary,
        found.task,
        found.architecture,
        found.parameters,
        plugin or found.plugin,
        file,
        weights=found.weights,
        aliases=found.aliases,
    )


def _plugin_behind(found: Recipe) -> str | None:
    for name in (found.architecture, found.task or ""):
        plugin = _claimant(name)
        if plugin is not None:
            return plugin.title
    return None


def _claimant(name: str) -> plugins.Plugin | None:
    """The plugin, usable or not, that claims a name's namespace. A bare name scans nothing."""
    namespace, slash, _ = name.partition("/")
    installed = plugins.discover() if slash else ()
    return next((plugin for plugin in installed if plugin.namespace == namespace), None)


# === Use and registration ===


def import_for(found: Recipe) -> None:
    """Imports what registers the Keras classes of a recipe, before its `.keras` file is read."""
    architectures = [found.architecture]
    architectures += [table["architecture"] for _, table in parts_of(found.values)]
    used = [item for item in (*architectures, found.task) if item]
    for namespace in {item.partition("/")[0] for item in used if "/" in item}:
        if plugins.get(namespace) is not None:
            plugins.import_package(namespace)
    for item in architectures:
        components.architecture(item)
    if found.task:
        components.task(found.task)


def register(
    name: str,
    *,
    architecture: Callable | None = None,
    recipe: Mapping[str, object] | str | os.PathLike[str] | None = None,
    task: type | None = None,
    exporter: Callable | None = None,
) -> None:
    """Gives a name to something of this process; a second call with the same name replaces it.

    Args:
        name: bare, or `namespace/name`.
        architecture: a function `build(*, ...) -> keras.Model`.
        recipe: a recipe's values, or the path of its TOML file; it is checked at once.
        task, exporter: as in `modelzoo.tasks` and `modelzoo.export`.

    Raises:
        ModelzooError: nothing was given, the name is the core's or an installed plugin's.
        RecipeError: the recipe cannot be read.

    Example:
        >>> register("mine/tiny", recipe={"architecture": "gpt", "model": {"num_layers": 2}})
    """
    given = {"architecture": architecture, "task": task, "exporter": exporter}
    given = {kind: item for kind, item in given.items() if item is not None}
    if not given and recipe is None:
        raise ModelzooError(
            f"register({name!r}) was given nothing to register",
            next_step="pass architecture=, recipe=, task= or exporter=",
        )
    if not name or name.endswith((".toml", "/")) or name.startswith(("/", ".")):
        raise ModelzooError(f"{name!r} cannot be a name: write it as name or namespace/name")
    claimant = _claimant(name)
    for kind in given:
        if components.is_fixed(kind, name):
            raise ModelzooError(f"the {kind} {name!r} exists already: take another name")
    if recipe is not None:
        if name in _core_files() or (claimant and name in claimant.recipes()):
            raise ModelzooError(f"the recipe {name!r} exists already: take another name")
        _register_recipe(name, recipe)
    for kind, item in given.items():
        components.add(kind, name, item)


def _register_recipe(name: str, given: Mapping[str, object] | str | os.PathLike[str]) -> None:
    before = _registered_recipes.get(name)
    _registered_recipes[name] = dict(given) if isinstance(given, Mapping) else Path(given)
    try:
        _read_registered(name)
    except ModelzooError:
        if before is None:
            del _registered_recipes[name]
        else:
            _registered_recipes[name] = before
        raise


# === Where things are ===


def find(name: str | os.PathLike[str]) -> list[Place]:
    """The recipe of `name`, and its architecture and task, each with file and line.

    `name` may also be an architecture, task or exporter. Nothing is imported.
    """
    try:
        found = recipe(name)
    except UnknownNameError:
        kinds = [kind for kind in components.KINDS if str(name) in components.known(kind)]
        if not kinds:
            raise
        return [Place(kind, str(name), *components.where(str(name), kind)) for kind in kinds]
    places = [Place("recipe", found.name, found.source, found.line)]
    for kind, value in (("architecture", found.architecture), ("task", found.task)):
        if value:
            places.append(Place(kind, value, *components.where(value, kind)))
    return places


def _unknown(name: str) -> UnknownNameError:
    outside = "/" in name and not name.startswith((".", "/"))
    entries = names()
    known = [entry.name for entry in entries]
    if not outside:
        known += [alias for entry in entries for alias in entry.aliases]
    near = nearest(name, known)
    step = plugins.hint(name) if outside else "modelzoo list shows every name"
    if outside and near is None and _may_be_on_the_hub(name):
        near, step = f"hf://{name}", f"hf:// names a checkpoint on the hub; for a plugin, {step}"
    return UnknownNameError(
        f"{name!r} is not a recipe, a TOML file or a model directory",
        did_you_mean=near,
        next_step=step,
    )


def _may_be_on_the_hub(name: str) -> bool:
    """Whether it is written as `owner/name`, and no plugin or folder is called like the owner."""
    owner, _, rest = name.partition("/")
    return "/" not in rest.rstrip("/") and _claimant(name) is None and not Path(owner).exists()


def where(name: str, kind: str = "recipe") -> tuple[str, int]:
    """File and line of a recipe, architecture, task or exporter, without importing it."""
    if kind != "recipe":
        return components.where(name, kind)
    found = recipe(name)
    return found.source, found.line
