"""What stands around an image and a prompt, and how both reach a model. No Keras here."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.errors import BundleError, DataError, ModelzooError, OverflowTextError, RecipeError
from modelzoo.runtime.abilities.captioning import captions, frame_of, framed, take_in
from modelzoo.runtime.generation.loop import generate_tokens
from modelzoo.runtime.generation.prefill import plan_chunks
from modelzoo.runtime.generation.sampling import Sampling
from tests.captioners import SIZE, TEXTS, picture, tokenizer

TOKENIZER = tokenizer()
START, EOS = TOKENIZER.role("bos"), TOKENIZER.role("eos")
IMAGE = {"size": [SIZE, SIZE], "resize": "squash", "interpolation": "bilinear"}
STOP = TOKENIZER.encode("a red square")


class Recorder:
    """A stepper that writes a fixed text, and remembers what was put where."""

    def __init__(self, rows=1, max_length=24, prefill_lengths=(1, 4), text=(*STOP, EOS)):
        self.batch_size, self.max_length, self.vocab_size = rows, max_length, 300
        self.prefill_lengths, self.prefill_length = prefill_lengths, prefill_lengths[-1]
        self.slots = np.full((rows, max_length), -1)
        self.text, self.begin, self.kept = text, None, 0

    def prefill_image(self, images, positions):
        self.slots[:, positions[0]] = 1000 + int(images[0, 0, 0, 0])  # the image's own mark
        self.kept = int(positions.max()) + 1

    def prefill(self, token_ids, positions):
        self.slots[:, positions[0]] = token_ids

    def decode(self, token_ids, positions):
        self.slots[:, positions[0]] = token_ids
        self.begin = positions.min() if self.begin is None else self.begin
        logits = np.zeros((self.batch_size, self.vocab_size), np.float32)
        logits[:, self.text[min(positions.min() - self.begin, len(self.text) - 1)]] = 1
        return logits


# === The frame ===


def test_without_a_template_a_caption_begins_with_the_start_token():
    frame = frame_of(TOKENIZER, None, 4)
    assert framed(frame, [9, 8]) == [START] * 4 + [START, 9, 8]
    assert framed(frame, [9, 8], image=False) == [START, 9, 8]
    assert framed(frame_of(TOKENIZER), []) == [START]
    assert not frame["in_text"]


def test_a_template_puts_its_text_around_the_image_and_the_prompt():
    a, yes, no = (TOKENIZER.encode(text) for text in ("a", " yes", "no"))
    frame = frame_of(TOKENIZER, "<s>a{image} yes{prompt}no</s>", 2, image_token=50)
    assert framed(frame, [9]) == [START, *a, 50, 50, *yes, 9, *no, EOS]
    assert frame["in_text"]
    # Where the image is no token, its place in the text says nothing.
    looked_at = frame_of(TOKENIZER, "<s>a{image} yes{prompt}no</s>")
    assert framed(looked_at, [9]) == [START, *a, *yes, 9, *no, EOS]


@pytest.mark.parametrize(
    ("template", "count", "message"),
    [
        ("{image} says", 4, "holds {image} and then {prompt}, each once"),
        ("{prompt}{image}", 4, "holds {image} and then {prompt}"),
        ("{image}{image}{prompt}", 4, "holds {image} and then {prompt}"),
        ("a{image} yes{prompt}", 4, "has text before the image, which comes first"),
        ("{image}{prompt}", 4, "no token after the image"),
        ("{prompt}", 0, "no token after the image"),
    ],
)
def test_a_template_that_cannot_be_is_refused(template, count, message):
    with pytest.raises(RecipeError, match=message):
        frame_of(TOKENIZER, template, count)


def test_a_prompt_that_spells_a_control_token_stays_text():
    frame = frame_of(TOKENIZER, "{image}<s>{prompt}</s>", 1)
    assert framed(frame, TOKENIZER.encode("</s>")).count(EOS) == 1


# === Into the state ===


def test_an_image_stands_behind_what_comes_before_it_and_is_never_written_over():
    frame = frame_of(TOKENIZER, "<s>{image}<s>{prompt}", 4, image_token=50)
    prompt = framed(frame, STOP)
    stepper = Recorder()
    take_in(stepper, [prompt], frame, np.full((1, 2, 2, 3), 7, np.uint8))
    tokens = [token for _, token in generate_tokens(stepper, [prompt], Sampling(max_new_tokens=2))]
    assert tokens == list(STOP[:2])
    wanted = [START, 1007, 1007, 1007, 1007, START, *STOP, STOP[0]]
    assert stepper.slots[0, : len(wanted)].tolist() == wanted


def test_a_prompt_that_ends_at_the_window_is_taken_in_without_touching_the_image():
    frame = frame_of(TOKENIZER, None, 4)
    prompt = framed(frame, [40, 41, 42, 43, 44])
    stepper = Recorder(max_length=len(prompt), prefill_lengths=(1, 8))
    take_in(stepper, [prompt], frame, np.full((1, 2, 2, 3), 7, np.uint8))
    assert len(list(generate_tokens(stepper, [prompt]))) == 1
    assert stepper.slots[0].tolist() == [1007] * 4 + [START, 40, 41, 42, 43, 44]
    assert plan_chunks(9, [1, 8], 10, start=4) == [(2, 8)]  # what would have happened
    assert all(at >= 4 for at, _ in plan_chunks(9, [1, 8], 10, start=4, kept=4))


# === From images to texts ===


def say(image, prompt=None, rows=2, frame=None, max_length=24, **options):
    begun = []

    def begin(images, prompts, sampling):
        begun.append((images, prompts))
        return Recorder(len(prompts), max_length)

    processing = {"image": IMAGE, "caption": frame or frame_of(TOKENIZER)}
    options = {"max_length": max_length, "rows": rows, **options}
    return captions(begin, TOKENIZER, processing, image, prompt, **options), begun


def test_one_image_gives_a_text_and_a_list_gives_a_list():
    assert say(picture("red"))[0] == "a red square"
    found, begun = say([picture("red"), picture("blue"), picture("red")])
    assert found == ["a red square"] * 3
    assert [len(images) for images, _ in begun] == [2, 1]
    stacked = np.stack([picture("red"), picture("blue")])
    found, begun = say(stacked)
    assert len(found) == 2 and begun[0][0][1, 0, 0].tolist() == [30, 30, 220]


def test_files_and_their_bytes_are_read(tmp_path):
    from PIL import Image

    Image.fromarray(picture("blue")).save(tmp_path / "blue.png")
    for source in (tmp_path / "blue.png", (tmp_path / "blue.png").read_bytes()):
        _, begun = say(source)
        assert begun[0][0].shape == (1, SIZE, SIZE, 3)
        assert begun[0][0][0, 5, 5].tolist() == [30, 30, 220]


def test_a_stream_gives_pieces_that_join_to_the_text():
    pieces, _ = say(picture("red"), stream=True)
    pieces = list(pieces)
    assert "".join(pieces) == "a red square" and len(pieces) > 1
    rows, _ = say([picture("red")] * 3, stream=True)
    joined = ["", "", ""]
    for row, piece in rows:
        joined[row] += piece
    assert joined == ["a red square"] * 3


def test_each_image_has_its_own_question_or_all_have_one():
    _, begun = say([picture("red"), picture("blue")], ["is it red?", None])
    assert begun[0][1] == [[START, *TOKENIZER.encode("is it red?")], [START]]
    _, begun = say([picture("red"), picture("blue")], "is it red?")
    assert begun[0][1][0] == begun[0][1][1]


@pytest.mark.parametrize(
    ("image", "prompt", "options", "error", "message"),
    [
        ([], None, {}, ModelzooError, "the list is empty"),
        ([picture("red")], ["a", "b"], {}, ModelzooError, "2 prompts for 1 images"),
        (picture("red"), 7, {}, ModelzooError, "a prompt must be str, not int"),
        ([picture("red")], [7], {}, ModelzooError, "a prompt must be str, not int"),
        (picture("red"), TEXTS[0] * 9, {}, OverflowTextError, "and the model's window 24"),
        (picture("red"), None, {"temperature": -1}, ModelzooError, "temperature"),
        (b"", None, {}, DataError, "0 bytes|empty"),
        ("no-such.png", None, {}, DataError, "no-such.png"),
        (np.zeros((2, 3, 9), "uint8"), None, {}, DataError, "9"),
        (12, None, {}, ModelzooError, "not int"),
    ],
)
def test_what_cannot_be_captioned_says_why(image, prompt, options, error, message):
    with pytest.raises(error, match=message):
        say(image, prompt, **options)


def test_a_window_with_an_image_in_it_does_not_slide():
    frame = frame_of(TOKENIZER, None, 4)
    with pytest.raises(ModelzooError, match="would leave out the image"):
        say(picture("red"), frame=frame, when_full="slide", max_new_tokens=50)


def test_a_manifest_that_does_not_frame_its_prompts_is_told_of():
    with pytest.raises(BundleError, match="no processing.caption"):
        captions(None, TOKENIZER, {"image": IMAGE}, picture("red"), max_length=9)
