"""Text to token ids and back, and conversations to text: tokenizer, framing, chat templates."""

from __future__ import annotations

from modelzoo.runtime import moved


def __getattr__(name: str) -> object:
    return moved(__name__, "modelzoo.runtime.generation.stop_strings", name)
