"""Weights of a TFLite file in 8 or 4 bits, activations in 8 bits computed on the way.

The work is litert-quantizer's. What is decided here is which weights get how many bits: all that
fully connected layers and tables hold, except where the recipe's `[quantize]` table says otherwise.

    [quantize]
    block_size = 32                       # weights that share a scale, int4
    [quantize.layers]
    "block_0/ffn/down" = "int8"           # a layer that 4 bits harm
    "head" = "float32"
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from modelzoo.errors import ExportError, require
from modelzoo.export.precision import Mode
from modelzoo.export.tflite_file import File, Product
from modelzoo.recipe import Recipe
from modelzoo.schema import validate_against

PRECISIONS = ("int4", "int8", "float32")


@dataclass(frozen=True)
class Quantization:
    """The recipe's `[quantize]` table.

    Args:
        block_size: neighbouring weights of an output that share a scale, in int4.
        layers: layer path -> the least precision that it is given. A path is the end of one, part
            by part, with `*` and `?`: "block_*/attention/value".
    """

    block_size: Literal[32, 64, 128, 256] = 32
    layers: Mapping[str, str] = field(default_factory=dict)

    def precision(self, path: str, mode: Mode) -> str:
        """int4, int8 or float32: the mode's, or what `layers` raises it to."""
        wanted = [value for pattern, value in self.layers.items() if _matches(pattern, path)]
        return max([mode.name, *wanted], key=PRECISIONS.index)


def quantization(*, block_size: Literal[32, 64, 128, 256] = 32, layers: dict | None = None):
    """`[quantize]` as `Quantization`; the schema of the table.

    Raises:
        ExportError: a precision that does not exist.
    """
    for pattern, name in (layers or {}).items():
        if name not in PRECISIONS:
            raise ExportError(
                f"quantize.layers: {pattern!r} is to be {name!r}, which is not a precision",
                next_step=f"there is {', '.join(PRECISIONS)}",
            )
    return Quantization(block_size, dict(layers or {}))


def quantization_of(recipe: Recipe | None) -> Quantization:
    """The recipe's `[quantize]` table.

    Raises:
        RecipeError: a key or a value that the table does not have.
        ExportError: a precision that does not exist.
    """
    if recipe is None:
        return Quantization()
    return quantization(**validate_against(recipe, quantization, table="quantize"))


def quantize(source: Path, target: Path, file: File, mode: Mode, how: Quantization) -> None:
    """Write `source`, a float32 TFLite file, to `target` in the mode's precision.

    Args:
        file: what `source` holds, from `read_file`.

    Raises:
        ExportError: a pattern of `layers` that fits no layer.
    """
    require("litert_quantizer", "tensorflow")
    from litert_quantizer import qtyping
    from litert_quantizer.quantizer import Quantizer

    unused = [
        pattern
        for pattern in how.layers
        if not any(_matches(pattern, product.path) for product in file.products)
    ]
    if unused:
        known = sorted({product.path for product in file.products if product.path})
        raise ExportError(
            f"quantize.layers names {unused[0]!r}, and no layer has that path",
            next_step=f"there is {', '.join(known[:12])}{' …' if len(known) > 12 else ''}",
        )
    names = qtyping.TFLOperationName
    work = Quantizer(str(source))
    for product in file.products:
        precision = precision_of(product, mode, how)
        if precision == "float32":
            continue
        granularity = (
            qtyping.QuantGranularity.CHANNELWISE
            if precision == "int8"
            else qtyping.QuantGranularity(f"BLOCKWISE_{how.block_size}")
        )
        work.add_dynamic_config(
            regex=f"(^|;){re.escape(product.output)};",
            operation_name=getattr(names, product.operation),
            num_bits=8 if precision == "int8" else 4,
            granularity=granularity,
        )
    if not work.get_quantization_recipe():
        raise ExportError(
            "there is nothing to quantize: the model has no fully connected layer and no table",
            next_step="export it with --quantize float32 or float16",
        )
    result = work.quantize(enable_progress_bar=False, enable_progress_report=False)
    target.write_bytes(result.quantized_model)


def precision_of(product: Product, mode: Mode, how: Quantization) -> str:
    """The precision of one product's weights.

    A table that is read by id, the head over it or beside it, and what does not divide into blocks
    have 8 bits at least: four are too few for rare tokens, and a tied table is stored once.
    """
    precision = how.precision(product.path, mode)
    if precision == "int4" and (product.table or product.shape[-1] % how.block_size):
        return "int8"
    return precision


def minimum_bytes(file: File, mode: Mode, how: Quantization) -> int:
    """What the constants of a float32 file take in this mode at least, scales and all."""
    total, seen = file.constant_bytes, set()
    for product in file.products:
        if product.buffer in seen:
            continue
        seen.add(product.buffer)
        rows, width = product.shape[0], product.shape[-1]
        count = rows * width
        precision = precision_of(product, mode, how)
        if precision == "int8":
            total -= 4 * count - (count + 4 * rows)
        elif precision == "int4":
            total -= 4 * count - (count // 2 + 2 * count // how.block_size)
    return total


def _matches(pattern: str, path: str) -> bool:
    """Whether a path ends with the parts of the pattern.

    >>> _matches("attention/val*", "block_1/attention/value"), _matches("value", "block_1/ffn")
    (True, False)
    """
    parts, wanted = path.split("/"), pattern.split("/")
    tail = parts[-len(wanted) :]
    return len(tail) == len(wanted) and all(
        fnmatch.fnmatchcase(part, want) for part, want in zip(tail, wanted, strict=True)
    )
