"""Weights of a TFLite file in 8 or 4 bits, activations in 8 bits computed on the way.

The work is litert-quantizer's. What is decided here is which weights get how many bits: all that
fully connected layers, convolutions (8 bits at least) and tables hold, except where the recipe's
`[quantize]` table says otherwise.

    [quantize]
    mode = "int4"                         # where an export names none; int8 for devices
    block_size = 32                       # weights that share a scale and an offset, int4
    [quantize.layers]
    "block_0/ffn/down" = "int8"           # a layer that 4 bits harm
    "head" = "float32"

A layer with the attribute `keep_float32 = True` says so itself: what turns sound into a
spectrogram, whose constants are not weights.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from modelzoo.errors import ExportError, nearest, require
from modelzoo.exporting.formats.tflite_file import File, Product
from modelzoo.exporting.quantization.affine import OFFSETS
from modelzoo.exporting.quantization.precision import Mode
from modelzoo.exporting.quantization.rotate import ROTATION
from modelzoo.recipe.schema import validate_against

PRECISIONS = ("int4", "int8", "float32")


@dataclass(frozen=True)
class Quantization:
    """The recipe's `[quantize]` table.

    Args:
        block_size: neighbouring weights of an output that share a scale, in int4.
        smooth: even out the channels of activations first, int8 (Xiao et al. 2022).
        rotate: spread activations that stand out over their neighbours (Ashkboos et al. 2024).
        layers: layer path -> the least precision that it is given. A path is the end of one, part
            by part, with `*` and `?`: "block_*/attention/value".
        kept: names of layers whose products stay float32, they and all that is inside them.
    """

    block_size: Literal[32, 64, 128, 256] = 32
    smooth: bool = True
    rotate: bool = True
    layers: Mapping[str, str] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()

    def precision(self, path: str, mode: Mode) -> str:
        """int4, int8 or float32: the mode's, or what `layers` or a layer itself raises it to."""
        if self.kept.intersection(path.split("/")):
            return "float32"
        wanted = [value for pattern, value in self.layers.items() if _matches(pattern, path)]
        return max([mode.name, *wanted], key=PRECISIONS.index)


def quantization(
    *,
    mode: Literal["float32", "float16", "int8", "int4"] | None = None,
    block_size: Literal[32, 64, 128, 256] = 32,
    smooth: bool = True,
    rotate: bool = True,
    layers: dict | None = None,
) -> Quantization:
    """`[quantize]` as `Quantization`; the schema of the table, whose `mode` is the export's matter.

    Raises:
        ExportError: a precision that does not exist.
    """
    for pattern, name in (layers or {}).items():
        if name not in PRECISIONS:
            raise ExportError(
                f"quantize.layers: {pattern!r} is to be {name!r}, which is not a precision",
                next_step=f"there is {', '.join(PRECISIONS)}",
            )
    return Quantization(block_size, smooth, rotate, dict(layers or {}))


def quantization_of(model) -> Quantization:
    """What a model's recipe says in `[quantize]`, and what its layers say of themselves.

    Raises:
        RecipeError: a key or a value that the table does not have.
        ExportError: a precision that does not exist, or a pattern that fits no layer's weights.
    """
    layers = model._flatten_layers()
    kept = frozenset(layer.name for layer in layers if getattr(layer, "keep_float32", False))
    if model.recipe is None:
        return Quantization(kept=kept)
    stated = quantization(**validate_against(model.recipe, quantization, table="quantize"))
    _check_patterns(stated, {variable.path.rpartition("/")[0] for variable in model.variables})
    return replace(stated, kept=kept)


def _check_patterns(how: Quantization, paths: Iterable[str]) -> None:
    """Raises ExportError where a pattern of `layers` fits no path."""
    for pattern in how.layers:
        if not any(_matches(pattern, path) for path in paths):
            known = sorted(filter(None, paths))
            raise ExportError(
                f"quantize.layers names {pattern!r}, and no layer has that path",
                did_you_mean=nearest(pattern, known),
                next_step=f"there is {', '.join(known[:12])}{' …' if len(known) > 12 else ''}",
            )


