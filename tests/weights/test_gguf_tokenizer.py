"""The `tokenizer.json` that is made of a GGUF file's vocabulary."""

from __future__ import annotations

import random

import pytest
import tokenizers

pytest.importorskip("gguf")

from modelzoo.errors import WeightsError
from modelzoo.runtime import Tokenizer
from modelzoo.weights.gguf.opening import open_gguf
from modelzoo.weights.gguf.tokenizer import PRE_TOKENIZERS, read_tokenizer
from tests.weights.small_gguf import BPE, END, TOKENS, write

# Every byte, as byte-level BPE spells it.
_PLAIN = [*range(33, 127), *range(161, 173), *range(174, 256)]
_BYTES = {byte: chr(byte) for byte in _PLAIN}
_BYTES |= {byte: chr(256 + i) for i, byte in enumerate(b for b in range(256) if b not in _BYTES)}


def metadata(words: dict) -> dict:
    return {f"tokenizer.ggml.{key}": value for key, value in words.items()}


def read(words: dict):
    return read_tokenizer(metadata(words), "m.gguf")


def loaded(words: dict) -> Tokenizer:
    files = read(words)
    return Tokenizer.from_str(files.json, files.roles)


# === Byte-level BPE ===


def words_of(pre: str, text: str) -> list[str]:
    """Where `pre` cuts a text."""
    words = {"model": "gpt2", "pre": pre, "tokens": list(_BYTES.values()), "merges": []}
    backend = tokenizers.Tokenizer.from_str(read(words).json)
    if backend.normalizer:
        text = backend.normalizer.normalize_str(text)
    spelled = {spelling: byte for byte, spelling in _BYTES.items()}
    cut = backend.pre_tokenizer.pre_tokenize_str(text)
    return [bytes(spelled[c] for c in word).decode() for word, _ in cut]


CUTS = {
    "gpt-2": [
        "It",
        "'s",
        " 12345",
        " x",
        "-",
        "1",
        " ",
        " 2",
        "\n\n ",
        " He",
        "'",
        "LL",
        " $",
        "9",
        ".",
    ],
    "smollm": [
        "It",
        "'s",
        " ",
        *"12345",
        " x",
        "-",
        "1",
        "  ",
        "2",
        "\n\n ",
        " He",
        "'",
        "LL",
        " $",
        "9",
        ".",
    ],
    "llama-bpe": [
        "It",
        "'s",
        " ",
        "123",
        "45",
        " x",
        "-",
        "1",
        " ",
        " ",
        "2",
        "\n\n",
        " ",
        " He",
        "'LL",
        " $",
        "9",
        ".",
    ],
    "qwen2": [
        "It",
        "'s",
        " ",
        *"12345",
        " x",
        "-",
        "1",
        " ",
        " ",
        "2",
        "\n\n",
        " ",
        " He",
        "'LL",
        " $",
        "9",
        ".",
    ],
    "default": [
        "It",
        "'",
        "s",
        " ",
        "123",
        "45",
        " x",
        "-",
        "1",
        " ",
        " ",
        "2",
        "\n\n ",
        " He",
        "'",
        "LL",
        " ",
        "$",
        "9",
        ".",
    ],
}


@pytest.mark.parametrize("pre", CUTS)
def test_each_name_cuts_words_in_its_own_way(pre):
    assert words_of(pre, "It's 12345 x-1  2\n\n  He'LL $9.") == CUTS[pre]


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_no_way_to_cut_words_loses_a_character(pre):
    text = "\tIt's  1234 你好,world é ₁²½ <<a>> 🙂\r\n \n x=1 \u3000end  "
    assert "".join(words_of(pre, text)) == text
    words = {"model": "gpt2", "pre": pre, "tokens": list(_BYTES.values()), "merges": []}
    tokenizer = loaded(words)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_only_qwen_composes_what_is_decomposed():
    assert words_of("qwen2", "e\u0301") == ["\u00e9"]
    assert "".join(words_of("gpt-2", "e\u0301")) == "e\u0301"


