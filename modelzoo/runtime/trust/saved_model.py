"""Check a SavedModel before TensorFlow loads it: every operation of every function in it.

TensorFlow runs what a SavedModel says already while it loads, so the graph is read as data first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from modelzoo.errors import BundleError, require
from modelzoo.runtime.engines.native_log import quiet_tensorflow
from modelzoo.runtime.trust.saved_model_ops import ALLOWED, SAVER

__all__ = ["check_saved_model"]

LARGEST = 256 << 20  # bytes of saved_model.pb; weights are not in it

_FILE = re.compile(
    r"saved_model\.pb|fingerprint\.pb|variables/variables\.(index|data-\d{5}-of-\d{5})"
)
_KINDS = {"user_object", "function", "variable", "bare_concrete_function", "constant"}
_KINDS |= {"captured_tensor"}
_IDENTIFIERS = {"_generic_user_object", "signature_map", "tf_module"}
_REGISTERED = {"", "tf.TrackableConstant"}
_IDENTIFIERS |= {f"trackable_{kind}_wrapper" for kind in ("dict", "list", "tuple")}


def check_saved_model(path: Path) -> None:
    """Raise a BundleError unless a SavedModel's directory holds arithmetic alone.

    Allowed are the operations of `saved_model_ops`. The saver's two functions, which write and
    read files, may stand there as every SavedModel has them, but nothing may call them.

    Raises:
        BundleError: names the operation, and the function that it is in.
        MissingDependencyError: TensorFlow is not installed.
    """
    graph = _read(path)
    library = _library(path, graph)
    savers = _savers(graph, library)
    for where, nodes in [*library.items(), (None, graph.graph_def.node)]:
        for node in nodes:
            calls = {name for name in (node.op, *_functions_of(node)) if name in library}
            missing = {*_functions_of(node)} - calls
            strange = node.op not in ALLOWED and not calls
            if strange and not (node.op in SAVER and where in savers):
                raise _refused(path, f"the operation {node.op}", where)
            if missing:
                raise _refused(path, f"a call of {min(missing)}, which is not there,", where)
            if calls & savers.keys() and (where or node.name not in savers.values()):
                raise _refused(path, f"a call of the saver's {min(calls & savers.keys())}", where)
    _check_objects(path, graph.object_graph_def, savers)


def _read(path: Path):
    """The one graph of a SavedModel, parsed and not loaded."""
    for file in path.rglob("*"):
        name = file.relative_to(path).as_posix()
        if file.is_file() and not _FILE.fullmatch(name):
            raise _refused(path, f"the file {name}")
    file = path / "saved_model.pb"
    if not file.is_file():
        raise BundleError("the SavedModel has no saved_model.pb", where=path)
    if file.stat().st_size > LARGEST:
        raise _refused(path, f"a graph of more than {LARGEST:,} bytes")
    with quiet_tensorflow():
        require("tensorflow", "tensorflow")
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(file.read_bytes())
    except DecodeError as error:
        raise BundleError(
            f"the SavedModel cannot be read: {error}",
            where=file,
            next_step="copy the bundle again, or export it again",
        ) from error
    graphs = model.meta_graphs
    if len(graphs) != 1 or not graphs[0].HasField("object_graph_def"):
        raise _refused(path, "another layout than TensorFlow 2 writes")
    return graphs[0]


def _library(path: Path, graph) -> dict[str, list]:
    """Function -> its nodes."""
    from tensorflow.python.framework import op_def_registry

    library: dict[str, list] = {}
    for function in graph.graph_def.library.function:
        name = function.signature.name
        # With the name of an operation, nobody knows which of both a node means.
        named = name in library or op_def_registry.get(name) is not None
        if named or "api_implements" in function.attr:
            raise _refused(path, f"the function {name}")
        library[name] = function.node_def
    return library


def _savers(graph, library: dict) -> dict[str, str]:
    """The saver's functions -> the node of the graph that calls each."""
    saver = graph.saver_def
    names = {saver.save_tensor_name.partition(":")[0], saver.restore_op_name}
    return {
        function: node.name
        for node in graph.graph_def.node
        if node.name in names
        for function in _functions_of(node)
        if any(one.op in SAVER for one in library.get(function, ()))
    }


def _functions_of(node) -> Iterator[str]:
    """The functions that a node's attributes name."""
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _check_objects(path: Path, objects, savers: dict[str, str]) -> None:
    """The objects that are made of the graph: variables and functions, and none of the saver's."""
    named = set(objects.concrete_functions)
    for node in objects.nodes:
        kind = node.WhichOneof("kind")
        known = node.registered_name in _REGISTERED and not node.registered_saver
        if kind not in _KINDS or not known:
            raise _refused(path, f"an object of the kind {node.registered_name or kind}")
        if kind == "user_object" and node.user_object.identifier not in _IDENTIFIERS:
            raise _refused(path, f"an object of the kind {node.user_object.identifier}")
        if kind == "function":
            named.update(node.function.concrete_functions)
        if kind == "bare_concrete_function":
            named.add(node.bare_concrete_function.concrete_function_name)
    if named & savers.keys():
        raise _refused(path, f"a call of the saver's function {min(named & savers.keys())}")


def _refused(path: Path, what: str, where: str | None = None) -> BundleError:
    return BundleError(
        f"the SavedModel holds {what}{f' in {where}' if where else ''}, which could do more than "
        "compute",
        where=path,
        next_step="open it only if you trust who made it: --trust (trust=True in Python)",
    )
