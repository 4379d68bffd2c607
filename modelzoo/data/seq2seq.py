"""Batches for sequence-to-sequence models: read the source, write the target."""

from __future__ import annotations

import numpy as np

from modelzoo.data.batches import Batch, Batches
from modelzoo.data.lengths import check_lengths
from modelzoo.data.packing import Ragged, encode_texts
from modelzoo.data.raw import SEQ2SEQ, read_examples

__all__ = ["seq2seq_batches"]


def seq2seq_batches(
    examples: object,
    tokenizer,
    *,
    length: int,
    batch_size: int,
    target_length: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
    truncate: bool = True,
    start_token: int | None = None,
) -> Batches:
    """Source and target, each padded to its length.

    Args:
        examples: `source` and `target`: dicts, tuples, or whatever else `read_examples` reads.
        tokenizer: needs the role "eos", which ends both.
        length: S, of the source.
        target_length: T; as `length` if not given.
        truncate: cut what is longer, and warn once with the count; else it is an error.
        start_token: what the decoder reads first; "pad" if not given, as in T5, else "bos", "eos".

    Returns:
        Batches of
        x = {"token_ids": (B, S) int32, "padding_mask": (B, S) bool,
             "decoder_token_ids": (B, T) int32, "decoder_padding_mask": (B, T) bool},
        y = (B, T) int32, what the decoder writes, and sample_weight = (B, T) float32.

    Raises:
        OverflowTextError: an example is longer, and `truncate` is off.
    """
    eos = tokenizer.role("eos")
    padding = tokenizer.roles.get("pad", eos)
    if start_token is None:
        start_token = first_token(tokenizer)
    target_length = target_length or length
    pairs = list(read_examples(examples, fields=SEQ2SEQ))
    sources = [pair["source"] for pair in pairs]
    targets = [pair["target"] for pair in pairs]
    source_ids = [ids.tolist() for ids in encode_texts(tokenizer, sources)]
    framed = [tokenizer.frame_source(ids) for ids in source_ids]
    target_ids = [[*ids.tolist(), eos] for ids in encode_texts(tokenizer, targets)]
    check_lengths([len(ids) for ids in framed], length, truncate, what="source")
    check_lengths([len(ids) for ids in target_ids], target_length, truncate, what="target")
    source = Ragged(tokenizer.frame_source(ids, length, truncate=True) for ids in source_ids)
    target = Ragged(_fit(ids, target_length) for ids in target_ids)

    def make(rows: np.ndarray, generator: np.random.Generator) -> Batch:
        token_ids, mask = source.padded(rows, length, padding)
        y, written = target.padded(rows, target_length, padding)
        x = {
            "token_ids": token_ids,
            "padding_mask": mask,
            **shifted(y, written, start_token, padding),
        }
        return x, y, written.astype(np.float32)

    return Batches(
        make,
        num_rows=len(source),
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        num_tokens=int(target.lengths.sum()),
        num_bytes=sum(len(text.encode()) for text in targets),
    )


def first_token(tokenizer) -> int:
    """What a decoder reads first: the role "start", else "pad", as in T5, else "bos", "eos"."""
    roles = tokenizer.roles
    return roles.get("start", roles.get("pad", roles.get("bos", tokenizer.role("eos"))))


def shifted(
    y: np.ndarray, written: np.ndarray, start_token: int, padding: int
) -> dict[str, np.ndarray]:
    """What a decoder reads to write y (B, T), whose tokens `written` (B, T) marks."""
    read = np.concatenate([np.full((len(y), 1), start_token, np.int32), y[:, :-1]], axis=1)
    return {
        "decoder_token_ids": np.where(written, read, np.int32(padding)),
        "decoder_padding_mask": written,
    }


def _fit(ids: list[int], length: int) -> list[int]:
    """Cut so that eos still ends it."""
    return ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
