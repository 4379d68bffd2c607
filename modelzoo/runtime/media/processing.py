"""How files become a model's inputs, as data: what is left out, and what is wrong with it.

A model says it as `{"image": {"size": [224, 224]}}`, `{"audio": {...}}`, with `{"video": {...}}`
for the frames of a film. Training, export and devices complete it here, so a default is one thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelzoo.errors import ModelzooError, nearest, shown
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
# The largest value of each number, and of a side; what they say is allocated.
_MOST = {"sample_rate": 2**20, "num_samples": 2**28, "num_frames": 10_000}
_LONGEST = 2**16
# What the tables of tasks hold, where they hold it: the type of a value, or of each in a list.
_IDS, _TEXT, _NUMBER = [int], str, int | float
_TABLES: dict[str, dict[str, Any]] = {
    "answering": {"stride": int, "max_answer": int, "threshold": _NUMBER},
    "caption": {"before": _IDS, "between": _IDS, "after": _IDS, "image_token": int}
    | {"image_tokens": int},
    "contrastive": {"scales": {_TEXT: _NUMBER}, "bias": _NUMBER, "template": _TEXT, "loss": _TEXT},
    "transcription": {"language": _TEXT, "max_new_tokens": int, "suppress_tokens": _IDS}
    | {"begin_suppress_tokens": _IDS},
}
_CHOICES = {"resize": RESIZES, "interpolation": tuple(INTERPOLATIONS), "padding": PADDINGS}


def completed(processing: Mapping | None) -> dict[str, Any]:
    """A model's `processing` with the defaults of its media; what else it holds stays as it is.

    Raises:
        ModelzooError: a key that is missing, or a value that no device knows.

    Example:
        >>> completed({"audio": {"sample_rate": 16_000, "num_samples": 800}})["audio"]["padding"]
        'zeros'
    """
    if not isinstance(processing, Mapping | None):
        raise ModelzooError(f"the model's processing must be a table, not {shown(processing)}")
    found = dict(processing or {})
    for kind, defaults in DEFAULTS.items():
        if kind in found:
            found[kind] = {**defaults, **_checked(kind, found[kind])}
    for name, kinds in _TABLES.items():
        table = found.get(name) or {}
        if not isinstance(table, Mapping):
            raise _wrong(name, f"it must be a table, not {shown(table)}")
        for key in kinds.keys() & table.keys():
            if not _is(table[key], kinds[key]):
                raise _wrong(name, f"{key} must not be {shown(table[key])}")
    if "video" in found and "image" not in found:
        raise _wrong("video", "it needs an 'image' too, which says how a frame is made")
    return found


def _checked(kind: str, how: object) -> Mapping:
    if not isinstance(how, Mapping):
        raise _wrong(kind, f"it must be a dict, not {how!r}")
    for key in _NEEDED[kind]:
        if key not in how:
            raise _wrong(kind, f"it has no {key!r}")
        most = _MOST.get(key, _LONGEST)
        if not (_sides(how[key]) if key == "size" else _count(how[key], most)):
            wanted = "[height, width], each" if key == "size" else "a number"
            raise _wrong(kind, f"{key} must be {wanted} from 1 to {most:,}, not {shown(how[key])}")
    for key in sorted(_CHOICES.keys() & how.keys()):
        if not isinstance(how[key], str) or how[key] not in _CHOICES[key]:
            raise _wrong(
                kind,
                f"{key} {shown(how[key])} is not one of {', '.join(_CHOICES[key])}",
                nearest(str(how[key]), _CHOICES[key]),
            )
    shorter, fill = how.get("resize_to"), how.get("fill", 0)
    if shorter is not None and not _count(shorter, _LONGEST):
        raise _wrong(kind, f"resize_to must be from 1 to {_LONGEST:,}, not {shown(shorter)}")
    if shorter is not None and shorter < max(how["size"]):
        raise _wrong(kind, f"resize_to {shorter!r} leaves less than size to cut out")
    if kind == "image" and not (fill == 0 or _count(fill, 255)):
        raise _wrong(kind, f"fill must be from 0 to 255, not {shown(fill)}")
    return how


def _is(value: object, kind: Any) -> bool:
    """Whether a value is of a type, a list of one, a table of one, or missing."""
    if isinstance(kind, list):
        return isinstance(value, list | tuple) and all(_is(one, kind[0]) for one in value)
    if isinstance(kind, dict):
        (inner,) = kind.values()
        return isinstance(value, Mapping) and all(_is(one, inner) for one in value.values())
    return value is None or (isinstance(value, kind) and not isinstance(value, bool))


def _count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most


def _sides(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(_count(side, _LONGEST) for side in value)
    )


def _wrong(kind: str, what: str, near: str | None = None) -> ModelzooError:
    holds = (*_NEEDED[kind], *DEFAULTS[kind]) if kind in _NEEDED else _TABLES[kind]
    return ModelzooError(
        f"the model's processing of {kind} is wrong: {what}",
        did_you_mean=near,
        next_step=f"correct processing[{kind!r}] of the backbone; it holds {', '.join(holds)}",
    )
