"""Batches of images and texts: what is read, what is learned, what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.data.captions import caption_batches
from modelzoo.errors import DataError, OverflowTextError, RecipeError
from modelzoo.runtime.abilities.captioning import frame_of
from tests.captioners import ASKED, CAPTIONED, SIZE, picture, tokenizer

TOKENIZER = tokenizer()
START, EOS, PAD = (TOKENIZER.role(role) for role in ("bos", "eos", "pad"))
IMAGE = {"size": [SIZE, SIZE], "resize": "squash", "interpolation": "bilinear"}


def batches(examples, template=None, image_tokens=0, image_token=None, **options):
    frame = frame_of(TOKENIZER, template, image_tokens, image_token)
    options = {"length": 16, "batch_size": 3, "shuffle": False, **options}
    processing = {"image": IMAGE, "caption": frame}
    return caption_batches(examples, TOKENIZER, processing=processing, **options)


def test_a_caption_is_read_behind_the_start_token_and_learned_to_its_end():
    made = batches(CAPTIONED[:3])
    x, y, weight = made.batch(0)
    text = TOKENIZER.encode("a red square")
    assert x["images"].shape == (3, SIZE, SIZE, 3) and x["images"].dtype == np.uint8
    np.testing.assert_array_equal(x["images"][0], np.full((SIZE, SIZE, 3), (230, 20, 20)))
    count = len(text) + 1
    assert x["token_ids"][0, :count].tolist() == [START, *text]
    assert y[0, :count].tolist() == [*text, EOS]
    assert weight[0].tolist() == [1.0] * count + [0.0] * (len(weight[0]) - count)
    np.testing.assert_array_equal(x["padding_mask"], weight > 0)
    assert (x["token_ids"][0, count:] == PAD).all()
    assert x["token_ids"].shape[1] == 8  # as the longest needs, in steps of 8, and not 16
    assert made.num_tokens == sum(len(TOKENIZER.encode(e["text"])) + 1 for e in CAPTIONED[:3])


def test_of_a_question_nothing_is_learned_but_the_answer():
    x, y, weight = batches(ASKED[:2], "{image}{prompt}</s>").batch(0)
    question, answer = TOKENIZER.encode("is it red?"), TOKENIZER.encode("yes")
    read = [*question, EOS, *answer]
    assert x["token_ids"][0, : len(read)].tolist() == read
    learned = np.flatnonzero(weight[0])
    assert learned.tolist() == list(range(len(question), len(question) + len(answer) + 1))
    assert y[0, learned].tolist() == [*answer, EOS]


def test_an_image_token_stands_as_often_as_the_image_has_vectors():
    x, _, weight = batches(CAPTIONED[:3], "<s>{image}<s>{prompt}", 4, 2).batch(0)
    assert x["token_ids"][0, :6].tolist() == [START, 2, 2, 2, 2, START]
    assert np.flatnonzero(weight[0])[0] == 5  # what follows the last token of the frame
    # An image before all tokens is not mentioned by them.
    x, _, weight = batches(CAPTIONED[:3], None, 4).batch(0)
    assert x["token_ids"][0, 0] == START and np.flatnonzero(weight[0])[0] == 0


def test_evaluation_counts_each_example_once_and_training_alone_alters_images():
    made = batches(CAPTIONED[:4], augment={"color": 0.9})
    plain = batches(CAPTIONED[:4])
    *_, (x, _, weight) = made.evaluation()
    assert weight[0].any() and not weight[1:].any()
    np.testing.assert_array_equal(x["images"][0], plain.evaluation_batch(1)[0]["images"][0])
    assert not np.array_equal(made.batch(0)[0]["images"], plain.batch(0)[0]["images"])
    np.testing.assert_array_equal(made.batch(0)[0]["images"], made.batch(0)[0]["images"])


def test_a_text_that_is_too_long_is_cut_with_a_warning_or_refused():
    long = [*CAPTIONED[:2], {"image": picture("red"), "text": "a red square " * 9}]
    with pytest.warns(UserWarning, match="1 of 3 texts are longer than 16 tokens"):
        x, y, weight = batches(long).batch(0)
    assert x["token_ids"].shape == (3, 16) and weight[2].all() and EOS not in y[2]
    with pytest.raises(OverflowTextError, match="example 3 has .* the model takes 16"):
        batches(long, truncate=False)


def test_a_question_that_leaves_no_room_for_an_answer_is_refused():
    asked = [{**ASKED[0], "question": "is it red? " * 9}]
    with pytest.raises(OverflowTextError, match="the prompt of example 1 has .* reads 16"):
        batches(asked)


def test_a_missing_caption_or_image_names_the_example():
    with pytest.raises(DataError, match="no text") as caught:
        batches([CAPTIONED[0], {"image": picture("red"), "text": " "}])
    assert "example 2" in str(caught.value)
    with pytest.raises(DataError, match="no column 'image'"):
        batches([{"text": "a red square"}])
    with pytest.raises(DataError, match="bytes|image") as caught:
        batches([CAPTIONED[0], {"image": b"no image", "text": "x"}]).batch(0)
    assert "example 2" in str(caught.value)


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(RecipeError, match="augment has no 'colour' for image"):
        batches(CAPTIONED, augment={"colour": 0.5})
