"""Where a name is defined: file and line out of the source text, with nothing imported or run."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

from modelzoo.plugins import module_file

__all__ = ["constant", "locate", "locate_function"]


def locate(target: str) -> tuple[str, int] | None:
    """File and line of `module:attribute`; `None` where the source is not to be found.

    A name that the module only imports from elsewhere is followed to its definition.
    """
    module, _, attribute = target.partition(":")
    return _locate(module.strip(), attribute.strip().partition(".")[0], seen=())


def constant(target: str, name: str) -> object:
    """A literal that the class `module:Class`, or the nearest of its bases, states under a name.

    Returns: `None` where no class in reach states it, or not as a literal.

    Example:
        >>> constant("modelzoo.tasks.seq2seq_lm:Seq2SeqLMTask", "fields")
        (('source', 'target'),)
    """
    module, _, attribute = target.partition(":")
    return _constant(module.strip(), attribute.strip(), name, depth=8)


def locate_function(function: Callable) -> tuple[str, int] | None:
    """File and line of an object of this process."""
    import inspect

    try:
        file, line = inspect.getsourcefile(function), inspect.getsourcelines(function)[1]
    except (TypeError, OSError):  # built in, or typed at a prompt
        return None
    return (file, line) if file else None


def _locate(module: str, name: str, seen: tuple[str, ...]) -> tuple[str, int] | None:
    path = module_file(module)
    if path is None or module in seen:
        return None
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (OSError, SyntaxError, ValueError):  # broken code has no definition to show; its file is
        return str(path), 1
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return str(path), node.lineno
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(one, ast.Name) and one.id == name for one in targets):
                return str(path), node.lineno
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    origin = _absolute(node, module, path)
                    return _locate(origin, alias.name, (*seen, module)) or (
                        str(path),
                        node.lineno,
                    )
    return str(path), 1


def _constant(module: str, owner: str, name: str, depth: int) -> object:
    path = module_file(module)
    if path is None or not depth:
        return None
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (OSError, SyntaxError, ValueError):  # broken code states nothing
        return None
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == owner:
                    origin = _absolute(node, module, path)
                    return _constant(origin, alias.name, name, depth - 1)
        if not (isinstance(node, ast.ClassDef) and node.name == owner):
            continue
        for line in node.body:
            if not isinstance(line, ast.Assign):
                continue
            if any(isinstance(one, ast.Name) and one.id == name for one in line.targets):
                try:
                    return ast.literal_eval(line.value)
                except ValueError:
                    return None
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        found = (_constant(module, base, name, depth - 1) for base in bases)
        return next((value for value in found if value is not None), None)
    return None


def _absolute(node: ast.ImportFrom, module: str, path: Path) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    # `from .` in a package's own __init__ means the package; in a module, the package around it.
    above = node.level - (path.name == "__init__.py")
    parts = parts[: len(parts) - above] if above else parts
    return ".".join([*parts, *([node.module] if node.module else [])])