def test_the_merges_are_those_of_the_file(tmp_path):
    files = open_gguf(write(tmp_path / "m.gguf")).tokenizer
    tokenizer = Tokenizer.from_str(files.json, files.roles)
    ids = tokenizer.encode("the she")
    assert [tokenizer.id_to_token(id) for id in ids] == ["t", "he", "Ġ", "s", "he"]
    assert tokenizer.vocab_size == len(TOKENS)


def test_llama_3_takes_whole_words_before_merges():
    words = {"model": "gpt2", "tokens": ["a", "b", "c", "ab", "abc", "<b>"], "merges": ["a b"]}
    words |= {"token_type": [1] * 5 + [3], "bos_token_id": 5}
    assert loaded(words | {"pre": "llama-bpe"}).encode("abc") == [4]
    assert loaded(words | {"pre": "gpt-2"}).encode("abc") == [3, 2]


# === What the file says of its tokens ===


def test_control_tokens_are_special_and_user_defined_ones_are_matched_whole(tmp_path):
    files = open_gguf(write(tmp_path / "m.gguf")).tokenizer
    backend = tokenizers.Tokenizer.from_str(files.json)
    assert backend.encode("a<think>b<|im_end|>").tokens == ["a", "<think>", "b", "<|im_end|>"]
    tokenizer = Tokenizer.from_str(files.json, files.roles)
    assert tokenizer.special_ids == {END}
    assert tokenizer.decode(tokenizer.encode("a<think>") + [END]) == "a<think>"
    assert files.roles == {"eos": "<|im_end|>", "pad": "<|im_end|>"}
    assert files.stop_tokens == () and files.chat_template is None


def test_bos_and_eos_come_where_the_file_says_so():
    words = BPE | {"bos_token_id": END - 1}

    def tokens(more: dict) -> list[str]:
        backend = tokenizers.Tokenizer.from_str(read(words | more).json)
        assert backend.encode("a", add_special_tokens=False).tokens == ["a"]
        return backend.encode("a").tokens

    assert tokens({}) == ["a"]
    assert tokens({"add_bos_token": True}) == ["he", "a"]
    assert tokens({"pre": "llama-bpe"}) == ["he", "a"]  # by default
    assert tokens({"pre": "llama-bpe", "add_bos_token": False}) == ["a"]
    assert tokens({"add_bos_token": True, "add_eos_token": True}) == ["he", "a", "<|im_end|>"]


def test_stop_tokens_come_from_their_keys_and_from_their_names():
    words = BPE | {"eos_token_id": 0}
    assert read(words).stop_tokens == ("<|im_end|>",)
    assert read(words | {"eot_token_id": 1, "eom_token_id": END}).stop_tokens == ('"', "<|im_end|>")
    plain = words | {"token_type": [1] * len(TOKENS)}
    assert read(plain).stop_tokens == ()


def test_the_chat_template_is_taken_along(tmp_path):
    keys = {"tokenizer.chat_template": "{{ messages }}"}
    assert open_gguf(write(tmp_path / "m.gguf", keys=keys)).tokenizer.chat_template == (
        "{{ messages }}"
    )


def test_a_file_without_types_has_its_end_as_a_special_token():
    words = {key: value for key, value in BPE.items() if key != "token_type"}
    assert loaded(words).special_ids == {END}


def test_a_file_without_a_tokenizer_and_one_that_is_not_wanted(tmp_path):
    path = write(tmp_path / "m.gguf", tokenizer={"model": "no_vocab"})
    assert open_gguf(path).tokenizer is None
    path = write(tmp_path / "n.gguf", tokenizer=BPE | {"pre": "viking"})
    assert open_gguf(path, tokenizer=False).tokenizer is None


# === SentencePiece ===

_CHARACTERS = "abcd\u2581"


