"""Batches for text embedding: pairs of texts that belong together."""

from __future__ import annotations

import numpy as np

from modelzoo.data.batches import Batch, Batches
from modelzoo.data.classification import framed_texts
from modelzoo.data.packing import Ragged
from modelzoo.data.raw import PAIRS, read_examples

__all__ = ["pair_batches"]


def pair_batches(
    examples: object,
    tokenizer,
    *,
    length: int,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
    truncate: bool = True,
) -> Batches:
    """Both texts of each pair as "[CLS] text [SEP]", padded to one length.

    Args:
        examples: `text_a` and `text_b`: dicts, tuples, or whatever else `read_examples` reads.
        length: T.
        truncate: cut what is longer, and warn once with the count; else it is an error.

    Returns:
        Batches of
        x = {"token_ids": (B, 2, T) int32, "padding_mask": (B, 2, T) bool},
        y = (B,) int32, the number of text_b: equal where it is the same text,
        and sample_weight = (B,) float32.

    Raises:
        OverflowTextError: a text is longer, and `truncate` is off.
    """
    pairs = list(read_examples(examples, fields=PAIRS))
    tokens: list[list[int]] = []
    for name in ("text_a", "text_b"):
        texts = [pair[name] for pair in pairs]
        tokens += framed_texts(tokenizer, texts, (), length, truncate)[0]
    rows_of = Ragged(tokens)
    number: dict[str, int] = {}
    same = np.array([number.setdefault(pair["text_b"], len(number)) for pair in pairs], np.int32)
    padding = tokenizer.roles.get("pad", 0)

    def make(rows: np.ndarray, generator: np.random.Generator) -> Batch:
        both = np.stack([rows, rows + len(pairs)], axis=1).reshape(-1)
        token_ids, mask = rows_of.padded(both, length, padding)
        x = {"token_ids": token_ids, "padding_mask": mask}
        x = {key: value.reshape(len(rows), 2, length) for key, value in x.items()}
        return x, same[rows], np.ones(len(rows), np.float32)

    return Batches(make, num_rows=len(pairs), batch_size=batch_size, seed=seed, shuffle=shuffle)
