"""The bandwidth limit: what a token reads, and how fast memory gives it."""

import json
import mmap
from types import SimpleNamespace

import numpy as np
import pytest

from modelzoo.bench import bandwidth
from modelzoo.bench.bandwidth import array_bytes, read_bandwidth
from modelzoo.bench.memory import cache_bytes, peak_bytes, resident_bytes
from modelzoo.bench.report import with_limit
from modelzoo.bench.traffic import graph_bytes, state_bytes, weight_bytes
from modelzoo.runtime.engines.base import SignatureInfo, TensorInfo
from modelzoo.runtime.engines.pages import huge_page_size
from modelzoo.runtime.memory import proc_bytes

V, W, ROWS = 500, 64, 900


def decode(**tensors):
    """Signatures of a decoder with these inputs, all float32."""
    tensors |= {"token_ids": (1, 1), "positions": (1, 1)}
    infos = {name: TensorInfo(shape, "float32") for name, shape in tensors.items()}
    return {"decode": SignatureInfo(infos, {})}


def test_only_the_live_part_of_the_cache_is_counted():
    signatures = decode(kv_cache_k_0=(1, 3, 64, 8), kv_cache_v_0=(1, 3, 8, 64))
    one_position = 2 * 3 * 8 * 4
    assert state_bytes(signatures, 1) == one_position
    assert state_bytes(signatures, 10.5) == 10.5 * one_position
    assert state_bytes(signatures, 640) == 64 * one_position  # more is not there to be read


def test_recurrent_state_and_an_encoders_output_are_read_as_a_whole():
    signatures = decode(state_h_0=(1, 32), cross_k_0=(1, 6, 8))
    assert state_bytes(signatures, 1) == state_bytes(signatures, 9) == (32 + 6 * 8) * 4


def test_the_share_is_of_bandwidth_over_bytes():
    run = {"threads": 1, "bandwidth_gb_s": 10.0, "state_bytes": 2 * 10**7, "decode_tokens_s": 75.0}
    limited = with_limit(run, weights=8 * 10**7)
    assert limited["token_bytes"] == 10**8
    assert limited["limit_tokens_s"] == 100
    assert limited["share"] == 0.75


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A bundle-like object whose `decode` looks up in one table and multiplies by another."""
    tf = pytest.importorskip("tensorflow")

    class Model(tf.Module):
        def __init__(self):
            super().__init__()
            rng = np.random.default_rng(0)
            self.table = tf.Variable(rng.normal(size=(V, W)).astype("float32"))
            self.head = tf.Variable(rng.normal(size=(W, ROWS)).astype("float32"))

        @tf.function
        def untied(self, token_ids):
            return {"logits": tf.gather(self.table, token_ids) @ self.head}

        @tf.function
        def tied(self, token_ids):
            x = tf.gather(self.table, token_ids)
            return {"logits": tf.matmul(x, self.table, transpose_b=True)}

    directory, model = tmp_path_factory.mktemp("graph"), Model()
    spec = tf.TensorSpec((1,), tf.int32, "token_ids")
    functions = {
        name: getattr(model, name).get_concrete_function(token_ids=spec)
        for name in ("untied", "tied")
    }
    tf.saved_model.save(model, str(directory / "saved"), signatures=functions)

    def bundle(mode):
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(directory / "saved"), signature_keys=list(functions)
        )
        if mode == "float16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        path = directory / f"{mode}.tflite"
        path.write_bytes(converter.convert())
        manifest = {"format": "tflite"}
        return SimpleNamespace(manifest=manifest, model_path=path, directory=directory)

    return bundle


@pytest.mark.parametrize("mode, itemsize", [("float32", 4), ("float16", 2)])
def test_an_untied_table_counts_by_the_row_and_a_tied_one_whole(graph, mode, itemsize):
    bundle = graph(mode)
    untied, how = weight_bytes(bundle, "untied")
    assert how == "graph"
    assert untied == pytest.approx((W * ROWS + W) * itemsize, abs=100)
    assert weight_bytes(bundle, "tied")[0] == pytest.approx(V * W * itemsize, abs=100)


def test_a_saved_model_counts_by_its_export_or_else_by_its_files(tmp_path):
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").write_bytes(b"x" * 70)
    bundle = SimpleNamespace(
        manifest={"format": "savedmodel"},
        model_path=tmp_path / "saved_model",
        directory=tmp_path,
    )
    assert weight_bytes(bundle) == (70, "file")
    (tmp_path / "parity.json").write_text(json.dumps({"weight_bytes": 64}))
    assert weight_bytes(bundle) == (64, "weights")


def test_bandwidth_is_of_an_array_far_larger_than_the_cache():
    assert array_bytes(cache=32 << 20, available=None) == 256 << 20
    assert array_bytes(cache=96 << 20, available=64 << 30) == 768 << 20
    assert array_bytes(cache=32 << 20, available=400 << 20) == 100 << 20  # a small board
    assert cache_bytes() >= 1 << 18


@pytest.mark.skipif(not hasattr(mmap, "MADV_NOHUGEPAGE"), reason="Linux")
def test_the_array_is_in_the_pages_that_were_asked_for():
    def huge_kb():
        return proc_bytes("self/smaps_rollup", "AnonHugePages") // 1024

    before = huge_kb()
    small = bandwidth._ones(16 << 20, huge=False)
    assert huge_kb() <= before and small.min() == 1
    large = bandwidth._ones(16 << 20, huge=True)
    assert large.min() == 1 and (huge_kb() > before or not huge_page_size())


@pytest.mark.parametrize("threads, huge", [(1, True), (3, True), (1, False)])
def test_bandwidth_is_measured_and_its_array_given_back(threads, huge):
    before = resident_bytes()  # of an array up to 32 MiB glibc may keep what was freed
    speed = read_bandwidth(threads, seconds=0, size=64 << 20, huge=huge)
    assert 1e8 < speed < 1e13
    if before is not None:
        assert peak_bytes() >= before + (24 << 20) or peak_bytes() > resident_bytes()
        assert resident_bytes() < before + (16 << 20)


def test_of_experts_a_token_reads_the_chosen_ones(tmp_path):
    tf = pytest.importorskip("tensorflow")
    from modelzoo.layers.backend.lookup import device_lookups
    from modelzoo.layers.config import TransformerConfig
    from modelzoo.layers.experts import Experts

    sizes = {"hidden_dim": 8, "num_heads": 2, "ffn_bias": False, "ffn_dim": 256}
    layer = Experts(TransformerConfig(**sizes, experts={"count": 4, "top_k": 1}))
    layer.build()

    @tf.function(autograph=False)
    def call(x):
        with device_lookups():
            return {"y": layer(x)}

    module = tf.Module()
    module.weights = [variable.value for variable in layer.variables]
    read = {}
    for length in (1, 3):
        spec = tf.TensorSpec((1, length, 8), "float32", name="x")
        saved = str(tmp_path / f"saved_{length}")
        tf.saved_model.save(
            module, saved, signatures={"decode": call.get_concrete_function(x=spec)}
        )
        converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=["decode"])
        (tmp_path / "model.tflite").write_bytes(converter.convert())
        read[length] = graph_bytes(tmp_path / "model.tflite", "decode")
    expert, router = 2 * 256 * 8 * 4, 4 * 8 * 4
    assert expert + router <= read[1] < expert + router + 1000
    assert 3 * expert + router <= read[3] < 3 * expert + router + 1000
