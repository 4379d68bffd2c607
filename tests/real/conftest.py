"""Real weights are large: what a test wrote goes before the next one begins."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(autouse=True)
def little_room(tmp_path):
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)
