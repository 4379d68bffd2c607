"""The examples of docstrings run as they stand."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["carrying", "construct"])
def test_examples_run(module):
    found = importlib.import_module(f"modelzoo_kerashub.{module}")
    result = doctest.testmod(found, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted and not result.failed
