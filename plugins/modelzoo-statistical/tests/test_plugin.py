"""The plugin as others see it: modelzoo's own checks, and what it imports of modelzoo."""

from __future__ import annotations

import ast
import doctest
import importlib
import sys
import tomllib
from pathlib import Path

import pytest

import modelzoo
from modelzoo.testing import plugin_checks

PACKAGE = Path(__file__).parent.parent / "modelzoo_statistical"

# All that the plugin knows of modelzoo, each a part of the contract in docs/plugins.md.
CONTRACT = {
    "modelzoo.backbones.base",  # what a backbone is
    "modelzoo.errors",
    "modelzoo.keras_registration",  # registers our classes together with modelzoo's
    "modelzoo.layers.backend.lookup",  # rows of a table, in the form that a device reads
    "modelzoo.tasks.causal_lm",  # the task whose model we are
}
OTHERS = {"keras", "numpy", "modelzoo_statistical"}
BACKENDS = {"host.py": {"tensorflow", "jax"}}

NO_DEVICE = "an n-gram model is counts of a text, and no graph"
SKIPPED = {
    f"{rule}:statistical/kneser-ney-5": NO_DEVICE
    for rule in ("decode", "savedmodel", "builtins", "tflite")
}
TINY = {
    "statistical/kneser-ney-5": {"vocab_size": 300, "max_tokens": 4000, "tokenizer.kind": "byte"},
    "statistical/hmm": {"vocab_size": 300, "num_states": 8, "tokenizer.kind": "byte"},
}


@pytest.mark.parametrize("check", plugin_checks("statistical", tiny=TINY, skip=SKIPPED), ids=str)
def test_modelzoos_checks_hold(check):
    check()


def imported(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name} imports relatively"
            found.add(node.module)
    return found


def test_only_the_public_contract_is_imported():
    files = sorted(PACKAGE.glob("*.py"))
    seen = set()
    for path in files:
        for module in imported(path):
            top = module.partition(".")[0]
            if top == "modelzoo":
                assert module in CONTRACT, f"{path.name} imports {module}"
                seen.add(module)
            else:
                known = {*OTHERS, *BACKENDS.get(path.name, ()), *sys.stdlib_module_names}
                assert top in known, f"{path.name} imports {module}"
    assert len(files) > 8 and seen == CONTRACT


def test_the_recipes_are_listed_with_what_they_are():
    found = {entry.name: entry for entry in modelzoo.names() if "statistical/" in entry.name}
    assert set(found) == {
        "statistical/hmm",
        "statistical/kneser-ney-5",
        "statistical/witten-bell-3",
    }
    assert {entry.task for entry in found.values()} == {"causal-lm"}
    assert all(entry.problem is None for entry in found.values())
    version = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]["version"]
    assert found["statistical/hmm"].plugin == f"modelzoo-statistical {version}"


# These train, on a file that the reader has.
READ_ONLY = {"modelzoo_statistical.ngram_model.NgramLM"}


@pytest.mark.parametrize("module", sorted(path.stem for path in PACKAGE.glob("[a-z]*.py")))
def test_examples_in_docstrings_run(module):
    found = importlib.import_module(f"modelzoo_statistical.{module}")
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for example in doctest.DocTestFinder(exclude_empty=True).find(found):
        if example.examples and example.name not in READ_ONLY:
            assert runner.run(example).failed == 0, example.name
