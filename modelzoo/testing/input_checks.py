"""Is a row's answer its own: whatever else is in the batch, and however far it is padded?

B rows, T places. Masks are the inputs called `padding_mask` or `..._padding_mask`.
"""

from __future__ import annotations

import numpy as np

from modelzoo.testing.check import not_applicable
from modelzoo.testing.compare import check_equal, outputs_of
from modelzoo.testing.subject import Subject

MASK = "padding_mask"


def batch_invariance(subject: Subject) -> None:
    """A row alone gets the answer that it gets among others."""
    import keras

    x, _, _ = subject.batch()
    together = outputs_of(subject.model, x)
    alone = outputs_of(subject.model, keras.tree.map_structure(lambda a: np.asarray(a)[:1], x))
    # What compares rows with each other, (B, B), gives (1, 1) for a row alone.
    cut = {key: together[key][tuple(slice(size) for size in alone[key].shape)] for key in alone}
    check_equal(
        alone,
        cut,
        "the first row of a batch gets another answer alone",
        next_step="outside of training no layer may look across rows: see "
        "BatchNormalization(training=...), softmax and mean over axis 0",
    )


def padding_mask(subject: Subject) -> None:
    """What stands where the mask says padding changes nothing elsewhere."""
    x = _masked(subject)
    if all(x[key].all() for key in _masks(x)):
        for key in _masks(x):
            x[key] = x[key].copy()
            x[key][..., x[key].shape[-1] * 3 // 4 :] = 0
    changed = dict(x)
    for key in _masks(x):
        for name in _under(x, key):
            changed[name] = np.where(x[key], x[name], _others(x[name]))
    _check(
        subject,
        x,
        changed,
        "tokens under the padding mask change the answer elsewhere",
        "hand the mask to every layer that mixes places: attention, pooling, means",
    )


def length_invariance(subject: Subject) -> None:
    """More padding after a row changes nothing."""
    x = _masked(subject)
    longest = getattr(getattr(subject.model, "backbone", subject.model), "max_length", None)
    longer = dict(x)
    for key in _masks(x):
        length = x[key].shape[-1]
        more = min(length // 2 + 1, (longest or 2 * length) - length)
        if more < 1:
            not_applicable(f"its max_length of {longest} leaves no room for padding")
        for name in (key, *_under(x, key)):
            width = [(0, 0)] * (x[name].ndim - 1) + [(0, more)]
            longer[name] = np.pad(x[name], width)
    _check(
        subject,
        x,
        longer,
        "padding a batch further changes the answer",
        "divide by the number of real places, not by the length, and count positions from the "
        "first place",
    )


def _check(subject: Subject, x: dict, other: dict, what: str, next_step: str) -> None:
    right, found = outputs_of(subject.model, x), outputs_of(subject.model, other)
    masks = sorted((x[key] for key in _masks(x)), key=lambda mask: -mask.shape[-1])
    decoder = [x[key] for key in _masks(x) if key.startswith("decoder")]
    for name in right:
        for mask in (*decoder, *masks):
            if right[name].shape[: mask.ndim] == mask.shape:
                cut = found[name][tuple(slice(size) for size in mask.shape)]
                found[name], right[name] = cut[mask.astype(bool)], right[name][mask.astype(bool)]
                break
    check_equal(found, right, what, next_step=next_step)


def _masked(subject: Subject) -> dict:
    x, _, _ = subject.batch()
    if not isinstance(x, dict) or not _masks(x):
        not_applicable(f"{subject.name} takes no {MASK}")
    return {key: np.asarray(value) for key, value in x.items()}


def _masks(x: dict) -> list[str]:
    return [key for key in x if key.endswith(MASK)]


def _under(x: dict, mask: str) -> list[str]:
    """The integer inputs that the mask is about: of its prefix and its shape."""
    prefix = mask.removesuffix(MASK)
    return [
        key
        for key, value in x.items()
        if key != mask
        and value.shape == x[mask].shape
        and np.issubdtype(value.dtype, np.integer)
        and key.startswith(prefix)
        and (prefix or not key.startswith("decoder_"))
    ]


def _others(ids: np.ndarray) -> np.ndarray:
    """Other numbers of the same range, the same in each run."""
    top = int(ids.max()) + 1
    return (ids + 1) % max(top, 2)
