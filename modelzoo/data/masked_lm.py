"""Batches for BERT: guess the masked tokens, and whether B follows A (Devlin et al. 2018).

Letters: N rows, T length, B batch.
"""

from __future__ import annotations

import math

import numpy as np

from modelzoo.data.batches import Batch, Batches
from modelzoo.data.packing import Ragged, encode_texts
from modelzoo.data.raw import TEXT, read_examples
from modelzoo.data.sentences import split_sentences
from modelzoo.errors import DataError

__all__ = ["masked_lm_batches"]


def masked_lm_batches(
    examples: object,
    tokenizer,
    *,
    length: int,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
    mask_rate: float = 0.15,
    next_sentence: bool = True,
) -> Batches:
    """Rows "[CLS] A [SEP] B [SEP]" of whole sentences, masked again at each step.

    A and B are neighbours in a document; in half the rows, at random, B comes from another document
    instead. (From elsewhere in the same one, where there is only one.) Of the tokens, `mask_rate`
    are to be guessed: 80% become [MASK], 10% any other token, 10% stay.

    Args:
        examples: documents: texts, dicts with `text`, or whatever else `read_examples` reads.
        tokenizer: needs the roles "cls", "sep" and "mask".
        length: T. Longer sentences go on in the next row.
        mask_rate: share of the tokens that are to be guessed; at least one in a row.
        next_sentence: without it, rows are "[CLS] A [SEP]", and y and sample_weight have no "nsp".

    Returns:
        Batches of
        x = {"token_ids", "segment_ids": (B, T) int32, "padding_mask": (B, T) bool,
             "mask_positions": (B, M) int32, where tokens are to be guessed},
        y = {"mlm": (B, M) int32, the tokens there before, "nsp": (B,) int32, 0 if B follows A},
        sample_weight = {"mlm": (B, M) float32, 0 where a row has fewer, "nsp": (B,) float32}.
    """
    cls, sep, mask = (tokenizer.role(role) for role in ("cls", "sep", "mask"))
    padding = tokenizer.roles.get("pad", 0)
    special = 3 if next_sentence else 2
    room = length - special
    if room < 2:
        raise DataError(f"length={length} has no room for a pair; take {special + 2} or more")
    if not 0 < mask_rate < 1:
        raise DataError(f"mask_rate must be between 0 and 1, not {mask_rate}")
    first, second, document = _pairs(examples, tokenizer, room, next_sentence)
    ordinary = np.array(sorted(set(range(tokenizer.vocab_size)) - tokenizer.special_ids), np.int32)
    position = np.arange(length)[None, :]  # (1, T)
    most = max(1, math.ceil(mask_rate * room))  # M

    def make(rows: np.ndarray, generator: np.random.Generator) -> Batch:
        follows, source = _choose(rows, document, generator, next_sentence)
        a = first.lengths[rows][:, None]  # (B, 1)
        b = np.minimum(second.lengths[source][:, None], room - a)
        in_a = (position >= 1) & (position <= a)
        start_b = a + 2
        in_b = (position >= start_b) & (position < start_b + b)
        end = start_b + b if next_sentence else a + 1  # of the last [SEP]
        token_ids = np.full((len(rows), length), padding, np.int32)
        token_ids = np.where((position == a + 1) | (position == end), np.int32(sep), token_ids)
        token_ids[:, 0] = cls
        from_a = first.take(first.starts[rows][:, None] + position - 1, in_a, padding)
        from_b = second.take(second.starts[source][:, None] + position - start_b, in_b, padding)
        token_ids = np.where(in_a, from_a, np.where(in_b, from_b, token_ids))
        guessed = _choose_masked(in_a | in_b, mask_rate, generator)
        at = np.argsort(~guessed, axis=1, kind="stable")[:, :most].astype(np.int32)  # (B, M)
        x = {
            "token_ids": _mask(token_ids, guessed, mask, ordinary, generator),
            "segment_ids": ((position >= start_b) & (position <= end)).astype(np.int32),
            "padding_mask": position <= end,
            "mask_positions": at,
        }
        y = {"mlm": np.take_along_axis(token_ids, at, axis=1)}
        weight = {"mlm": np.take_along_axis(guessed, at, axis=1).astype(np.float32)}
        if next_sentence:
            y["nsp"] = (~follows).astype(np.int32)  # BERT's order: class 0 says "is next"
            weight["nsp"] = np.ones(len(rows), np.float32)
        return x, y, weight

    return Batches(make, num_rows=len(document), batch_size=batch_size, seed=seed, shuffle=shuffle)


