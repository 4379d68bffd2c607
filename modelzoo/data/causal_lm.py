"""Batches for causal language models: predict the next token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

import numpy as np

from modelzoo.data.batches import Batch, Batches
from modelzoo.data.packing import PADDING, encode_texts, pack_tokens
from modelzoo.data.raw import TEXT, read_examples
from modelzoo.errors import DataError

__all__ = ["causal_lm_batches"]


def causal_lm_batches(
    examples: object,
    tokenizer,
    *,
    length: int,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
) -> Batches:
    """Packs documents into windows of `length` tokens; `evaluation()` predicts each token once.

    Args:
        examples: documents: texts, dicts with `text`, or whatever else `read_examples` reads; or,
            all of them, sequences of token ids.
        tokenizer: needs the role "eos", which joins the documents.
        length: T, tokens that a row reads and predicts.

    Returns:
        Batches of
        x = {"token_ids": (B, T) int32, "padding_mask": (B, T) bool},
        y = (B, T) int32, the next token, and sample_weight = (B, T) float32, 0 in the padding.
        `num_tokens` and `num_bytes` count what is predicted: bits per byte are the summed loss in
        nats / (ln 2 * num_bytes). The eos after each document is a token, and no byte.
    """
    eos = tokenizer.role("eos")
    padding = np.int32(tokenizer.roles.get("pad", eos))
    documents, num_bytes = _tokens(examples, tokenizer)
    documents = [ids for ids in documents if len(ids)]
    if not documents:
        raise DataError("the data holds no text: every document is empty")
    windows = pack_tokens(documents, length, eos)

    def make(rows: np.ndarray, generator: np.random.Generator) -> Batch:
        window = windows[rows]  # (B, T + 1)
        token_ids, y = window[:, :-1], window[:, 1:]
        mask, predicted = token_ids != PADDING, y != PADDING
        x = {"token_ids": np.where(mask, token_ids, padding), "padding_mask": mask}
        return x, np.where(predicted, y, padding), predicted.astype(np.float32)

    return Batches(
        make,
        num_rows=len(windows),
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        num_tokens=sum(len(ids) + 1 for ids in documents),
        num_bytes=num_bytes,
    )


def _tokens(examples: object, tokenizer) -> tuple[list[np.ndarray], int]:
    """The ids of each document, and the UTF-8 bytes of all of them."""
    if isinstance(examples, Iterable) and not isinstance(examples, str | Mapping):
        if not hasattr(examples, "as_numpy_iterator"):
            examples = iter(examples)
            first = list(islice(examples, 1))
            examples = chain(first, examples)
            if first and _is_token_ids(first[0]):
                documents = [np.asarray(ids, np.int32) for ids in examples]
                texts = (tokenizer.decode(ids.tolist()) for ids in documents)
                return documents, sum(len(text.encode()) for text in texts)
    sizes: list[int] = []

    def texts() -> Iterator[str]:
        for example in read_examples(examples, fields=TEXT):
            sizes.append(len(example["text"].encode()))
            yield example["text"]

    return list(encode_texts(tokenizer, texts())), sum(sizes)


def _is_token_ids(document: object) -> bool:
    if isinstance(document, np.ndarray):
        return document.ndim == 1 and document.dtype.kind in "iu"
    return isinstance(document, list | tuple) and all(isinstance(id, int) for id in document)
