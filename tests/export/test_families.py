"""Every family through the converter, the runtime and the verification."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import modelzoo
from modelzoo.recipe import read_lock
from modelzoo.runtime import load
from modelzoo.runtime.bundle import read_bundle
from tests.export.conftest import FAMILIES, FLOAT16, SAVED_MODELS, TEXTS, VOCAB
from tests.plugin_site import ROOT

GENERATES = [name for name, (_, task, _, _) in FAMILIES.items() if task.endswith("-lm")]
SCORED = [(name, "tflite") for name, (_, task, _, _) in FAMILIES.items() if task.endswith("-lm")]
SCORED += [("gpt", "savedmodel")]
GENERATES = [name for name in GENERATES if FAMILIES[name][1] != "masked-lm"]


def errors(parity: dict) -> list[float]:
    return [f["max_abs_error"] for one in parity["signatures"].values() for f in one.values()]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_output_of_every_signature_is_keras(exports, name):
    parity = exports[name, "tflite"]["parity"]
    assert 0 < max(errors(parity)) < 1e-5
    assert min(f["cosine"] for s in parity["signatures"].values() for f in s.values()) > 0.99999


@pytest.mark.parametrize("name", GENERATES)
def test_generation_through_the_state_is_keras_to_the_last_token(exports, name):
    generation = exports[name, "tflite"]["parity"]["generation"]
    (chunk,) = FAMILIES[name][3].get("prefill_lengths", [16])
    window = exports[name, "tflite"]["manifest"]["max_length"]
    assert generation["positions"] == min(2 * chunk + chunk // 2 + 3, window or 10**9)
    for key in ("decode", "prefill", *(["verify"] if window else ())):
        assert generation[key]["max_abs_error"] < 1e-5
    assert generation.get("same_choice", 1.0) == 1.0 and ("same_choice" in generation) == bool(
        window
    )
    if window and window > generation["positions"]:
        assert generation["full_window"]["max_abs_error"] < 1e-5
    greedy = generation["greedy"]
    assert greedy["equal"] == greedy["compared"] - greedy["ties"]
    assert greedy["compared"] >= (39 if window else 240)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_file_holds_each_weight_once_and_builtin_operations_only(exports, name):
    parity = exports[name, "tflite"]["parity"]
    expected = parity["expected_weight_bytes"]
    # Beside the weights only what is computed beforehand, which does not grow with the weights.
    assert 0.9 * expected < parity["weight_bytes"] < 1.05 * expected + 20_000
    assert parity["bytes"] == (exports.bundle(name) / "model.tflite").stat().st_size
    kinds = parity["operation_kinds"]
    assert not [kind for kind in kinds if kind.startswith(("CUSTOM", "VAR_", "SHAPE"))]
    assert sum(kinds.values()) == sum(parity["operations"].values())


@pytest.mark.parametrize("kind", ["tflite", "int8"])
def test_attention_is_marked_where_the_options_say_so(exports, kind):
    kinds = exports["output norms", kind]["parity"]["operation_kinds"]
    assert kinds["STABLEHLO_COMPOSITE"] >= 2


@pytest.mark.parametrize("name", FAMILIES)
def test_the_manifest_says_what_a_device_must_know(exports, name):
    architecture, task, values, options = FAMILIES[name]
    bundle = read_bundle(exports.bundle(name))  # every hash is right
    manifest = bundle.manifest
    assert manifest == exports[name, "tflite"]["manifest"]
    assert (manifest["task"], manifest["precision"]) == (task, "float32")
    assert manifest["vocab_size"] == VOCAB
    assert manifest["options"] == options
    limit = None if architecture == "recurrent" else options.get("max_length", values["max_length"])
    assert manifest["max_length"] == limit
    assert set(manifest["files"]) == {
        "README.md",
        "model.tflite",
        "parity.json",
        "recipe.lock.toml",
        "tokenizer.json",
    }
    assert manifest["recipe_digest"] == read_lock(bundle.directory)[0].digest
    assert (manifest["labels"] == ["bad", "good", "so-so"]) == (task == "text-classification")
    assert (manifest["processing"] == {"start_token": 0}) == (task == "seq2seq-lm")
    original = exports.model(name) / "tokenizer.json"
    assert bundle.tokenizer_path.read_bytes() == original.read_bytes()


def test_parameters_are_counted_as_keras_does(exports):
    model = modelzoo.load(exports.model("llama"), compile=False)
    assert exports["llama", "tflite"]["manifest"]["parameters"] == model.count_params()


def test_encoder_and_decoder_signatures_carry_the_names_of_the_protocol(exports):
    signatures = exports["bart", "tflite"]["manifest"]["signatures"]
    assert set(signatures) == {"encode", "prefill_4", "decode", "verify_4", "score_32"}
    assert signatures["score_32"]["outputs"]["log_probs"] == {"shape": [1, 32], "dtype": "float32"}
    assert set(signatures["encode"]["outputs"]) == {"cross_k_0", "cross_v_0"}
    decode = signatures["decode"]
    assert decode["outputs"]["logits"] == {"shape": [1, 1, VOCAB], "dtype": "float32"}
    state = {"kv_cache_k_0", "kv_cache_v_0"}
    assert set(decode["inputs"]) - state == {
        "token_ids",
        "positions",
        "padding_mask",
        "cross_k_0",
        "cross_v_0",
    }
    assert signatures["prefill_4"]["inputs"]["token_ids"]["shape"] == [1, 4]
    assert set(signatures["prefill_4"]["outputs"]) == state


@pytest.mark.parametrize("name", GENERATES)
def test_the_runtime_generates_from_the_bundle_what_keras_generates(exports, name):
    exports[name, "tflite"]
    prompt = TEXTS[0][:60]
    device = load(exports.bundle(name)).generate(prompt, max_new_tokens=8, truncate=True)
    model = modelzoo.load(exports.model(name), compile=False)
    if "encode" not in exports[name, "tflite"]["manifest"]["signatures"]:
        assert device == model.generate(prompt, max_new_tokens=8)
    assert isinstance(device, str)


@pytest.mark.parametrize(("name", "kind"), SCORED)
def test_a_bundle_scores_and_ranks_as_keras_does(exports, name, kind):
    bundle = load(exports.bundle(name, kind))
    model = modelzoo.load(exports.model(name), compile=False)
    for text, given in (("boys walked", "the river was "), ("船", "雾")):
        found, right = (one.score(text, given=given) for one in (bundle, model))
        assert found.tokens == right.tokens and found.likeliest == right.likeliest
        np.testing.assert_allclose(found.log_probs, right.log_probs, atol=1e-4)
        names, shares = zip(*bundle.rank(given, ["boys", "boy", "船"]), strict=True)
        assert dict(model.rank(given, ["boys", "boy", "船"])) == pytest.approx(
            dict(zip(names, shares, strict=True)), abs=1e-4
        )
    if FAMILIES[name][1] != "masked-lm":
        result = bundle.generate("the river", max_new_tokens=3, logprobs=True)
        again = model.generate("the river", max_new_tokens=3, logprobs=True)
        assert result.tokens == again.tokens
        np.testing.assert_allclose(result.log_probs, again.log_probs, atol=1e-4)


def test_a_classifier_bundle_gives_keras_labels(exports):
    exports["bert classifier", "tflite"]
    bundle = load(exports.bundle("bert classifier"))
    model = modelzoo.load(exports.model("bert classifier"), compile=False)
    found, right = bundle.classify("the boys walked"), model.classify("the boys walked")
    assert [label for label, _ in found] == [label for label, _ in right]
    np.testing.assert_allclose([p for _, p in found], [p for _, p in right], atol=1e-5)


# === Other precisions and formats ===


@pytest.mark.parametrize("name", FLOAT16)
def test_float16_halves_the_file_and_stays_near(exports, name):
    half, full = exports[name, "float16"]["parity"], exports[name, "tflite"]["parity"]
    assert half["expected_weight_bytes"] * 2 == full["expected_weight_bytes"]
    assert half["weight_bytes"] < 0.53 * full["weight_bytes"]
    assert 1e-5 < max(errors(half)) < 1e-2 < half["tolerance"]["relative"]
    assert min(f["cosine"] for s in half["signatures"].values() for f in s.values()) > 0.9999
    assert exports[name, "float16"]["manifest"]["precision"] == "float16"
    assert half["generation"]["greedy"]["compared"] > 0  # told, not required to be equal


def test_a_model_of_mixed_precision_is_exported_in_float32(exports):
    parity = exports["mixed", "tflite"]["parity"]
    assert max(errors(parity)) < 1e-5  # the same weights, and no bfloat16, which has three digits
    assert parity["weight_bytes"] == exports["bert", "tflite"]["parity"]["weight_bytes"]


@pytest.mark.parametrize("name", SAVED_MODELS)
def test_a_saved_model_holds_the_weights_once_and_verifies(exports, name):
    parity = exports[name, "savedmodel"]["parity"]
    assert max(errors(parity)) < 1e-5
    stored = exports.bundle(name, "savedmodel") / "saved_model" / "variables"
    size = sum(path.stat().st_size for path in stored.glob("*.data-*"))
    assert size == parity["weight_bytes"] < 1.05 * parity["expected_weight_bytes"] + 2_000
    manifest = exports[name, "savedmodel"]["manifest"]
    assert manifest["signatures"].keys() == exports[name, "tflite"]["manifest"]["signatures"].keys()


def test_a_saved_model_runs_with_neither_keras_nor_modelzoo(exports):
    exports["bert classifier", "savedmodel"]
    code = """