def pieces(seed: int) -> dict:
    """A vocabulary that grows by joining two of its pieces, the best first, as training does."""
    rng = random.Random(seed)
    tokens = ["<unk>", "<s>", "</s>", "\n", *(f"<0x{byte:02X}>" for byte in range(256))]
    types = [2, 3, 3, 4] + [6] * 256
    scores = [0.0] * len(tokens)
    made = []
    while len(made) < 40:
        joined = rng.choice([*_CHARACTERS, *made]) + rng.choice([*_CHARACTERS, *made])
        if joined not in made and len(joined) < 9:
            made.append(joined)
    tokens += made + list(_CHARACTERS)
    scores += [-float(rank) for rank in range(len(made) + len(_CHARACTERS))]
    types += [1] * (len(made) + len(_CHARACTERS))
    ids = {"unknown_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return {"model": "llama", "tokens": tokens, "token_type": types, "scores": scores, **ids}


def joined_by_score(words: dict, text: str) -> list[str]:
    """SentencePiece's BPE: join the neighbours whose token scores best, the leftmost of equals."""
    score = dict(zip(words["tokens"], words["scores"], strict=True))
    known = {token for token in score if words["token_type"][words["tokens"].index(token)] == 1}
    parts = list(text.replace(" ", "\u2581"))
    while True:
        pairs = [(i, parts[i] + parts[i + 1]) for i in range(len(parts) - 1)]
        pairs = [(i, token) for i, token in pairs if token in known]
        if not pairs:
            break
        at, token = max(pairs, key=lambda pair: (score[pair[1]], -pair[0]))
        parts[at : at + 2] = [token]
    spelled = [[p] if p in known else [f"<0x{b:02X}>" for b in p.encode()] for p in parts]
    return [token for tokens in spelled for token in tokens]


@pytest.mark.parametrize("seed", range(5))
def test_scores_become_the_merges_of_sentencepiece(seed):
    words = pieces(seed) | {"add_space_prefix": False}
    tokenizer = loaded(words)
    rng = random.Random(seed)
    for _ in range(60):
        text = "".join(rng.choice("aabbcd e\u00e9") for _ in range(rng.randint(1, 30)))
        got = [tokenizer.id_to_token(id) for id in tokenizer.encode(text)]
        assert got == joined_by_score(words, text), text
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_sentencepiece_begins_with_a_space_unless_the_file_says_no():
    tokenizer = loaded(pieces(0))
    for text in ("a", " a", "  b c ", "\u4f60\u597d"):
        assert tokenizer.id_to_token(tokenizer.encode(text)[0]).startswith("\u2581")
        assert tokenizer.decode(tokenizer.encode(text)) == text
    bare = loaded(pieces(0) | {"add_space_prefix": False})
    assert bare.id_to_token(bare.encode("\u4f60")[0]) == "<0xE4>"


def test_sentencepiece_has_a_bos_by_default_and_keeps_what_users_defined():
    backend = tokenizers.Tokenizer.from_str(read(pieces(0) | {"add_space_prefix": False}).json)
    assert backend.encode("\n").tokens == ["<s>", "\n"]
    assert loaded(pieces(0)).special_ids == {0, 1, 2}


# === What cannot be read ===


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({"pre": "viking"}, "'viking'; those that are: default, gpt-2, smollm"),
        ({"pre": None}, "tokenizer.ggml.pre is missing"),
        ({"pre": ["gpt-2"]}, "not known"),
        ({"model": "t5"}, "kind 't5'"),
        ({"tokens": None}, "it is missing"),
        ({"tokens": []}, "must be a list"),
        ({"tokens": [1, 2]}, "a list of texts"),
        ({"tokens": ["a", "b", "a"]}, "'a' stands there twice"),
        ({"merges": None}, "it is missing"),
        ({"merges": ["h x"]}, "the merge 'h x'"),
        ({"merges": ["he"]}, "the merge 'he'"),
        ({"token_type": [1]}, "1 entries for"),
        ({"token_type": "1"}, "must be a list"),
        ({"eos_token_id": 10**6}, "1000000, and there are"),
        ({"eos_token_id": "</s>"}, "'</s>', and there are"),
        ({"add_bos_token": 1}, "neither true nor false"),
        ({"add_bos_token": True}, "a text gets a bos token"),
        ({"model": "llama"}, "it is missing"),
    ],
)
def test_a_vocabulary_that_cannot_be_used_is_refused(words, what):
    words = {key: value for key, value in (BPE | words).items() if value is not None}
    with pytest.raises(WeightsError) as caught:
        read(words)
    assert what in caught.value.what
    assert "m.gguf: tokenizer.ggml." in caught.value.where and caught.value.next_step
