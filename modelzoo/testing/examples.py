"""Raw examples made up for a task, after the names in its `fields`."""

from __future__ import annotations

TEXTS = ("text", "text_a", "text_b", "source", "target", "query", "question", "answer")
LABELS = ("label", "labels")
COUNT = 16

_SENTENCES = (
    "a rose is a rose",
    "the fox likes the rose, and the rose likes nobody",
    "the dog likes the fox",
    "a dog is not a fox. 狐狸不是狗。",
)


def is_text(fields) -> bool:
    """Whether a task's fields are all words that text tasks use."""
    return any(all(name in (*TEXTS, *LABELS) for name in names) for names in _sets(fields))


def guessed(task, model) -> list[dict] | None:
    """Examples for the first set of `task.fields` that can be made up, or `None`.

    Args:
        task: has `fields`, and perhaps the names of its `labels`.
        model: has perhaps a `backbone` that knows its `image_size` or `sample_rate`.
    """
    classes = list(getattr(task, "labels", None) or ("bad", "good"))
    for names in _sets(getattr(task, "fields", ())):
        columns = {name: _column(name, model, classes) for name in names}
        if columns and None not in columns.values():
            return [{name: columns[name][row] for name in names} for row in range(COUNT)]
    return None


def _sets(fields) -> list[tuple[str, ...]]:
    fields = tuple(fields or ())
    return [fields] if fields and all(isinstance(name, str) for name in fields) else list(fields)


def _column(name: str, model, classes: list) -> list | None:
    if name in TEXTS:
        shift = TEXTS.index(name)
        return [_SENTENCES[(row + shift) % len(_SENTENCES)] for row in range(COUNT)]
    if name in LABELS:
        return [classes[row % len(classes)] for row in range(COUNT)]
    if name in ("image", "images"):
        return _images(getattr(model, "backbone", model))
    if name in ("audio", "sound"):
        return _sounds(getattr(model, "backbone", model))
    return None


def _images(backbone) -> list:
    """(height, width, 3) uint8: noise in one of two colours."""
    import numpy as np

    size = getattr(backbone, "image_size", None) or 32
    height, width = size if isinstance(size, tuple | list) else (size, size)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 128, (COUNT, height, width, 3))
    noise[::2, ..., 0] += 127
    return list(noise.astype("uint8"))


def _sounds(backbone) -> list:
    """One second of a low or a high tone, float32."""
    import numpy as np

    rate = getattr(backbone, "sample_rate", None) or 16_000
    time = np.arange(rate) / rate
    tones = (np.sin(2 * np.pi * (220, 880)[row % 2] * time) for row in range(COUNT))
    return [0.3 * tone.astype("float32") for tone in tones]
