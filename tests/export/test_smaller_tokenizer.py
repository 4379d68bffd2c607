"""Fewer pieces: the corpus is read as before, and every other text still comes back."""

from __future__ import annotations

import json
import random

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import ExportError
from modelzoo.exporting.smaller_tokenizer import kept_rows, smaller_tokenizer
from modelzoo.runtime.text.tokenizer import Tokenizer
from tests.weights import vocabularies

CORPUS = ["the cat sat on the mat", "the dog did not sit, café", "1234 任务", " on  the\nmat\n"]
MANY = [*vocabularies.TEXTS, *CORPUS, "a rose is a rose, and the fox likes the rose" * 3]
SPECIALS = ("<pad>", "</s>", "<unk>", "<mask>")


def trained(kind):
    return lambda folder: train_tokenizer(MANY, kind=kind, vocab_size=640, specials=SPECIALS)


def byte_pairs(suffix, whole_words=False):
    """GPT-2's and CLIP's kind; with `whole_words` Llama 3's."""

    def make(folder):
        vocabularies.byte_pairs(folder, vocabularies.END, suffix=suffix)
        files = (str(folder / "vocab.json"), str(folder / "merges.txt"))
        how = {"end_of_word_suffix": suffix} if suffix else {}
        model = models.BPE.from_file(*files, ignore_merges=whole_words, **how)
        backend = tokenizers.Tokenizer(model)
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        if suffix:
            backend.decoder = decoders.Sequence(
                [decoders.ByteLevel(), decoders.Replace(suffix, " ")]
            )
        backend.add_special_tokens([vocabularies.END])
        return Tokenizer(backend)

    return make


def gemma(folder):
    """Merges of all pairs that make a piece, best score first; characters fall back to bytes."""
    words = ["▁the", "▁cat", "▁sat", "▁on", "▁mat", "任务", "▁dog", "▁did", "▁rose"]
    letters = dict.fromkeys("▁" + "".join(words) + "abcdefghijklmnopqrstuvwxyzé,")
    pieces = dict.fromkeys(word[:end] for word in words for end in range(2, len(word) + 1))
    pieces |= dict.fromkeys(("he", "at", "▁▁", "og"))
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocab = {token: id for id, token in enumerate([*tokens, *pieces, *letters])}
    merges = [
        (piece[:at], piece[at:])
        for piece in pieces
        for at in range(1, len(piece))
        if piece[:at] in vocab and piece[at:] in vocab
    ]
    backend = tokenizers.Tokenizer(
        models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    backend.normalizer = normalizers.Replace(" ", "▁")
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence(parts)
    backend.add_special_tokens(tokens[:4])
    backend.add_special_tokens(["<turn>"])
    backend.post_processor = processors.TemplateProcessing("<bos> $A", None, [("<bos>", 2)])
    return Tokenizer(backend, {"mask": None}, ["<turn>"])


def bert(folder):
    specials = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    vocab = vocabularies.word_pieces(folder, specials)
    backend = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.add_special_tokens(list(specials))
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return Tokenizer(backend)


def t5(folder):
    vocabularies.unigram(folder, ("<pad>", "</s>", "<unk>"))
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens(["<extra_id_0>"])
    return Tokenizer(backend)


KINDS = {
    **{kind: trained(kind) for kind in ("bpe", "wordpiece", "unigram", "byte")},
    "gpt-2": byte_pairs(""),
    "llama 3": byte_pairs("", whole_words=True),
    "clip": byte_pairs("</w>"),
    "gemma": gemma,
    "bert": bert,
    "t5": t5,
}


@pytest.fixture(params=KINDS)
def whole(request, tmp_path) -> Tokenizer:
    return KINDS[request.param](tmp_path)


def strings(count: int = 200) -> list[str]:
    """Letters, spaces, and characters of all planes."""
    rng = random.Random(17)
    ranges = ((32, 127), (9, 33), (0xA0, 0x300), (0x2580, 0x2590), (0x3000, 0x9FFF))
    ranges += ((0x1F300, 0x1FAFF), (0x10000, 0x110000))

    def text() -> str:
        return "".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randrange(30)))

    words = " ".join(CORPUS).split()
    return [" ".join([text(), rng.choice(words)[1:], text()]) for _ in range(count)]


def pieces(tokenizer: Tokenizer, text: str) -> list[str | None]:
    return [tokenizer.id_to_token(id) for id in tokenizer.encode(text)]


