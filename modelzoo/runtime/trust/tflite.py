"""Check a TFLite graph before LiteRT opens it: its structure, and every index in it. numpy only.

LiteRT follows the numbers of a file without a look at them. Here each is compared with what it
counts: tensors, buffers, operators, graphs, bytes. What an operation makes of right numbers is
found out by `trial`.

T tensors and O operations of one graph, B buffers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from modelzoo.errors import BundleError
from modelzoo.runtime.trust.flatbuffer import Damaged, Flatbuffer
from modelzoo.runtime.trust.tflite_schema import HEADER, TABLES, UNIONS

__all__ = ["check_litertlm", "check_tflite", "packed_graph"]

LARGEST = 1 << 40  # bytes of one tensor
T = TypeVar("T")

# Bits of a number of each type; 0: not a plain array, so a constant of it cannot be checked.
_BITS = (32, 16, 32, 8, 64, 0, 8, 16, 64, 8, 64, 128, 64, 0, 0, 32, 16, 4, 16, 2, 4, 8, 8)

# Options -> their fields that name a graph; stablehlo's case has a vector of them.
_CALLS = {
    "Call": (0,),
    "If": (0, 1),
    "While": (0, 1),
    "CallOnce": (0,),
    "StablehloReduceWindow": (5,),
    "StablehloWhile": (0, 1),
    "StablehloSort": (2,),
    "StablehloReduce": (1,),
    "StablehloScatter": (6,),
    "StableHLOComposite": (1,),
}
_CALL_VECTORS = {"StablehloCase": 0, "StablehloCustomCall": 4}
_TFLITE_SECTION = 3


def check_tflite(path: str | os.PathLike) -> None:
    """Raise a BundleError unless the file is a TFLite graph with nothing out of place.

    Takes milliseconds, whatever the size of the weights.
    """
    _check(path, _check_graph)


def check_litertlm(path: str | os.PathLike) -> None:
    """The same for the header and for every TFLite graph of a `.litertlm`."""
    _check(path, _check_packed)


def packed_graph(path: str | os.PathLike) -> tuple[int, int]:
    """Where the first TFLite graph of a `.litertlm` begins, and its bytes.

    Raises:
        BundleError: the header is damaged, or names no graph.
    """
    begin, end = _check(path, lambda data: _packed_graphs(data)[0])
    return begin, end - begin


def _check(path: str | os.PathLike, check: Callable[[np.ndarray], T]) -> T:
    try:
        size = os.stat(path).st_size
        return check(np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8))
    except Damaged as error:
        raise BundleError(
            f"the model file is damaged: {error}",
            where=path,
            next_step="copy the bundle again, or export it again; a file that you made yourself "
            "is opened with --trust (trust=True in Python)",
        ) from error


def _check_packed(data: np.ndarray) -> None:
    for begin, end in _packed_graphs(data):
        _check_graph(data[begin:end])


def _packed_graphs(data: np.ndarray) -> list[tuple[int, int]]:
    """The first byte of each graph of a `.litertlm`, and the one after its last; at least one."""
    if len(data) < 40 or bytes(data[:8]) != b"LITERTLM":
        raise Damaged("it is not a .litertlm file")
    end = int(data[24:32].view("<u8")[0])
    if not 40 <= end <= len(data):
        raise Damaged("its header ends outside of the file")
    header = Flatbuffer(data[32:end], "LiteRTLMMetaData", HEADER, UNIONS)
    _, metadata = header.targets(header.root, 1)
    sections, _ = header.children(metadata, 0)
    begins, ends = (header.numbers(sections, field, "<u8") for field in (1, 2))
    _need((begins <= ends) & (ends <= len(data)), "a section is outside of the file")
    graphs = header.numbers(sections, 3, "<u1") == _TFLITE_SECTION
    _need(graphs.any(), "it holds no TFLite graph")
    return list(zip(begins[graphs].tolist(), ends[graphs].tolist(), strict=True))


def _check_graph(data: np.ndarray) -> None:
    if len(data) < 8 or bytes(data[4:8]) != b"TFL3":
        raise Damaged("it is not a TFLite file")
    file = Flatbuffer(data, "Model", TABLES, UNIONS)
    for field in (8, 9):
        if file.children(file.root, field)[1].sum():
            raise Damaged("it reads weights from other files")
    codes, _ = file.children(file.root, 1)
    graphs, _ = file.children(file.root, 2)
    buffers, _ = file.children(file.root, 4)
    sizes = _buffer_sizes(file, buffers)
    tensors = [_check_tensors(file, graph, sizes) for graph in graphs[:, None]]
    calls = {}
    for number, (graph, (count, given)) in enumerate(zip(graphs[:, None], tensors, strict=True)):
        operators, _ = file.children(graph, 3)
        _check_operators(file, graph, operators, len(codes), count, given)
        calls[number] = sorted(set(_called(file, operators)))
    _check_calls(calls)
    _check_names(file, [count for count, _ in tensors], len(buffers))


def _buffer_sizes(file: Flatbuffer, buffers: np.ndarray) -> np.ndarray:
    """Bytes of each buffer, (B,): inside the flatbuffer, or after it at a place of its own."""
    behind, size = _behind(file, buffers, 1, "a buffer is outside of the file")
    return np.where(behind, size, file.places(buffers, 0)[1])


def _behind(file: Flatbuffer, at: np.ndarray, field: int, what: str) -> tuple:
    """Which tables name a place after the flatbuffer, in two fields, and its size in bytes."""
    offset, size = (file.numbers(at, one, "<u8") for one in (field, field + 1))
    behind, total = offset > 1, np.uint64(file.size)
    _need(~behind | (offset <= total) & (size <= total - np.minimum(offset, total)), what)
    return behind, np.where(behind, size, 0).astype(np.int64)


def _check_tensors(
    file: Flatbuffer, graph: np.ndarray, sizes: np.ndarray
) -> tuple[int, np.ndarray]:
    """How many tensors the graph has, and which of them (T,) need no operation to fill them."""
    tensors, _ = file.children(graph, 0)
    kinds = file.numbers(tensors, 1, "<u1").astype(np.int64)
    _need(kinds < len(_BITS), "a tensor has an unknown type")
    buffer = file.numbers(tensors, 2, "<u4").astype(np.int64)
    _need(buffer < len(sizes), "a tensor has a buffer that is not there")
    _need(file.numbers(tensors, 10, "<u4") == 0, "a tensor reads weights from another file")
    shape, ranks = file.vectors(tensors, 0)
    _need(shape >= 0, "a tensor has a size below 0")
    elements = _products(shape, ranks)
    bits = np.array(_BITS)[kinds]
    _need(elements * np.maximum(bits, 8) <= 8.0 * LARGEST, "a tensor is too large")
    held = sizes[buffer]
    constant = held > 0
    _need(~constant | (bits > 0), "a constant is not an array of numbers")
    sparse, _ = file.targets(tensors, 6)
    _need(~constant | ~sparse, "a constant is stored sparsely")
    needed = (elements.astype(np.int64) * bits + 7) // 8
    _need(~constant | (needed == held), "a constant's shape and its bytes do not fit")
    _check_quantization(file, tensors, shape, ranks)
    variable = file.numbers(tensors, 5, "<u1") != 0
    return len(tensors), constant | variable | (elements == 0)


def _check_quantization(file: Flatbuffer, tensors, shape, ranks) -> None:
    """One factor a tensor, or one a slice of an axis that it has."""
    there, tables = file.targets(tensors, 4)
    counts, zeros = (file.places(tables, field)[1] for field in (2, 3))
    axis = file.numbers(tables, 6, "<i4").astype(np.int64)
    several = counts > 1
    _need((axis >= 0) & (axis < ranks[there]) | ~several, "a tensor has factors along no axis")
    first = (np.cumsum(ranks) - ranks)[there]
    slices = shape[np.where(several, first + axis, 0)] if len(shape) else np.zeros(len(axis))
    _need((counts == slices) | ~several, "a tensor has another number of factors than slices")
    _need((zeros == counts) | (zeros == 0) | (counts == 0), "factors and zero points do not fit")
    kinds = file.numbers(tables, 4, "<u1")
    has, details = file.targets(tables, 5)
    blocks = details[kinds[has] == 2]
    for field in (0, 1):
        index = file.numbers(blocks, field, "<i4")
        _need((index >= -1) & (index < len(tensors)), "factors are in a tensor that is not there")


def _check_operators(
    file: Flatbuffer, graph, operators, codes: int, count: int, given: np.ndarray
) -> None:
    """Each operation is known and reads what an earlier one wrote, or what was there before."""
    _need(file.numbers(operators, 0, "<u4") < codes, "an operation has an unknown code")
    ends = [file.vectors(graph, field)[0] for field in (1, 2)]
    inputs, reads = file.vectors(operators, 1)
    outputs, writes = file.vectors(operators, 2)
    inner, _ = file.vectors(operators, 8)
    for index, least in ((inputs, -1), (outputs, 0), (inner, -1), (ends[0], 0), (ends[1], 0)):
        _need((index >= least) & (index < count), "an operation has a tensor that is not there")
    _behind(file, operators, 9, "an operation's options are outside of the file")

    order = np.arange(len(operators))
    ready = np.full(count, len(operators))  # after this operation the tensor may be read
    ready[outputs] = np.repeat(order, writes)
    _need(np.bincount(outputs, minlength=1) <= 1, "two operations write the same tensor")
    at_once = given.copy()
    at_once[ends[0]] = True
    _need(~at_once[outputs], "an operation writes what it may only read")
    ready[at_once] = -1
    reader = np.repeat(order, reads)[inputs >= 0]
    _need(ready[inputs[inputs >= 0]] < reader, "an operation reads what is not yet written")
    _need(ready[ends[1]] < len(operators), "an output is never written")


def _called(file: Flatbuffer, operators: np.ndarray) -> Iterator[int]:
    """The numbers of the graphs that operations call."""
    for union, field in (("BuiltinOptions", 4), ("BuiltinOptions2", 12)):
        there, options = file.targets(operators, field)
        kinds = file.numbers(operators, field - 1, "<u1")[there]
        for kind in np.unique(kinds[kinds > 0]).tolist():
            name, tables = UNIONS[union][kind - 1], options[kinds == kind]
            for place in _CALLS.get(name, ()):
                yield from file.numbers(tables, place, "<i4").tolist()
            if name in _CALL_VECTORS:
                yield from file.vectors(tables, _CALL_VECTORS[name])[0].tolist()


def _check_calls(calls: dict[int, list[int]]) -> None:
    """No graph calls itself, not by way of others either."""
    _need(
        all(one in calls for some in calls.values() for one in some),
        "an operation calls a graph that is not there",
    )
    while calls:
        last = [number for number, some in calls.items() if not any(one in calls for one in some)]
        _need(bool(last), "a graph calls itself")
        calls = {number: some for number, some in calls.items() if number not in last}


def _check_names(file: Flatbuffer, counts: list[int], buffers: int) -> None:
    """Signatures name tensors that are there, and metadata buffers that are there."""
    signatures, _ = file.children(file.root, 7)
    for signature in signatures[:, None]:
        graph = int(file.numbers(signature, 4)[0])
        _need(graph < len(counts), "a signature has a graph that is not there")
        for field in (0, 1):
            maps, _ = file.children(signature, field)
            found = file.numbers(maps, 1)
            _need(found < counts[graph], "a signature has a tensor that is not there")
            _need(file.targets(maps, 0)[0], "a signature has a tensor without a name")
        _need(file.targets(signature, 2)[0], "a signature has no name")
    metadata, _ = file.children(file.root, 6)
    _need(file.numbers(metadata, 1) < buffers, "metadata is in a buffer that is not there")
    _need(
        file.vectors(file.root, 5)[0].view("<u4") < buffers,
        "metadata is in a buffer that is not there",
    )


def _products(numbers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The product of each vector of several that lie end to end; floats do not overflow."""
    result = np.ones(len(counts))
    np.multiply.at(result, np.repeat(np.arange(len(counts)), counts), numbers.astype(np.float64))
    return result


def _need(good, what: str) -> None:
    if not np.all(good):
        raise Damaged(what)
