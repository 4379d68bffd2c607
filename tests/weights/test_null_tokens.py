"""What the settings of a tokenizer say of its roles."""

import json

import pytest

from modelzoo.runtime.text.roles import find_roles
from modelzoo.weights.tokenizer_files import read_tokenizer_files
from tests.runtime import chats


@pytest.mark.parametrize(
    ("settings", "bos"),
    [
        ({}, "<|endoftext|>"),
        ({"bos_token": None}, None),
        ({"bos_token": "<|im_start|>"}, "<|im_start|>"),
    ],
)
def test_an_explicit_null_is_no_token(tmp_path, settings, bos):
    tokenizer = chats.byte_level()
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    found = read_tokenizer_files(tmp_path, {"eos_token_id": 2})
    vocabulary = tokenizer._backend.get_vocab()
    roles = find_roles(vocabulary, found.roles)
    assert roles.get("bos") == vocabulary.get(bos)
    assert roles["eos"] == 2