def _pairs(
    examples: object, tokenizer, room: int, in_two: bool
) -> tuple[Ragged, Ragged, np.ndarray]:
    """The A and the B of each row, and its document, (N,) ascending."""
    sentences: list[str] = []
    counts: list[int] = []
    for example in read_examples(examples, fields=TEXT):
        found = split_sentences(example["text"])
        sentences += found
        counts.append(len(found))
    encoded = encode_texts(tokenizer, sentences)
    first, second, document = [], [], []
    for number, count in enumerate(counts):
        for tokens, cut in _windows([next(encoded) for _ in range(count)], room):
            if not in_two:
                cut = len(tokens)
            elif len(tokens) < 2:
                continue  # one token makes no pair
            first.append(tokens[:cut])
            second.append(tokens[cut:])
            document.append(number)
    if not document:
        raise DataError("the data holds no text that makes a row: every document is empty")
    return Ragged(first), Ragged(second), np.array(document)


def _windows(sentences: list[np.ndarray], room: int) -> list[tuple[np.ndarray, int]]:
    """A document as rows of whole sentences, and where each is cut in two: between sentences."""
    pieces = [s[at : at + room] for s in sentences for at in range(0, len(s), room)]
    rows: list[list[np.ndarray]] = []
    size = 0
    for piece in pieces:
        if not rows or size + len(piece) > room:
            rows.append([])
            size = 0
        rows[-1].append(piece)
        size += len(piece)
    windows = []
    for row in rows:
        ends = np.cumsum([len(piece) for piece in row])
        total = int(ends[-1])
        cut = int(ends[np.argmin(np.abs(ends[:-1] - total / 2))]) if len(row) > 1 else total // 2
        windows.append((np.concatenate(row), cut))
    return windows


def _choose(
    rows: np.ndarray, document: np.ndarray, generator: np.random.Generator, pairs: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Whether B follows A, (B,) bool, and the row that B is taken from, (B,)."""
    total = len(document)
    follows = generator.random(len(rows)) < 0.5
    if not pairs or total == 1:
        return np.ones(len(rows), bool), rows
    # Rows of one document are neighbours: a step that leaves them lands on another document.
    start = np.searchsorted(document, document[rows], "left")
    end = np.searchsorted(document, document[rows], "right")
    if document[0] == document[-1]:  # one document: any other row of it
        start, end = rows, rows + 1
    others = total - (end - start)
    elsewhere = (end + generator.integers(0, others)) % total
    return follows, np.where(follows, rows, elsewhere)


def _choose_masked(
    candidates: np.ndarray, rate: float, generator: np.random.Generator
) -> np.ndarray:
    """`rate` of each row's candidates, at least one; (B, T) bool."""
    score = np.where(candidates, generator.random(candidates.shape), np.inf)
    rank = score.argsort(axis=1).argsort(axis=1)
    count = np.maximum(1, np.rint(rate * candidates.sum(axis=1)))[:, None]
    return candidates & (rank < count)


def _mask(
    token_ids: np.ndarray,
    guessed: np.ndarray,
    mask: int,
    ordinary: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """80% of the guessed tokens become [MASK], 10% any ordinary token, 10% stay."""
    lot = generator.random(token_ids.shape)
    random_ids = ordinary[generator.integers(0, len(ordinary), token_ids.shape)]
    masked = np.where(guessed & (lot < 0.8), np.int32(mask), token_ids)
    return np.where(guessed & (lot >= 0.8) & (lot < 0.9), random_ids, masked)
