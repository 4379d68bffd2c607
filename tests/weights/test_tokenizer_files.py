"""Tokenizers of checkpoints: built by their class, with what the files put over each other."""

from __future__ import annotations

import json

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from modelzoo.errors import WeightsError
from modelzoo.runtime import Tokenizer
from modelzoo.weights.tokenizer_files import read_tokenizer_files
from tests.weights.vocabularies import END, byte_pairs, unigram, word_pieces, write

BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BART = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def read(folder, config=None) -> Tokenizer:
    files = read_tokenizer_files(folder, config or {})
    assert files is not None
    return Tokenizer.from_str(files.json, files.roles, files.stop_tokens)


def tokens(tokenizer: Tokenizer, *texts: str) -> list[str | None]:
    return [tokenizer.id_to_token(id) for id in tokenizer.encode_pair(*texts)[0]]


def whole(folder, *specials: str, frame=None) -> dict:
    """A byte-level tokenizer.json; its vocabulary."""
    vocab = byte_pairs(folder, *specials, first=True)
    backend = tokenizers.Tokenizer(
        models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(specials))
    if frame is not None:
        backend.post_processor = frame
    backend.save(str(folder / "tokenizer.json"))
    return vocab


# === By class, by model type, or not at all ===


@pytest.mark.parametrize("named", ["class", "fast class", "model type"])
def test_a_clip_lowers_and_ends_its_words(named, tmp_path):
    byte_pairs(tmp_path, "<|startoftext|>", END, suffix="</w>")
    config = {"model_type": "clip"}
    if named != "model type":
        kind = "CLIPTokenizer" + "Fast" * (named == "fast class")
        write(tmp_path, tokenizer_config={"tokenizer_class": kind})
        config = {}
    clip = read(tmp_path, config)
    assert tokens(clip, "The  CAT") == ["<|startoftext|>", "the</w>", "cat</w>", END]
    assert clip.decode(clip.encode("The CAT")) == "the cat"


def test_a_whisper_has_its_tokens_and_its_frame(tmp_path):
    vocab = byte_pairs(tmp_path, END)
    names = ["<|startoftranscript|>", "<|en|>", "<|notimestamps|>"]
    write(tmp_path, added_tokens={one: len(vocab) + n for n, one in enumerate(names)})
    write(tmp_path, tokenizer_config={"additional_special_tokens": names})
    whisper = read(tmp_path, {"model_type": "whisper"})
    assert tokens(whisper, "cat") == [names[0], names[2], "cat", END]
    assert whisper.special_ids == {vocab[END], *range(len(vocab), len(vocab) + 3)}


def test_a_roberta_has_two_separators_in_a_pair(tmp_path):
    byte_pairs(tmp_path, *BART, first=True)
    roberta = read(tmp_path, {"model_type": "roberta"})
    assert tokens(roberta, "the cat", "dog") == ["<s>", "the", "Ġcat", *["</s>"] * 2, "dog", "</s>"]
    assert roberta.roles["pad"] == 1


@pytest.mark.parametrize(
    ("settings", "config", "what"),
    [
        ({}, {}, "whose class neither tokenizer_config.json nor config.json names"),
        ({}, {"model_type": "llama"}, "the tokenizer of the model type 'llama'"),
        ({"tokenizer_class": "BlenderbotTokenizer"}, {"model_type": "bart"}, "BlenderbotTokenizer"),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, {}, "PreTrainedTokenizerFast"),
        ({"tokenizer_class": "BertTokenizer"}, {}, "there is no vocab.txt"),
        ({"tokenizer_class": "T5Tokenizer"}, {}, "T5Tokenizer is built from spiece.model"),
    ],
)
def test_what_cannot_be_built_is_rejected_by_name(settings, config, what, tmp_path):
    byte_pairs(tmp_path, END)
    write(tmp_path, tokenizer_config=settings)
    with pytest.raises(WeightsError, match="save_pretrained") as error:
        read(tmp_path, config)
    assert what in error.value.what


def test_a_vocabulary_that_is_cut_off_is_named(tmp_path):
    byte_pairs(tmp_path, END)
    (tmp_path / "merges.txt").write_text("#version: 0.2\nq u\nqu x\n")
    with pytest.raises(WeightsError, match="cannot be read") as error:
        read(tmp_path, {"model_type": "gpt2"})
    assert "merges.txt" in str(error.value)


# === What the settings put over tokenizer.json ===


def test_bert_settings_stand_over_the_file(tmp_path):
    word_pieces(tmp_path, BERT)
    backend = tokenizers.Tokenizer(
        models.WordPiece.from_file(str(tmp_path / "vocab.txt"), unk_token="[UNK]")
    )
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.save(str(tmp_path / "tokenizer.json"))
    said = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    write(tmp_path, tokenizer_config={**said, "tokenize_chinese_chars": False})
    assert tokens(read(tmp_path), "Cat 任务") == ["[CLS]", "Cat", "任务", "[SEP]"]
    write(tmp_path, tokenizer_config={"tokenizer_class": "BertTokenizer"})
    assert tokens(read(tmp_path), "Cat 任务") == ["[CLS]", "cat", "任", "务", "[SEP]"]
    write(tmp_path, tokenizer_config={"tokenizer_class": "PreTrainedTokenizerFast"})
    assert tokens(read(tmp_path), "Cat")[1] == "cat"


