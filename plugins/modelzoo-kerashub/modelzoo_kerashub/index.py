"""What the installed KerasHub offers, read from its source text: nothing of it is imported.

`import keras_hub` takes seconds and needs tensorflow-text; its public classes, their arguments and
its presets are all written down in plain assignments, decorators and calls.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from modelzoo.errors import MissingDependencyError, UnknownNameError, nearest

__all__ = ["Argument", "Backbone", "Preset", "Task", "backbones", "classes", "presets", "tasks"]

_PUBLIC = "keras_hub.models."
# Where the docstring links the paper of the model that the code was derived from.
_PAPERS = {
    "GptOssBackbone": "2508.10925",
    "Llama3Backbone": "2407.21783",
    "LlamaBackbone": "2302.13971",
}
# What every Keras model takes, and a recipe says elsewhere or not at all.
_KERAS = ("dtype", "name", "trainable")
_ABSTRACT = ("Backbone", "FeaturePyramidBackbone")
_TYPES = {"int": int, "integer": int, "float": float, "bool": bool, "boolean": bool, "str": str}
_TYPES["string"] = str


@dataclass(frozen=True)
class Argument:
    """One argument of a constructor.

    Attributes:
        hint: int, float, bool or str where default or docstring say so, else `object`.
        default: `...` where it has to be given.
    """

    name: str
    hint: type
    default: object = ...


@dataclass(frozen=True)
class Backbone:
    """A public backbone class: its first public name, and the others it goes by."""

    name: str
    module: str
    summary: str
    arguments: tuple[Argument, ...]
    reference: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preset:
    """A published configuration with weights: `kaggle://...` is its `handle`."""

    name: str
    backbone: str
    handle: str
    summary: str
    parameters: int | None


@dataclass(frozen=True)
class Task:
    """A public task class that puts a head on the backbone `backbone`: its `kind` is its base.

    `needs` are the arguments that must be given beside the backbone and the number of classes.
    """

    name: str
    kind: str
    backbone: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Class:
    node: ast.ClassDef
    module: str
    public: tuple[str, ...] = field(default=())


@lru_cache(maxsize=1)
def classes() -> dict[str, _Class]:
    """Every class of KerasHub's models by its own name.

    Raises:
        MissingDependencyError: KerasHub is not installed.
    """
    found = {}
    for path in sorted((_home() / "src" / "models").rglob("*.py")):
        module = ".".join(path.relative_to(_home().parent).with_suffix("").parts)
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.ClassDef):
                found[node.name] = _Class(node, module, tuple(_public_names(node)))
    return found


@lru_cache(maxsize=1)
def backbones() -> dict[str, Backbone]:
    """Every public backbone by each of its public names, the abstract ones left out.

    The towers of CLIP and its kin are backbones too: `CLIPVisionEncoder`.
    """
    found = {}
    for one in classes().values():
        names = list(one.public)
        if names and names[0] not in _ABSTRACT and _is_a(one.node.name, "Backbone"):
            names.sort(key=lambda name, own=one.node.name: name != own)
            backbone = Backbone(
                names[0],
                one.module,
                _summary(one.node),
                tuple(_arguments(one.node)),
                _reference(one.node, names[0]),
                tuple(names[1:]),
            )
            found.update(dict.fromkeys(names, backbone))
    return dict(sorted(found.items()))


def backbone(name: str) -> Backbone:
    """The backbone of a public name.

    Raises:
        UnknownNameError: no such class, with the nearest.
    """
    if name not in backbones():
        raise UnknownNameError(
            f"KerasHub has no backbone {name!r}",
            did_you_mean=nearest(name, backbones()),
            next_step="python -m modelzoo_kerashub.table --list shows all",
        )
    return backbones()[name]


@lru_cache(maxsize=1)
def presets() -> dict[str, Preset]:
    """Every built-in preset by name, with the backbone class it is registered for."""
    found = {}
    for path in sorted((_home() / "src" / "models").glob("*/__init__.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            called = isinstance(node, ast.Call) and getattr(node.func, "id", "")
            if called == "register_presets":
                owner = node.args[1].id
                for name, entry in _preset_entries(path.parent).items():
                    if _is_a(owner, "Backbone"):
                        found[name] = _preset(name, owner, entry)
    return dict(sorted(found.items()))


@lru_cache(maxsize=1)
def tasks() -> dict[str, Task]:
    """Every public task class that has a backbone class, by name."""
    found = {}
    for name, one in classes().items():
        owner = _constant(one.node, "backbone_cls")
        if name in one.public and owner and owner != "Backbone" and _is_a(name, "Task"):
            given = [a.name for a in _arguments(one.node) if a.default is ...]
            needs = [a for a in given if a not in ("backbone", "preprocessor", "num_classes")]
            found[name] = Task(name, _base(one.node), owner, tuple(needs))
    return dict(sorted(found.items()))


# === Reading ===


def _home() -> Path:
    spec = find_spec("keras_hub")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "keras_hub is not installed", next_step="pip install keras-hub"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _public_names(node: ast.ClassDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == (
            "keras_hub_export"
        ):
            names = ast.literal_eval(decorator.args[0])
            for name in [names] if isinstance(names, str) else names:
                if name.startswith(_PUBLIC):
                    yield name.removeprefix(_PUBLIC)


def _bases(node: ast.ClassDef) -> list[str]:
    """The names of the classes it derives from, `module.Name` by its last part."""
    names = (getattr(base, "id", getattr(base, "attr", None)) for base in node.bases)
    return [name for name in names if name is not None]


def _is_a(name: str, base: str) -> bool:
    if name == base:
        return True
    one = classes().get(name)
    return one is not None and any(_is_a(parent, base) for parent in _bases(one.node))


def _base(node: ast.ClassDef) -> str:
    """The class right below `Task` that it comes from: `TextClassifier` of BertTextClassifier."""
    above = next((name for name in _bases(node) if _is_a(name, "Task")), "Task")
    return node.name if above == "Task" else _base(classes()[above].node)


def _constant(node: ast.ClassDef, name: str) -> str | None:
    for item in node.body:
        if isinstance(item, ast.Assign) and getattr(item.targets[0], "id", "") == name:
            return getattr(item.value, "id", None)
    return None


def _summary(node: ast.ClassDef) -> str:
    text = (ast.get_docstring(node) or node.name).partition("\n\n")[0]
    return " ".join(text.split()).rstrip(".")


def _reference(node: ast.ClassDef, name: str) -> str:
    """The paper that the docstring links, and KerasHub's class."""
    text = " ".join((ast.get_docstring(node) or "").split())
    paper = re.search(r"arxiv\.org/(?:abs|pdf)/ ?([\d.]+\d)", text)
    number = _PAPERS.get(name, paper and paper[1])
    return (f"arXiv:{number}, as " if number else "") + f"keras_hub.models.{name}"


