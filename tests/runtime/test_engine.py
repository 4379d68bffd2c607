"""Real TFLite models give what the same mathematics in numpy gives."""

import gc
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import numpy as np
import pytest

from modelzoo.errors import BundleError, ModelzooError
from modelzoo.runtime.bundle import read_bundle
from modelzoo.runtime.engines.base import SignatureInfo, TensorInfo, Window, plan_steps
from modelzoo.runtime.engines.opening import open_engine
from modelzoo.runtime.generation.loop import generate_tokens
from modelzoo.runtime.generation.sampling import Sampling

TO_THE_END = Sampling(max_new_tokens=None)


@pytest.fixture(scope="module")
def decoder(tiny, tmp_path_factory):
    path = tiny.bundle("decoder", tmp_path_factory.mktemp("bundles") / "decoder.bundle")
    return open_engine(read_bundle(path), threads=1)


def tokens(stepper, prompt, sampling=TO_THE_END):
    return [token for _, token in generate_tokens(stepper, [prompt], sampling)]


@pytest.mark.parametrize("length", [1, 2, 3, 5, 6, 9, 13, 15, 16])
def test_greedy_tokens_equal_the_numpy_model(tiny, decoder, length):
    prompt = [(3 * n + 2) % 17 for n in range(length)]
    assert tokens(decoder.stepper(), prompt) == tiny.attention.greedy(prompt, 17 - length)


@pytest.mark.parametrize("sizes", [(4,), (8,), (1,)])
def test_every_prefill_size_gives_the_same_state(tiny, decoder, sizes):
    stepper, prompt = decoder.stepper(), [(5 * n + 1) % 17 for n in range(14)]
    assert stepper.prefill_lengths == (1, 4, 8)
    stepper.prefill_lengths = sizes
    assert tokens(stepper, prompt) == tiny.attention.greedy(prompt, 3)


def test_logits_equal_the_numpy_model_at_every_position(tiny, decoder):
    history = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3]
    stepper = decoder.stepper()
    for position, token in enumerate(history):
        logits = stepper.decode(np.array([[token]], np.int32), np.array([[position]], np.int32))
        assert logits.shape == (1, 17) and logits.dtype == np.float32
        expected = tiny.attention.logits(history[: position + 1])
        np.testing.assert_allclose(logits[0], expected, atol=1e-4)


def test_state_stays_in_one_buffer_for_input_and_output(decoder):
    stepper, one = decoder.stepper(), np.array([[7]], np.int32)
    stepper.decode(one, np.array([[2]], np.int32))
    stepper.prefill(np.array([[1, 2, 3, 4]], np.int32), np.array([[3, 4, 5, 6]], np.int32))
    assert len(stepper._calls) == 2
    for name, (_, given, ins, outs) in stepper._calls.items():
        info = decoder.signatures[name]
        for key in stepper.window.state:
            assert ins[list(info.inputs).index(key)] is outs[list(info.outputs).index(key)]
            assert ins[list(info.inputs).index(key)] is stepper._state[key]
        ids, places, *others = given
        assert ids in ins and places in ins and others == [None]
    keys = stepper.read_state()["kv_cache_k_0"][0, 0]
    assert np.flatnonzero(keys.any(axis=1)).tolist() == [2, 3, 4, 5, 6]  # what was written


def test_the_state_moves_to_a_larger_window_as_it_grows_and_back_for_a_new_text(tiny, decoder):
    stepper = decoder.stepper()
    assert (stepper.window.slots, stepper.max_length) == (8, 16)
    history = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
    for text in (history, history[::-1]):
        for position, token in enumerate(text):
            logits = stepper.decode(np.array([[token]], np.int32), np.array([[position]], np.int32))
            assert stepper.window.slots == (8 if position < 8 else 16)
            expected = tiny.attention.logits(text[: position + 1])
            np.testing.assert_allclose(logits[0], expected, atol=1e-4)


def test_a_state_that_moves_gives_up_each_tensor_that_is_taken_over():
    info = TensorInfo((1, 4), "int8")
    kept = {name: np.ones((1, 2), np.int8) for name in "kv"}
    filled = Window(4, {}, {"k": info, "v": info, "h": info}).filled(kept)
    name, array = next(filled)
    assert (name, array.tolist(), list(kept)) == ("k", [[1, 1, 0, 0]], ["v"])
    assert [array.tolist() for _, array in filled] == [[[1, 1, 0, 0]], [[0, 0, 0, 0]]]
    assert not kept


