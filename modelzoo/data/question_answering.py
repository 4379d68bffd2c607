"""Batches for question answering: a question and a window of its context, and where the answer is.

B batch, T tokens of a window.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from modelzoo.data.batches import Batch, Batches
from modelzoo.data.packing import FramedRows
from modelzoo.data.raw import ANSWERED, read_examples
from modelzoo.errors import DataError, OverflowTextError
from modelzoo.runtime.text.spans import DEFAULTS, Context, Window, read_contexts, windows

__all__ = ["SpanBatches", "span_batches"]


class SpanBatches(Batches):
    """Batches whose rows are windows, with what it takes to turn logits into answers.

    Attributes:
        examples: `{"question", "context", "answers"}` each.
        contexts: of each example.
        windows: of each row.
        owners: (rows,) the number of each row's example; rows of an example follow each other.
    """

    examples: list[dict[str, Any]]
    contexts: list[Context]
    windows: list[Window]
    owners: np.ndarray


def span_batches(
    examples: object,
    tokenizer,
    *,
    length: int,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
    stride: int = DEFAULTS["stride"],
    trim: bool = False,
) -> SpanBatches:
    """Questions with windows over their contexts, padded to one length.

    Args:
        examples: `question` and `context`, and `answer` and `start` or `answers`: dicts, tuples, or
            whatever else `read_examples` reads.
        length: T.
        stride: tokens that two windows of a context share.
        trim: T is at most the length of the longest window, rounded up to a multiple of 8.

    Returns:
        Batches of
        x = {"token_ids", "segment_ids": (B, T) int32, "padding_mask": (B, T) bool},
        y = (B, 2) int32, the places of the first answer's first and last token, 0 and 0 in a window
        that does not hold it, and sample_weight = (B, 2) float32.

    Raises:
        DataError: an answer that is not in its context, or has no tokens.
        OverflowTextError: a question that leaves no room for its context.
    """
    found = list(read_examples(examples, fields=ANSWERED))
    texts = list(dict.fromkeys(one[key] for one in found for key in ("question", "context")))
    known = dict(zip(texts, read_contexts(tokenizer, texts), strict=True))
    rows: list[Window] = []
    owners: list[int] = []
    places: list[tuple[int, int]] = []
    for number, one in enumerate(found):
        question, context = known[one["question"]], known[one["context"]]
        try:
            own = windows(tokenizer, question.ids, context.ids, length, stride)
        except OverflowTextError as error:
            error.where = f"example {number + 1}"
            raise
        span = _tokens_of_answer(one, context, number + 1)
        rows += own
        owners += [number] * len(own)
        places += [_place_in(window, span) for window in own]
    tokens = [window.token_ids for window in rows]
    segments = [window.segment_ids for window in rows]
    framed = FramedRows(tokens, segments, tokenizer, length, trim)
    spans = np.array(places, np.int32)

    def make(rows: np.ndarray, generator: np.random.Generator) -> Batch:
        return framed.inputs(rows), spans[rows], np.ones((len(rows), 2), np.float32)

    batches = SpanBatches(
        make,
        num_rows=len(rows),
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        length=framed.length,
    )
    batches.examples, batches.windows, batches.owners = found, rows, np.array(owners)
    batches.contexts = [known[one["context"]] for one in found]
    return batches


def _tokens_of_answer(example: dict, context: Context, number: int) -> tuple[int, int] | None:
    """The first answer's first and last token in its context; `None` for no answer."""
    if not example["answers"]:
        return None
    answer = example["answers"][0]
    span = context.tokens_of(answer["start"], answer["start"] + len(answer["text"]))
    if span is None:
        raise DataError(
            f"the tokenizer has no token for the answer {answer['text']!r}",
            where=f"example {number}",
            next_step="leave the example out",
        )
    return span


def _place_in(window: Window, span: tuple[int, int] | None) -> tuple[int, int]:
    """Where a window has a span of its context's tokens; (0, 0) where it lacks some of them."""
    if span is None or span[0] < window.first or span[1] >= window.first + window.count:
        return 0, 0
    moved = window.place - window.first
    return span[0] + moved, span[1] + moved
