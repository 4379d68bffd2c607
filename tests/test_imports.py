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
LIGHT = ("about", "child_process", "cli", "errors", "files", "plugins", "recipe", "registry")
# A room may import from its own floor and from those below it.
FLOORS = (
    {"about", "child_process", "errors", "files", "plugins", "signature"},
    {"recipe", "runtime", "keras_registration"},
    {"registry"},
    {"layers", "data"},
    {"backbones"},
    {"architectures"},
    {"tasks", "weights"},
    {"optimizers"},
    {"building", "keras_classes"},
    {"exporting", "training", "bench"},
    {"testing"},
    {"cli", "__main__"},
)
# The standard library alone is not enough for these, and listing imports them when it must.
ON_USE = {"packaging"}
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


def test_the_runtime_meets_no_keras_and_of_modelzoo_only_the_ground_floor():
    wrong = []
    for path in FILES:
        if room(path) != "runtime":
            continue
        for module, line in imports(path):
            top, _, rest = module.partition(".")
            ground = ("about", "child_process", "errors", "files", "plugins", "runtime")
            inside = top != "modelzoo" or rest.partition(".")[0] in ground
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
        "modelzoo.about",
        "modelzoo.keras_registration",
        "__future__",
    }


def test_the_public_names_are_those_an_editor_sees_and_each_leads_somewhere():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (seen,) = [node for node in tree.body if "TYPE_CHECKING:" in ast.unparse(node)]
    shown = {alias.name for node in seen.body for alias in node.names}
    assert {*modelzoo.__all__} == {*shown, "__version__"}
    assert {*modelzoo.__all__} <= {*dir(modelzoo)}
    rooms = {"errors", "plugins", "recipe", "registry", "runtime", "testing", "__version__"}
    for name in modelzoo.__all__:
        assert callable(getattr(modelzoo, name)) is (name not in rooms), name


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        _ = modelzoo.biuld


@pytest.mark.parametrize("module", ["build", "export"])
def test_a_function_of_the_root_stays_one_whatever_is_imported(module):
    code = (
        "import modelzoo, modelzoo.building.build, modelzoo.exporting\n"
        f"try: import modelzoo.{module}\n"
        "except ImportError as error: print(error)\n"
        f"print(type(modelzoo.{module}).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert f"modelzoo.{module} is a function" in done.stdout
    assert done.stdout.endswith("function\n"), done.stderr


# === Files ===


def graph() -> dict[str, set[str]]:
    """Module -> the modules of ours that it imports, deferred imports too."""
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in FILES
    }

    def target(module: str) -> str:
        """`modelzoo.errors` for `modelzoo.errors.nearest`."""
        while module not in names:
            module = module.rpartition(".")[0]
        return module

    return {
        name: {target(module) for module, _ in imports(path) if module.startswith("modelzoo")}
        - {name}
        for name, path in names.items()
    }


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            circle = [stack.pop()]
            while circle[-1] != node:
                circle.append(stack.pop())
            if len(circle) > 1:
                found.append(sorted(circle))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_no_files_import_each_other_in_a_circle():
    found = graph()
    assert sum(map(len, found.values())) > 800
    rooms = {name: others for name, others in found.items() if name != "modelzoo"}
    for others in rooms.values():
        others.discard("modelzoo")  # a test of its own
    assert circles(rooms) == []


def test_nothing_but_the_command_imports_the_root():
    assert [n for n, others in graph().items() if "modelzoo" in others] == []


def test_the_root_is_the_ground_floor():
    assert len(list(PACKAGE.glob("*.py"))) <= 9


def test_checking_a_bundle_imports_no_keras():
    code = (
        "import sys, modelzoo.exporting.verification.soundness\n"
        "print({'keras', 'tensorflow'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
