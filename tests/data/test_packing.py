import numpy as np
import pytest

from modelzoo.data.packing import PADDING, Ragged, pack_tokens
from modelzoo.data.sentences import split_sentences


def test_windows_predict_every_token_exactly_once():
    generator = np.random.default_rng(0)
    for length in (1, 2, 5, 16, 100):
        documents = [generator.integers(1, 9, n) for n in generator.integers(0, 20, 7)]
        stream = [0, *(token for document in documents for token in [*document, 0])]
        windows = pack_tokens(documents, length, eos=0)
        predicted = windows[:, 1:].ravel()
        assert predicted[predicted != PADDING].tolist() == stream[1:]
        read = windows[:, :-1].ravel()
        assert read[: len(stream) - 1].tolist() == stream[:-1]
        assert windows.shape == (-(-(len(stream) - 1) // length), length + 1)
        assert windows.dtype == np.int32


def test_no_document_gives_no_window():
    assert pack_tokens([], 8, eos=0).shape == (0, 9)


def test_ragged_rows_are_padded():
    ragged = Ragged([[1, 2, 3], [], [4]])
    values, mask = ragged.padded(np.array([2, 0, 1]), 3, padding=9)
    assert values.tolist() == [[4, 9, 9], [1, 2, 3], [9, 9, 9]]
    assert mask.tolist() == [[True, False, False], [True] * 3, [False] * 3]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It rains. Really?!  Yes.", ["It rains.", " Really?!", "  Yes."]),
        ('He said "stop." Then (he left.) Bye', ['He said "stop."', " Then (he left.)", " Bye"]),
        ("下雨了。是吗？“是的！”好", ["下雨了。", "是吗？", "“是的！”", "好"]),
        ("pi is 3.14 and e.g", ["pi is 3.14 and e.g"]),
        ("A title\n\nA text\nin lines.\n", ["A title", "\n\nA text\nin lines.\n"]),
        ("", []),
        (" \n", [" \n"]),
    ],
)
def test_sentences_end_in_english_and_chinese(text, sentences):
    assert split_sentences(text) == sentences


def test_sentences_joined_are_the_text():
    generator = np.random.default_rng(0)
    for _ in range(300):
        text = "".join(generator.choice(list("ab .!?。！”\n\t"), 30))
        assert "".join(split_sentences(text)) == text
