"""Attention of a `.tflite` file marked for the accelerators that have one kernel for all of it.

The operations from the scaled query to the mixed values become one STABLEHLO_COMPOSITE named
`odml.sdpa_transposed`, with themselves as its decomposition. A delegate that knows the name may
compute it in a kernel of its own; LiteRT puts the decomposition back where none does, so the CPU
computes what it computed before, to the last bit.

H heads, K key/value heads, T queries, S slots, D numbers of a head.
"""

from __future__ import annotations

import copy
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.errors import ExportError
from modelzoo.exporting.quantization.quantize import scales_once

__all__ = ["NAME", "fuse_attention"]

NAME = "odml.sdpa_transposed"
_INLINE = 1024  # bytes of a constant that stays inside the flatbuffer
_ALIGNED = 16


def fuse_attention(path: Path) -> int:
    """Mark all attention over a cache in float32 in a file, which is replaced; how many there are.

    Raises:
        ExportError: there is none.
    """
    from ai_edge_litert import schema_py_generated as schema

    data = path.read_bytes()
    model: Any = schema.ModelT.InitFromPackedBuf(data, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # outside of the flatbuffer
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.STABLEHLO_COMPOSITE
    code.deprecatedBuiltinCode = 127  # "see the other field"
    model.operatorCodes.append(code)
    # Signatures alone: what is appended are decompositions.
    count = sum(_Graph(schema, model, graph).fuse() for graph in tuple(model.subgraphs))
    if not count:
        raise ExportError(
            "export.fused_attention is true, and no attention of this model has the form of "
            f"{NAME}: a key/value cache in float32, scores without a softcap",
            next_step="leave export.fused_attention out, or export.kv_cache if it is int8",
        )
    path.write_bytes(_packed(schema, model))
    return count


@dataclass(frozen=True)
class _Found:
    """Attention: its operations by number, in order; its inputs and its output by tensor."""

    operations: tuple[int, ...]
    inputs: tuple[int, int, int, int]
    output: int


class _Graph:
    """One signature's graph."""

    def __init__(self, schema, model, graph):
        self.schema, self.model, self.graph = schema, model, graph
        self.kinds = {
            value: name for name, value in vars(schema.BuiltinOperator).items() if name[0] != "_"
        }
        self.writer = {int(t): n for n, op in enumerate(graph.operators) for t in op.outputs}
        self.readers: dict[int, list[int]] = {}
        for number, op in enumerate(graph.operators):
            for tensor in op.inputs:
                self.readers.setdefault(int(tensor), []).append(number)

    def fuse(self) -> int:
        """Replace each attention; how many there were. Layers of equal shapes share a graph."""
        operators, shared = list(self.graph.operators), {}
        found = [one for n in range(len(operators)) if (one := self._attention(n)) is not None]
        for one in found:
            shapes = tuple(self._shape(tensor) for tensor in (*one.inputs, one.output))
            kind = shapes, tuple(self._kind(number) for number in one.operations)
            if kind not in shared:
                self.model.subgraphs.append(self._decomposition(one))
                shared[kind] = len(self.model.subgraphs) - 1
            for number in one.operations:
                operators[number] = None
            operators[one.operations[-1]] = self._composite(one, shared[kind])
        self.graph.operators = [op for op in operators if op is not None]
        return len(found)

    def _attention(self, softmax: int) -> _Found | None:
        """The attention around a SOFTMAX, if it is one and nothing else reads what is inside."""
        if self._kind(softmax) != "SOFTMAX":
            return None
        before = self._up(self._reads(softmax)[0], "ADD")
        if before is None:
            return None
        scores, mask = self._reads(before)
        first, back = self._through(scores, self._up, "BATCH_MATMUL")
        last, on = self._through(self._writes(softmax), self._down, "BATCH_MATMUL")
        if first is None or last is None:
            return None
        (query, key), (_, value) = self._reads(first), self._reads(last)
        start, output = self._up(query, "RESHAPE"), self._writes(last)
        inside = [before, softmax, first, last, *back, *on]
        if start is not None and len(self._shape(self._reads(start)[0])) == 4:
            inside, query = [*inside, start], self._reads(start)[0]
        end = self._down(output, "RESHAPE")
        if end is not None and self._shape(self._writes(end)) == self._shape(query):
            inside, output = [*inside, end], self._writes(end)
        found = _Found(tuple(sorted(inside)), (query, key, value, mask), output)
        return found if self._fits(found) else None

    def _fits(self, found: _Found) -> bool:
        """Query (1, H, T, D), key (1, K, S, D), value (1, K, D, S), output as the query."""
        query, key, value = (self._shape(tensor) for tensor in found.inputs[:3])
        float32 = self.schema.TensorType.FLOAT32
        inner = {t for n in found.operations for t in self._tensors(n)} - {*found.inputs}
        return (
            len(query) == len(key) == 4
            and value == (*key[:2], key[3], key[2])
            and query[3] == key[3]
            and (query == self._shape(found.output) or self._only_reshaped(found.output))
            and all(self.graph.tensors[t].type == float32 for t in found.inputs)
            and all(
                {*self.readers.get(t, ())} <= {*found.operations}
                for t in inner
                if t in self.writer and t != found.output
            )
            and not inner.intersection([int(t) for t in self.graph.outputs]) - {found.output}
        )

    def _only_reshaped(self, tensor: int) -> bool:
        """Whether all that reads a tensor takes it in any shape. The heads of a group lie side by
        side, so (1, K, H/K * T, D) and (1, H, T, D) are the same numbers in the same order."""
        readers = self.readers.get(tensor, ())
        return bool(readers) and all(self._kind(number) == "RESHAPE" for number in readers)

    def _decomposition(self, found: _Found):
        """The attention's operations as a graph of its own."""
        graph, numbers = self.schema.SubGraphT(), {}
        graph.name, graph.tensors, graph.operators = NAME.encode(), [], []

        def local(tensors) -> np.ndarray:
            for tensor in map(int, tensors):
                if tensor not in numbers:
                    numbers[tensor] = len(graph.tensors)
                    graph.tensors.append(self.graph.tensors[tensor])
            return np.array([numbers[int(tensor)] for tensor in tensors], np.int32)

        graph.inputs = local(found.inputs)
        graph.tensors = [copy.copy(tensor) for tensor in graph.tensors]
        for tensor in graph.tensors:
            tensor.buffer = 0  # given by the caller, were it a constant there
        for number in found.operations:
            op = copy.copy(self.graph.operators[number])
            op.inputs, op.outputs = local(op.inputs), local(op.outputs)
            graph.operators.append(op)
        graph.outputs = local([found.output])
        query = self._shape(found.inputs[0])
        if self._shape(found.output) != query:
            self._reshape(
                graph, query, like=next(n for n in found.operations if self._kind(n) == "RESHAPE")
            )
        return graph

    def _reshape(self, graph, shape: tuple[int, ...], like: int) -> None:
        """Give a graph's output a shape, by an operation like the one of that number."""
        sizes, content = copy.copy(self.graph.tensors[self._reads(like)[1]]), self.schema.BufferT()
        content.data = np.array(shape, np.int32).view(np.uint8)
        self.model.buffers.append(content)
        sizes.buffer, sizes.shape = len(self.model.buffers) - 1, np.array([len(shape)], np.int32)
        output = copy.copy(graph.tensors[int(graph.outputs[0])])
        output.shape = np.array(shape, np.int32)
        op, end = copy.copy(self.graph.operators[like]), len(graph.tensors)
        op.inputs = np.array([graph.outputs[0], end], np.int32)
        op.outputs = graph.outputs = np.array([end + 1], np.int32)
        op.builtinOptions = self.schema.ReshapeOptionsT()
        op.builtinOptions.newShape = np.array(shape, np.int32)
        graph.tensors += [sizes, output]
        graph.operators.append(op)

    def _composite(self, found: _Found, graph: int):
        """The operation in its place. The query comes scaled, so the scale is 1."""
        from flatbuffers import flexbuffers

        builder: Any = flexbuffers.Builder()
        with builder.Map():
            builder.Int("k_ts_idx", 2)
            builder.Int("v_ts_idx", 3)
            builder.Float("scale", 1.0)
        options = self.schema.StableHLOCompositeOptionsT()
        options.name, options.version = NAME.encode(), 1
        options.decompositionSubgraphIndex = graph
        options.compositeAttributes = np.frombuffer(builder.Finish(), np.uint8)
        op = self.schema.OperatorT()
        op.opcodeIndex = len(self.model.operatorCodes) - 1
        op.inputs = np.array(found.inputs, np.int32)
        op.outputs = np.array([found.output], np.int32)
        op.builtinOptions2Type = self.schema.BuiltinOptions2.StableHLOCompositeOptions
        op.builtinOptions2 = options
        self.graph.tensors[found.output].shape = self.graph.tensors[found.inputs[0]].shape
        return op

    # === Walking ===

    def _through(self, tensor: int, step, kind: str) -> tuple[int | None, list[int]]:
        """The operation of a kind next to a tensor, or behind one RESHAPE, and that one."""
        reshape = step(tensor, "RESHAPE")
        if reshape is None:
            return step(tensor, kind), []
        up = step == self._up
        tensor = self._reads(reshape)[0] if up else self._writes(reshape)
        return step(tensor, kind), [reshape]

    def _up(self, tensor: int, kind: str) -> int | None:
        number = self.writer.get(tensor)
        return number if number is not None and self._kind(number) == kind else None

    def _down(self, tensor: int, kind: str) -> int | None:
        readers = self.readers.get(tensor, ())
        return readers[0] if len(readers) == 1 and self._kind(readers[0]) == kind else None

    def _kind(self, number: int) -> str:
        code = self.model.operatorCodes[self.graph.operators[number].opcodeIndex]
        # Files of old readers keep small codes in the deprecated field.
        return self.kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def _reads(self, number: int) -> list[int]:
        return [int(tensor) for tensor in self.graph.operators[number].inputs]

    def _writes(self, number: int) -> int:
        return int(self.graph.operators[number].outputs[0])

    def _tensors(self, number: int) -> list[int]:
        return [*self._reads(number), self._writes(number)]

    def _shape(self, tensor: int) -> tuple[int, ...]:
        shape = self.graph.tensors[tensor].shape
        return () if shape is None else tuple(int(size) for size in shape)


def _packed(schema, model) -> bytes:
    """The file: constants lie after the flatbuffer, aligned as processors want to read them."""
    import flatbuffers

    outside = {}
    for number, buffer in enumerate(model.buffers):
        if buffer.data is not None and len(buffer.data) >= _INLINE:
            outside[number] = np.asarray(buffer.data, np.uint8)
            buffer.data, buffer.offset, buffer.size = None, 1, len(outside[number])
    builder = flatbuffers.Builder(1 << 20)
    with scales_once():
        builder.Finish(model.Pack(builder), b"TFL3")
    file = bytearray(builder.Output())
    root = schema.Model.GetRootAs(file, 0)
    for number, content in outside.items():
        file += bytes(-len(file) % _ALIGNED)
        table = root.Buffers(number)._tab
        struct.pack_into("<Q", file, table.Pos + table.Offset(6), len(file))
        file += content.tobytes()
    return bytes(file)
