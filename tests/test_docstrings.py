"""The examples of docstrings run as they stand, in a folder that has the files they name."""

from __future__ import annotations

import doctest
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelzoo
from modelzoo import plugins
from modelzoo.registry import components, recipes
from modelzoo.registry.components import CORE
from tests import docstring_folder
from tests.plugin_site import ROOT

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
SKIP = "# doctest: +SKIP"
STATISTICAL = ROOT / "plugins" / "modelzoo-statistical"
# modelzoo_kerashub's own tests run its examples, where KerasHub is installed.
MODULES = [
    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    for root, package in ((ROOT, "modelzoo"), (STATISTICAL, "modelzoo_statistical"))
    for path in sorted((root / package).rglob("*.py"))
    if ">>> " in path.read_text("utf-8")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("docstrings")
    docstring_folder.fill(path)
    return path


def examples_of(module: str) -> Iterator[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = finder.find(importlib.import_module(module), module, extraglobs={"modelzoo": modelzoo})
    return (example for example in found if example.examples)


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), str(STATISTICAL), *sys.path])
    monkeypatch.setenv(plugins.VARIABLE, "acme,statistical")
    monkeypatch.setattr(recipes, "_registered_recipes", {})
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for example in examples_of(module):
        assert runner.run(example).failed == 0, example.name


def test_an_example_that_does_not_run_says_why():
    """In words before the directive, or in a comment on the line above."""
    reason = re.compile(r"# (?!doctest:)\S+( \S+){2,}")
    skipped = []
    for path in sorted([*ROOT.glob("modelzoo/**/*.py"), *ROOT.glob("plugins/*/*/*.py")]):
        lines = path.read_text("utf-8").splitlines()
        for above, line in zip(["", *lines], lines, strict=False):
            if SKIP in line:
                said = reason.search(line.partition(SKIP)[0]) or reason.search(above)
                skipped.append((f"{path.relative_to(ROOT)}: {line.strip()}", said))
    assert [line for line, said in skipped if not said] == []
    assert len(skipped) <= 5, "an example that runs is worth more"


def test_every_architecture_shows_an_example_and_a_source():
    for name in CORE["architectures"]:
        text = components.architecture(name).__doc__
        assert ">>> " in text and "Returns:" in text, name
        assert any(f"{year})" in text for year in range(2014, 2027)), name
