"""Sources in, targets out."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import OverflowTextError
from modelzoo.runtime.generation.loop import generate_tokens
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.tasks.profile import said
from modelzoo.tasks.seq2seq_lm import Seq2SeqLM
from tests.core import VOCAB, assert_near, number, small, token_ids

SOURCES = [[5, 1, 7, 3, 2], [9, 8], [4]]


def generate(model: Seq2SeqLM, sources, **options) -> list[list[int]]:
    sampling = Sampling(**{"max_new_tokens": 4, **options})
    generation = generate_tokens(model.stepper(sources, sampling), [[0]] * len(sources), sampling)
    for _ in generation:
        pass
    return generation.tokens


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_batch_of_sources_gives_what_each_gives_alone_and_the_full_pass_gives(name):
    model = Seq2SeqLM(small(name))
    together = generate(model, SOURCES)
    for source, tokens in zip(SOURCES[:2], together, strict=False):
        assert generate(model, [source]) == [tokens]
        target = [0]
        for _ in tokens:
            inputs = {
                "token_ids": np.array([source], "int32"),
                "decoder_token_ids": np.array([target], "int32"),
            }
            target.append(int(number(model(inputs))[0, -1].argmax()))
        assert target[1:] == tokens


def test_a_source_longer_than_the_model_is_refused():
    with pytest.raises(OverflowTextError, match="13 tokens, and the model reads 12"):
        generate(Seq2SeqLM(small("t5")), [[1] * 13])


@pytest.mark.parametrize("name", ["t5 v1.1", "transformer"])
def test_the_signatures_give_the_logits_of_the_full_pass(name):
    model = Seq2SeqLM(small(name))
    signatures = model.export_signatures(max_length=8, source_length=6, prefill_lengths=(2,))
    source, target = token_ids(1, 6, seed=1), token_ids(1, 4)
    mask = np.array([[1, 1, 1, 1, 0, 0]], "int32")
    memory = signatures["encode"].function({"token_ids": source, "padding_mask": mask})
    decode = signatures["decode"].inputs
    for key, value in memory.items():
        assert decode[key].shape == tuple(value.shape)
    assert decode["padding_mask"].shape == (1, 6)
    state = {k: ops.zeros(v.shape) for k, v in decode.items() if k.startswith("kv_cache")}
    where = np.arange(4, dtype="int32")[None]
    context = {**memory, "padding_mask": ops.convert_to_tensor(mask)}
    state = signatures["prefill_2"].function(
        {"token_ids": target[:, :2], "positions": where[:, :2], **context, **state}
    )
    inputs = {"token_ids": source, "padding_mask": mask, "decoder_token_ids": target}
    full = number(model(inputs))
    blank = {k: ops.zeros(v.shape) for k, v in decode.items() if k.startswith("kv_cache")}
    draft = {"token_ids": target, "positions": where, **context, **blank}
    assert_near(number(signatures["verify_4"].function(draft)["logits"]), full, 1e-4)
    for t in (2, 3):
        step = {"token_ids": target[:, t : t + 1], "positions": where[:, t : t + 1]}
        state = signatures["decode"].function({**step, **context, **state})
        logits = state.pop("logits")
        assert logits.shape == (1, 1, VOCAB)
        assert_near(number(logits)[0, 0], full[0, t], 1e-4)


def test_text_in_text_out():
    tokenizer = train_tokenizer(["ab"], kind="byte", specials=said("seq2seq-lm", "special_tokens"))
    model = Seq2SeqLM(small("t5", vocab_size=tokenizer.vocab_size))
    model.tokenizer = tokenizer
    one = model.generate("hello", max_new_tokens=6)
    assert isinstance(one, str)
    assert model.generate(["hello", "a"], max_new_tokens=6)[0] == one
    assert "".join(model.generate("hello", max_new_tokens=6, stream=True)) == one
