"""Generation and scores of decoders and recurrent networks."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import ExportError, ModelzooError, OverflowTextError, TokenizerError
from modelzoo.exporting.process.jobs import stated_signatures
from modelzoo.tasks.causal_lm import CausalLM, CausalLMTask
from modelzoo.tasks.shared.step_signatures import all_windows
from modelzoo.tasks.shared.stepper import window
from tests.core import VOCAB, assert_near, fresh, number, randomise, small, token_ids

PROMPTS = [[5, 1, 7, 3, 2], [9], [4, 4], [5, 1, 7, 3, 2]]
KINDS = ["gpt-2", "llama", "gru"]


@pytest.fixture(scope="module", params=KINDS)
def model(request) -> CausalLM:
    return CausalLM(small(request.param))


def by_full_passes(model: CausalLM, prompt: list[int], count: int) -> list[int]:
    text = list(prompt)
    for _ in range(count):
        text.append(int(number(model(np.array([text], "int32")))[0, -1].argmax()))
    return text[len(prompt) :]


def test_greedy_generation_is_the_best_token_of_the_full_pass_each_time(model):
    got = model.generate_tokens([PROMPTS[0]], max_new_tokens=4)
    assert got == [by_full_passes(model, PROMPTS[0], 4)]


@pytest.mark.parametrize(
    "sampling",
    [{}, {"temperature": 1.0, "top_k": 9, "seed": 3, "repetition_penalty": 1.3}],
    ids=["greedy", "sampled"],
)
def test_rows_of_a_batch_get_the_tokens_that_they_get_alone(model, sampling):
    together = model.generate_tokens(PROMPTS, max_new_tokens=5, **sampling)
    for row in (0, 1, 2):
        assert model.generate_tokens([PROMPTS[row]], max_new_tokens=5, **sampling) == [
            together[row]
        ]
    assert (together[3] == together[0]) is (not sampling)  # the same prompt again draws anew


def test_a_seed_repeats_and_another_differs(model):
    def run(seed):
        return model.generate_tokens([[3, 2]], max_new_tokens=8, temperature=2.0, seed=seed)

    assert run(1) == run(1) != run(2)


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.5, "seed": 3}])
@pytest.mark.parametrize("name", ["llama", "relative"])
def test_drafts_begin_when_earlier_texts_have_shown_that_they_pay(name, sampling):
    model, prompt = CausalLM(small(name, max_length=48)), [5, 1, 7] * 6
    options = {"max_new_tokens": 30, **sampling}
    plain = model.generate_tokens([prompt], speculate=False, **options)
    assert model.generate_tokens([prompt], **options) == plain
    (times,) = model.steps().times.values()
    assert set(times.first) == {1}  # nothing was compiled that a model without drafts has not
    times.spared = 10**9
    assert model.generate_tokens([prompt], **options) == plain
    assert set(times.first) == {1, 4}
    assert model.generate_tokens([prompt, [9]], **options)[0] == plain[0]


def test_what_drafts_would_have_spared_is_counted_where_a_text_repeats():
    model = CausalLM(small("llama", max_length=48))
    (text,) = model.generate_tokens([[3]], max_new_tokens=40)
    spared = sum(times.spared for times in model.steps().times.values())
    repeats = sum(text[n] in text[:n] for n in range(len(text)))
    assert 0 <= spared <= repeats and (repeats < 20 or spared > 0)


def test_generation_ends_with_the_window():
    model = CausalLM(small("gpt-2"))
    (tokens,) = model.generate_tokens([[1, 2, 3]], max_new_tokens=None)
    assert len(tokens) == 12 - 3 + 1  # the last token is written and never read
    with pytest.raises(OverflowTextError):
        model.generate_tokens([[1] * 13], max_new_tokens=2)


def test_generation_sees_what_training_changed():
    model = CausalLM(randomise(fresh("gpt-2")))
    model.generate_tokens([[1, 2]], max_new_tokens=3)
    randomise(model, seed=9)
    assert model.generate_tokens([[1, 2]], max_new_tokens=3) == [by_full_passes(model, [1, 2], 3)]


def test_a_model_without_a_tokenizer_says_what_to_do():
    with pytest.raises(TokenizerError, match="has no tokenizer"):
        CausalLM(small("gpt-2")).generate("text")


def test_text_comes_whole_or_in_pieces():
    tokenizer = train_tokenizer(["a text"], kind="byte", specials=["<|endoftext|>"])
    model = CausalLM(small("gpt-2", vocab_size=tokenizer.vocab_size, max_length=40))
    model.tokenizer = tokenizer
    whole = model.generate("in", max_new_tokens=12, temperature=1.0)
    assert isinstance(whole, str) and whole
    pieces = model.generate("in", max_new_tokens=12, temperature=1.0, stream=True)
    assert "".join(pieces) == whole
    assert model.generate(["in", "zz"], max_new_tokens=12, temperature=1.0)[0] == whole


@pytest.mark.parametrize("name", ["gpt-2", "llama", "relative", "gru"])
def test_the_signatures_give_the_logits_of_the_full_pass(name):
    model, ids = CausalLM(small(name)), token_ids(1, 6)
    signatures = model.export_signatures(max_length=10, prefill_lengths=(4,), score_lengths=(4,))
    recurrent = name == "gru"
    known = {"prefill_4", "decode", "score_4"} | ({"verify_4"} if not recurrent else set())
    assert set(signatures) == known
    prefill, decode = signatures["prefill_4"], signatures["decode"]
    assert prefill.inputs["token_ids"].shape == (1, 4)
    state = {
        key: ops.zeros(spec.shape, spec.dtype)
        for key, spec in decode.inputs.items()
        if key not in ("token_ids", "positions")
    }
    where = np.arange(6, dtype="int32")[None]
    state = prefill.function({"token_ids": ids[:, :4], "positions": where[:, :4], **state})
    assert "logits" not in state and set(state) == set(decode.inputs) - {"token_ids", "positions"}
    full = number(model(ids))
    for t in (4, 5):
        column = slice(t, t + 1)
        inputs = {"token_ids": ids[:, column], "positions": where[:, column]}
        state = decode.function({**inputs, **state})
        logits = state.pop("logits")
        assert logits.shape == (1, 1, VOCAB)
        assert_near(number(logits)[0, 0], full[0, t], 1e-4)
    if not recurrent:  # from a place in the middle on, over what was there
        inputs = {"token_ids": ids[:, 2:6], "positions": where[:, 2:6]}
        logits = signatures["verify_4"].function({**inputs, **state})["logits"]
        assert_near(number(logits), full[:, 2:6], 1e-4)
    # What follows the first four tokens, from the start on; the last of them is padding.
    inputs = {"token_ids": ids[:, :4], "positions": where[:, :4], "target_ids": ids[:, 1:5]}
    blank = {key: ops.zeros(decode.inputs[key].shape, value.dtype) for key, value in state.items()}
    found = signatures["score_4"].function({**inputs, **blank})
    log_probs = full - np.log(np.exp(full).sum(-1, keepdims=True))
    chosen = np.take_along_axis(log_probs[:, :4], ids[:, 1:5, None], -1)[..., 0]
    assert "logits" not in found and found["log_probs"].shape == (1, 4)
    assert_near(number(found["log_probs"]), chosen, 1e-4)
    assert_near(number(found["gap"]), log_probs[:, :4].max(-1) - chosen, 1e-4)


def test_the_state_of_a_signature_is_no_longer_than_the_model():
    model = CausalLM(small("gpt-2"))
    shapes = model.export_signatures(max_length=500)["decode"].inputs
    assert shapes["kv_cache_k_0"].shape == (1, 4, 12, 4)
    # Recurrent steps are unrolled, so few of them are in a chunk.
    longest = CausalLM(small("gru")).export_signatures(prefill_lengths=(500,))
    assert set(longest) == {"prefill_32", "decode", "score_32"}


def test_there_are_signatures_for_smaller_windows():
    model = CausalLM(small("gpt-2"))
    signatures = model.export_signatures(
        windows=(4, 8), prefill_lengths=(2, 6), score_lengths=(8, 32)
    )
    slots = {name: s.inputs["kv_cache_v_0"].shape[3] for name, s in signatures.items()}
    assert slots == {
        "prefill_2_4": 4,
        "prefill_4_4": 4,  # no chunk is longer than its window
        "decode_4": 4,
        "verify_4_4": 4,
        "prefill_2_8": 8,
        "prefill_6_8": 8,
        "decode_8": 8,
        "verify_4_8": 8,
        "score_8_8": 8,  # a window of 4 has no room for it
        "prefill_2": 12,
        "prefill_6": 12,
        "decode": 12,
        "verify_4": 12,
        "score_8": 12,
        "score_12": 12,  # no longer than the largest window
    }
    assert all_windows(1500) == [256, 512, 1024, 1500]


def test_a_bundle_of_0_1_is_verified_without_drafts():
    model, options = CausalLM(small("gpt-2")), {"max_length": 10, "prefill_lengths": (4,)}
    old = {"options": options, "signatures": {"prefill_4": {}, "decode": {}}}
    assert list(stated_signatures(model, old)) == ["prefill_4", "decode"]
    new = {"options": options, "signatures": {**old["signatures"], "verify_4": {}}}
    assert list(stated_signatures(model, new)) == ["prefill_4", "decode", "verify_4"]
    # What else is missing is an error of the bundle's.
    assert list(stated_signatures(model, {**old, "signatures": {}})) == ["prefill_4", "decode"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"windows": (13,)}, "export.windows holds 13, and the window has 12 slots"),
        ({"windows": (0,)}, "export.windows must be 1 or more, not 0"),
        ({"prefill_lengths": (4, -1)}, "export.prefill_lengths must be 1 or more, not -1"),
        ({"prefill_lengths": ()}, "export.prefill_lengths is empty"),
        ({"verify_lengths": (4, 0)}, "export.verify_lengths must be 1 or more, not 0"),
        ({"score_lengths": (0,)}, "export.score_lengths must be 1 or more, not 0"),
    ],
)
def test_windows_and_lengths_that_cannot_be_are_refused(options, said):
    with pytest.raises(ExportError, match=said):
        CausalLM(small("gpt-2")).export_signatures(**options)


def test_windows_are_of_few_sizes():
    assert window(1024, 10, 64) == (128, 16)
    assert window(1024, 1000, 64) == (1024, 256)
    assert window(1024, 10, None) == (1024, 16)
    assert window(12, 3, 5) == (12, 12)
    assert window(None, 1000, 64) == (None, 32)


def test_evaluation_gives_perplexity_and_bits_a_byte():
    class Batches:
        num_bytes = 100

        def evaluation(self):
            ids = token_ids(2, 6)
            weight = np.ones((2, 6), "float32")
            weight[1, 3:] = 0
            yield {"token_ids": ids, "padding_mask": ids >= 0}, (ids + 1) % VOCAB, weight

    scores = CausalLMTask().evaluate(CausalLM(small("gpt-2")), Batches())
    assert scores["tokens"] == 9
    assert scores["perplexity"] == pytest.approx(np.exp(scores["loss"]))
    assert scores["bits_per_byte"] == pytest.approx(scores["loss"] * 9 / np.log(2) / 100)


def test_a_backbone_that_cannot_step_is_refused():
    with pytest.raises(ModelzooError, match=r"causal-lm needs a backbone with step\(\).*Encoder"):
        CausalLMTask().model(small("bert"))


def test_a_backbone_with_a_model_of_its_own_for_the_task_gets_it():
    from modelzoo.tasks.causal_lm import CausalLM, CausalLMTask

    class Counting(CausalLM):
        """What a plugin brings along."""

    backbone = small("gpt-2")
    backbone.causal_lm = lambda: Counting(backbone)
    assert type(CausalLMTask().model(backbone)) is Counting
