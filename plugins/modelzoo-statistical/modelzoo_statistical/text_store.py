"""The text that an n-gram model has read, in an array of fixed size. numpy only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from modelzoo.errors import DataError
from modelzoo_statistical.counts import BREAK


def pieces_of(token_ids, real, following, counted) -> Iterator[np.ndarray]:
    """The stretches of text in a batch, each as its first token and those to be predicted.

    Args:
        token_ids, real: (B, T), as a causal model reads them; `real` is false in the padding.
        following, counted: (B, T), the next tokens, and whether they are to be learned.

    Example:
        >>> ids, yes = np.array([[1, 2]]), np.array([[True, True]])
        >>> [piece.tolist() for piece in pieces_of(ids, yes, np.array([[2, 3]]), yes)]
        [[1, 2, 3]]
    """
    learned = np.asarray(real, bool) & np.asarray(counted, bool)
    for ids, after, row in zip(np.asarray(token_ids), np.asarray(following), learned, strict=True):
        places = np.flatnonzero(row)
        for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
            if len(run):
                yield np.concatenate([ids[run[:1]], after[run]]).astype(np.int32)


class TextStore:
    """Pieces behind one another in an array, with `BREAK` after each.

    A piece that is there already is not taken a second time: then a pass over the data counts
    once, however often `fit` repeats it, and with however many rows an epoch's last batch is filled
    up.

    Args:
        text: (capacity,) int32, which is copied.
        used: how much of it holds something.
    """

    def __init__(self, text: np.ndarray, used: int):
        self.text, self.used = np.array(text, np.int32), int(used)
        self._known = {piece.tobytes() for piece in self.pieces()}

    def pieces(self) -> list[np.ndarray]:
        """What is in it, without the breaks."""
        held = self.text[: self.used]
        return [part[part != BREAK] for part in np.split(held, np.flatnonzero(held == BREAK) + 1)][
            :-1
        ]

    def add(self, pieces: Iterable[np.ndarray]) -> list[np.ndarray]:
        """Take pieces in; returns those that were new.

        Raises:
            DataError: there is no room; what came before stays.
        """
        new = []
        for piece in pieces:
            key = piece.tobytes()
            if key in self._known:
                continue
            end = self.used + len(piece) + 1
            if end > len(self.text):
                raise DataError(
                    f"the text is longer than the {len(self.text):,} tokens that the model has "
                    "room to count",
                    next_step=f"--set max_tokens={4 * len(self.text)}, or train on less text",
                )
            self.text[self.used : end - 1], self.text[end - 1] = piece, BREAK
            self.used = end
            self._known.add(key)
            new.append(piece)
        return new
