"""The format `tflite`: for phones, browsers and small boards, on LiteRT's built-in operations."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from modelzoo.errors import ExportError
from modelzoo.exporting.formats.artifact import Artifact
from modelzoo.exporting.formats.byte_budget import TABLES, check_size
from modelzoo.exporting.formats.format import Format
from modelzoo.exporting.formats.tflite_programs import programs
from modelzoo.exporting.quantization.precision import Mode
from modelzoo.exporting.quantization.quantize import minimum_bytes, quantization_of, quantize
from modelzoo.signature import Signature

NAME = "model.tflite"
# Devices have little memory, and it is what a token waits for.
PRECISIONS, DEFAULT = ("float32", "float16", "int8", "int4"), "int8"
FORMAT = Format("tflite", PRECISIONS, DEFAULT, engine="litert", readme=programs)

# Both the graph that is converted and the file that comes out are protocols of 31-bit offsets.
LIMIT = 2**31 - (1 << 24)


def export(
    model, signatures: Mapping[str, Signature], folder: Path, *, mode: Mode, scratch: Path
) -> Artifact:
    """Write `model.tflite` with every signature over one copy of the weights.

    See `exporting.formats.artifact`.

    Raises:
        ExportError: over 2 GB of weights; an operation that LiteRT does not have, with the layer
            that it comes from; a weight that is in the file twice.
    """
    from modelzoo.exporting.formats.fused_attention import fuse_attention
    from modelzoo.exporting.formats.graph import expected_bytes, write_saved_model
    from modelzoo.exporting.formats.tflite_file import (
        check_operations,
        check_stored_once,
        read_file,
    )
    from modelzoo.layers.backend.lookup import device_lookups

    weights = sum(weight.shape.num_elements() for weight in model.weights)
    if 4 * weights > LIMIT:
        raise ExportError(
            f"the weights take {4 * weights / 1e9:.1f} GB in float32, and a TFLite conversion "
            f"holds {LIMIT / 1e9:.1f} GB at most",
            next_step="--format savedmodel has no such limit",
        )
    with device_lookups():
        variables = write_saved_model(signatures, scratch / "graph")
    written = scratch / NAME if mode.quantized else folder / NAME
    written.write_bytes(convert(scratch / "graph", list(signatures), mode))
    shutil.rmtree(scratch / "graph")
    names = {layer.name for layer in model._flatten_layers()}
    file = read_file(written, names)
    check_operations(file)
    check_stored_once(file, [variable.numpy() for variable in variables])
    if mode.quantized:
        how = quantization_of(model)
        expected = minimum_bytes(file, mode, how)
        quantize(written, folder / NAME, file, mode, how)
        file = read_file(folder / NAME)
    else:
        expected = expected_bytes(variables, mode.bytes_per_weight)
    if any(signature.fused_attention for signature in signatures.values()):
        fuse_attention(folder / NAME)
        file = read_file(folder / NAME)
    check_size("the constants of model.tflite take", file.constant_bytes, expected, TABLES)
    facts = {
        "bytes": file.size,
        "weight_bytes": file.constant_bytes,
        "expected_weight_bytes": expected,
        "operations": {name: sum(counts.values()) for name, counts in file.operations.items()},
        "operation_kinds": file.kinds(),
    }
    return Artifact(NAME, facts, written if mode.quantized else None)


def convert(directory: Path, names: list[str], mode: Mode) -> bytes:
    """A SavedModel as a TFLite file, with builtin operations only."""
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    converter = tf.lite.TFLiteConverter.from_saved_model(str(directory), signature_keys=names)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    # A norm's factor multiplied into the next matrix saves nothing, and makes a second table
    # of one that is tied. Should this switch vanish, check_stored_once fails.
    converter._experimental_disable_fuse_mul_and_fc = True
    _CONFIGURE[mode.name](converter)
    try:
        return converter.convert()
    except ConverterError as error:
        raise _explained(error) from error


def _float32(converter) -> None:
    """As it is."""


def _float16(converter) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


# mode -> what it sets on the converter; what is quantized is quantized afterwards
_CONFIGURE = {"float32": _float32, "float16": _float16, "int8": _float32, "int4": _float32}


def _explained(error) -> ExportError:
    """The converter's error as the operations that it rejected, each with its layers."""
    places: dict[str, list[str]] = {}
    for one in getattr(error, "errors", None) or []:
        operation = one.operator.name.removeprefix("tf.")
        if not operation or operation.startswith("func"):
            continue
        layer = _layer(one.location.call[0].name) if one.location.call else "an unnamed place"
        if layer not in places.setdefault(operation, []):
            places[operation].append(layer)
    if not places:
        lines = [line for line in str(error).splitlines() if line.strip()]
        return ExportError(
            f"the TFLite converter failed: {lines[0] if lines else type(error).__name__}",
            next_step="--debug shows all that it said",
        )
    listed = "; ".join(f"{name} in {', '.join(at)}" for name, at in sorted(places.items()))
    return ExportError(
        f"LiteRT has no operation for {listed}",
        next_step="write the layer with operations that it has (keras.ops: matmul, take, top_k, "
        "where …), or export with --format savedmodel",
    )


def _layer(name: str) -> str:
    """`outer/shaky/Qr@__inference_call_128` -> `outer/shaky`."""
    path = name.partition("@")[0]
    return path.rpartition("/")[0] or path
