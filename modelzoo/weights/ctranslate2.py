"""Whisper as CTranslate2 keeps it: `model.bin`, with queries, keys and values in one matrix.

A directory holds `model.bin`, `config.json` with the tokens that are not to be said, and maybe
`tokenizer.json`. What is read here is in float32 or float16; 8-bit files are rejected.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.errors import WeightsError
from modelzoo.files import read_json
from modelzoo.weights.checkpoint import Checkpoint, Tensor
from modelzoo.weights.tokenizer_files import read_tokenizer_files

__all__ = ["is_ctranslate2", "open_ctranslate2"]

NAME = "model.bin"
_SPEC, _VERSIONS = "WhisperSpec", range(5, 7)
_DTYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")
_LONGEST = 64  # bytes of a specification's name


@dataclass(frozen=True)
class _Stored:
    """One variable of the file: where its numbers are and how to read them."""

    shape: tuple[int, ...]
    dtype: str
    offset: int


def is_ctranslate2(path: str | os.PathLike) -> bool:
    """Whether a file, or the `model.bin` of a directory, begins as CTranslate2's do.

    >>> is_ctranslate2("pytorch_model.bin")
    False
    """
    path = _file(Path(path))
    if path.suffix != ".bin" or not path.is_file():
        return False
    with open(path, "rb") as file:
        start = file.read(6 + _LONGEST)
    if len(start) < 8:
        return False
    version, length = struct.unpack_from("<IH", start)
    name = start[6 : 6 + length]
    return version < 64 and 1 < length <= _LONGEST and name.endswith(b"Spec\0")


def open_ctranslate2(path: str | os.PathLike) -> Checkpoint:
    """Open a Whisper of CTranslate2; its tensors are read when they are asked for.

    Returns: a checkpoint under Hugging Face's names and in its orientation.

    Raises:
        WeightsError: another model than Whisper, another version of the format, 8-bit weights, or a
            file that is cut off.

    Example:
        >>> # Takes a Whisper in that format, and tests/weights/test_ctranslate2.py writes one.
        >>> open_ctranslate2("whisper-tiny-en").config["model_type"]  # doctest: +SKIP
        'whisper'

    Source: https://github.com/OpenNMT/CTranslate2, python/ctranslate2/specs/model_spec.py
    """
    file = _file(Path(path))
    variables = _Reader(file).read()
    tensors = {name: tensor for name, tensor in _tensors(file, variables)}
    config = _config(file, variables)
    tokenizer = read_tokenizer_files(file.parent, config)
    return Checkpoint(os.fspath(path), config, tensors, tokenizer)


def _file(path: Path) -> Path:
    return path / NAME if path.is_dir() else path


# === The file ===


class _Reader:
    """Walks through the variables; numbers stay where they are."""

    def __init__(self, path: Path):
        self.path, self.size = path, path.stat().st_size

    def read(self) -> dict[str, _Stored]:
        with open(self.path, "rb") as self.file:
            version = self._number("I")
            spec = self._name()
            if spec != _SPEC or version not in _VERSIONS:
                raise WeightsError(
                    f"it holds a {spec} in version {version} of the format",
                    where=self.path,
                    next_step=f"what is read here is {_SPEC}, versions "
                    f"{_VERSIONS.start} and {_VERSIONS.stop - 1}",
                )
            self._number("I")  # the specification's revision
            found = dict(self._variable() for _ in range(self._number("I")))
            for _ in range(self._number("I")):
                alias, name = self._name(), self._name()
                if name in found:
                    found[alias] = found[name]
        return found

    def _variable(self) -> tuple[str, _Stored]:
        name, rank = self._name(), self._number("B")
        shape = tuple(self._number("I") for _ in range(rank))
        kind, size = self._number("B"), self._number("I")
        offset = self.file.tell()
        known = kind < len(_DTYPES)
        wanted = int(np.prod(shape, dtype=np.int64)) * _width(_DTYPES[kind]) if known else -1
        if wanted != size or offset + size > self.size:
            raise self._damaged(name)
        self.file.seek(size, os.SEEK_CUR)
        return name, _Stored(shape, _DTYPES[kind], offset)

    def _number(self, form: str) -> int:
        raw = self.file.read(struct.calcsize(form))
        if len(raw) < struct.calcsize(form):
            raise self._damaged("its header")
        return struct.unpack(f"<{form}", raw)[0]

    def _name(self) -> str:
        length = self._number("H")
        raw = self.file.read(length)
        if len(raw) < length:
            raise self._damaged("a name")
        return raw.rstrip(b"\0").decode("utf-8", "replace")

    def _damaged(self, what: str) -> WeightsError:
        return WeightsError(
            f"{self.path.name} is damaged or not whole, at {what}",
            where=self.path,
            next_step="fetch it again",
        )


def _width(dtype: str) -> int:
    return {"float32": 4, "int32": 4, "int8": 1}.get(dtype, 2)


def _read(path: Path, stored: _Stored) -> np.ndarray:
    dtype = stored.dtype
    if dtype == "bfloat16":
        from ml_dtypes import bfloat16 as dtype
    return np.memmap(path, dtype, "r", stored.offset, stored.shape)


# === Names ===


def _tensors(path: Path, variables: dict[str, _Stored]) -> Iterator[tuple[str, Tensor]]:
    """Their variables under Hugging Face's names, fused ones in their parts."""
    for name, stored in variables.items():
        if not stored.shape or name.endswith(("num_heads", "alignment_heads")):
            continue
        if name == "decoder/projection/weight":  # the table again
            continue
        if "float" not in stored.dtype:
            raise WeightsError(
                f"{name} is stored as {stored.dtype}, which is not supported",
                where=path,
                next_step="convert the model with --quantization float16",
            )
        read = partial(_read, path, stored)
        parts = _parts(name, stored.shape[0])
        if not parts:
            raise WeightsError(f"it has no place for {name}", where=path)
        rows = stored.shape[0] // len(parts)
        for index, part in enumerate(parts):
            if part.endswith("k_proj.bias"):  # a key's bias is none; softmax takes no notice of it
                continue
            shape = (rows, *stored.shape[1:])
            yield part, Tensor(shape, stored.dtype, partial(_rows, read, index * rows, rows))


