"""How files become a model's inputs, as data: what is left out, and what is wrong with it.

A model says it as `{"image": {"size": [224, 224]}}`, `{"audio": {...}}`, with `{"video": {...}}`
for the frames of a film. Training, export and devices complete it here, so a default is one thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelzoo.errors import ModelzooError, nearest
from modelzoo.runtime.media.resizing import INTERPOLATIONS

__all__ = ["DEFAULTS", "RESIZES", "completed"]

RESIZES = ("squash", "crop", "pad")
PADDINGS = ("zeros", "repeat")
DEFAULTS: dict[str, dict[str, Any]] = {
    "image": {"resize": "squash", "resize_to": None, "interpolation": "bicubic"},
    "audio": {"padding": "zeros"},
    "video": {},
}
_NEEDED = {"image": ("size",), "audio": ("sample_rate", "num_samples"), "video": ("num_frames",)}
_CHOICES = {"resize": RESIZES, "interpolation": tuple(INTERPOLATIONS), "padding": PADDINGS}


def completed(processing: Mapping | None) -> dict[str, Any]:
    """A model's `processing` with the defaults of its media; what else it holds stays as it is.

    Raises:
        ModelzooError: a key that is missing, or a value that no device knows.

    Example:
        >>> completed({"audio": {"sample_rate": 16_000, "num_samples": 800}})["audio"]["padding"]
        'zeros'
    """
    found = dict(processing or {})
    for kind, defaults in DEFAULTS.items():
        if kind in found:
            found[kind] = {**defaults, **_checked(kind, found[kind])}
    if "video" in found and "image" not in found:
        raise _wrong("video", "there is no 'image' beside it, which says how a frame is made")
    return found


def _checked(kind: str, how: object) -> Mapping:
    if not isinstance(how, Mapping):
        raise _wrong(kind, f"it must be a dict, not {how!r}")
    for key in _NEEDED[kind]:
        if key not in how:
            raise _wrong(kind, f"it has no {key!r}")
        if not (_sides(how[key]) if key == "size" else _count(how[key])):
            wanted = "[height, width]" if key == "size" else "a number above 0"
            raise _wrong(kind, f"{key} must be {wanted}, not {how[key]!r}")
    for key in sorted(_CHOICES.keys() & how.keys()):
        if how[key] not in _CHOICES[key]:
            raise _wrong(
                kind,
                f"{key} {how[key]!r} is not one of {', '.join(_CHOICES[key])}",
                nearest(str(how[key]), _CHOICES[key]),
            )
    shorter = how.get("resize_to")
    if shorter is not None and not (_count(shorter) and shorter >= max(how["size"])):
        raise _wrong(kind, f"resize_to {shorter!r} leaves less than size to cut out")
    return how


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _sides(value: object) -> bool:
    return isinstance(value, Sequence) and len(value) == 2 and all(map(_count, value))


def _wrong(kind: str, what: str, near: str | None = None) -> ModelzooError:
    return ModelzooError(
        f"the model's processing of {kind} is wrong: {what}",
        did_you_mean=near,
        next_step=f"correct processing[{kind!r}] of the backbone; "
        f"it holds {', '.join((*_NEEDED[kind], *DEFAULTS[kind]))}",
    )
