import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelzoo.data.train_tokenizer import KINDS, _with_short_words, train_tokenizer
from modelzoo.errors import TokenizerError
from modelzoo.registry import components
from modelzoo.tasks.profile import said
from tests.data.corpus import CORPUS

SIZES = {"bpe": 320, "byte": None, "wordpiece": 600, "unigram": 320}


def test_same_text_gives_the_same_file_in_every_process(tmp_path):
    # In one process a hash map may keep its order: only another process can show the difference.
    script = (
        "import hashlib, sys\n"
        "from modelzoo.data.train_tokenizer import KINDS, _with_short_words, train_tokenizer\n"
        "from tests.data.corpus import CORPUS\n"
        f"SIZES = {SIZES}\n"
        "for kind in KINDS:\n"
        "    text = train_tokenizer(CORPUS, kind, SIZES[kind]).to_str()\n"
        "    print(kind, hashlib.sha256(text.encode()).hexdigest())\n"
    )
    root = Path(__file__).parents[2]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script], cwd=root, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    }
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_vocabulary_is_at_most_as_large_as_asked(kind):
    tokenizer = train_tokenizer(CORPUS, kind, SIZES[kind])
    assert 257 <= tokenizer.vocab_size <= (SIZES[kind] or 257)


def test_learned_kinds_need_fewer_tokens_than_bytes():
    text = CORPUS[0]
    for kind in ("bpe", "wordpiece", "unigram"):
        tokenizer = train_tokenizer(CORPUS, kind, 700)
        assert len(tokenizer.encode(text)) < 0.6 * len(text.encode()), kind


def test_byte_kind_is_the_control_tokens_and_then_the_bytes():
    tokenizer = train_tokenizer(["x"], "byte", specials=said("seq2seq-lm", "special_tokens"))
    assert tokenizer.vocab_size == 259
    assert tokenizer.encode("aé") == [3 + byte for byte in "aé".encode()]


@pytest.mark.parametrize("kind", KINDS)
def test_control_tokens_get_the_first_ids(kind):
    for specials in {said(task, "special_tokens") for task in components.CORE["tasks"]}:
        tokenizer = train_tokenizer(CORPUS, kind, SIZES[kind], specials)
        assert [tokenizer.id_to_token(id) for id in range(len(specials))] == list(specials)
        assert tokenizer.special_ids == set(range(len(specials)))


def test_vocabulary_too_small_for_the_bytes_says_the_smallest():
    with pytest.raises(TokenizerError, match="too small: wordpiece needs 513"):
        train_tokenizer(CORPUS, "wordpiece", 300)


def test_unknown_kind_suggests_the_real_one():
    with pytest.raises(TokenizerError, match="did you mean: wordpiece"):
        train_tokenizer(CORPUS, "word-piece", 600)


@pytest.mark.parametrize("texts", [[], [""], "one str"])
def test_no_text_is_refused(texts):
    with pytest.raises(TokenizerError):
        train_tokenizer(texts, "bpe", 300)


def test_a_control_token_that_is_a_word_is_refused():
    with pytest.raises(TokenizerError, match="is a word"):
        train_tokenizer(["the end"] * 9, "bpe", 300, ["the"])


def test_half_a_character_in_a_text_is_refused():
    with pytest.raises(TokenizerError, match=r"half a character \('\\ud800'\) at 2"):
        train_tokenizer(["ab\ud800"], vocab_size=300)


def test_a_word_without_end_is_learned_in_pieces():
    letters = "".join(chr(97 + (n * n + n // 7) % 26) for n in range(200_000))
    started = time.monotonic()
    tokenizer = train_tokenizer([letters], vocab_size=600)
    assert time.monotonic() - started < 20
    assert tokenizer.decode(tokenizer.encode(letters)) == letters


def test_words_of_a_usual_length_are_learned_whole():
    texts = ["a rose is a rose " * 50, "你" * 90 + "。" + "好" * 90]
    assert [_with_short_words(text) for text in texts] == texts
    cut = _with_short_words("x" * 250 + " 1" * 3)
    assert cut == "\n".join(["x" * 100, "x" * 100, "x" * 50 + " 1" * 3])
