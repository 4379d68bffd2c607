"""The examples of docstrings run as they stand."""

from __future__ import annotations

import doctest
import importlib

import pytest

from modelzoo.registry import components
from modelzoo.registry.components import CORE
from tests.plugin_site import ROOT

ROOMS = ("architectures", "layers", "backbones", "tasks")
MODULES = [
    f"modelzoo.{room}.{path.stem}"
    for room in ROOMS
    for path in sorted((ROOT / "modelzoo" / room).glob("*.py"))
    if path.stem != "__init__"
]
# These train, on a file that the reader has.
READ_ONLY = {"modelzoo.tasks.causal_lm.CausalLM"}


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = importlib.import_module(module)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for example in finder.find(found, module):
        if example.examples and example.name not in READ_ONLY:
            assert runner.run(example).failed == 0, example.name


def test_every_architecture_shows_an_example_and_a_source():
    for name in CORE["architectures"]:
        text = components.architecture(name).__doc__
        assert ">>> " in text and "Returns:" in text, name
        assert any(f"{year})" in text for year in range(2014, 2027)), name
