"""Tokens to arrays of one width, without a Python loop over tokens.

Letters: N rows, T length, B batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

__all__ = ["PADDING", "FramedRows", "Ragged", "encode_texts", "pack_tokens", "windows_of"]

PADDING = -1  # in windows: no token here. Never reaches a model.


class Ragged:
    """Rows of different lengths in one flat array.

    Attributes:
        values: (total,) int32.
        starts, lengths: (N,) int64.
    """

    def __init__(self, rows: Iterable[Sequence[int]]):
        arrays = [np.asarray(row, np.int32) for row in rows]
        self.lengths = np.array([len(array) for array in arrays], np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.values = np.concatenate([*arrays, np.zeros(0, np.int32)])

    def __len__(self) -> int:
        return len(self.lengths)

    def padded(self, rows: np.ndarray, length: int, padding: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows as (B, T) int32, and where they hold something, (B, T) bool."""
        position = np.arange(length)[None, :]
        mask = position < self.lengths[rows][:, None]
        return self.take(self.starts[rows][:, None] + position, mask, padding), mask

    def take(self, index: np.ndarray, mask: np.ndarray, padding: int) -> np.ndarray:
        """values[index] where the mask is true, `padding` elsewhere; the index may be outside."""
        if not self.values.size:
            return np.full(index.shape, padding, np.int32)
        safe = np.clip(index, 0, self.values.size - 1)
        return np.where(mask, self.values[safe], np.int32(padding))


class FramedRows:
    """Framed texts as the inputs of an encoder, padded to one length.

    Args:
        tokens, segments: ids of each row.
        length: T.
        trim: T is at most the length of the longest row, rounded up to a multiple of 8.

    Attributes:
        length: T.
    """

    def __init__(
        self,
        tokens: Iterable[Sequence[int]],
        segments: Iterable[Sequence[int]],
        tokenizer,
        length: int,
        trim: bool,
    ):
        self._tokens, self._segments = Ragged(tokens), Ragged(segments)
        self._padding = tokenizer.roles.get("pad", 0)
        longest = int(self._tokens.lengths.max(initial=1))
        self.length = min(length, -(-longest // 8) * 8) if trim else length

    def __len__(self) -> int:
        return len(self._tokens)

    def inputs(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Of some rows: `token_ids`, `segment_ids` (B, T) int32 and `padding_mask` (B, T) bool."""
        token_ids, mask = self._tokens.padded(rows, self.length, self._padding)
        segment_ids, _ = self._segments.padded(rows, self.length, 0)
        return {"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": mask}


def pack_tokens(documents: Iterable[Sequence[int]], length: int, eos: int) -> np.ndarray:
    """Documents as windows that predict every token exactly once.

    The stream is: eos, document, eos, document, eos … The first eos is there so that the first
    token is predicted too, and because an empty prompt begins with it. Windows overlap by one
    token: the last of one, which it predicts, is the first of the next, which reads it.

    Args:
        documents: token ids of each document.
        length: T.
        eos: the token between documents.

    Returns:
        (N, T + 1) int32; the end of the last window is filled with `PADDING`. No document, no row.
    """
    separator = np.array([eos], np.int32)
    parts = [separator]
    for document in documents:
        parts += [np.asarray(document, np.int32), separator]
    return windows_of(np.concatenate(parts), length)


def windows_of(stream: np.ndarray, length: int) -> np.ndarray:
    """A stream of tokens as (N, length + 1) windows with stride `length`: a view, not a copy."""
    count = max(0, -(-(len(stream) - 1) // length))
    padded = np.full(count * length + 1, PADDING, np.int32)
    padded[: len(stream)] = stream
    if count == 0:
        return np.zeros((0, length + 1), np.int32)
    return np.lib.stride_tricks.sliding_window_view(padded, length + 1)[::length]


def encode_texts(tokenizer, texts: Iterable[str], chunk: int = 4_000_000) -> Iterator[np.ndarray]:
    """The ids of each text, (n,) int32. Encodes some megabytes at a time, on all cores."""
    texts = iter(texts)
    while batch := list(_at_most(texts, chunk)):
        for ids in tokenizer.encode_batch(batch):
            yield np.array(ids, np.int32)


def _at_most(texts: Iterator[str], characters: int) -> Iterator[str]:
    for text in islice(texts, 50_000):
        yield text
        characters -= len(text)
        if characters <= 0:
            return
