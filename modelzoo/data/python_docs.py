"""demo:python-docs: the docstrings of the standard library, 1.8 MB of English on every machine.

Sources are parsed and never imported: importing all of them opens windows and web browsers.
"""

from __future__ import annotations

import ast
import inspect
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from modelzoo.errors import DataError

__all__ = ["read_python_docs"]

_TESTS = frozenset({"test", "tests", "idle_test", "site-packages"})
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def read_python_docs(stdlib: Path | None = None) -> Iterator[tuple[str, str]]:
    """(module, its docstrings in source order), sorted by module; takes a few seconds.

    Args:
        stdlib: the directory of the sources; that of the running Python if not given.

    Raises:
        DataError: this Python comes without its sources.
    """
    stdlib = stdlib or Path(sysconfig.get_path("stdlib"))
    found = False
    for path in _sources(stdlib):
        text = _text_of(path)
        if text:
            found = True
            parts = path.relative_to(stdlib).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield name, text
    if not found:
        raise DataError(
            "this Python comes without the sources of its standard library",
            where=stdlib,
            next_step="use a text of your own: --data PATH",
        )


@cache
def _text_of(path: Path) -> str:
    """The docstrings of one file. An export reads some of them several times."""
    source = path.read_bytes()
    if b'"""' not in source and b"'''" not in source:
        return ""  # parsing is what takes the time
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in the sources are not ours to report
            tree = ast.parse(source)
    except SyntaxError:
        return ""  # the library ships a few samples of broken code
    # A docstring may spell a lone surrogate, which no UTF-8 text can hold.
    return "\n\n".join(_docstrings(tree)).encode("utf-8", "replace").decode("utf-8")


def _sources(stdlib: Path) -> Iterator[Path]:
    for name in sorted(sys.stdlib_module_names):
        if name in _TESTS:
            continue
        if (stdlib / f"{name}.py").is_file():
            yield stdlib / f"{name}.py"
        elif (stdlib / name).is_dir():
            for path in sorted((stdlib / name).rglob("*.py")):
                if not _TESTS & set(path.relative_to(stdlib).parts):
                    yield path


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Docstrings of a module, and of the classes and functions in it; expressions are skipped."""
    if isinstance(node, _DOCUMENTED) and node.body:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            text = first.value.value
            if isinstance(text, str) and text.strip():
                yield inspect.cleandoc(text)
    for block in ("body", "handlers", "orelse", "finalbody"):
        for statement in getattr(node, block, ()):
            if isinstance(statement, ast.AST):
                yield from _docstrings(statement)
