"""Batches of images, texts and sounds that belong together; some of them may be missing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

import numpy as np

from modelzoo.data.augment import augmenter
from modelzoo.data.batches import Batch, Batches
from modelzoo.data.classification import framed_texts
from modelzoo.data.media_rows import MediaRows, preparer
from modelzoo.data.packing import Ragged
from modelzoo.errors import DataError

__all__ = ["contrastive_batches"]


def contrastive_batches(
    examples: Sequence[Mapping],
    tokenizer,
    *,
    kinds: Sequence[str],
    processing: Mapping,
    batch_size: int,
    length: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
    augment: Mapping | None = None,
    truncate: bool = True,
) -> Batches:
    """One row an example; what it lacks is zeros, and has the number -1.

    Args:
        examples: dicts with two or more of `kinds`, as `data.media` reads them.
        tokenizer: for texts.
        kinds: what the model reads, of "image", "text" and "audio".
        processing: how files become inputs; see `runtime.media.images` and `runtime.media.sounds`.
        length: T, tokens of a text.
        augment: `{"image": {...}, "audio": {...}}`, how they are changed each time; see
            `data.augment`.
        truncate: cut texts that are longer, and warn once with the count; else it is an error.

    Returns:
        Batches of
        x = {"images": (B, H, W, 3) uint8, "token_ids": (B, T) int32, "padding_mask": (B, T) int32,
        "audio": (B, N) float32, "num_samples": (B,) int32}, those of `kinds`,
        y = {kind: (B,) int32}, equal where two rows hold the same, -1 where it is missing,
        and sample_weight = (B,) float32.

    Raises:
        DataError: an example with fewer than two of `kinds`; no example at all with one of them.
        OverflowTextError: a text is longer, and `truncate` is off.
    """
    examples = list(examples)
    for number, example in enumerate(examples, start=1):
        if sum(kind in example for kind in kinds) < 2:
            raise DataError(
                f"an example needs two of {', '.join(kinds)}, and has {', '.join(example)}",
                where=f"example {number}",
            )
    for kind in kinds:
        if not any(kind in example for example in examples):
            raise DataError(f"the model has a tower for {kind}, and no example has one")
    numbers = {kind: _numbers(examples, kind) for kind in kinds}
    columns = {
        kind: _media(examples, kind, processing, augment) for kind in kinds if kind != "text"
    }
    if "text" in kinds:
        columns["text"] = _texts(examples, tokenizer, length, truncate)

    def make(rows: np.ndarray, generator: np.random.Generator) -> Batch:
        x: dict[str, np.ndarray] = {}
        for kind in kinds:
            x |= columns[kind](rows, generator)
        y = {kind: numbers[kind][rows] for kind in kinds}
        return x, y, np.ones(len(rows), np.float32)

    return Batches(make, num_rows=len(examples), batch_size=batch_size, seed=seed, shuffle=shuffle)


def _texts(examples, tokenizer, length: int, truncate: bool):
    texts = [example.get("text", "") for example in examples]
    tokens, _ = framed_texts(tokenizer, texts, (), length, truncate)
    rows_of, padding = Ragged(tokens), tokenizer.roles.get("pad", 0)

    def column(rows, generator):
        token_ids, mask = rows_of.padded(rows, length, padding)
        # Not bool: under a strategy Keras adds up the replicas' batches to learn their shapes.
        return {"token_ids": token_ids, "padding_mask": mask.astype(np.int32)}

    return column


def _media(examples, kind: str, processing: Mapping, augment):
    """What gives the images or sounds of some rows; zeros for rows that have none."""
    media = MediaRows(examples, kind, preparer(kind, processing, truncate=True))
    change = augmenter(kind, (augment or {}).get(kind))

    def column(rows, generator):
        found = media[rows]
        main = found[0] if kind == "audio" else found
        if change is not None:
            main = change(main, generator)
        if kind == "audio":
            return {"audio": main, "num_samples": found[1].astype(np.int32)}
        return {"images": main}

    return column


def _numbers(examples, kind: str) -> np.ndarray:
    """(N,) int32: equal for the same text, file or content; -1 where there is none."""
    seen: dict = {}
    found = [
        seen.setdefault(_key(example[kind]), len(seen)) if kind in example else -1
        for example in examples
    ]
    return np.array(found, np.int32)


def _key(value):
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if isinstance(value, tuple):  # samples and their rate
        return tuple(_key(part) for part in value)
    if isinstance(value, bytes) or hasattr(value, "tobytes"):
        data = value if isinstance(value, bytes) else value.tobytes()
        return hashlib.sha256(data).digest()
    return value
