"""A SavedModel that does more than compute is refused by the name of its operation, and not run."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from modelzoo import runtime
from modelzoo.errors import BundleError
from modelzoo.runtime.bundle import read_bundle, write_manifest
from modelzoo.runtime.trust import examine, seen
from modelzoo.runtime.trust.saved_model import check_saved_model
from modelzoo.runtime.trust.saved_model_ops import ALLOWED, SAVER
from modelzoo.runtime.user_cache import VARIABLE
from tests.export.conftest import SAVED_MODELS

SPEC = tf.TensorSpec((1, 2), tf.float32, "x")


def save(path: Path, function, module: tf.Module | None = None) -> Path:
    """A SavedModel with one signature; `module` is what else is in it."""
    module = tf.Module() if module is None else module
    module.weight = tf.Variable([1.0, 2.0])
    module.serve = tf.function(function, input_signature=[SPEC])
    concrete = module.serve.get_concrete_function()
    tf.saved_model.save(module, str(path), signatures={"serve": concrete})
    return path


def edited(path: Path, edit) -> Path:
    """The SavedModel with its graph changed by `edit(meta_graph)`."""
    file = path / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    edit(model.meta_graphs[0])
    file.write_bytes(model.SerializeToString())
    return path


def plain(x):
    return {"y": x * 2}


def test_arithmetic_passes(tmp_path):
    def compute(x):
        y = tf.while_loop(lambda n, _: n < 3, lambda n, v: (n + 1, v * 2), (0, x))[1]
        y = tf.map_fn(lambda row: tf.nn.softmax(row), y)
        return {"y": tf.cond(tf.reduce_sum(y) > 0, lambda: y, lambda: -y)}

    check_saved_model(save(tmp_path / "m", compute))


def test_a_constant_of_a_module_passes(tmp_path):
    module = tf.Module()
    module.scale = tf.constant([0.5, 2.0])  # TensorFlow registers a class for it
    check_saved_model(save(tmp_path / "m", lambda x: {"y": x * module.scale}, module))


@pytest.mark.parametrize("name", SAVED_MODELS)
def test_exports_of_ours_pass(exports, name):
    assert exports[name, "savedmodel"]
    check_saved_model(exports.bundle(name, "savedmodel") / "saved_model")


@pytest.mark.parametrize("kind", ["tflite", "savedmodel"])
def test_an_export_is_known_to_its_user(exports, kind):
    assert exports["gpt", kind]
    assert seen.is_known(read_bundle(exports.bundle("gpt", kind)).manifest, "any engine")


def writing(x):
    with tf.control_dependencies([tf.io.write_file("marker", "ran")]):
        return {"y": x * 2}


def reading(x):
    return {"y": x + tf.strings.to_number(tf.io.read_file("marker"))}


def in_a_loop(x):
    def body(n, v):
        tf.io.write_file("marker", "ran")
        return n + 1, v

    return {"y": tf.while_loop(lambda n, _: n < 3, body, (0, x))[1]}


def in_a_branch(x):
    return {"y": tf.cond(tf.reduce_sum(x) > 9, lambda: writing(x)["y"], lambda: x)}


def in_a_function(x):
    return {"y": tf.function(lambda v: writing(v)["y"])(x)}


def python(x):
    return {"y": tf.py_function(lambda v: v, [x], tf.float32)}


def printing(x):
    tf.print("ran", output_stream="file://marker")
    return {"y": x * 2}


def saving(x):
    tf.raw_ops.SaveV2(prefix="marker", tensor_names=["a"], shape_and_slices=[""], tensors=[x])
    return {"y": x * 2}


def restoring(x):
    restored = tf.raw_ops.RestoreV2(
        prefix="marker", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
    )
    return {"y": x + tf.reshape(restored[0], (1, 2))}


def listing(x):
    return {"y": x + tf.cast(tf.size(tf.io.matching_files("/*")), tf.float32)}


def queueing(x):
    queue = tf.raw_ops.FIFOQueueV2(component_types=[tf.float32])
    return {"y": x + tf.cast(tf.raw_ops.QueueSizeV2(handle=queue), tf.float32)}


HOSTILE = {
    writing: "WriteFile",
    reading: "ReadFile",
    in_a_loop: "WriteFile",
    in_a_branch: "WriteFile",
    in_a_function: "WriteFile",
    python: "EagerPyFunc",
    printing: "(StringFormat|PrintV2)",
    saving: "SaveV2",
    restoring: "RestoreV2",
    listing: "MatchingFiles",
    queueing: "FIFOQueueV2",
}


@pytest.mark.parametrize("function", HOSTILE, ids=lambda function: function.__name__)
def test_what_does_more_is_named_and_not_run(tmp_path, monkeypatch, function):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "m", function)
    with pytest.raises(BundleError, match=f"the operation {HOSTILE[function]} in ") as caught:
        check_saved_model(path)
    assert "--trust" in str(caught.value)
    assert not (tmp_path / "marker").exists()


class Initialised(tf.Module):
    """Writes a file as soon as it is loaded, and reads one on the first call: row 4 of the list."""

    def __init__(self):
        super().__init__()
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer("words.txt", tf.string, 0, tf.int64, 1, delimiter=" "),
            -1,
        )


def test_an_initialiser_that_touches_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("a 1\n")
    path = save(tmp_path / "m", plain, Initialised())
    with pytest.raises(BundleError, match="InitializeTableFromTextFile|HashTable|the file assets"):
        check_saved_model(path)


def test_a_bundle_that_writes_files_on_load_is_refused_by_load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    bundle = tmp_path / "b"
    bundle.mkdir()
    save(bundle / "saved_model", writing)
    named = {"name": "m", "task": "other", "format": "savedmodel", "model": "saved_model"}
    write_manifest(bundle, {**named, "signatures": {"serve": {}}})
    monkeypatch.setattr(examine, "_try", None)  # it does not come to a trial
    with pytest.raises(BundleError, match="WriteFile"):
        runtime.load(bundle)
    assert not (tmp_path / "marker").exists()
    runtime.load(bundle, trust=True).engine.run("serve", {"x": [[1.0, 2.0]]})
    assert (tmp_path / "marker").exists()


# === What no TensorFlow writes ===


def saver_of(graph) -> str:
    functions = graph.graph_def.library.function
    return next(f.signature.name for f in functions if any(n.op == "SaveV2" for n in f.node_def))


def call_the_saver(graph) -> None:
    name = saver_of(graph)
    functions = graph.graph_def.library.function
    other = next(f for f in functions if "traced" not in f.signature.name)
    node = other.node_def.add(name="more", op="StatefulPartitionedCall")
    node.attr["f"].func.name = name


def call_it_as_an_operation(graph) -> None:
    function = graph.graph_def.library.function[0]
    function.node_def.add(name="more", op=saver_of(graph))


def call_it_from_the_graph(graph) -> None:
    graph.graph_def.node.add(name="more", op=saver_of(graph))


def give_it_to_an_object(graph) -> None:
    graph.object_graph_def.nodes.add().function.concrete_functions.append(saver_of(graph))


def name_a_function_like_an_operation(graph) -> None:
    graph.graph_def.library.function.add().signature.name = "WriteFile"


def two_functions_of_one_name(graph) -> None:
    graph.graph_def.library.function.add().CopyFrom(graph.graph_def.library.function[0])


def a_function_that_is_not_there(graph) -> None:
    node = graph.graph_def.node.add(name="more", op="StatefulPartitionedCall")
    node.attr["f"].func.name = "__gone"


def another_implementation(graph) -> None:
    graph.graph_def.library.function[0].attr["api_implements"].s = b"x"


def an_asset(graph) -> None:
    graph.object_graph_def.nodes.add().asset.asset_file_def_index = 0


def a_class(graph) -> None:
    graph.object_graph_def.nodes.add().user_object.identifier = "_tf_keras_model"


def a_registered_class(graph) -> None:
    graph.object_graph_def.nodes[0].registered_name = "acme.Model"


def no_objects(graph) -> None:
    graph.ClearField("object_graph_def")


EDITS = {
    call_the_saver: "the saver's __inference__traced_save",
    call_it_as_an_operation: "the saver's __inference__traced_save",
    call_it_from_the_graph: "the saver's __inference__traced_save",
    give_it_to_an_object: "the saver's function __inference__traced_save",
    name_a_function_like_an_operation: "the function WriteFile",
    two_functions_of_one_name: "the function __",
    a_function_that_is_not_there: "a call of __gone",
    another_implementation: "the function __",
    an_asset: "an object of the kind asset",
    a_class: "an object of the kind _tf_keras_model",
    a_registered_class: "an object of the kind acme.Model",
    no_objects: "another layout",
}


@pytest.fixture(scope="module")
def plain_model(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("plain") / "m", plain)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_a_graph_that_hides_a_call_is_refused(plain_model, tmp_path, edit):
    path = tmp_path / "m"
    path.mkdir()
    (path / "saved_model.pb").write_bytes((plain_model / "saved_model.pb").read_bytes())
    check_saved_model(path)
    with pytest.raises(BundleError, match=EDITS[edit]):
        check_saved_model(edited(path, edit))


@pytest.mark.parametrize(
    "name", ["saved_model.pbtxt", "saved_model.cpb", "assets/words.txt", "variables/more"]
)
def test_other_files_are_refused(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("")
    with pytest.raises(BundleError, match=f"the file {name}"):
        check_saved_model(tmp_path)


def test_a_graph_that_cannot_be_read_is_one_error(tmp_path):
    with pytest.raises(BundleError, match="has no saved_model.pb"):
        check_saved_model(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff" * 100)
    with pytest.raises(BundleError, match="cannot be read"):
        check_saved_model(tmp_path)


def test_what_is_allowed_exists_and_touches_no_file():
    from tensorflow.python.framework import op_def_registry

    unknown = {name for name in ALLOWED | SAVER if op_def_registry.get(name) is None}
    assert unknown <= {"XlaDynamicSlice", "XlaDynamicUpdateSlice"}  # registered with XLA alone
    words = ("File", "Save", "Restore", "Py", "Print", "Queue", "Reader", "Dataset", "Send", "Recv")
    assert not [name for name in ALLOWED if any(word in name for word in words)]
