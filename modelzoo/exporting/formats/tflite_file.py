"""What is in a `.tflite` file: its operations and its constants, read from the file itself."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from modelzoo.errors import ExportError

# Refused: what LiteRT does not run by itself, state that a buffer cannot hold, unknown shapes.
_REFUSED = {
    "CUSTOM": "LiteRT does not have it",
    "VAR_HANDLE": "it is a variable on the device",
    "READ_VARIABLE": "it is a variable on the device",
    "ASSIGN_VARIABLE": "it is a variable on the device",
    "SHAPE": "a shape is not static",
}
_MATTERS = 4096  # bytes; smaller constants are not worth a look


@dataclass(frozen=True)
class Constant:
    """A buffer: a tensor's name and shape, its bytes, and its numbers."""

    name: str
    shape: tuple[int, ...]
    size: int
    values: np.ndarray


@dataclass(frozen=True)
class Product:
    """An operation that reads a constant matrix: FULLY_CONNECTED, CONV_2D or EMBEDDING_LOOKUP.

    Attributes:
        output: the name of the tensor that it writes.
        path: the layer that it comes from, "block_0/attention/key"; "" where the name says none.
        shape: of the matrix, (outputs, inputs), or (ids, width) of a table; a convolution's inputs
            are all numbers under its window.
        buffer: the matrix's buffer; signatures share it.
        table: it is read by id, or is as tall as one that is: a head over the vocabulary.
    """

    operation: str
    output: str
    path: str
    shape: tuple[int, ...]
    buffer: int
    table: bool = False


@dataclass(frozen=True)
class File:
    """A TFLite file.

    Attributes:
        size: bytes of the file.
        operations: signature -> Counter of operation names; custom ones as CUSTOM:name.
        constants: every buffer that a tensor reads, once.
        products: of all signatures.
    """

    size: int
    operations: dict[str, Counter]
    constants: tuple[Constant, ...]
    products: tuple[Product, ...] = ()

    @cached_property
    def constant_bytes(self) -> int:
        return sum(constant.size for constant in self.constants)

    def kinds(self) -> dict[str, int]:
        """Operation -> how often, over all signatures."""
        return dict(sorted(sum(self.operations.values(), Counter()).items()))


def read_file(path: str | os.PathLike, layers: Collection[str] = ()) -> File:
    """Read a file's operations and constants.

    Args:
        layers: names of the model's layers, which the products' paths are made of.
    """
    from ai_edge_litert import schema_py_generated as schema

    data = Path(path).read_bytes()
    model = schema.Model.GetRootAs(data, 0)
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    types = {
        schema.TensorType.FLOAT32: np.float32,
        schema.TensorType.FLOAT16: np.float16,
        schema.TensorType.INT8: np.int8,
        schema.TensorType.INT32: np.int32,
        schema.TensorType.INT64: np.int64,
    }

    def operation(op) -> str:
        code = model.OperatorCodes(op.OpcodeIndex())
        # Files of old readers keep small codes in the deprecated field.
        name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        return f"CUSTOM:{code.CustomCode().decode()}" if name == "CUSTOM" else name

    titles = {
        model.SignatureDefs(i).SubgraphIndex(): model.SignatureDefs(i).SignatureKey().decode()
        for i in range(model.SignatureDefsLength())
    }
    operations: dict[str, Counter] = {}
    constants: dict[int, Constant] = {}
    products: list[Product] = []
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        title = titles.get(index, f"subgraph {index}")
        operations[title] = Counter(
            operation(graph.Operators(i)) for i in range(graph.OperatorsLength())
        )
        products += _products(model, graph, operation, frozenset(layers))
        for i in range(graph.TensorsLength()):
            tensor = graph.Tensors(i)
            buffer = model.Buffers(tensor.Buffer())
            # Buffers of quantizers lie outside the flatbuffer, and only have a place and a size.
            size = buffer.DataLength() or buffer.Size()
            if not size or tensor.Buffer() in constants:
                continue
            place = buffer.DataAsNumpy() if buffer.DataLength() else None
            raw = np.frombuffer(data, np.uint8, size, buffer.Offset()) if place is None else place
            dtype = types.get(tensor.Type(), np.uint8)
            shape = tuple(tensor.ShapeAsNumpy().tolist()) if tensor.ShapeLength() else ()
            constants[tensor.Buffer()] = Constant(
                tensor.Name().decode(), shape, size, raw.view(dtype)
            )
    return File(len(data), operations, tuple(constants.values()), _with_tables(products))