@pytest.mark.parametrize("share", [None, 0.5])
def test_the_corpus_has_its_pieces_and_any_text_comes_back(whole, share):
    needed = smaller_tokenizer(whole, CORPUS).needed
    count = len({*range(whole.vocab_size)})
    size = None if share is None else needed + round(share * (count - needed))
    found = smaller_tokenizer(whole, CORPUS, size)
    less = found.tokenizer
    assert less.vocab_size == len(found.rows) == (size or needed)
    for text in CORPUS:
        assert pieces(less, text) == pieces(whole, text)
    differ = [
        text
        for text in strings()
        if less.decode(less.encode(text)) != whole.decode(whole.encode(text))
    ]
    assert differ == []
    assert kept_rows(whole, less) == found.rows == tuple(sorted(found.rows))


def test_control_tokens_keep_their_roles_and_places(whole):
    less = smaller_tokenizer(whole, CORPUS[:1]).tokenizer

    def names(tokenizer, ids):
        return [tokenizer.id_to_token(id) for id in ids]

    assert {r: less.id_to_token(i) for r, i in less.roles.items()} == {
        r: whole.id_to_token(i) for r, i in whole.roles.items()
    }
    assert less.stated_roles.keys() == whole.stated_roles.keys()
    for attribute in ("stop_tokens", "special_ids", "prefix"):
        both = (sorted(names(one, getattr(one, attribute))) for one in (less, whole))
        assert next(both) == next(both)
    framed = [names(one, one.encode_pair(CORPUS[0])[0]) for one in (less, whole)]
    assert framed[0] == framed[1]


def test_most_are_left_out_and_the_most_frequent_come_back_first():
    whole = train_tokenizer(MANY, vocab_size=420)
    found = smaller_tokenizer(whole, ["zebra"])
    assert found.needed < 270
    assert max(found.rows) < 257  # bytes and the control token alone
    assert smaller_tokenizer(whole, ["zebra"], found.needed + 2).rows[-2:] == (257, 258)


def test_a_merge_stays_only_with_both_its_parts_and_what_it_makes(tmp_path):
    whole = gemma(tmp_path)
    model = json.loads(smaller_tokenizer(whole, ["the cat", " the"]).tokenizer.to_str())["model"]
    vocab = model["vocab"]
    assert model["merges"] and len(model["merges"]) < 12
    for a, b in model["merges"]:
        assert {a, b, a + b} <= vocab.keys()
    assert "▁ca" in vocab  # on the way to "▁cat"
    assert "▁sat" not in vocab and "og" not in vocab
    assert "é" not in vocab and "<0xC3>" in vocab  # bytes instead


def test_an_unknown_word_of_the_corpus_stays_unknown():
    vocab = {token: id for id, token in enumerate(["[UNK]", "ab", "a", "b", "##b", "##bc", "x"])}
    backend = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    whole = Tokenizer(backend)
    assert pieces(whole, "x abc") == ["x", "[UNK]"]  # "ab", and no "##c"
    less = smaller_tokenizer(whole, ["x abc"]).tokenizer
    assert pieces(less, "x abc") == ["x", "[UNK]"]
    assert less.token_to_id("ab") is not None


def test_the_score_of_unknown_characters_stays(tmp_path):
    def lowest(tokenizer):
        return min(score for _, score in json.loads(tokenizer.to_str())["model"]["vocab"])

    whole = t5(tmp_path)
    assert lowest(smaller_tokenizer(whole, ["the"]).tokenizer) == lowest(whole)


def test_a_size_that_does_not_fit_says_which_would(tmp_path):
    whole = gemma(tmp_path)
    needed = smaller_tokenizer(whole, CORPUS).needed
    with pytest.raises(ExportError, match=f"is 300, and the corpus needs {needed} tokens"):
        smaller_tokenizer(whole, CORPUS, 300)
    with pytest.raises(ExportError, match="is 9,999, and the tokenizer has"):
        smaller_tokenizer(whole, CORPUS, 9999)


def test_another_kind_is_named():
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    with pytest.raises(ExportError, match="is of the kind WordLevel, and"):
        smaller_tokenizer(Tokenizer(backend), ["a"])


def test_a_tokenizer_of_another_model_is_named(tmp_path):
    less = smaller_tokenizer(gemma(tmp_path), CORPUS).tokenizer
    with pytest.raises(ExportError, match="tokenizer has '<eos>', which the model's has not"):
        kept_rows(trained("bpe")(tmp_path), less)
