"""GGUF files, llama.cpp's: one file that holds configuration, weights and tokenizer.

`file` reads the file, `names` says what its tensors are called and how they are kept, `config`
makes a `config.json` of its metadata, `tokenizer` a `tokenizer.json`; `keys` says which other
metadata are known.
"""

from __future__ import annotations

import os

from modelzoo.errors import WeightsError
from modelzoo.weights.checkpoint import Checkpoint, Tensor
from modelzoo.weights.gguf.config import derive_config, find_architecture
from modelzoo.weights.gguf.file import GgufFile, StoredTensor, read_file
from modelzoo.weights.gguf.keys import check_keys, generation_of
from modelzoo.weights.gguf.names import (
    INTERLEAVED_HEADS,
    INTERLEAVED_KV_HEADS,
    PLUS_ONE,
    Architecture,
    find_name,
    restored,
    restored_shape,
)
from modelzoo.weights.gguf.tokenizer import read_tokenizer
from modelzoo.weights.provenance import card_of_gguf

__all__ = ["open_gguf"]

# Read into `config`, not weights of their own.
_IN_CONFIG = frozenset({"rope_freqs.weight"})


def open_gguf(path: str | os.PathLike, *, tokenizer: bool = True) -> Checkpoint:
    """Opens a `.gguf` file: its header is read now, each tensor when it is asked for.

    Args:
        path: the file.
        tokenizer: read the vocabulary too; switch it off to bring a `tokenizer.json` along.

    Returns:
        A checkpoint under Hugging Face's names and in its orientation. F16 stays float16; what is
        quantized becomes float32 as it is read.

    Raises:
        WeightsError: no GGUF file, one that is cut off or damaged, or one that holds an
            architecture, a quantization or a tokenizer that is not known here.
        MissingDependencyError: the package `gguf` is not installed.

    Example:
        >>> checkpoint = open_gguf("smollm2.gguf")
        >>> checkpoint.tensors["model.norm.weight"].shape
        (64,)

    Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
    """
    file = read_file(path)
    name, architecture = find_architecture(file)
    config = derive_config(file, name, architecture)
    tensors = _tensors(file, architecture, config)
    where, card = str(file.path), card_of_gguf(file.metadata)
    check_keys(file.metadata, where)
    generation = generation_of(file.metadata, where)
    extras = {"generation_config.json": generation} if generation else {}
    if not tokenizer:
        return Checkpoint(where, config, tensors, extras=extras, card=card)
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, list) and len(tokens) > config["vocab_size"]:
        what = f"{len(tokens)} tokens, but embeddings of {config['vocab_size']} only"
        raise WeightsError(what, where=file.path, next_step="download the file again")
    tokenizer_files = read_tokenizer(file.metadata, where)
    return Checkpoint(where, config, tensors, tokenizer_files, extras, card=card)


def _tensors(file: GgufFile, architecture: Architecture, config: dict) -> dict[str, Tensor]:
    tensors, foreign = {}, []
    for stored in file.tensors.values():
        found = find_name(architecture, stored.name)
        if found:
            tensors[found[0]] = _tensor(file, stored, found[1], config)
        elif stored.name not in _IN_CONFIG:
            foreign.append(stored.name)
    if foreign:
        more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
        raise WeightsError(
            f"{architecture.class_name} has no such tensors: {', '.join(foreign[:5])}{more}",
            where=file.path,
            next_step="the model is a variant that is not known here; take the original one",
        )
    return tensors


# How many heads the rows of a tensor are, that are interleaved so.
_COUNTS: dict[str | None, str] = {
    INTERLEAVED_HEADS: "num_attention_heads",
    INTERLEAVED_KV_HEADS: "num_key_value_heads",
}


def _tensor(file: GgufFile, stored: StoredTensor, change: str | None, config: dict) -> Tensor:
    key = _COUNTS.get(change)
    heads = config[key] if key else 1
    if key and stored.shape[0] % (2 * heads):
        what = f"its {stored.shape[0]} rows are not {heads} heads of rotary pairs"
        raise WeightsError(
            what, where=f"{file.path}: {stored.name}", next_step="download the file again"
        )
    half = stored.quantization == "F16" and change != PLUS_ONE
    return Tensor(
        restored_shape(stored.shape, change),
        "float16" if half else "float32",
        lambda: restored(file.values(stored), change, heads),
    )
