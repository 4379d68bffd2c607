"""Files of images, sounds and videos as the arrays that a model was trained on."""

from __future__ import annotations

from modelzoo.runtime import moved


def __getattr__(name: str) -> object:
    return moved(__name__, "modelzoo.runtime.abilities.media", name)