def test_a_t5_ends_its_texts(tmp_path):
    unigram(tmp_path, ("<pad>", "</s>", "<unk>"))
    t5 = read(tmp_path, {"model_type": "t5"})
    assert t5.encode_source("the cat") == [*t5.encode("the cat"), 1]


def test_a_file_that_nothing_is_put_over_stays_as_it_is(tmp_path):
    whole(tmp_path, END)
    text = (tmp_path / "tokenizer.json").read_text("utf-8")
    assert read_tokenizer_files(tmp_path, {"model_type": "gpt2"}).json == text


def test_a_class_that_contradicts_the_file_is_rejected(tmp_path):
    whole(tmp_path, END)
    write(tmp_path, tokenizer_config={"tokenizer_class": "BertTokenizer"})
    with pytest.raises(WeightsError, match="BertTokenizer has a vocabulary of the kind WordPiece"):
        read(tmp_path)
    write(tmp_path, tokenizer_config={})
    assert read(tmp_path, {"model_type": "bert"}).encode("cat")  # no class says otherwise


# === Tokens ===


def decoder(**ids: int) -> dict:
    return {str(id): {"content": f"<{name}>", "special": False} for name, id in ids.items()}


def test_added_tokens_come_from_all_files(tmp_path):
    size = len(whole(tmp_path, END))
    write(
        tmp_path,
        added_tokens={"<a>": size},
        tokenizer_config={"added_tokens_decoder": decoder(b=size + 1), "pad_token": "<new>"},
    )
    found = read(tmp_path)
    assert found.encode("cat<a><b>")[-2:] == [size, size + 1]
    assert found.roles["pad"] == size + 2
    assert read(tmp_path, {"vocab_size": size + 2}).roles["pad"] == 0  # no row for <new>


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"added_tokens": {"<a>": 5000}}, "the ids have a gap"),
        ({"added_tokens": {"<a>": 3}}, "another token has this one"),
        ({"added_tokens": {"<a>": "x"}}, "which is not a number"),
        ({"added_tokens": ["<a>"]}, "must hold a table"),
        ({"tokenizer_config": {"added_tokens_decoder": {"5": {}}}}, "token 5 has no content"),
        ({"tokenizer_config": {"added_tokens_decoder": decoder(a=5000)}}, "the ids have a gap"),
        (
            {
                "added_tokens": {"<a>": 5000},
                "tokenizer_config": {"added_tokens_decoder": decoder(a=5001)},
            },
            "5001 in tokenizer_config.json and 5000 in added_tokens.json",
        ),
    ],
)
def test_ids_that_cannot_be_are_one_clear_error(files, what, tmp_path):
    whole(tmp_path, END)
    write(tmp_path, **files)
    with pytest.raises(WeightsError, match=what):
        read(tmp_path)


def test_a_gap_in_tokenizer_json_is_found(tmp_path):
    whole(tmp_path, END)
    path = tmp_path / "tokenizer.json"
    state = json.loads(path.read_text("utf-8"))
    state["added_tokens"].append({**state["added_tokens"][0], "id": 5000, "content": "<a>"})
    path.write_text(json.dumps(state), "utf-8")
    with pytest.raises(WeightsError, match="'<a>' should have the id 5000"):
        read(tmp_path)


def test_ids_fit_into_the_model(tmp_path):
    size = len(whole(tmp_path, END))
    read(tmp_path, {"vocab_size": size})
    with pytest.raises(WeightsError, match="they are of two models"):
        read(tmp_path, {"vocab_size": size - 1})


def test_an_explicit_null_is_none(tmp_path):
    whole(tmp_path, END)
    assert {"bos", "eos", "pad"} <= read(tmp_path).roles.keys()
    write(tmp_path, tokenizer_config={"bos_token": None, "pad_token": None})
    found = read(tmp_path)
    assert found.roles == {"eos": 0}
    assert found.stated_roles == {"eos": 0, "bos": None, "pad": None}
    assert read(tmp_path, {"pad_token_id": 0}).roles == {"eos": 0, "pad": 0}


# === Post-processors ===


def test_a_post_processor_of_an_unknown_kind_is_named(tmp_path):
    whole(tmp_path, END)
    path = tmp_path / "tokenizer.json"
    state = json.loads(path.read_text("utf-8"))
    state["post_processor"] = {"type": "WrapProcessing"}
    path.write_text(json.dumps(state), "utf-8")
    with pytest.raises(WeightsError, match="the post-processor WrapProcessing is not known"):
        read(tmp_path)


def test_the_file_says_what_stands_around_a_text(tmp_path):
    frame = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 0)]
    )
    whole(tmp_path, *BART, frame=frame)
    found = read(tmp_path)
    assert tokens(found, "cat", "dog") == ["<s>", "cat", "<s>", "dog"]
    assert found.encode_pair("cat", "dog")[1] == [0, 0, 1, 1]