def _arguments(node: ast.ClassDef) -> Iterator[Argument]:
    init = _init(node)
    if init is None:
        return
    spec, said = init.args, _documented_types(ast.get_docstring(node) or "")
    given = [*spec.posonlyargs, *spec.args][1:]
    values = [None] * (len(given) - len(spec.defaults)) + list(spec.defaults)
    pairs = [*zip(given, values, strict=True), *zip(spec.kwonlyargs, spec.kw_defaults, strict=True)]
    for item, value in pairs:
        if item.arg in _KERAS:
            continue
        default = _literal(value)
        hint = type(default) if type(default) in (int, float, bool, str) else None
        if hint is int and said.get(item.arg) is float:
            hint = float
        yield Argument(item.arg, hint or said.get(item.arg, object), default)


def _init(node: ast.ClassDef) -> ast.FunctionDef | None:
    """The constructor, also an inherited one."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return item
    parents = (classes()[name].node for name in _bases(node) if name in classes())
    return next(filter(None, map(_init, parents)), None)


def _literal(value: ast.expr | None) -> object:
    """A default as a value; one that is computed counts as `None`, which leaves it to KerasHub."""
    if value is None:
        return ...
    try:
        return ast.literal_eval(value)
    except ValueError:
        return None


def _documented_types(docstring: str) -> dict[str, type]:
    """`vocabulary_size: int. The size …` -> int, where it is that plain."""
    found = {}
    for name, word in re.findall(r"^ *`?(\w+)`?(?: \(.*\))?: *`?(\w+)`?[.,]", docstring, re.M):
        if word.lower() in _TYPES and not name.endswith("_dims"):  # lists, whatever is said
            found[name] = _TYPES[word.lower()]
    return found


def _preset_entries(folder: Path) -> dict[str, dict]:
    entries = {}
    for path in folder.glob("*presets.py"):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                for key, value in zip(node.value.keys, node.value.values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(value, ast.Dict):
                        entries[key.value] = ast.literal_eval(value)
    return entries


def _preset(name: str, owner: str, entry: dict) -> Preset:
    facts = entry.get("metadata", {})
    summary = " ".join(str(facts.get("description", name)).split()).rstrip(".")
    return Preset(name, owner, entry.get("kaggle_handle", ""), summary, facts.get("params"))
