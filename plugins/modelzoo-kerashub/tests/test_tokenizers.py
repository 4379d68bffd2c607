"""A byte-pair tokenizer gives the same ids in the zoo as in KerasHub."""

from __future__ import annotations

import json

import pytest
from modelzoo.errors import TokenizerError

from modelzoo_kerashub.tokenizers import main, tokenizer_json

TEXTS = ("the quick fox", "The  end.\n", "naïve café", "don't 12345")


@pytest.fixture(scope="module")
def hub_tokenizer():
    """Every byte, a few merges and a special token, as GPT-2 has them."""
    import keras_hub
    from tokenizers.pre_tokenizers import ByteLevel

    merges = ["t h", "th e", "Ġ the", "q u", "i c"]
    tokens = [*sorted(ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in merges)]
    vocabulary = {token: i for i, token in enumerate([*tokens, "<|endoftext|>"])}
    return keras_hub.tokenizers.GPT2Tokenizer(vocabulary=vocabulary, merges=merges)


def test_the_ids_are_kerashubs(hub_tokenizer, tmp_path):
    from modelzoo.runtime.text.tokenizer import Tokenizer

    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer_json(hub_tokenizer), encoding="utf-8")
    ours = Tokenizer.load(path)
    for text in TEXTS:
        assert ours.encode(text) == list(hub_tokenizer(text)), text
        assert ours.decode(ours.encode(text)) == text


def test_a_preset_gives_its_tokenizer_on_the_command_line(hub_tokenizer, tmp_path, capsys):
    folder = tmp_path / "preset"
    hub_tokenizer.save_to_preset(str(folder))
    config = {"registered_name": "keras_hub>GPT2Backbone", "class_name": "GPT2Backbone"}
    (folder / "config.json").write_text(json.dumps({**config, "config": {}}), encoding="utf-8")
    path = tmp_path / "tokenizer.json"
    assert main([str(folder), "-o", str(path)]) == 0
    assert path.read_text(encoding="utf-8") == tokenizer_json(hub_tokenizer)
    assert main([str(tmp_path / "nothing")]) == 2
    assert "cannot be loaded" in capsys.readouterr().err


def test_another_kind_of_tokenizer_is_refused_with_the_way_on():
    import keras_hub

    words = keras_hub.tokenizers.WordPieceTokenizer(vocabulary=["[UNK]", "the"], oov_token="[UNK]")
    with pytest.raises(TokenizerError, match="no byte-pair tokenizer") as caught:
        tokenizer_json(words)
    assert "--tokenizer" in caught.value.next_step
