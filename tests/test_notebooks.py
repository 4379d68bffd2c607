"""The notebooks run from top to bottom."""

from __future__ import annotations

import ast
import json

import pytest

from tests.plugin_site import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def cells(path, kind: str) -> list[str]:
    notebook = json.loads(path.read_text("utf-8"))
    assert notebook["nbformat"] == 4
    return ["".join(one["source"]) for one in notebook["cells"] if one["cell_type"] == kind]


def run_cell(code: str, names: dict) -> object:
    """The value of a cell's last expression, as Jupyter shows it."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return (
        None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    )


def test_there_are_three_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["classifier", "image-search", "recipe-to-device"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    shown = [value for code in cells(path, "code") if (value := run_cell(code, names)) is not None]
    assert CHECKS[path.stem](names, shown)


# What each shows at its end: it has learned something.
CHECKS = {
    "classifier": lambda names, shown: names["matrix"].trace() > 200 and shown[-1][0][0] == "good",
    "image-search": lambda names, shown: shown[-2][0][0] == "red disc",
    "recipe-to-device": lambda names, shown: any(
        isinstance(one, dict) and one["equal"] == one["compared"] > 50 for one in shown
    ),
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_explains_itself(path):
    texts = cells(path, "markdown")
    assert texts[0].startswith("# ") and len(texts) >= 4
    assert all(len(line) <= 100 for text in texts for line in text.splitlines())
