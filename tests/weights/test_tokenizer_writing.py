"""What a checkpoint's tokenizer files say of frame and roles: as the model was trained."""

from __future__ import annotations

import json

import pytest
import tokenizers
from tokenizers import processors

import modelzoo
from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.runtime import Tokenizer
from modelzoo.tasks.profile import said
from modelzoo.weights import write_checkpoint
from modelzoo.weights.tokenizer_writing import tokenizer_config, tokenizer_json

SEGMENTS = {"type_vocab_size": 2}


def trained(task: str, **roles) -> Tokenizer:
    made = train_tokenizer(["the cat sat on the mat"] * 3, "bpe", 300, said(task, "special_tokens"))
    return Tokenizer.from_str(made.to_str(), roles)


def opened(tokenizer: Tokenizer, frame: str, config: dict) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(tokenizer_json(tokenizer, frame, config))


@pytest.mark.parametrize("config", [SEGMENTS, {"type_vocab_size": 1}, {}])
@pytest.mark.parametrize("texts", [("the cat",), ("the cat", "sat")])
def test_a_pair_is_framed_as_it_was_trained(texts, config):
    tokenizer = trained("text-classification")
    found = opened(tokenizer, "pair", config).encode(*texts)
    ids, segments = tokenizer.encode_pair(*texts)
    assert found.ids == ids
    assert found.type_ids == (segments if config == SEGMENTS else [0] * len(ids))


def test_a_source_is_framed_as_it_was_trained():
    for roles in ({}, {"bos": "<unk>"}):
        tokenizer = trained("seq2seq-lm", **roles)
        assert opened(tokenizer, "source", {}).encode("the cat").ids == tokenizer.encode_source(
            "the cat"
        )


def test_a_frame_of_its_own_is_kept():
    backend = tokenizers.Tokenizer.from_str(trained("text-classification").to_str())
    backend.post_processor = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = Tokenizer(backend)
    assert tokenizer_json(tokenizer, "pair", SEGMENTS) == tokenizer.to_str()


def test_a_tokenizer_without_a_frame_is_written_as_it_is():
    tokenizer = trained("causal-lm")
    assert tokenizer_json(tokenizer, "", {}) == tokenizer.to_str()
    assert tokenizer_json(tokenizer, "pair", {}) == tokenizer.to_str()  # no [CLS], no [SEP]


def test_a_role_that_no_token_has_is_null():
    said = tokenizer_config(trained("causal-lm", bos=""), 64, SEGMENTS)
    assert said["bos_token"] is None
    assert said["eos_token"] == "<|endoftext|>"
    assert said["model_input_names"] == ["input_ids", "token_type_ids", "attention_mask"]
    assert "sep_token" not in said


@pytest.mark.parametrize("recipe", ["minilm-l6", "roberta-base"])
def test_what_is_written_is_read_again_with_the_same_ids(recipe, tmp_path):
    tokenizer = trained("text-embedding")
    small = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "ffn_dim": 32, "max_length": 40}
    made = modelzoo.build(
        recipe,
        compile=False,
        tokenizer=tokenizer,
        vocab_size=tokenizer.vocab_size,
        task="text-embedding",
        **small,
    )
    folder = write_checkpoint(made, tmp_path / "written")
    if recipe == "roberta-base":  # whose positions count from it
        assert json.loads((folder / "config.json").read_text("utf-8"))["pad_token_id"] == 1
    again = modelzoo.build(folder, compile=False).tokenizer
    assert again.encode_pair("the cat")[0] == tokenizer.encode_pair("the cat")[0]
    assert again.roles == tokenizer.roles
