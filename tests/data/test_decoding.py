import threading

import numpy as np
import pytest

from modelzoo.data.media_rows import MediaRows, ahead, preparer
from modelzoo.errors import DataError


def examples(count=6):
    return [{"image": np.full((2, 2, 3), row, np.uint8)} for row in range(count)]


class Counting:
    """A decoder that counts its calls, and waits until `together` of them run at once."""

    def __init__(self, together=1):
        self.calls, self.barrier = [], threading.Barrier(together)

    def __call__(self, source):
        if len(self.calls) > 0:  # the first row is decoded alone, for its shape
            self.barrier.wait(timeout=20)
        self.calls.append(int(source[0, 0, 0]))
        return source


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("workers", [1, 3])
def test_rows_are_stacked_in_the_order_asked_for(cache, workers):
    rows = MediaRows(examples(), "image", lambda image: image, workers, cache)
    batch = rows[[4, 0, 4]]
    assert batch.shape == (3, 2, 2, 3) and batch.dtype == np.uint8
    assert batch[:, 0, 0, 0].tolist() == [4, 0, 4]
    batch[:] = 99  # a copy: whoever augments it does not change what is kept
    assert rows[[4, 0]][:, 0, 0, 0].tolist() == [4, 0]
    assert rows[[]].shape == (0, 2, 2, 3)


def test_what_was_decoded_is_kept_where_it_fits():
    decode = Counting()
    rows = MediaRows(examples(), "image", decode, 1)
    for _ in range(3):
        rows[[1, 1, 2]]
    assert rows.cached and sorted(decode.calls) == [0, 1, 2]

    decode = Counting()
    rows = MediaRows(examples(), "image", decode, 1, cache=6 * 12 - 1)
    for _ in range(2):
        rows[[1, 2]]
    assert not rows.cached and decode.calls == [0, 1, 2, 1, 2]
    assert MediaRows(examples(), "image", Counting(), 1, cache=6 * 12).cached


def test_files_are_decoded_at_the_same_time():
    rows = MediaRows(examples(), "image", Counting(together=3), workers=3, cache=False)
    # With fewer than three at once the barrier would break.
    assert rows[[1, 2, 3]][:, 0, 0, 0].tolist() == [1, 2, 3]


def test_arrays_with_a_number_give_a_tuple_of_both():
    sounds = [{"audio": np.ones(n, np.float32)} for n in (1, 3)]

    def prepare(sound):
        return np.pad(sound, (0, 4 - len(sound))), len(sound)

    audio, counts = MediaRows(sounds, "audio", prepare)[[1, 0]]
    assert audio.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    assert counts.tolist() == [3, 1]


def test_an_example_without_the_medium_is_a_row_of_zeros():
    rows = MediaRows([{"text": "a"}, *examples(3)[2:]], "image", lambda image: image)
    assert rows.present.tolist() == [False, True]
    assert rows[[0, 1]][:, 0, 0, 0].tolist() == [0, 2]
    with pytest.raises(DataError, match="none of the 1 examples has audio"):
        MediaRows([{"text": "a"}], "audio", len)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_file_is_named_with_the_way_on(tmp_path, workers):
    def prepare(path):
        if path.name == "b.png":
            raise DataError("this image is truncated")
        return np.zeros(2)

    paths = [{"image": tmp_path / name} for name in ("a.png", "b.png", "c.png")]
    rows = MediaRows(paths, "image", prepare, workers)
    with pytest.raises(DataError, match="truncated") as error:
        rows[[0, 1, 2]]
    assert error.value.where == str(tmp_path / "b.png")
    assert "train.on_bad_file=skip" in error.value.next_step
    assert rows[[0, 2]].shape == (2, 2)  # the others are none the worse


def test_a_bad_array_is_named_by_its_number():
    def prepare(source):
        raise DataError("holds NaN")

    with pytest.raises(DataError) as error:
        MediaRows([{"audio": np.zeros(3)}], "audio", prepare)
    assert error.value.where == "the audio of example 1"


def test_a_medium_that_the_model_does_not_take_is_refused():
    with pytest.raises(DataError, match="the model takes image, not audio"):
        preparer("audio", {"image": {}})


def test_items_are_made_ahead_in_order_and_errors_come_in_their_place():
    made = []

    def items():
        for number in range(4):
            made.append(number)
            yield number
        raise DataError("the fifth")

    stream, seen = ahead(items(), depth=2), []
    assert next(stream) == 0
    with pytest.raises(DataError, match="the fifth"):
        for item in stream:
            seen.append(item)
    assert seen == [1, 2, 3]
    assert list(ahead(iter("abc"), depth=5)) == ["a", "b", "c"]


def test_closing_what_is_made_ahead_ends_its_thread():
    before = threading.active_count()
    stream = ahead(iter(range(10**9)))
    next(stream)
    stream.close()
    assert threading.active_count() == before
