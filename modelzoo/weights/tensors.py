"""One `.safetensors` file as tensors that are read when they are asked for."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np

from modelzoo.errors import WeightsError, require
from modelzoo.weights.checkpoint import Tensor

# The format's names and numpy's. Integers are counters and position ids of old files, which a
# table either ignores or rejects by name.
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
_DTYPES |= {"I64": "int64", "I32": "int32", "U8": "uint8", "BOOL": "bool"}


def open_safetensors(path: Path) -> dict[str, Tensor]:
    """name -> `Tensor`; the header is read and checked now, values when they are asked for.

    Each tensor is a memory map of its own, gone with the array: what has been read does not stay in
    memory beside the model.

    Raises:
        WeightsError: not a safetensors file, cut off, a header that lies about lengths, or a
            number format that is not supported.
    """
    safetensors = require("safetensors", "tensorflow")
    try:
        with safetensors.safe_open(path, framework="numpy"):  # checks the header and all lengths
            pass
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path.name} cannot be read: {error}",
            where=path,
            next_step="fetch it again: it is damaged or not whole",
        ) from error
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise WeightsError(
                f"{name} is stored as {entry['dtype']}, which is not supported",
                where=path,
                next_step=f"there is {', '.join(_DTYPES)}",
            )
        dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
        start = 8 + size + entry["data_offsets"][0]
        found[name] = Tensor(shape, dtype, partial(_map, path, dtype, start, shape))
    return found


def _map(path: Path, dtype: str, start: int, shape: tuple[int, ...]) -> np.ndarray:
    if dtype == "bfloat16":
        dtype = require("ml_dtypes", "tensorflow").bfloat16
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", start, shape)
