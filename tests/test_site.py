"""The site of docs/ has every page, and its first one is README. `.ci/run` builds it."""

from __future__ import annotations

import importlib.util

import pytest

from tests.plugin_site import ROOT

yaml = pytest.importorskip("yaml")
DOCS = ROOT / "docs"
CONFIG = yaml.safe_load((DOCS / "site" / "mkdocs.yml").read_text("utf-8"))


def pages(nav) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    items = nav if isinstance(nav, list) else nav.values()
    return [page for item in items for page in pages(item)]


@pytest.fixture(scope="module")
def hooks():
    (name,) = CONFIG["hooks"]
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "site" / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_navigation_has_every_page_once():
    found = [*DOCS.glob("*.md"), *DOCS.glob("notebooks/*.ipynb")]
    there = sorted(path.relative_to(DOCS).as_posix() for path in found)
    assert sorted(pages(CONFIG["nav"])) == sorted(["index.md", *there])
    assert CONFIG["strict"] is True


def test_links_that_leave_the_pages_become_names_of_files(hooks):
    for text, shown in (
        ("[a](../plugins/a/README.md#b)", "a (`plugins/a/README.md`)"),
        ("[install](../README.md#install)", "[install](index.md#install)"),
        ("[data](data.md#labels) [x](https://a.b)", "[data](data.md#labels) [x](https://a.b)"),
    ):
        assert hooks.on_page_markdown(text, page=None) == shown


def test_the_links_of_readme_are_seen_from_docs(hooks):
    text = hooks.first_page()
    assert "](getting-started.md)" in text and "](docs/" not in text
    assert "](../plugins/modelzoo-kerashub/README.md)" in text