def test_several_sessions_on_one_model_are_independent(tiny, decoder):
    prompts = [[1], [2, 3, 4, 5, 6, 7], [9, 8, 7], [1]]
    runs = [generate_tokens(decoder.stepper(), [p], TO_THE_END) for p in prompts]
    got = [[] for _ in prompts]
    for step in zip_longest(*runs):  # one token of each in turn
        for row, item in enumerate(step):
            if item is not None:
                got[row].append(item[1])
    assert got == [tiny.attention.greedy(p, 17 - len(p)) for p in prompts]


def test_sessions_in_several_threads_are_independent(tiny, decoder):
    prompts = [[n, n + 1, 2] for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda p: tokens(decoder.stepper(), p), prompts))
    assert got == [tiny.attention.greedy(p, 14) for p in prompts]


def test_two_threads_and_packed_weights_give_the_same_tokens(tiny, tmp_path):
    bundle = read_bundle(tiny.bundle("decoder", tmp_path / "b"))
    expected = tiny.attention.greedy([1, 2, 3], 14)
    for _ in range(2):  # the second time from the cache
        engine = open_engine(bundle, threads=2, weight_cache=str(tmp_path / "cache"))
        assert tokens(engine.stepper(), [1, 2, 3]) == expected


def test_recurrent_state_has_no_window(tiny, tmp_path):
    engine = open_engine(read_bundle(tiny.bundle("recurrent", tmp_path / "b")), threads=1)
    stepper = engine.stepper()
    assert stepper.max_length is None
    got = tokens(stepper, [1, 2, 3, 4, 5, 6, 7, 8], Sampling(max_new_tokens=40))
    assert got == tiny.recurrent.greedy([1, 2, 3, 4, 5, 6, 7, 8], 40)


def test_run_calls_one_signature_by_name(tiny, tmp_path):
    engine = open_engine(read_bundle(tiny.bundle("classes", tmp_path / "b")), threads=1)
    ids = np.arange(12)[None]  # int64 is taken where it means the same
    mask = (ids < 5).astype(np.int32)
    for _ in range(2):
        logits = engine.run("serve", {"token_ids": ids, "padding_mask": mask})["logits"]
        expected = tiny.attention.embedding[:5].mean(0) @ tiny.attention.head[:, :3]
        np.testing.assert_allclose(logits[0], expected, rtol=1e-4)


