"""What an encoder reads: a text, or a text with an image or a video. No Keras here."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.errors import DataError, ModelzooError
from modelzoo.runtime.abilities.sources import (
    Source,
    caption_sources,
    identity_of,
    media_inputs,
    media_kinds,
)
from modelzoo.runtime.engines.base import SignatureInfo, TensorInfo, encoder_of

KINDS = ("image", "video")
PROCESSING = {
    "image": {"size": [4, 4], "resize": "squash", "interpolation": "bilinear"},
    "video": {"num_frames": 3},
}
IMAGE = np.full((5, 6, 3), 9, np.uint8)


def signatures(*names: str) -> dict[str, SignatureInfo]:
    media = {"encode_image": "images", "encode_video": "frames", "encode_text": "token_ids"}
    return {
        name: SignatureInfo(
            {key: TensorInfo((1,), "int32") for key in ("token_ids", media.get(name, "token_ids"))},
            {},
        )
        for name in names
    }


def test_a_text_and_a_dict_of_a_text_are_the_same_source():
    assert Source.of("red").text == Source.of({"text": "red"}).text == "red"
    assert Source.of({"text": "red", "image": None}).kind is None
    assert Source.of("red").frames(PROCESSING) is None


def test_a_medium_becomes_the_frames_that_the_model_reads():
    image = Source.of({"image": IMAGE}, KINDS)
    assert image.text == "" and image.frames(PROCESSING).shape == (1, 4, 4, 3)
    for count, frames in ((1, 1), (2, 3), (9, 3)):
        film = Source.of({"video": np.stack([IMAGE] * count)}, KINDS).frames(PROCESSING)
        assert film.shape == (frames, 4, 4, 3) and (film == 9).all()


def test_a_source_with_a_medium_goes_to_its_own_encoder():
    known = signatures("encode", "encode_image", "encode_video", "decode")
    for frames, name in ((None, "encode"), (IMAGE[None], "encode_image")):
        source = {"token_ids": 0, **media_inputs(frames)}
        assert encoder_of(known, source) == name
    film = media_inputs(np.stack([IMAGE] * 3))
    assert film["frames"].shape == (1, 3, 5, 6, 3)
    assert encoder_of(known, {"token_ids": 0, **film}) == "encode_video"
    assert encoder_of(known, {"audio": 0}) == "encode"


def test_only_encoders_of_a_text_with_a_medium_count():
    assert media_kinds(signatures("encode", "encode_image", "encode_video", "decode")) == KINDS
    assert (
        media_kinds(signatures("encode_image", "encode_text")) == ()
    )  # towers, which do not write
    assert media_kinds(signatures("encode", "decode")) == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"image": IMAGE, "video": IMAGE}, "here are both"),
        ({"imag": IMAGE}, "has no 'imag'"),
        ({"text": IMAGE}, "must be str, not ndarray"),
        ({"text": None}, "must be str, not NoneType"),
        (IMAGE, "a source must be a str or a dict"),
        (None, "a source must be a str or a dict"),
    ],
)
def test_what_is_not_a_source_is_refused(given, said):
    with pytest.raises(ModelzooError, match=said):
        Source.of(given, KINDS)


def test_a_model_of_texts_says_that_it_reads_no_image():
    with pytest.raises(ModelzooError, match="reads text, and here is a source with an image"):
        Source.of({"text": "what?", "image": IMAGE})


def test_a_file_that_is_missing_is_named(tmp_path):
    path = tmp_path / "no.png"
    with pytest.raises(DataError) as caught:
        Source.of({"image": path}, KINDS).frames(PROCESSING)
    assert str(path) in str(caught.value)


def test_captions_have_a_prompt_each_and_say_what_they_look_at(tmp_path):
    def kinds(medium, **options):
        sources = caption_sources(medium, None, options.get("kind"), KINDS, "say:")
        assert all(
            one.text == "say:" for one in ([sources] if isinstance(sources, Source) else sources)
        )
        return sources.kind if isinstance(sources, Source) else [one.kind for one in sources]

    assert kinds(IMAGE) == kinds("a.png") == kinds(b"...") == "image"
    assert kinds(tmp_path) == kinds("a.gif") == kinds("a.npy") == "video"
    assert kinds(np.stack([IMAGE] * 2)) == ["image", "image"]
    assert kinds(np.stack([IMAGE] * 2), kind="video") == "video"
    asked = caption_sources(["a.png", "b.png"], ["who?", None], None, KINDS, "say:")
    assert [one.text for one in asked] == ["who?", "say:"]
    for media, prompts in (([], None), (["a.png"], ["one", "two"])):
        with pytest.raises(ModelzooError, match="the list is empty|expected a prompt for each"):
            caption_sources(media, prompts, None, KINDS, "")


def test_copies_of_a_source_are_known_as_such():
    first, again, other = (
        Source.of({"text": "say:", "image": image}, KINDS) for image in ("a.png", "a.png", "b.png")
    )
    assert identity_of(first) == identity_of(again) != identity_of(other)
    assert identity_of("red") == "red"
