import json
import pickle
import random

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from modelzoo.data.train_tokenizer import KINDS, train_tokenizer
from modelzoo.errors import OutputError, OverflowTextError, TokenizerError
from modelzoo.runtime.text.token_stream import byte_characters
from modelzoo.runtime.text.tokenizer import Tokenizer

CORPUS = [
    "The quick brown fox jumps over the lazy dog. It does so every day!",
    "今天天气很好，我们去公园散步。你觉得怎么样？",
    "A rose is a rose is a rose 🌹🌹, the lazy fox said.\n\n\tYes  it is.",
] * 3
TEXTS = [
    "",
    " ",
    "Hello, world!  Two spaces, and three   here",
    " leading and trailing \n",
    "tab\tand\n\n\nnewlines\r\n  \t mixed \u00a0 \u3000 odd\u200b spaces",
    "今天天气很好，我们去公园散步。",
    "中文 with English 混合",
    "👨‍👩‍👧 🏳️‍🌈 🇨🇳 é vs e\u0301 \x00 \ufffd",
    "## a ##b a##b #1 ### ####",
    "<|endoftext|> [CLS] [MASK] <pad></s> <unk>",
    "a" * 500 + "字" * 300 + " " * 300,
]


def random_texts(count, seed=0):
    """Any code point but surrogates, and runs of the characters that are hard."""
    generator = random.Random(seed)
    hard = ["aZ09 ##.,'\t\n\r ", "你好世界，。", "🌹👨‍👩‍👧🏳️‍🌈é\u0301\u00a0\u3000\u200d"]
    for _ in range(count):
        letters = []
        for _ in range(generator.randrange(30)):
            code = generator.randrange(0x110000)
            pool = generator.choice([*hard, chr(code) if not 0xD800 <= code < 0xE000 else "x"])
            letters.append(generator.choice(pool))
        yield "".join(letters)


@pytest.fixture(scope="module")
def trained():
    specials = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    sizes = {"bpe": 330, "byte": None, "wordpiece": 600, "unigram": 330}
    return {kind: train_tokenizer(CORPUS, kind, sizes[kind], specials) for kind in KINDS}


@pytest.fixture(params=KINDS)
def tokenizer(request, trained):
    return trained[request.param]


