"""GGUF files of the edge benchmark: the least bytes of their weights, and a copy as Q8_0."""

from __future__ import annotations

import os

# The writer writes these by itself, or they say how the source was quantized.
_OWN = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.architecture")
_Q8_0 = 7  # general.file_type: "mostly Q8_0"

BLOCK = 32  # weights that share a scale and an offset in int4


def write_q8_0(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """llama.cpp's counterpart of int8: the source's numbers rounded to 8 bits in blocks of 32.

    Vectors (norms) stay float32; the metadata, tokenizer included, is taken along.
    """
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name in _OWN:
            continue
        value = _Q8_0 if name == "general.file_type" else field.contents()
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, field.types[0], inner)
    kind = gguf.GGMLQuantizationType
    for tensor in reader.tensors:
        values = np.asarray(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32)
        if len(tensor.shape) < 2:
            writer.add_tensor(tensor.name, values)
            continue
        blocks = gguf.quantize(values, kind.Q8_0)
        writer.add_tensor(tensor.name, blocks, raw_dtype=kind.Q8_0)
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