def quantize(source: Path, target: Path, file: File, mode: Mode, how: Quantization) -> None:
    """Write `source`, a float32 TFLite file, to `target` in the mode's precision.

    Args:
        file: what `source` holds, from `read_file`.

    Raises:
        ExportError: a pattern of `layers` that fits no layer.
    """
    require("litert_quantizer", "tensorflow")
    from litert_quantizer import algorithm_manager, qtyping
    from litert_quantizer.quantizer import Quantizer

    _check_patterns(how, {product.path for product in file.products})
    work = Quantizer(str(source))
    algorithms = algorithm_manager.AlgorithmName
    for operation, precision, exact, regex in _configs(file, mode, how):
        if precision == "float32":
            work.update_quantization_recipe(regex, operation, algorithm_key=algorithms.NO_QUANTIZE)
            continue
        blocks = "CHANNELWISE" if precision == "int8" else f"BLOCKWISE_{how.block_size}"
        work.add_dynamic_config(
            regex=regex,
            operation_name=getattr(qtyping.TFLOperationName, operation),
            num_bits=8 if precision == "int8" else 4,
            granularity=qtyping.QuantGranularity(blocks),
            algorithm_key=algorithms.DEQUANTIZED_WEIGHT_RECOVERY
            if exact
            else algorithms.MIN_MAX_UNIFORM_QUANT,
        )
    if not work.get_quantization_recipe():
        raise ExportError(
            "there is nothing to quantize: the model has no fully connected layer, no convolution "
            "and no table",
            next_step="export it with --quantize float32 or float16",
        )
    with scales_once():
        result = work.quantize(enable_progress_bar=False, enable_progress_report=False)
    target.write_bytes(result.quantized_model)


@contextmanager
def scales_once() -> Iterator[None]:
    """Equal scales and equal offsets are written to a file once, and referred to by all tensors.

    Every signature has its own tensors over the shared weights, and with each tensor come 12 bytes
    a channel: on SmolLM2 3 MB a signature. Two thirds of those are offsets, which are all 0.
    """
    from ai_edge_litert import schema_py_generated as schema

    kind = schema.QuantizationParametersT
    pack, known = kind.Pack, {}

    def once(builder, content, write):
        key = id(builder), content
        if key not in known:
            known[key] = write()
        return known[key]

    def vector(builder, values, dtype):
        array = np.asarray(values, dtype)
        content = array.dtype.str, array.tobytes()
        return once(builder, content, lambda: builder.CreateNumpyVector(array))

    def shared(self, builder):
        if self.details is not None or self.min is not None or self.scale is None:
            return pack(self, builder)
        scale = vector(builder, self.scale, np.float32)
        zero_point = vector(builder, self.zeroPoint, np.int64)

        def write():
            schema.QuantizationParametersStart(builder)
            schema.QuantizationParametersAddScale(builder, scale)
            schema.QuantizationParametersAddZeroPoint(builder, zero_point)
            schema.QuantizationParametersAddQuantizedDimension(builder, self.quantizedDimension)
            return schema.QuantizationParametersEnd(builder)

        return once(builder, (scale, zero_point, self.quantizedDimension), write)

    kind.Pack = shared
    try:
        yield
    finally:
        kind.Pack = pack


def _configs(file: File, mode: Mode, how: Quantization):
    """(operation, precision, whether weights are integers times scales already, regular expression
    of outputs), the rule before its exceptions.

    Few of them: the quantizer tries each on each operation of the file.
    """
    split = {product.path for product in file.products if OFFSETS in product.output}
    groups: dict[str, dict[tuple, list[str]]] = {}
    for product in file.products:
        precision = precision_of(product, mode, how)
        kind = precision, precision == "int4" and product.path in split
        groups.setdefault(product.operation, {}).setdefault(kind, []).append(product.output)
    for operation, kinds in groups.items():
        rule = max(kinds, key=lambda kind: len(kinds[kind]))
        if rule[0] != "float32":
            yield operation, *rule, ".*"
        for kind, outputs in kinds.items():
            if kind != rule:
                names = "|".join(re.escape(name) for name in dict.fromkeys(outputs))
                yield operation, *kind, f"(^|;)({names});"


def precision_of(product: Product, mode: Mode, how: Quantization) -> str:
    """The precision of one product's weights.

    A table that is read by id, the head over it or beside it, a block's offsets, convolutions, and
    what does not divide into blocks have 8 bits at least: four are too few for rare tokens, and a
    tied table is stored once. Depthwise convolutions and rotations stay as they are: they hold
    little, and LiteRT runs the former slower in 8 bits.
    """
    if ROTATION in product.output:
        return "float32"
    precision = how.precision(product.path, mode)
    coarse = product.table or OFFSETS in product.output or product.operation == "CONV_2D"
    coarse = coarse or product.shape[-1] % how.block_size
    if precision == "int4" and coarse:
        return "int8"
    return precision


def minimum_bytes(file: File, mode: Mode, how: Quantization) -> int:
    """What the constants of a float32 file occupy in this mode at least, scales and all."""
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
