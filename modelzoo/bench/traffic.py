"""The bytes that a decoder has to read for one token: weights and live state.

Counted over what the file stores. Where the runtime widens weights when it loads them (float16 on
most CPUs), more is read than is counted, and the share of the limit shows what that costs.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from modelzoo.runtime.engines.opening import engine_of

# operation -> the input that is a table, of which it reads one row an id
_LOOKUPS = {"GATHER": 0, "EMBEDDING_LOOKUP": 1}


def weight_bytes(bundle, signature: str = "decode") -> tuple[int, str]:
    """Bytes of weights that one call reads, and how they were counted.

    Returns:
        (bytes, how), where how is one of
        - "graph": each constant that the signature's operations read, once; of a table that is
          only looked up in (an embedding that is not tied to the output), one row; of experts, the
          share that a token chooses.
        - "weights": all constants of the model, as its export counted them: a SavedModel. An
          untied embedding and an encoder are in it, so the limit comes out too low.
        - "file": the model's size, where neither is known.

    Example:
        >>> from modelzoo.runtime.bundle import read_bundle
        >>> weight_bytes(read_bundle("gpt.bundle"))
        (88, 'graph')
    """
    if engine_of(bundle.manifest) == "litert":
        return graph_bytes(bundle.model_path, signature), "graph"
    parity = bundle.directory / "parity.json"
    if parity.is_file():
        stored = json.loads(parity.read_text(encoding="utf-8")).get("weight_bytes")
        if isinstance(stored, int):
            return stored, "weights"
    path = bundle.model_path
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files), "file"


def graph_bytes(path: Path, signature: str) -> int:
    """Bytes of constants that a signature of a `.tflite` file reads in one call."""
    from ai_edge_litert import schema_py_generated as schema

    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        model = schema.Model.GetRootAs(data, 0)
        defs = [model.SignatureDefs(i) for i in range(model.SignatureDefsLength())]
        index = {d.SignatureKey().decode(): d.SubgraphIndex() for d in defs}[signature]
        read = _once(_reads(schema, model, model.Subgraphs(index)))
        del model, defs  # they hold on to the map
    return sum(read.values())


def _once(reads: Iterable[tuple[int, int]]) -> dict[int, int]:
    """buffer -> bytes; tensors may share a buffer."""
    found: dict[int, int] = {}
    for buffer, count in reads:
        found[buffer] = max(found.get(buffer, 0), count)
    return found


def _reads(schema, model, graph) -> Iterator[tuple[int, int]]:
    """(buffer, bytes) of each use of a constant.

    The branches after a TOPK_V2 are experts, of which only the chosen ones are read: each counts by
    the share of them.
    """
    widened: dict[int, int] = {}  # output of a DEQUANTIZE -> the constant before it
    branches: list[tuple[float, list[dict[int, int]]]] = [(math.inf, [])]  # choices, and reads
    for i in range(graph.OperatorsLength()):
        op = graph.Operators(i)
        code = model.OperatorCodes(op.OpcodeIndex())
        # Files of old readers keep small codes in the deprecated field.
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        inputs = op.InputsAsNumpy().tolist() if op.InputsLength() else []
        if kind == schema.BuiltinOperator.DEQUANTIZE:
            widened[op.Outputs(0)] = widened.get(inputs[0], inputs[0])
            continue
        if kind == schema.BuiltinOperator.TOPK_V2:
            choices = graph.Tensors(op.Outputs(0)).ShapeAsNumpy()
            branches.append((math.prod(choices.tolist()), []))
        if kind == schema.BuiltinOperator.IF:
            options = schema.IfOptions()
            options.Init(op.BuiltinOptions().Bytes, op.BuiltinOptions().Pos)
            both = options.ThenSubgraphIndex(), options.ElseSubgraphIndex()
            reads = (_reads(schema, model, model.Subgraphs(at)) for at in both)
            branches[-1][1].append(_once(chain.from_iterable(reads)))
        tables = {getattr(schema.BuiltinOperator, name): at for name, at in _LOOKUPS.items()}
        for at, number in enumerate(inputs):
            if number >= 0:
                tensor = graph.Tensors(widened.get(number, number))
                yield from _constant(schema, model, graph, tensor, tables.get(kind) == at)
    for choices, those in branches:
        share = min(1.0, choices / max(1, len(those)))
        for one in those:
            yield from ((buffer, round(size * share)) for buffer, size in one.items())


def _constant(schema, model, graph, tensor, one_row: bool) -> Iterator[tuple[int, int]]:
    """A constant's own bytes, and those of the scales that stand a block of weights."""
    buffer = model.Buffers(tensor.Buffer())
    # Buffers of quantizers lie outside the flatbuffer, and only have a place and a size.
    size = buffer.DataLength() or buffer.Size()
    if size:
        yield tensor.Buffer(), size // max(1, tensor.Shape(0)) if one_row else size
    scales = tensor.Quantization()
    if scales and scales.DetailsType() == schema.QuantizationDetails.BlockwiseQuantization:
        blocks = schema.BlockwiseQuantization()
        blocks.Init(scales.Details().Bytes, scales.Details().Pos)
        yield from _constant(schema, model, graph, graph.Tensors(blocks.Scales()), one_row)


def state_bytes(signatures: Mapping, positions: float) -> int:
    """Bytes of state that a `decode` call must read when that many positions are in the cache.

    A key/value cache counts by its live slots, whatever the window; recurrent state and what an
    encoder provides are read as a whole.

    Args:
        signatures: {name: SignatureInfo} of the engine.
    """
    import numpy as np

    total = 0.0
    for name, info in signatures["decode"].inputs.items():
        if name in ("token_ids", "positions"):
            continue
        size = math.prod(info.shape) * np.dtype(info.dtype).itemsize
        slots = _slots(name, info.shape)
        total += size if slots is None else size * min(1.0, positions / slots)
    return round(total)


def _slots(name: str, shape: tuple[int, ...]) -> int | None:
    """Slots of a cache tensor: keys (1, K, n, D), values (1, K, D, n); None for other state."""
    if name.startswith("kv_cache_k") and len(shape) > 2:
        return shape[2]
    return shape[-1] if name.startswith("kv_cache_v") else None
