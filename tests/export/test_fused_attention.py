"""Attention marked as one operation computes what it computed before, to the last bit."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from modelzoo.errors import ExportError
from modelzoo.exporting.formats.fused_attention import NAME, fuse_attention
from modelzoo.exporting.formats.tflite_file import read_file
from modelzoo.runtime.engines.litert import LiteRTEngine
from modelzoo.runtime.trust.tflite import check_tflite

S, D = 12, 8


def attention(heads, groups, softcap=None, peek=False):
    """A function of two layers with a trained table, as a converter sees a decoder."""
    import tensorflow as tf

    square, table = (
        tf.Variable(np.random.default_rng(0).normal(size=(heads * D, width)).astype("float32"))
        for width in (heads * D, 64)
    )

    def layer(query, key, value, mask):
        length = query.shape[2]
        grouped = tf.reshape(query * 0.25, (1, groups, -1, D))
        scores = tf.reshape(tf.matmul(grouped, key, transpose_b=True), (1, heads, length, S))
        scores = scores if softcap is None else softcap * tf.tanh(scores / softcap)
        weights = tf.nn.softmax(scores + mask)
        mixed = tf.matmul(tf.reshape(weights, (1, groups, -1, S)), value, transpose_b=True)
        mixed = tf.transpose(tf.reshape(mixed, (1, heads, length, D)), (0, 2, 1, 3))
        return tf.reshape(mixed, (1, length, heads * D)), weights

    def call(query, key, value, mask):
        once, weights = layer(query, key, value, mask)
        query = tf.reshape(tf.matmul(once, square), (1, -1, heads, D))
        query = tf.transpose(query, (0, 2, 1, 3))
        left, right = tf.split(query, 2, axis=-1)  # as rotary positions do
        query += tf.concat([right, left], axis=-1)
        twice, _ = layer(query, key, value, mask)
        found = {"mixed": tf.matmul(twice, table)}
        return {**found, "weights": weights} if peek else found

    return call, (square, table)


@pytest.fixture
def written(tmp_path):
    """Writes a file of two signatures, one query and three."""
    tf = pytest.importorskip("tensorflow")

    def write(heads=4, groups=2, **options):
        module = tf.Module()
        call, module.weights = attention(heads, groups, **options)
        functions = {}
        for name, length in (("decode", 1), ("verify_3", 3)):
            shapes = {
                "query": (1, heads, length, D),
                "key": (1, groups, S, D),
                "value": (1, groups, D, S),
                "mask": (1, length, S),
            }
            specs = {key: tf.TensorSpec(shape, tf.float32, key) for key, shape in shapes.items()}
            functions[name] = tf.function(call).get_concrete_function(**specs)
        tf.saved_model.save(module, str(tmp_path / "graph"), signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(tmp_path / "graph"), signature_keys=list(functions)
        )
        path = tmp_path / "model.tflite"
        path.write_bytes(converter.convert())
        return path

    return write


def answers(path):
    manifest = {"model": path.name, "files": {path.name: "0" * 64}}
    engine = LiteRTEngine(SimpleNamespace(manifest=manifest, model_path=path), threads=1)
    found = {}
    for name, info in engine.signatures.items():
        rng = np.random.default_rng(1)
        inputs = {key: rng.normal(size=one.shape) for key, one in sorted(info.inputs.items())}
        inputs = {key: value.astype("float32") for key, value in inputs.items()}
        found |= {(name, key): value for key, value in engine.run(name, inputs).items()}
    return found


@pytest.mark.parametrize("heads, groups", [(4, 2), (4, 1), (3, 3)])
def test_the_answers_stay_bit_by_bit(written, heads, groups):
    path = written(heads, groups)
    before, constants = answers(path), read_file(path).constant_bytes
    assert fuse_attention(path) == 4
    check_tflite(path)
    file = read_file(path)
    assert file.operations["decode"]["STABLEHLO_COMPOSITE"] == 2
    left = {*file.operations["decode"], *file.operations["verify_3"]}
    assert not left & {"SOFTMAX", "BATCH_MATMUL"}
    assert file.constant_bytes - constants in (0, 16)  # the shape of one query
    assert len(file.operations) == 4  # two layers share what one of them is made of
    assert NAME.encode() in path.read_bytes()
    after = answers(path)
    assert before.keys() == after.keys()
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)


def test_large_constants_are_aligned(written):
    from ai_edge_litert import schema_py_generated as schema

    path = written()
    fuse_attention(path)
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    places = [model.Buffers(n).Offset() for n in range(model.BuffersLength())]
    assert [place % 16 for place in places if place] == [0, 0]  # the matrices


@pytest.mark.parametrize("options", [{"softcap": 20.0}, {"peek": True}])
def test_what_a_kernel_would_not_compute_is_left_as_it_is(written, options):
    path = written(**options)
    before = path.read_bytes()
    if "peek" in options:  # the second layer's weights are its own matter
        assert fuse_attention(path) == 2
        return
    with pytest.raises(ExportError, match="no attention of this model") as caught:
        fuse_attention(path)
    assert "export.kv_cache" in str(caught.value)
    assert path.read_bytes() == before
