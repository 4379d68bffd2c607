"""A reader gives what the plain definition gives, however a text is cut into pieces."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.errors import ModelzooError, OverflowTextError
from modelzoo.runtime import Reader, State, load

TEXT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 16, 3]
FORMATS = ("tflite", "savedmodel")


@pytest.fixture(scope="module", params=FORMATS)
def opened(request, tiny, tmp_path_factory):
    """The bundles by their names."""
    folder, format = tmp_path_factory.mktemp("bundles"), request.param
    names = ("decoder", "recurrent", "seq2seq")
    return {name: load(tiny.bundle(name, folder / name, format)) for name in names}


def wanted(tiny, name, history):
    """The logits after a text, by the definition of the model."""
    if name == "decoder":
        return tiny.attention.logits(history)
    stepper = type(tiny.recurrent)(vocab_size=17)
    for token in history:
        logits = stepper.decode(np.array([[token]]), np.array([[0]]))
    return logits[0]


@pytest.mark.parametrize("name", ["decoder", "recurrent"])
@pytest.mark.parametrize("pieces", [(16,), (1, 1, 14), (10, 6), (5, 7, 1, 3)])
def test_pieces_of_any_length_give_the_same_logits(tiny, opened, name, pieces):
    reader, history = opened[name].reader(), []
    for count in pieces:
        piece = TEXT[len(history) : len(history) + count]
        history += piece
        logits = reader.read(piece)
        assert logits.shape == (17,) and logits.dtype == np.float32
        np.testing.assert_allclose(logits, wanted(tiny, name, history), atol=1e-4)
        assert reader.position == len(history)


@pytest.mark.parametrize("name", ["decoder", "recurrent"])
def test_a_state_is_kept_and_given_to_another_reader(tiny, opened, name):
    reader = opened[name].reader()
    empty = reader.state
    reader.read(TEXT[:11])
    kept = reader.state
    reader.read(TEXT[11:14])  # what is kept is a copy
    other = opened[name].reader()
    for one in (reader, other):
        one.state = kept
        np.testing.assert_allclose(one.read(TEXT[11:]), wanted(tiny, name, TEXT), atol=1e-4)
        one.state = empty
        np.testing.assert_allclose(one.read(TEXT[:2]), wanted(tiny, name, TEXT[:2]), atol=1e-4)
    assert (kept.position, len(kept.tokens)) == (11, 0 if name == "recurrent" else 11)


def test_a_recurrent_state_has_no_end_and_a_window_has(tiny, opened):
    reader = opened["recurrent"].reader()
    assert reader.max_length is None
    np.testing.assert_allclose(
        reader.read(np.array(TEXT * 3)), wanted(tiny, "recurrent", TEXT * 3), atol=1e-4
    )
    reader = opened["decoder"].reader()
    reader.read(TEXT[:10])
    with pytest.raises(OverflowTextError, match="10 tokens were read, 7 more do not fit"):
        reader.read(TEXT[:7])
    np.testing.assert_allclose(reader.read(TEXT[10:]), tiny.attention.logits(TEXT), atol=1e-4)


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([], "one or more token ids, got float64 of shape"),
        ([[1, 2]], "got int64 of shape"),
        ([0.5], "got float64"),
        ("a b", "encode"),
        ([1, 17], "token id 17 is outside the vocabulary of 17"),
        ([-1], "token id -1 is outside"),
    ],
)
def test_what_is_no_token_is_rejected(opened, ids, said):
    with pytest.raises(ModelzooError) as caught:
        opened["decoder"].reader().read(ids)
    assert said in str(caught.value)


def test_a_state_of_another_model_and_a_model_with_a_source_are_rejected(opened):
    assert isinstance(opened["decoder"].reader(), Reader)
    with pytest.raises(ModelzooError, match="expected a state of .*state_h_0"):
        opened["recurrent"].reader().state = State(1, {"state_h_0": np.zeros((1, 3))})
    with pytest.raises(ModelzooError, match="reads from a source"):
        opened["seq2seq"].reader()
