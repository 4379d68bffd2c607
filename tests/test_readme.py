"""README tells the truth: its commands parse, its Python runs, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from modelzoo import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str):
    for page in PAGES:
        for match in FENCE.finditer(page.read_text("utf-8")):
            if match[1] == language:
                line = page.read_text("utf-8")[: match.start()].count("\n") + 1
                yield pytest.param(match[2], id=f"{page.name}:{line}")


def commands():
    for block in blocks("bash"):
        for line in block.values[0].replace("\\\n", " ").splitlines():
            if line.startswith("modelzoo "):
                yield pytest.param(line, id=line[:60])


@pytest.mark.parametrize("line", list(commands()))
def test_a_command_in_the_documentation_parses(line):
    words = shlex.split(line, comments=True)
    arguments = cli.parse(words[1:])
    assert arguments.command == words[1]


@pytest.mark.parametrize("code", list(blocks("python")))
def test_python_in_the_documentation_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus.txt").write_text("In the beginning was the word.\n" * 200, "utf-8")
    exec(compile(code, "README", "exec"), {"__name__": "__readme__"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
