"""A GGUF file again with every matrix as Q8_0: llama.cpp's counterpart of an int8 bundle."""

from __future__ import annotations

import os

# The writer writes these by itself, or they say how the source was quantized.
_OWN = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.architecture")
_Q8_0 = 7  # general.file_type: "mostly Q8_0"


def write_q8_0(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Read what the source's numbers stand for, and round those to 8 bits in blocks of 32.

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
