"""The plugin uses what modelzoo documents for plugins, and holds its conformance checks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from modelzoo.testing import plugin_checks

PACKAGE = Path(__file__).parent.parent / "modelzoo_kerashub"
# All of modelzoo that this plugin may use.
PUBLIC = {
    "modelzoo",
    "modelzoo.errors",
    "modelzoo.exporting",
    "modelzoo.recipe",
    "modelzoo.signature",
}
# The models that are held against the whole kit; the others differ in KerasHub's class alone.
SUBJECTS = ("kerashub/BertTextClassifier", "kerashub/GPT2Decoder", "kerashub/VGGBackbone")
SKIP = {
    "parameters:kerashub/BertTextClassifier": "KerasHub's tasks compile themselves, which makes "
    "variables where a count may not; test_recipes builds them all and counts",
}
# These build every one of them, or convert.
SLOW = ("globals", "import", "parameters", "savedmodel", "builtins", "tflite", "decode", "saving")


def test_only_the_public_parts_of_modelzoo_are_imported():
    found = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module)
    ours = {name for name in found if name.partition(".")[0] == "modelzoo"}
    assert ours <= PUBLIC


def checks():
    for check in plugin_checks("kerashub", project=PACKAGE.parent, skip=SKIP):
        if not check.subject or check.subject in SUBJECTS or check.rule in ("signature", "task"):
            marks = [pytest.mark.slow] if check.rule in SLOW else []
            yield pytest.param(check, id=str(check), marks=marks)


@pytest.mark.parametrize("check", checks())
def test_conformance(check):
    check()
