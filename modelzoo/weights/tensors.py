"""One `.safetensors` file as lazily read tensors, through the package of that name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from modelzoo.errors import WeightsError, require
from modelzoo.weights.checkpoint import Tensor

_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
# Counters and position ids, which some old files hold; a table ignores those that it knows.
_INTEGERS = {"I64": "int64", "I32": "int32", "U8": "uint8", "BOOL": "bool"}


def open_safetensors(path: Path) -> dict[str, Tensor]:
    """name -> `Tensor`; the header is read and checked now, values when they are asked for.

    Raises:
        WeightsError: not a safetensors file, cut off, a header that lies about lengths, or a
            number format that is not supported.
    """
    safetensors = require("safetensors", "tensorflow")
    try:
        file = safetensors.safe_open(path, framework="numpy")
        names = list(file.keys())
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path.name} cannot be read: {error}",
            where=path,
            next_step="fetch it again: it is damaged or not whole",
        ) from error
    found = {}
    for name in names:
        part = file.get_slice(name)
        dtype = {**_DTYPES, **_INTEGERS}.get(part.get_dtype())
        if dtype is None:
            raise WeightsError(
                f"{name} is stored as {part.get_dtype()}, which is not supported",
                where=path,
                next_step=f"there is {', '.join(_DTYPES)}",
            )
        found[name] = Tensor(tuple(part.get_shape()), dtype, partial(file.get_tensor, name))
    return found