def _rows(read: Callable[[], np.ndarray], start: int, count: int) -> np.ndarray:
    return read()[start : start + count]


_TOP = {
    "decoder/embeddings/weight": "model.decoder.embed_tokens.weight",
    "decoder/position_encodings/encodings": "model.decoder.embed_positions.weight",
    "encoder/position_encodings/encodings": "model.encoder.embed_positions.weight",
}
_NORMS = {"self_attention": "self_attn_layer_norm", "attention": "encoder_attn_layer_norm"}
_LINEAR = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
}


def _parts(name: str, rows: int) -> list[str]:
    """The tensors of theirs that one variable holds, one above the other.

    >>> _parts("decoder/layer_0/attention/linear_1/bias", 8)
    ['model.decoder.layers.0.encoder_attn.k_proj.bias', \
'model.decoder.layers.0.encoder_attn.v_proj.bias']
    """
    if name in _TOP:
        return [_TOP[name]]
    path, _, kind = name.rpartition("/")
    kind = {"gamma": "weight", "beta": "bias"}.get(kind, kind)
    side, _, rest = path.partition("/")
    if rest in ("conv1", "conv2", "layer_norm"):
        return [f"model.{side}.{rest}.{kind}"]
    layer, _, rest = rest.partition("/")
    prefix = f"model.{side}.layers.{layer.removeprefix('layer_')}"
    if rest.endswith("/layer_norm"):
        norm = _NORMS.get(rest.removesuffix("/layer_norm"), "final_layer_norm")
        return [f"{prefix}.{norm}.{kind}"]
    return [f"{prefix}.{part}.{kind}" for part in _LINEAR.get(rest, ())]


# === Configuration ===


def _config(path: Path, variables: dict[str, _Stored]) -> dict[str, Any]:
    """A `config.json` in Hugging Face's words, from shapes and from the file of this name."""
    own = {}
    if (path.parent / "config.json").is_file():
        own = read_json(path.parent / "config.json", WeightsError)
    missing = [name for name in (*_TOP, "encoder/num_heads") if name not in variables]
    if missing:
        raise WeightsError(f"it lacks {', '.join(missing)}", where=path)
    vocab_size, width = variables["decoder/embeddings/weight"].shape
    heads = int(_read(path, variables["encoder/num_heads"]))
    ffn = variables["encoder/layer_0/ffn/linear_0/weight"].shape[0]
    config = {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "vocab_size": vocab_size,
        "d_model": width,
        "num_mel_bins": variables["encoder/conv1/weight"].shape[1],
        "max_source_positions": variables["encoder/position_encodings/encodings"].shape[0],
        "max_target_positions": variables["decoder/position_encodings/encodings"].shape[0],
        "activation_function": "gelu",
        "suppress_tokens": own.get("suppress_ids", []),
        "begin_suppress_tokens": own.get("suppress_ids_begin", []),
    }
    for side in ("encoder", "decoder"):
        layers = {name.split("/")[1] for name in variables if name.startswith(f"{side}/layer_")}
        config[f"{side}_layers"] = len(layers - {"layer_norm"})
        config[f"{side}_attention_heads"] = heads
        config[f"{side}_ffn_dim"] = ffn
    return config
