"""Fixtures that every test may use."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelzoo import plugins
from modelzoo.registry import components
from modelzoo.registry import recipes as registry
from modelzoo.runtime.user_cache import VARIABLE
from tests.plugin_site import Site

# A shell starts what runs in its background with Ctrl-C ignored, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The files of marked tests that take minutes begin first, so that no worker is left alone with one.
LONGEST = ("test_main_job", "test_smollm2", "test_litertlm", "test_new_plugin", "test_minilm")


@pytest.fixture(scope="session", autouse=True)
def seen_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What was exported or checked is remembered for this run, and not in the user's home."""
    root = tmp_path_factory.getbasetemp()
    place = (root.parent if root.name.startswith("popen-") else root) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(place))
        yield place


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


GPT_SMALL = """\
# modelzoo build gpt-small
summary      = "GPT-2 small: decoder-only language model"
architecture = "gpt"
task         = "causal-lm"
parameters   = 124_439_808
[model]
num_layers = 12
"""
GPT_TINY = """\
extends = "gpt-small"
summary = "GPT-2, two layers"
[model]
num_layers = 2
[train]
learning_rate = 1e-3
"""


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of two recipes, gpt-small and gpt-tiny, in place of the core's; no plugins."""
    directory = tmp_path / "recipes"
    directory.mkdir()
    (directory / "gpt-small.toml").write_text(GPT_SMALL, encoding="utf-8")
    (directory / "gpt-tiny.toml").write_text(GPT_TINY, encoding="utf-8")
    monkeypatch.setattr(registry, "recipes_directory", lambda: directory)
    monkeypatch.setattr(registry, "_registered_recipes", {})
    monkeypatch.setattr(components, "_registered", {group: {} for group in components.CORE})
    monkeypatch.setenv(plugins.VARIABLE, "")
    return directory


@pytest.fixture
def site(tmp_path: Path, recipes: Path) -> Site:
    """An empty site directory beside that zoo."""
    path = tmp_path / "site"
    path.mkdir()
    return Site(path, recipes)