@pytest.mark.parametrize(
    "inputs, message",
    [
        ({"token_ids": np.zeros((1, 12), np.int32)}, "needs the input 'padding_mask'"),
        ({"token_id": np.zeros((1, 12), np.int32)}, "did you mean: token_ids"),
        (dict.fromkeys(("token_ids", "padding_mask"), np.zeros((1, 11), np.int32)), "shape"),
        (dict.fromkeys(("token_ids", "padding_mask"), np.zeros((1, 12))), "float64, not int32"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(tiny, tmp_path, inputs, message):
    engine = open_engine(read_bundle(tiny.bundle("classes", tmp_path / "b")))
    with pytest.raises(ModelzooError, match=message):
        engine.run("serve", inputs)
    with pytest.raises(ModelzooError, match="no signature 'server'; it has serve"):
        engine.run("server", inputs)


def test_a_position_outside_the_window_is_refused_before_it_overwrites(decoder):
    stepper = decoder.stepper()
    with pytest.raises(ModelzooError, match="position 16 is outside the window of 16"):
        stepper.decode(np.array([[1]], np.int32), np.array([[16]], np.int32))


def test_steppers_leave_no_memory_behind(decoder):
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    if not os.path.exists("/proc/self/statm"):
        pytest.skip("needs /proc")
    for count in (50, 500):
        before = resident()
        for _ in range(count):
            tokens(decoder.stepper(), [1, 2], Sampling(max_new_tokens=1))
        gc.collect()
    assert resident() - before < 4e6  # a leak of every buffer would be 10 MB


def test_a_file_that_is_no_model_is_a_bundle_error(tiny, tmp_path):
    path = tiny.bundle("classes", tmp_path / "b")
    (path / "model.tflite").write_bytes(b"not a flatbuffer" * 10)
    from modelzoo.runtime.bundle import write_manifest

    manifest = json.loads((path / "manifest.json").read_text())
    write_manifest(path, manifest)
    with pytest.raises(BundleError, match="LiteRT cannot load the model"):
        open_engine(read_bundle(path), trust=True)
    with pytest.raises(BundleError, match="it is not a TFLite file"):
        open_engine(read_bundle(path))


def test_formats_threads_and_signatures_are_checked(tiny, tmp_path):
    unknown = read_bundle(tiny.bundle("classes", tmp_path / "a"))
    unknown.manifest["format"] = "tflight"
    with pytest.raises(BundleError, match="did you mean: tflite"):
        open_engine(unknown)
    unknown.manifest["engine"] = "os:system"  # a name in a table, which nothing imports
    with pytest.raises(BundleError, match="needs the engine 'os:system'.* has litert and saved_m"):
        open_engine(unknown)
    unknown.manifest["engine"] = "litert"
    assert "serve" in open_engine(unknown, threads=1).signatures
    wrong = read_bundle(tiny.bundle("classes", tmp_path / "b", signatures={"encode": {}}))
    with pytest.raises(BundleError, match="no signature 'encode'"):
        open_engine(wrong)
    with pytest.raises(ModelzooError, match="threads"):
        open_engine(unknown, threads=0)


def test_the_smallest_window_that_holds_a_chunk_is_taken():
    logits = {"logits": TensorInfo((1, 1, 99), "float32")}

    def signature(slots, length):
        ids = {n: TensorInfo((1, length), "int32") for n in ("token_ids", "positions")}
        state = {"kv_cache_k_0": TensorInfo((1, 2, slots, 8), "float32")}
        return SignatureInfo(ids | state, (logits if length == 1 else {}) | state)

    decodes = {"decode": 1024, "decode_256": 256, "decode_64": 64}
    signatures = {name: signature(slots, 1) for name, slots in decodes.items()}
    signatures |= {"prefill_32": signature(1024, 32), "prefill_32_256": signature(256, 32)}
    plan = plan_steps(signatures)

    def taken(first, length=1, now=0):
        places = np.arange(first, first + length)[None]
        return plan.window_for(places, plan.windows[now]).calls[length]

    assert [taken(p) for p in (1, 63, 64, 255, 256, 1023)] == [
        *["decode_64"] * 2,
        *["decode_256"] * 2,
        *["decode"] * 2,
    ]
    assert [taken(p, 32) for p in (1, 224, 225)] == ["prefill_32_256"] * 2 + ["prefill_32"]
    assert taken(300, now=2) == "decode" and taken(5, now=1) == "decode_256"  # it stays
    assert taken(0, now=2) == "decode_64"  # a new text
    with pytest.raises(ModelzooError, match="no signature reads 7 tokens at a time"):
        taken(1, 7)
    assert (plan.max_length, plan.vocab_size, plan.batch_size) == (1024, 99, 1)
    ids = {n: TensorInfo((1, 1), "int32") for n in ("token_ids", "positions")}
    state = {"kv_cache_k_0": TensorInfo((1, 2, 1024, 8), "float32")}
    needy = SignatureInfo(ids | state | {"memory": TensorInfo((1, 4), "float32")}, logits | state)
    with pytest.raises(BundleError, match="needs 'memory'"):
        plan_steps({"decode": needy})
    signatures = {"decode": SignatureInfo(ids | state, logits | state)}
    signatures["prefill_4"] = SignatureInfo(ids, {})
    with pytest.raises(BundleError, match="prefill_4 has no 'kv_cache_k_0', which decode has"):
        plan_steps(signatures)


def test_saved_models_give_the_same_tokens(tiny, tmp_path):
    paths = [tiny.bundle(n, tmp_path / n, format="savedmodel") for n in ("decoder", "seq2seq")]
    code = """
import json, sys
from modelzoo.runtime import load
decoder, seq2seq = (load(path) for path in sys.argv[1:])
print(json.dumps([decoder.generate_results(["a b c d"], max_new_tokens=9)[0].tokens,
                  seq2seq.generate_results(["a b c"], max_new_tokens=9)[0].tokens]))
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    child = subprocess.run(
        [sys.executable, "-c", code, *paths], env=environment, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    got = json.loads(child.stdout)
    context = tiny.attention.embedding[[5, 6, 7, 4]].mean(0)
    for tokens_, expected in zip(
        got,
        [tiny.attention.greedy([5, 6, 7, 8], 9), tiny.attention.greedy([0], 9, context)],
        strict=True,
    ):
        assert tokens_ == expected[: (expected + [4]).index(4)]
