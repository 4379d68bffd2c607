"""Messages, help, public docstrings and pages are plain English: no pattern below comes back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import modelzoo
from modelzoo.runtime import Model
from tests.plugin_site import ROOT

# Pattern -> what to write.
PATTERNS = {
    r"\b(stand|stands|stood) (behind|beside)\b": "follows, is after, is next to",
    r"(?<!left )(?<!leave )\bbehind\b": "after, following",
    r"\bbeside (\{|\d|[A-Z]|llama|float)": "compared with, against",
    r"\banew\b": "again",
    r"\b(hold|holds|held) (\w+ ){0,3}(against|to the)\b": "compare with, check against",
    r"\brefus(e|es|ed|ing)\b": "reject",
    r"\b(take|takes|taken|took) in\b": "read, process",
    r"\bso many\b": "this number of, that many",
    r"(, |\(|` )for one\b": "for example",
    r"\b(told|tells)\b": "reported, says, shows",
    r"; there (is|are) \{": "choose one of",
    r"(?<![Tt]here )\b(is|are) no (?!longer\b|more\b)": "is not a",
    r"'s worth\b": "name the quantity",
    r"\bunpickled\b": "loaded",
    r"wrong in kind": "say which errors",
}
PAGES = [
    page
    for pattern in ("README.md", "docs/*.md", ".github/*.md", "plugins/*/README.md")
    for page in sorted(ROOT.glob(pattern))
]
CODE = sorted((ROOT / "modelzoo").rglob("*.py"))


def complaints(text: str) -> Iterator[str]:
    for pattern, plain in PATTERNS.items():
        for match in re.finditer(pattern, text):
            around = text[max(0, match.start() - 40) : match.end() + 40]
            yield f"{around!r}: write {plain}"


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The strings of a module with their lines, docstrings left out: messages, help, Markdown.

    What an f-string fills in is `{}`.
    """
    tree = ast.parse(path.read_text("utf-8"))
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (one.value if isinstance(one, ast.Constant) else "{}" for one in node.values)
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node not in docstrings:
                yield node.lineno, node.value


def prose(page: str) -> str:
    """A page without its code."""
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", page, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("room", sorted({path.relative_to(ROOT).parts[1] for path in CODE}))
def test_messages_and_help_are_plain(room):
    found = [
        f"{path.relative_to(ROOT)}:{line}: {complaint}"
        for path in CODE
        if path.relative_to(ROOT).parts[1] == room
        for line, text in texts(path)
        for complaint in complaints(text)
    ]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_pages_are_plain(page):
    assert [*complaints(prose(page.read_text("utf-8")))] == []


def test_public_docstrings_are_plain():
    public = [getattr(modelzoo, name) for name in modelzoo.__all__]
    public += [getattr(Model, name) for name in dir(Model) if name[0] != "_"]
    found = [
        (getattr(one, "__name__", one), complaint)
        for one in public
        if callable(one) or isinstance(one, ModuleType)
        for complaint in complaints(one.__doc__ or "")
    ]
    assert len(public) > 25 and found == []


def test_a_bad_sentence_is_found():
    for text in (
        "the eos token behind it",
        "0.9 beside {} in float32",
        "samples of shape {} are no sound",
        "unknown; there are {}",
        "a token, `<think>` for one",
        "a name is refused",
        "tokens are taken in",
    ):
        assert [*complaints(text)], text
    assert [*complaints("there is no column; it is no longer used")] == []


def test_help_gives_defaults_in_words():
    """`(64)` says nothing to a reader who does not know that it is the default."""
    bare = re.compile(r"\((\d[\d,.]*|0 is greedy|stop|raise)\)$")
    found = [
        f"{path.name}:{node.lineno}: {help.value}"
        for path in sorted((ROOT / "modelzoo" / "cli").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "help" and isinstance(help := keyword.value, ast.Constant)
        if bare.search(help.value)
    ]
    assert found == []