def _products(model, graph, operation, layers) -> list[Product]:
    found = []
    for i in range(graph.OperatorsLength()):
        op = graph.Operators(i)
        name = operation(op)
        if name not in ("FULLY_CONNECTED", "CONV_2D", "EMBEDDING_LOOKUP"):
            continue
        matrix, output = graph.Tensors(op.Inputs(1)), graph.Tensors(op.Outputs(0))
        buffer = model.Buffers(matrix.Buffer())
        if buffer.DataLength() or buffer.Size():  # else it is computed, and no weight
            rows, *inputs = matrix.ShapeAsNumpy().tolist()
            shape = rows, math.prod(inputs)
            title = output.Name().decode()
            found.append(Product(name, title, layer_path(title, layers), shape, matrix.Buffer()))
    return found


def _with_tables(products: list[Product]) -> tuple[Product, ...]:
    """Say which products are tables: those that are looked up, and heads as tall as one."""
    heights = {p.shape[0] for p in products if p.operation == "EMBEDDING_LOOKUP"}
    return tuple(replace(p, table=p.shape[0] in heights) for p in products)


def layer_path(name: str, layers: Collection[str]) -> str:
    """The layer that a tensor's name points to, as far as it does.

    TensorFlow numbers a scope that it enters again.

    >>> layer_path("block_0_1/ffn_1/up_1/Tensordot/MatMul3", {"block_0", "ffn", "up"})
    'block_0/ffn/up'
    """
    path = []
    for part in name.partition(";")[0].split("/"):
        part = part if part in layers else re.sub(r"_\d+$", "", part)
        if part not in layers:
            break
        path.append(part)
    return "/".join(path)


def check_operations(file: File) -> None:
    """Refuse what no device runs, or what a bundle has no use for.

    Raises:
        ExportError: with the signature, the operation and why.
    """
    for signature, counts in file.operations.items():
        for name in counts:
            reason = _REFUSED.get(name.partition(":")[0])
            if reason:
                raise ExportError(
                    f"signature {signature} uses {name.removeprefix('CUSTOM:')}: {reason}",
                    next_step="give every input a static shape, and use builtin operations",
                )


def check_stored_once(file: File, weights: Sequence[np.ndarray]) -> None:
    """Refuse a weight that is in the file twice: as it is, transposed, or multiplied by a number.

    Raises:
        ExportError: names the two constants.
    """
    large = [c for c in file.constants if c.size >= _MATTERS and np.any(c.values)]
    for size in {weight.size for weight in weights}:
        equal = [weight for weight in weights if weight.size == size]
        constants = [c for c in large if c.values.size == size]
        if len(constants) <= len(equal):
            continue
        written = [(_profile(c.values), c) for c in constants]
        profiles = [_profile(weight) for weight in equal if np.any(weight)]
        for own in profiles:
            copies = [c for other, c in written if _alike(other, own, c.values.dtype)]
            # A rotation and its inverse are two weights of one profile.
            if len(copies) > sum(_alike(other, own, other.dtype) for other in profiles):
                a, b = copies[:2]
                raise ExportError(
                    f"a weight of {a.size:,} bytes is in the file twice: as {a.name} {a.shape} and "
                    f"as {b.name} {b.shape}",
                    next_step="a number that multiplies one of its uses was folded into a copy: "
                    "apply it somewhere else, or to a vector",
                )


def _alike(a: np.ndarray, b: np.ndarray, dtype: np.dtype) -> bool:
    return bool(np.allclose(a, b, rtol=0, atol=1e-5 if dtype == np.float32 else 5e-4))


def _profile(values: np.ndarray) -> np.ndarray:
    """What stays the same whatever order the numbers are in and whatever they are scaled by."""
    numbers = np.sort(np.abs(values.astype(np.float32, copy=False)), axis=None)
    return numbers / max(float(numbers[-1]), 1e-30)
