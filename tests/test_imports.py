"""Imports point downwards only. Read from the source text: what is not imported here counts too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelzoo
from tests.plugin_site import ROOT

PACKAGE = ROOT / "modelzoo"
HEAVY = {"ai_edge_litert", "h5py", "jax", "keras", "librosa", "numpy", "safetensors", "tensorflow"}
HEAVY |= {"PIL", "gguf", "huggingface_hub", "jinja2", "pyarrow", "rich", "tokenizers"}
LIGHT = (
    "callable_module",
    "cli",
    "components",
    "errors",
    "files",
    "parts",
    "plugins",
    "recipe",
    "registry",
    "schema",
    "source",
    "toml",
    "values",
    "versions",
)
# A room may import from its own floor and from those below it.
FLOORS = (
    {*LIGHT, "keras_hook", "runtime", "signature"} - {"cli"},
    {"layers", "data"},
    {"backbones"},
    {"architectures"},
    {"tasks", "weights"},
    {"bench", "build", "card", "counting", "export", "serializable", "testing", "training"},
    {"cli", "__main__"},
)
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """`layers` for modelzoo/layers/norms.py, `recipe` for modelzoo/recipe.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, top_only: bool = False) -> Iterator[tuple[str, int]]:
    """(absolute module, line) of each import; `top_only` leaves out what runs later or never."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _at_import(tree) if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = (PACKAGE.name, *path.relative_to(PACKAGE).parts[:-1])
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [base])])
            # `from modelzoo import plugins` imports modelzoo.plugins.
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def _at_import(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _at_import(child)


def of_modelzoo(path: Path) -> Iterator[tuple[str, int]]:
    """(room, line) of each import of another room."""
    for module, line in imports(path):
        parts = module.split(".")
        if parts[0] == "modelzoo" and len(parts) > 1:
            yield parts[1], line


def test_every_room_has_its_floor():
    homeless = {room(path) for path in FILES} - set().union(*FLOORS) - {"__init__"}
    assert not homeless, f"say in FLOORS where {sorted(homeless)} stands"


def test_imports_point_downwards_only():
    floor_of = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    seen, upwards = 0, []
    for path in FILES:
        if room(path) == "__init__":
            continue
        for other, line in of_modelzoo(path):
            if other in floor_of:  # anything else is a name of modelzoo/__init__.py
                seen += 1
                if floor_of[other] > floor_of[room(path)]:
                    upwards.append(f"{path.relative_to(ROOT)}:{line} imports {other}")
    assert seen > 50
    assert upwards == []


def test_what_lists_imports_only_the_standard_library():
    foreign = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in FILES
        if room(path) in {*LIGHT, "__init__", "__main__"}
        for module, line in imports(path, top_only=True)
        if module.partition(".")[0] not in {*sys.stdlib_module_names, "modelzoo"}
    ]
    assert foreign == []


def test_the_registry_knows_nothing_of_keras_or_numpy_even_in_a_function():
    rooms = set(LIGHT) - {"cli"}
    touched = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in FILES
        if room(path) in rooms
        for module, line in imports(path)
        if module.partition(".")[0] in HEAVY
    ]
    assert touched == []


def test_architectures_read_without_keras():
    touched = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in FILES
        if room(path) == "architectures"
        for module, line in imports(path, top_only=True)
        if module.partition(".")[0] in HEAVY
    ]
    assert touched == []


def test_the_runtime_meets_no_keras_and_of_modelzoo_only_the_errors():
    wrong = []
    for path in FILES:
        if room(path) != "runtime":
            continue
        for module, line in imports(path):
            top, _, rest = module.partition(".")
            inside = top != "modelzoo" or rest.partition(".")[0] in ("errors", "runtime")
            if top == "keras" or not inside:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
        for module, line in imports(path, top_only=True):
            if module.partition(".")[0] in ("tensorflow", "jax"):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert wrong == []


def test_importing_modelzoo_imports_nothing():
    code = "import sys; old = set(sys.modules); import modelzoo; print(set(sys.modules) - old)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ast.literal_eval(done.stdout) <= {
        "modelzoo",
        "modelzoo.keras_hook",
        "__future__",
    }


@pytest.mark.parametrize("name", ["names", "read_recipe", "register", "find", "ModelzooError"])
def test_the_public_names_lead_to_what_they_name(name):
    assert callable(getattr(modelzoo, name))
    assert name in dir(modelzoo)


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        _ = modelzoo.biuld


@pytest.mark.parametrize("module", ["build", "export"])
def test_a_function_that_is_called_like_its_module_can_be_called_after_either_import(module):
    code = (
        f"import importlib, modelzoo; importlib.import_module('modelzoo.{module}');"
        f"assert callable(modelzoo.{module})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
