"""Tokens one after another: the loop, sampling, prefill, conversations, stop strings."""

from __future__ import annotations

from modelzoo.runtime import moved


def __getattr__(name: str) -> object:
    return moved(__name__, "modelzoo.runtime.generation.loop", name)
