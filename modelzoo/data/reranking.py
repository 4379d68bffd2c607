"""Batches for reranking: a question and a text, and how well the text answers it."""

from __future__ import annotations

import numpy as np

from modelzoo.data.batches import Batch, Batches
from modelzoo.data.classification import framed_texts
from modelzoo.data.packing import FramedRows
from modelzoo.data.raw import RERANKING, read_examples, without_labels
from modelzoo.errors import DataError
from modelzoo.runtime.text.keywords import keywords

__all__ = ["reranking_batches", "reranking_pairs"]


def reranking_pairs(
    examples: object, unlabelled: bool = False
) -> tuple[list[str], list[str], list[float]]:
    """(queries, texts, scores from 0 to 1) of examples: a row for each text.

    Args:
        examples: `query`, `text` and `score` (or `label`); or `query`, `positive` and `negatives`,
            a text or a list of them: whatever `read_examples` reads.
        unlabelled: `query` and `text` alone; then there are no scores.

    Raises:
        DataError: a score outside 0 to 1.

    Example:
        >>> reranking_pairs([{"query": "q", "positive": "a", "negatives": ["b", "c"]}])
        (['q', 'q', 'q'], ['a', 'b', 'c'], [1.0, 0.0, 0.0])
    """
    queries, texts, scores = [], [], []
    fields = without_labels(RERANKING) if unlabelled else RERANKING
    found = read_examples(examples, fields=fields, problem_type="regression")
    for number, example in enumerate(found, start=1):
        if "positive" in example:
            rows = [(example["positive"], 1.0), *((text, 0.0) for text in example["negatives"])]
        else:
            score = example.get("score", example.get("label", [0.0]))
            if len(score) != 1 or not 0 <= score[0] <= 1:
                raise DataError(
                    f"a score must be one number from 0 to 1, not {score}",
                    where=f"example {number}",
                    next_step="divide the scores by the highest",
                )
            rows = [(example["text"], score[0])]
        for text, score in rows:
            queries.append(example["query"])
            texts.append(text)
            scores.append(score)
    return queries, texts, scores


def reranking_batches(
    examples: object,
    tokenizer,
    *,
    length: int,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
    truncate: bool = True,
    trim: bool = False,
    unlabelled: bool = False,
) -> Batches:
    """Pairs as "[CLS] query [SEP] text [SEP]", padded to one length.

    Args:
        examples: see `reranking_pairs`.
        length: T.
        truncate: cut what is longer, and warn once with the count; else it is an error.
        trim: T is at most the length of the longest pair, rounded up to a multiple of 8.

    Returns:
        Batches of
        x = {"token_ids", "segment_ids": (B, T) int32, "padding_mask": (B, T) bool},
        y = (B, 1) float32, the score, and sample_weight = (B,) float32. `groups` says which rows
        have the same query, and `baseline` how many of a query's words the text has.

    Raises:
        DataError: a score outside 0 to 1.
        OverflowTextError: a pair is longer, and `truncate` is off.
    """
    queries, texts, scores = reranking_pairs(examples, unlabelled)
    framed = framed_texts(tokenizer, queries, texts, length, truncate)
    pairs = FramedRows(*framed, tokenizer, length, trim)
    targets = np.array(scores, np.float32)[:, None]

    def make(rows: np.ndarray, generator: np.random.Generator) -> Batch:
        x = pairs.inputs(rows)
        if unlabelled:
            return x, None, None
        return x, targets[rows], np.ones(len(rows), np.float32)

    batches = Batches(
        make,
        num_rows=len(pairs),
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        unlabelled=unlabelled,
        length=pairs.length,
    )
    batches.groups = np.unique(queries, return_inverse=True)[1]
    shared = [
        len({*keywords(query)} & {*keywords(text)})
        for query, text in zip(queries, texts, strict=True)
    ]
    batches.baseline = np.array(shared, float)
    return batches