import sys
for name in ("keras", "modelzoo", "tf_keras"):
    sys.modules[name] = None  # an import of it fails now
import tensorflow as tf
loaded = tf.saved_model.load("saved_model")
ids = tf.ones((1, 24), tf.int32)
outputs = loaded.signatures["serve"](token_ids=ids, padding_mask=ids, segment_ids=ids * 0)
print("shape", outputs["logits"].shape.as_list(), bool(tf.math.is_finite(outputs["logits"])[0, 0]))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=exports.bundle("bert classifier", "savedmodel"),
        capture_output=True,
        text=True,
    )
    assert "shape [1, 3] True" in done.stdout, done.stderr[-2000:]


# === The README ===


def programs(exports, name: str, kind: str = "tflite") -> list[str]:
    text = (exports.bundle(name, kind) / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("name", ["gpt", "transformer", "bert", "gpt classifier", "plain"])
def test_the_python_programs_of_the_readme_run(exports, name):
    exports[name, "tflite"]
    found = programs(exports, name)
    assert len(found) == 2
    for code in found:
        done = subprocess.run(
            [
                sys.executable,
                "-W",
                "error",
                "-c",
                f"import sys; sys.path.append({str(ROOT)!r})\n{code}",
            ],
            cwd=exports.bundle(name),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.strip()
    assert "logits" in done.stdout or "hidden" in done.stdout


@pytest.mark.parametrize("language", ["kotlin", "swift", "cpp", "javascript"])
def test_the_other_programs_name_this_bundles_tensors(exports, language):
    exports["gpt", "tflite"]
    text = (exports.bundle("gpt") / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert "model.tflite" in code
    assert not re.findall(r"<[A-Z]+>", code)  # nothing of the template is left
    for name in ("logits", "positions") if language != "javascript" else ("logits", "kv_cache_k_1"):
        assert name in code
    assert code.count("(") == code.count(")") and code.count("{") == code.count("}")


def test_the_readme_tells_the_figures_and_the_signatures(exports):
    answer = exports["t5", "tflite"]
    text = (exports.bundle("t5") / "README.md").read_text(encoding="utf-8")
    assert f"{answer['manifest']['parameters']:,} parameters" in text
    assert "begins with token 0" in text
    greedy = answer["parity"]["generation"]["greedy"]
    assert f"{greedy['equal']} of {greedy['compared']} tokens" in text
    for name in answer["manifest"]["signatures"]:
        assert f"| `{name}` |" in text
    assert json.loads((exports.bundle("t5") / "parity.json").read_text())["versions"]["keras"]
