"""README and docs tell the truth: commands parse, Python runs, links lead somewhere."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from modelzoo import cli
from modelzoo.recipe.train_options import TrainOptions
from modelzoo.registry import components
from modelzoo.weights.tables import TABLES
from tests import docstring_folder

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str):
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in FENCE.finditer(text):
            if match[1] == language:
                line = text[: match.start()].count("\n") + 1
                yield pytest.param(match[2], id=f"{page.name}:{line}")


def commands():
    for block in blocks("bash"):
        for line in block.values[0].replace("\\\n", " ").splitlines():
            if line.startswith("modelzoo "):
                yield pytest.param(line, id=line[:60])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The files that the examples name, each of them tiny."""
    path = tmp_path_factory.mktemp("pages")
    docstring_folder.fill(path)
    return path


@pytest.mark.parametrize("line", list(commands()))
def test_a_command_in_the_documentation_parses(line):
    words = shlex.split(line, comments=True)
    arguments = cli.parse(words[1:])
    assert arguments.command == words[1]


@pytest.mark.parametrize("code", list(blocks("python")))
def test_python_in_the_documentation_runs(code, folder, monkeypatch):
    monkeypatch.chdir(folder)
    exec(compile(code, "README", "exec"), {"__name__": "__readme__"})


@pytest.mark.parametrize("text", list(blocks("toml")))
def test_toml_in_the_documentation_is_toml(text):
    assert tomllib.loads(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_headings_lead_to_headings(page):
    for target, anchor in re.findall(r"\]\(([^):]*)#([^)]+)\)", page.read_text("utf-8")):
        assert anchor in anchors(page.parent / target if target else page), anchor


def test_readme_fits_on_a_few_screens():
    assert len(README.splitlines()) <= 170
    assert README.index("<!-- tests -->") < README.index("## Install")  # the first screen has both


def test_readme_counts_the_lines_of_qwen3():
    recipe = (ROOT / "recipes" / "qwen3-0.6b.toml").read_text("utf-8").splitlines()
    code = (ROOT / "modelzoo" / "weights" / "tables" / "llama.py").read_text("utf-8")
    table = re.search(r"^QWEN3 = Table\(\n.*?^\)$", code, re.M | re.S)[0].splitlines()
    said = f"Qwen3 takes {len(recipe) + len(table)} lines: a recipe of {len(recipe)} lines and a"
    assert f"{said} weight table of {len(table)}." in " ".join(README.split())


def test_readme_counts_the_model_types():
    assert f"[{len(TABLES)} model types](docs/checkpoints.md" in README


def test_the_page_about_training_has_every_key_with_its_default():
    page = (ROOT / "docs" / "training.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (`\w+`[^|]*) \| ([^|]+) \|", page, re.M))
    shown = {}
    for keys, defaults in rows.items():
        names = re.findall(r"`(\w+)`", keys)
        values = [value.strip("` ") for value in defaults.rsplit(", ", len(names) - 1)]
        shown |= dict(zip(names, values, strict=True))
    fields = {field.name: field.default for field in dataclasses.fields(TrainOptions)}
    assert shown.keys() == fields.keys()
    for name, default in fields.items():
        if default is not None:
            assert type(default)(shown[name].strip('"')) == default, name


def test_the_page_about_data_names_every_task_with_its_columns():
    page = (ROOT / "docs" / "data.md").read_text("utf-8")
    section = page.partition("## Columns")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \|$", section, re.M)
    shown = {name: set(re.findall(r"`(\w+)`", columns)) for names, columns in rows
             for name in re.findall(r"`([\w-]+)`", names)}  # fmt: skip
    assert shown.keys() == components.CORE["tasks"].keys()
    for name, columns in shown.items():
        fields = inspect.getattr_static(components.task(name), "fields")
        assert columns == {column for names in fields for column in names}, name
