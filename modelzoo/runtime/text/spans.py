"""Spans of a text: windows over a long one, and the answers that a model's logits point at.

Training, evaluation and devices share this. Letters: n tokens of the context, T of a window.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from modelzoo.errors import OverflowTextError

if TYPE_CHECKING:
    from modelzoo.runtime.text.tokenizer import Tokenizer

__all__ = ["DEFAULTS", "Answer", "Context", "Window", "best_answers", "read_contexts", "windows"]

# What a bundle's `processing` says under "answering" where it differs.
DEFAULTS: dict = {"stride": 128, "max_answer": 30, "threshold": None}
_LEAST = 8  # tokens of a context that a window has room for


class Answer(NamedTuple):
    """A part of a context.

    Attributes:
        text: as it stands in the context; `None` says that the context holds no answer, and so
            `start` and `end` are `None` too.
        start, end: characters of the context: `context[start:end]` is the text.
        score: its probability among all parts of the context that may be an answer, and "no
            answer" where the model may give none.
    """

    text: str | None
    start: int | None
    end: int | None
    score: float


@dataclass(frozen=True)
class Context:
    """A text with its tokens.

    Attributes:
        text: any text.
        ids: (n,) its tokens.
        starts, ends: (n,) the first character of each token and the one after its last, without
            white space around it; equal for white space alone.
    """

    text: str
    ids: Sequence[int]
    starts: np.ndarray
    ends: np.ndarray

    def tokens_of(self, start: int, end: int) -> tuple[int, int] | None:
        """The first and the last token that hold some of the characters; `None` for no token.

        >>> Context("a b", [7, 8], np.array([0, 2]), np.array([1, 3])).tokens_of(2, 3)
        (1, 1)
        """
        first = int(np.searchsorted(self.ends, start, side="right"))
        last = int(np.searchsorted(self.starts, end, side="left")) - 1
        return (first, last) if first <= last else None


def read_contexts(
    tokenizer: Tokenizer, texts: Sequence[str], lowercase: bool = False
) -> list[Context]:
    """Texts with their tokens, on all cores.

    Args:
        lowercase: encode them in lower case; the texts stay as they are.
    """
    found = []
    encoded = tokenizer.encode_offsets([lowered(text) for text in texts] if lowercase else texts)
    for text, (ids, offsets) in zip(texts, encoded, strict=True):
        places = np.array([_trimmed(text, *one) for one in offsets], np.int64).reshape(-1, 2)
        found.append(Context(text, ids, places[:, 0], places[:, 1]))
    return found


def lowered(text: str) -> str:
    """A text in lower case, as long as before.

    >>> lowered("İA"), len("İA".lower())
    ('İa', 3)
    """
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(one if len(one.lower()) > 1 else one.lower() for one in text)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


@dataclass(frozen=True)
class Window:
    """A question and a part of its context, framed for an encoder.

    Attributes:
        token_ids, segment_ids: (T,) of them.
        first, count: which of the context's tokens they hold.
        place: where the first of these stands in `token_ids`. Place 0 means "no answer".
    """

    token_ids: list[int]
    segment_ids: list[int]
    first: int
    count: int
    place: int


def windows(
    tokenizer: Tokenizer,
    question: Sequence[int],
    context: Sequence[int],
    length: int,
    stride: int = DEFAULTS["stride"],
) -> list[Window]:
    """Windows of at most `length` tokens over a context, each after the question.

    Args:
        question, context: their token ids.
        stride: tokens that two neighbours share, as in `transformers`; at most half of what a
            window has room for.

    Raises:
        OverflowTextError: the question leaves no room for the context.
    """
    before, after = tokenizer.around_second(len(question))
    room = length - before - after
    if room < min(len(context), _LEAST):
        raise OverflowTextError(
            f"the question has {len(question)} tokens and the model reads {length}: there is no "
            "room for the context",
            next_step="shorten the question, or take a model with longer windows",
        )
    step = room - min(stride, room // 2)
    firsts = [0]
    while firsts[-1] + room < len(context):
        firsts.append(firsts[-1] + step)
    found = []
    for first in firsts:
        part = context[first : first + room]
        ids, segments = tokenizer.frame_pair(question, part)
        found.append(Window(ids, segments, first, len(part), before))
    return found


def best_answers(
    context: Context,
    read: Iterable[tuple[Window, np.ndarray, np.ndarray]],
    n_best: int = 1,
    max_answer: int = DEFAULTS["max_answer"],
    threshold: float | None = None,
) -> list[Answer]:
    """The likeliest answers, the best first, no two of the same characters.

    A span's score is the sum of its two logits, in the window where it is the highest.

    Args:
        read: each window with its logits of a start and of an end, (T,) each.
        n_best: answers, at most; fewer where the context has fewer spans.
        max_answer: tokens of an answer, at most.
        threshold: what the score of "no answer" must exceed the best span's by to be the best
            itself; `None` leaves it out. Its score is the lowest of the windows' (Devlin et al.
            2019, 4.3; the two logits of place 0).
    """
    count = len(context.ids)
    max_answer = min(max_answer, count)
    scores = np.full((count, max_answer), -np.inf)  # of the span from token i to token i + k
    null = np.inf
    for window, start, end in read:
        here = slice(window.place, window.place + window.count)
        rows = slice(window.first, window.first + window.count)
        sums = start[here].astype(np.float64)[:, None] + _following(end[here], max_answer, -np.inf)
        scores[rows] = np.maximum(scores[rows], sums)
        null = min(null, float(start[0]) + float(end[0]))
    blank = context.starts >= context.ends
    scores[blank[:, None] | _following(blank, max_answer, True)] = -np.inf
    flat = scores.ravel()
    found: dict[tuple[int, int], float] = {}
    for at in np.argsort(-flat, kind="stable"):
        if len(found) == n_best or flat[at] == -np.inf:
            break
        first, length = divmod(int(at), max_answer)
        place = int(context.starts[first]), int(context.ends[first + length])
        found.setdefault(place, float(flat[at]))
    ranked: list[tuple[float, tuple[int, int] | None]] = [(s, place) for place, s in found.items()]
    if threshold is not None:
        ranked.append((null - threshold, None))
    ranked.sort(key=lambda one: -one[0])
    every = np.append(flat, [] if threshold is None else null - threshold)
    total = float(np.logaddexp.reduce(every))
    return [
        Answer(None, None, None, float(np.exp(score - total)))
        if place is None
        else Answer(context.text[slice(*place)], *place, float(np.exp(score - total)))
        for score, place in ranked[:n_best]
    ]


def _following(values: np.ndarray, count: int, fill) -> np.ndarray:
    """(n, count): each value and those after it, `fill` after the last."""
    padded = np.concatenate([values, np.full(count - 1, fill)])
    return np.lib.stride_tricks.sliding_window_view(padded, count)
