"""One site directory with every small plugin, seen by this process while the tests here run."""

from __future__ import annotations

import os
import sys

import pytest

from modelzoo import plugins
from modelzoo.registry import recipes_directory
from modelzoo.testing import Skipped, plugin_checks
from tests.plugin_site import Site


@pytest.fixture(scope="session")
def crowd(tmp_path_factory) -> Site:
    """A site directory that this process and its children see."""
    site = Site(tmp_path_factory.mktemp("crowd"), recipes_directory())
    before = os.environ.pop(plugins.VARIABLE, None)
    sys.path.insert(0, str(site.path))
    yield site
    sys.path.remove(str(site.path))
    if before is not None:
        os.environ[plugins.VARIABLE] = before


@pytest.fixture
def check(crowd, monkeypatch):
    """`check("acme", "fit")`: that check of that plugin, called; a Skipped, None, or it raises."""
    monkeypatch.delenv(plugins.VARIABLE, raising=False)

    def call(namespace: str, rule: str, **options) -> Skipped | None:
        from modelzoo.plugins import discovery

        monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)  # so that a skip is a value
        discovery._discover.cache_clear()
        discovery._metadata_folders.cache_clear()
        (found,) = [c for c in plugin_checks(namespace, **options) if c.rule == rule]
        return found()

    return call
