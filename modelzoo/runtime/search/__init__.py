"""Search by meaning: an index of vectors, over texts or media."""

from __future__ import annotations

from modelzoo.runtime import moved


def __getattr__(name: str) -> object:
    return moved(__name__, "modelzoo.runtime.search.index", name)
