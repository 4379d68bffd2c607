"""Bundles in 8 and 4 bits: how large they are, how near, and what is said of those that are not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modelzoo.bench.traffic import graph_bytes
from modelzoo.errors import ExportError
from modelzoo.exporting.formats.format import Format, format_of
from modelzoo.exporting.formats.tflite_file import Product, read_file
from modelzoo.exporting.quantization.precision import MODES, mode_for
from modelzoo.exporting.quantization.quantize import Quantization, precision_of, quantization
from modelzoo.exporting.verification.first_layer import LayerDifference, first_difference
from modelzoo.exporting.verification.quality import complaint
from modelzoo.runtime import load
from modelzoo.runtime.bundle import read_bundle
from tests.export.conftest import INT4, INT8, VOCAB

BOTH = [(name, "int8") for name in INT8] + [(name, "int4") for name in INT4]


def constants(exports, name: str, kind: str) -> dict[str, set]:
    """dtype -> shapes of the large constants."""
    found: dict[str, set] = {}
    for constant in read_file(exports.bundle(name, kind) / "model.tflite").constants:
        if len(constant.shape) == 2 and constant.values.size >= 512:
            found.setdefault(str(constant.values.dtype), set()).add(constant.shape)
    return found


@pytest.mark.parametrize(("name", "kind"), BOTH)
def test_a_quantized_bundle_is_small_and_answers_nearly_as_keras(exports, name, kind):
    parity, full = exports[name, kind]["parity"], exports[name, "tflite"]["parity"]
    assert exports[name, kind]["manifest"]["precision"] == kind
    assert parity["weight_bytes"] < 0.45 * full["weight_bytes"]  # tiny: much is not matrices
    answers = [f for s in parity["signatures"].values() for f in s.values()]
    assert answers and min(f["cosine"] for f in answers) > (0.995 if kind == "int8" else 0.92)
    # It is rounded, and not float32 under another name.
    assert max(f["max_abs_error"] for f in answers) > 1e-5


@pytest.mark.parametrize("name", ["gpt", "lstm", "t5"])
def test_generation_through_the_state_stays_near_keras(exports, name):
    generation = exports[name, "int8"]["parity"]["generation"]
    for key in ("decode", "prefill"):
        assert generation[key]["cosine"] > 0.995
    assert generation.get("same_choice", 1.0) == 1.0
    held_out = exports[name, "int8"]["parity"]["held_out"]
    assert held_out["metric"] == "perplexity" and held_out["tokens"] >= 39
    assert abs(held_out["change"]) < 0.02 and held_out["argmax_agreement"] > 0.8
    assert load(exports.bundle(name, "int8")).generate("the river", max_new_tokens=3)


def test_encoders_are_held_to_their_task(exports):
    labels = exports["bert classifier", "int8"]["parity"]["held_out"]
    assert (labels["metric"], labels["float32"]) == ("label_agreement", 1.0)
    recall = exports["embedder", "int8"]["parity"]["held_out"]
    assert recall["metric"] == "recall@1" and recall["texts"] == 48


def test_a_tied_table_is_in_the_file_once_in_8_bits(exports):
    exports["gpt", "int8"]
    shapes = constants(exports, "gpt", "int8")
    assert (VOCAB, 32) in shapes["int8"]
    assert (VOCAB, 32) not in shapes["float32"]
    assert (32, 32) in shapes["float32"]  # what rotates the head's input
    file = read_file(exports.bundle("gpt", "int8") / "model.tflite")
    tables = [c for c in file.constants if c.shape == (VOCAB, 32)]
    assert len(tables) == 1
    assert {"EMBEDDING_LOOKUP", "FULLY_CONNECTED"} <= set(file.kinds())
    assert "GATHER" not in file.operations["decode"]  # scoring picks its logits with one


def test_equal_offsets_of_channels_are_in_the_file_once(exports):
    exports["gpt", "int8"]
    from ai_edge_litert import schema_py_generated as schema

    data = (exports.bundle("gpt", "int8") / "model.tflite").read_bytes()
    model, found = schema.Model.GetRootAs(data, 0), set()
    for graph in (model.Subgraphs(i) for i in range(model.SubgraphsLength())):
        for tensor in (graph.Tensors(i) for i in range(graph.TensorsLength())):
            parameters = tensor.Quantization()
            if parameters is not None and parameters.ZeroPointLength():
                assert not parameters.ZeroPointAsNumpy().any()
                place = parameters._tab.Vector(parameters._tab.Offset(10))
                found.add((parameters.ZeroPointLength(), place))
    assert len(found) == len(dict(found)) > 1  # a place for each length


def test_in_int4_the_body_has_4_bits_and_the_table_8(exports):
    exports["calm", "int4"]
    file = read_file(exports.bundle("calm", "int4") / "model.tflite")
    table = next(c for c in file.constants if c.shape == (VOCAB, 32))
    assert table.size == VOCAB * 32
    up = [c for c in file.constants if c.shape == (128, 32)]
    assert len(up) == 4 and {c.size for c in up} == {128 * 32 // 2}  # two layers, up and gate


@pytest.mark.parametrize(
    ("name", "kind", "shape", "size"),
    [("experts", "int8", (48, 32), 48 * 32), ("calm experts", "int4", (64, 32), 64 * 32 // 2)],
)
def test_experts_have_the_bits_of_a_dense_layer_and_are_in_the_file_once(
    exports, name, kind, shape, size
):
    exports[name, kind]
    bundle = read_bundle(exports.bundle(name, kind))
    file = read_file(bundle.model_path)
    matrices = [c for c in file.constants if c.shape == shape]
    assert [c.size for c in matrices] == [size] * 8  # up and gate of four experts
    # A prefill ends with the keys and values of the last layer, before its experts.
    whole = [key for key in bundle.manifest["signatures"] if not key.startswith("prefill")]
    assert file.kinds()["IF"] == 4 * len(whole)
    # A token of `decode` reads the weights of 2 of the 4 experts.
    down = [c.size for c in file.constants if c.shape == shape[::-1]]
    assert len(down) == 4
    unread = graph_bytes(bundle.model_path, "score_32") - graph_bytes(bundle.model_path, "decode")
    assert unread >= (8 * size + sum(down)) // 2


def test_layers_that_the_recipe_names_keep_their_bits(exports):
    file = read_file(exports.bundle("calm", "kept") / "model.tflite")
    assert exports["calm", "kept"]["manifest"]["precision"] == "int4"
    sizes = {(c.shape, c.size) for c in file.constants if len(c.shape) == 2}
    assert ((32, 128), 32 * 128) in sizes  # ffn/down, int8
    assert ((16, 32), 16 * 32 * 4) in sizes  # attention/value, float32
    assert ((16, 32), 16 * 32 // 2) in sizes  # attention/key, int4
    lock = (exports.bundle("calm", "kept") / "recipe.lock.toml").read_text()
    assert "attention/value" in lock


def test_a_layer_that_does_not_exist_is_refused_with_those_that_do(exports):
    error = exports.error(("calm", "unknown"))
    assert "quantize.layers names 'block_9/ffn/down', and no layer has that path" in error.what
    assert "block_0/attention/key" in error.next_step
    error = exports.error(("calm", "odd"))
    assert "'ffn/down' is to be 'int7', which is not a precision" in error.what


def test_a_bundle_that_misses_is_refused_with_the_layer_that_differs_first(exports):
    exports["gpt", "int8"]  # the same model is exported where its weights are even
    error = exports.error(("crushed", "int8"))
    assert isinstance(error, ExportError)
    assert "the first layer to differ from float32 is block_1/ffn/down (cosine" in error.what
    assert not (exports.bundle("crushed", "int8") / "parity.json").exists()


def test_what_it_costs_the_task_is_in_the_readme(exports):
    held_out = exports["gpt", "int8"]["parity"]["held_out"]
    text = (exports.bundle("gpt", "int8") / "README.md").read_text(encoding="utf-8")
    assert f"perplexity: {held_out['bundle']:.4g} compared with {held_out['float32']:.4g}" in text
    assert json.loads((exports.bundle("gpt", "int8") / "parity.json").read_text())["held_out"]


# === A cache of 8 bits ===


@pytest.mark.parametrize("name", ["gpt", "parallel", "calm", "t5"])
def test_a_cache_in_int8_is_small_and_answers_nearly_as_keras(exports, name):
    answer = exports[name, "int8 cache"]
    state = answer["manifest"]["signatures"]["decode"]["inputs"]
    assert {state[key]["dtype"] for key in ("kv_cache_k_0", "kv_cache_v_0")} == {"int8"}
    heads, slots = state["kv_cache_k_0"]["shape"][1:3]
    assert state["kv_cache_k_scale_0"] == {"shape": [1, heads, slots, 1], "dtype": "float32"}
    assert state["kv_cache_v_scale_0"] == {"shape": [1, heads, 1, slots], "dtype": "float32"}
    generation = answer["parity"]["generation"]
    assert min(generation[key]["cosine"] for key in ("decode", "prefill")) > 0.98
    assert abs(answer["parity"]["held_out"]["change"]) < 0.05


def test_the_examples_of_an_int8_cache_write_bytes(exports):
    exports["gpt", "int8 cache"]
    readme = (exports.bundle("gpt", "cache") / "README.md").read_text("utf-8")
    shape = 4 * 48 * 8  # heads, slots, width
    assert f"writeInt8(ByteArray({shape}))" in readme
    assert "LiteRT.js cannot load this bundle: its cache is int8" in readme
    assert "[Int8](repeating: 0" in readme and "std::vector<int8_t>" in readme


def test_a_cache_in_int8_moves_to_a_larger_window(exports):
    exports["gpt", "int8 cache"]
    small, large = load(exports.bundle("gpt", "cache")), load(exports.bundle("gpt", "int8"))
    options = {"max_new_tokens": 30}  # the windows have 16 and 48 slots
    texts = [model.generate("the river", **options) for model in (small, large)]
    assert texts[0] and texts[0][:8] == texts[1][:8]


@pytest.mark.parametrize(
    ("key", "what"),
    [
        (("gpt", "cache in float32"), "kv_cache is int8, which a bundle in float32 has no toler"),
        (("lstm", "no cache"), "this model's state has no key/value cache: state_h_0"),
        (("gpt", "odd cache"), "'int7' is not a kind of key/value cache"),
    ],
)
def test_a_cache_that_cannot_be_is_refused(exports, key, what):
    error = exports.error(key)
    assert what in error.what
    assert error.next_step


# === In this process ===


def test_devices_get_8_bits_unless_the_recipe_or_the_user_says_otherwise():
    tflite, saved_model, own = format_of("tflite"), format_of("savedmodel"), Format("acme/own")
    assert mode_for(None, tflite).name == mode_for(None, format_of("litertlm")).name == "int8"
    assert mode_for(None, saved_model).name == mode_for(None, own).name == "float32"
    assert mode_for("int4", own).name == "int4"  # the exporter itself may reject it
    assert mode_for(None, tflite, "int4").name == "int4"
    assert mode_for(None, saved_model, "int4").name == "float32"  # which it does not have
    assert mode_for("float16", tflite, "int4").name == "float16"
    with pytest.raises(ExportError, match="'int7' is not a precision"):
        mode_for(None, saved_model, "int7")
    with pytest.raises(ExportError, match="the format savedmodel has no int8"):
        mode_for("int8", saved_model)


def test_blocks_that_do_not_fit_and_tables_have_8_bits():
    how, mode = Quantization(), MODES["int4"]

    def product(shape, **changes):
        values = {"output": "x", "path": "block_0/ffn/up", "shape": shape, "buffer": 1}
        return Product("FULLY_CONNECTED", **{**values, **changes})

    assert precision_of(product((8, 64)), mode, how) == "int4"
    assert precision_of(product((8, 40)), mode, how) == "int8"
    assert precision_of(product((8, 64), table=True), mode, how) == "int8"
    kept = quantization(layers={"ffn/u?": "float32"})
    assert precision_of(product((8, 64)), mode, kept) == "float32"
    lower = quantization(layers={"ffn/up": "int4"})
    assert precision_of(product((8, 64)), MODES["int8"], lower) == "int8"  # never below the mode's


def test_the_first_layer_below_the_limit_is_named_and_else_the_furthest():
    layers = [LayerDifference(n, c) for n, c in (("a", 0.999), ("b", 0.9), ("c", 0.5))]
    assert first_difference(layers, 0.99).path == "b"
    assert first_difference(layers, 0.1).path == "c"
    assert first_difference([], 0.1) is None


@pytest.mark.parametrize(
    ("change", "allowed", "wrong"), [(0.03, 0.02, True), (-0.5, 0.02, False), (-0.1, -0.05, True)]
)
def test_a_metric_that_misses_is_a_complaint(change, allowed, wrong):
    figures = {"metric": "m", "bundle": 1.0, "float32": 1.0, "change": change, "allowed": allowed}
    assert (complaint(figures) is not None) == wrong


def test_windows_share_the_weights_and_generation_crosses_them(exports):
    assert np.isfinite(exports["gpt", "int8"]["parity"]["generation"]["full_window"]["cosine"])