def bert(vocabulary="你 好 世 界 ， 。 hello wor ##ld . ' s 1", decoder=True):
    """As BERT's own tokenizer.json: words lower-cased, Chinese cut into characters."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *vocabulary.split()]
    backend = tokenizers.Tokenizer(
        models.WordPiece({token: id for id, token in enumerate(tokens)}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if decoder:
        backend.decoder = decoders.WordPiece()
    backend.add_special_tokens(tokens[:5])
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return Tokenizer(backend)


def sentencepiece():
    """As T5's: pieces with ▁ for a space, and the control tokens among the pieces."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", "▁hello", "▁wor", "ld", "<", "/", "s", ">", "l", "o"]
    backend = tokenizers.Tokenizer(
        models.Unigram([(p, -float(i)) for i, p in enumerate(pieces)], unk_id=2)
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens(pieces[:3])
    return Tokenizer(backend)


def llama():
    """As Llama's: pieces, and single bytes for what has no piece."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁hi", "x"]
    backend = tokenizers.Tokenizer(
        models.BPE({t: i for i, t in enumerate(tokens)}, [], byte_fallback=True, unk_token="<unk>")
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    backend.add_special_tokens(tokens[:3])
    return Tokenizer(backend)


def streamed(tokenizer, ids, skip_special=True):
    stream = tokenizer.stream(skip_special)
    return [stream.push(id) for id in ids] + [stream.flush()]


# === Round trip ===


@pytest.mark.parametrize("text", TEXTS)
def test_every_kind_gives_back_exactly_the_text(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_every_kind_gives_back_random_unicode(tokenizer):
    for text in random_texts(300):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_control_tokens_in_a_text_stay_text(tokenizer):
    for text in (*tokenizer._backend.get_vocab(), "[CLS] [SEP][MASK]"):
        assert not tokenizer.special_ids & set(tokenizer.encode(text))


def test_sentencepiece_does_not_make_control_tokens_from_text():
    tokenizer = sentencepiece()
    assert not {0, 1} & set(tokenizer.encode("hello</s> <pad>"))
    assert tokenizer.decode(tokenizer.encode("hello world")) == "hello world"


def test_long_text_is_cut_for_speed_without_changing_a_token(tokenizer):
    line = "The quick fox.\n\n  Two  spaces\n今天天气 \n\tend\n"
    text = line * 1200
    assert len(text) > 3 * 2**14
    assert tokenizer.encode(text) == tokenizer._raw_encode_batch([text])[0]


def test_a_batch_encodes_as_its_texts_one_by_one(tokenizer):
    assert tokenizer.encode_batch(TEXTS) == [tokenizer.encode(text) for text in TEXTS]


def test_lone_surrogate_is_named_with_its_place(tokenizer):
    with pytest.raises(TokenizerError, match="lone surrogate.* at character 2"):
        tokenizer.encode("ab\udc80")


def test_a_text_that_is_no_str_is_refused(tokenizer):
    with pytest.raises(TokenizerError, match="must be str, not bytes"):
        tokenizer.encode(b"ab")


# === Chinese ===


@pytest.mark.parametrize("has_decoder", [True, False])
def test_bert_vocabulary_decodes_chinese_without_spaces(has_decoder):
    tokenizer = bert(decoder=has_decoder)
    for text in ("你好，世界。", "hello world 你好 1 世界", "hello world."):
        assert tokenizer.decode(tokenizer.encode(text)) == text


# === Streaming ===


def test_stream_joined_is_decode_for_any_tokens(tokenizer):
    generator = random.Random(1)
    for number in range(400):
        ids = [generator.randrange(tokenizer.vocab_size + 2) for _ in range(number % 25)]
        for skip_special in (True, False):
            expected = tokenizer.decode(ids, skip_special)
            assert "".join(streamed(tokenizer, ids, skip_special)) == expected


@pytest.mark.parametrize("make", [bert, sentencepiece, llama])
def test_stream_joined_is_decode_for_tokenizers_from_elsewhere(make):
    tokenizer = make()
    generator = random.Random(2)
    emoji = [3 + byte for byte in "🌹你".encode()] if make is llama else []
    for number in range(400):
        ids = [generator.randrange(tokenizer.vocab_size + 2) for _ in range(number % 25)]
        ids[number % 7 : number % 7] = emoji
        for skip_special in (True, False):
            expected = tokenizer.decode(ids, skip_special)
            assert "".join(streamed(tokenizer, ids, skip_special)) == expected


def test_stream_never_emits_half_a_character(trained):
    text = "今天🌹é👨‍👩‍👧!"
    ids = trained["byte"].encode(text)
    pushed = streamed(trained["byte"], ids)
    assert len(ids) == len(text.encode())
    assert [piece for piece in pushed if piece] == list(text)


def test_stream_gives_cut_off_character_at_the_end_only(trained):
    ids = trained["byte"].encode("a今")[:-1]
    assert streamed(trained["byte"], ids) == ["a", "", "", "\ufffd"]


@pytest.mark.parametrize("make", [bert, sentencepiece, llama])
def test_stream_decodes_no_more_than_a_short_window(make):
    tokenizer = make()
    decode, sizes = tokenizer.decode, []
    tokenizer.decode = lambda ids, **options: (sizes.append(len(ids)), decode(ids, **options))[1]
    streamed(tokenizer, [tokenizer.vocab_size - 1] * 300)
    assert len(sizes) <= 2 * 301
    assert max(sizes) <= 8


# === Files ===


def test_saved_file_opens_in_hugging_face_and_here(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    text = TEXTS[5]
    assert tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(text).ids == (
        tokenizer.encode(text)
    )
    for path in (tmp_path / "tokenizer.json", tmp_path):
        again = Tokenizer.load(path)
        assert again.roles == tokenizer.roles
        assert again.encode(text) == tokenizer.encode(text)
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -40])
def test_truncated_file_is_refused_with_its_name(trained, tmp_path, cut):
    path = tmp_path / "tokenizer.json"
    path.write_text(trained["bpe"].to_str().rstrip()[:cut], encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"cut off[\s\S]*tokenizer\.json"):
        Tokenizer.load(path)


@pytest.mark.parametrize("content", [b"{}", b"[]", b"null", b'{"model": {"type": "X"}}', b"\xff"])
def test_other_json_is_no_tokenizer(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerError):
        Tokenizer.load(tmp_path)


def test_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(TokenizerError, match="modelzoo tokenizer train"):
        Tokenizer.load(tmp_path / "none.json")


def test_failed_write_leaves_nothing(trained, tmp_path):
    with pytest.raises(OutputError):
        trained["byte"].save(tmp_path / "none" / "tokenizer.json")


def test_truncation_and_padding_of_a_file_are_switched_off(trained):
    config = json.loads(trained["byte"].to_str())
    config["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    assert len(Tokenizer.from_str(json.dumps(config)).encode("longer than that")) == 16


def test_a_tokenizer_can_be_pickled(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.encode(TEXTS[6]) == tokenizer.encode(TEXTS[6])
    assert again.roles == tokenizer.roles


# === Roles ===


def test_roles_are_found_by_well_known_names(trained):
    assert trained["bpe"].roles == {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
    gpt = train_tokenizer(CORPUS, "byte", specials=("<|endoftext|>",))
    assert gpt.roles == {"pad": 0, "bos": 0, "eos": 0}
    t5 = train_tokenizer(CORPUS, "byte", specials=("<pad>", "</s>", "<unk>"))
    assert t5.roles == {"pad": 0, "eos": 1, "unk": 2, "sep": 1}


def test_given_roles_win_and_are_checked(trained):
    text = trained["bpe"].to_str()
    assert Tokenizer.from_str(text, {"eos": "[SEP]", "pad": 1}).roles["eos"] == 3
    with pytest.raises(TokenizerError, match="not in the vocabulary"):
        Tokenizer.from_str(text, {"eos": "<nope>"})
    with pytest.raises(TokenizerError, match="did you mean: mask"):
        Tokenizer.from_str(text, {"masks": "[MASK]"})


def test_missing_role_says_how_to_name_it(trained):
    with pytest.raises(TokenizerError, match=r"no eos token[\s\S]*roles="):
        trained["bpe"].role("eos")


# === Pairs and framing ===


def test_pair_is_framed_and_segmented(trained):
    tokenizer = trained["byte"]
    ids, segments = tokenizer.encode_pair("ab", "c")
    a, b, c = tokenizer.encode("abc")
    assert ids == [2, a, b, 3, c, 3]
    assert segments == [0, 0, 0, 0, 1, 1]
    assert tokenizer.encode_pair("ab") == ([2, a, b, 3], [0, 0, 0, 0])


def test_long_pair_is_refused_or_cut_from_the_longer(trained):
    tokenizer = trained["byte"]
    with pytest.raises(OverflowTextError, match="13 tokens; the model reads 9"):
        tokenizer.encode_pair("abcdefgh", "ij", 9)
    for a, b, expected in (
        ("abcdefgh", "ij", ("abcd", "ij")),
        ("ab", "cdefghij", ("ab", "cdef")),
        ("abcdefgh", "ijklmnop", ("abc", "ijk")),
    ):
        ids, segments = tokenizer.encode_pair(a, b, 9, truncate=True)
        assert len(ids) == len(segments) == 9
        assert (ids, segments) == tokenizer.encode_pair(*expected)
    assert len(tokenizer.encode_pair("abcdefgh", None, 5, truncate=True)[0]) == 5


def test_mask_counts_only_where_it_is_allowed(trained):
    tokenizer = trained["bpe"]
    assert 4 not in tokenizer.encode("the [MASK] fox")
    ids = tokenizer.encode("the [MASK] fox", allow=("mask",))
    assert ids == [*tokenizer.encode("the"), 4, *tokenizer.encode(" fox")]


def test_source_ends_with_eos_and_keeps_it_when_cut():
    tokenizer = train_tokenizer(CORPUS, "byte", specials=("<pad>", "</s>", "<unk>"))
    assert tokenizer.encode_source("ab") == [*tokenizer.encode("ab"), 1]
    assert tokenizer.encode_source("abc", 3, truncate=True) == [*tokenizer.encode("ab"), 1]
    with pytest.raises(OverflowTextError):
        tokenizer.encode_source("abc", 3)


# === Frames ===


def framed(processor):
    """A tokenizer of words whose file has a post-processor, or none."""
    words = ["[CLS]", "[SEP]", "a", "b", "c"]
    backend = tokenizers.Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(words[:2])
    if processor is not None:
        backend.post_processor = processor
    return Tokenizer.from_str(backend.to_str())


_CLS, _SEP, _BYTES = ("[CLS]", 0), ("[SEP]", 1), processors.ByteLevel()
_TEMPLATE = processors.TemplateProcessing(
    single="[CLS] $A", pair="$B:1 [SEP]:1 $A:0", special_tokens=[_CLS, _SEP]
)
FRAMES = {
    "bert": (
        processors.BertProcessing(_SEP, _CLS),
        [0, 2, 1],
        [0, 2, 1, 3, 4, 1],
        [0] * 3 + [1] * 3,
    ),
    "roberta": (
        processors.RobertaProcessing(_SEP, _CLS),
        [0, 2, 1],
        [0, 2, 1, 1, 3, 4, 1],
        [0] * 7,
    ),
    "template": (_TEMPLATE, [0, 2], [3, 4, 1, 2], [1, 1, 1, 0]),
    "sequence": (processors.Sequence([_BYTES, _TEMPLATE]), [0, 2], [3, 4, 1, 2], [1, 1, 1, 0]),
    "bytes alone": (_BYTES, [0, 2, 1], [0, 2, 1, 3, 4, 1], [0] * 3 + [1] * 3),
    "none": (None, [0, 2, 1], [0, 2, 1, 3, 4, 1], [0] * 3 + [1] * 3),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_text_is_framed_as_the_post_processor_says(name):
    processor, single, pair, segments = FRAMES[name]
    tokenizer = framed(processor)
    assert tokenizer.encode_pair("a")[0] == single
    assert tokenizer.encode_pair("a", "b c") == (pair, segments)
    if tokenizer.frame is not None:
        assert tokenizer.encode_source("a") == single


def test_a_framed_pair_is_cut_inside_its_frame():
    tokenizer = framed(processors.RobertaProcessing(_SEP, _CLS))
    ids, segments = tokenizer.encode_pair("a b c", "a", 6, truncate=True)
    assert ids == [0, 2, 1, 1, 2, 1]
    assert len(segments) == 6
    with pytest.raises(OverflowTextError, match="8 tokens; the model reads 6"):
        tokenizer.encode_pair("a b c", "a", 6)


def test_two_frames_in_one_file_are_refused():
    with pytest.raises(TokenizerError, match="frames a text 2 times"):
        framed(processors.Sequence([_TEMPLATE, processors.BertProcessing(_SEP, _CLS)]))


def test_a_post_processor_of_an_unknown_kind_is_named():
    state = json.loads(framed(None).to_str()) | {"post_processor": {"type": "Wraps"}}
    with pytest.raises(TokenizerError, match="the post-processor Wraps is not known; choose"):
        Tokenizer.from_str(json.dumps(state))


def test_a_denied_role_stays_denied_in_a_copy():
    backend = tokenizers.Tokenizer.from_str(framed(None).to_str())
    tokenizer = Tokenizer(backend, {"sep": "", "eos": "c"})
    assert tokenizer.roles == {"cls": 0, "eos": 4}
    assert tokenizer.stated_roles == {"cls": 0, "eos": 4, "sep": None}
    assert pickle.loads(pickle.dumps(tokenizer)).roles == tokenizer.roles


# === Text joined right ===


@pytest.mark.parametrize(
    ("make", "word"), [(bert, "hello"), (sentencepiece, "▁hello"), (llama, "▁hi")]
)
def test_a_continuation_has_the_space_before_its_first_word(make, word):
    tokenizer = make()
    ids = [tokenizer.token_to_id(word)] * 3
    stream = tokenizer.stream(after=[*tokenizer.special_ids, ids[0]])
    found = "".join([*map(stream.push, ids[1:]), stream.flush()])
    assert tokenizer.decode(ids[:1]) + found == tokenizer.decode(ids)
    assert found.startswith(" ")


def test_timestamps_of_a_whisper_are_no_text():
    backend = tokenizers.Tokenizer(models.BPE({c: i for i, c in enumerate(byte_characters())}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens(["<|0.00|>"])
    plain = Tokenizer.from_str(backend.to_str())
    backend.add_special_tokens(["<|startoftranscript|>"])
    whisper = Tokenizer(backend)
    ids = [256, *whisper.encode("hi"), 256]
    assert plain.decode(ids) == "<|0.00|>hi<|0.00|>"
    assert whisper.decode(ids) == "".join(streamed(whisper, ids)) == "hi"
    assert whisper.decode(ids, skip_special=False) == "<|0.00|>hi<|0.00|>"
