"""Media through a bundle's model: numpy stands in for the device."""

from __future__ import annotations

import io

import numpy as np
import pytest

from modelzoo.errors import DataError, ModelzooError
from modelzoo.runtime.abilities.media import prepared
from modelzoo.runtime.media.suffixes import kind_of_file
from tests import media


@pytest.fixture
def red(tmp_path):
    return media.write_picture(tmp_path / "red.png", media.picture("red"))


def png(pixels) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


# === classify ===


def test_a_picture_is_classified_from_a_path_bytes_an_array_and_pillow(red):
    from PIL import Image

    model, pixels = media.classifier(), media.picture("red")
    answers = [
        model.classify(source)
        for source in (red, str(red), png(pixels), pixels, Image.fromarray(pixels))
    ]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0][0] == "r"
    assert sum(probability for _, probability in answers[0]) == pytest.approx(1)
    assert model.classify(red, top=1) == answers[0][:1]


def test_a_list_gives_a_list_in_its_order(red):
    model = media.classifier()
    items = [media.picture("blue"), red, media.picture("green")]
    assert [answer[0][0] for answer in model.classify(items)] == ["b", "r", "g"]
    assert model.classify([]) == []


def test_many_go_through_the_largest_signature_that_they_fill():
    model = media.classifier(rows=(1, 4))
    names = ["red", "blue", "green"] * 4
    answers = model.classify([media.picture(name, seed) for seed, name in enumerate(names[:11])])
    assert model.engine.calls == ["serve_x4", "serve_x4", "serve", "serve", "serve"]
    assert [answer[0][0] for answer in answers] == [name[0] for name in names[:11]]


def test_without_a_signature_for_one_a_call_is_filled_up():
    model = media.classifier(rows=(1, 4))
    model.engine.signatures.pop("encode_image")
    model.engine.signatures["encode_image"] = model.engine.signatures["encode_image_x4"]
    vectors = model.embed_image([media.picture("red"), media.picture("blue")])
    assert vectors.shape == (2, 3) and vectors[0, 0] > 0.9 and vectors[1, 2] > 0.9


# === Embeddings ===


def test_vectors_of_one_and_of_many():
    model = media.classifier()
    one = model.embed_image(media.picture("red"))
    many = model.embed_image([media.picture("red"), media.picture("blue")])
    assert one.shape == (3,) and many.shape == (2, 3)
    np.testing.assert_array_equal(one, many[0])
    with pytest.raises(ModelzooError, match="the list is empty"):
        model.embed_image([])


def test_a_sound_is_padded_and_its_samples_are_counted(tmp_path):
    model = media.listener()
    path = media.write_sound(tmp_path / "a.wav", media.tone(440, 0.05))
    inputs = prepared("audio", path, model.bundle.processing)
    assert inputs["audio"].shape == (800,) and int(inputs["num_samples"]) == 400
    assert not inputs["audio"][400:].any() and inputs["audio"][:400].any()
    assert model.embed_audio(path).shape == (3,)


def test_a_sound_longer_than_the_window_is_cut_only_when_asked(tmp_path):
    model = media.listener()
    path = media.write_sound(tmp_path / "a.wav", media.tone(440, 0.2))
    with pytest.raises(DataError, match=r"0\.1") as error:
        model.embed_audio(path)
    assert str(path) in error.value.where
    first = media.tone(440, 0.2)[:800]
    np.testing.assert_allclose(
        model.embed_audio(path, truncate=True), model.embed_audio((first, 8000)), atol=1e-3
    )


def test_what_a_model_cannot_do_is_told_with_what_it_can():
    model = media.classifier()
    assert model.abilities == ("classify", "embed_image")
    with pytest.raises(ModelzooError, match="cannot `embed_audio`; it can `classify` and `embed_i"):
        model.embed_audio("a.wav")
    with pytest.raises(ModelzooError, match="cannot `zero_shot`"):
        model.zero_shot(media.picture("red"), ["red", "blue"])


def test_what_is_no_medium_is_refused():
    with pytest.raises(ModelzooError, match="not int"):
        media.classifier().classify(5)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError) as error:
        media.classifier().classify([media.picture("red"), tmp_path / "gone.png"])
    assert "gone.png" in str(error.value)


# === zero_shot ===


def test_zero_shot_ranks_labels_by_the_vectors_of_their_texts():
    model = media.comparer(scales={"image-text": 10.0})
    answer = model.zero_shot(media.picture("red"), ["blue", "red", "green"])
    assert answer[0][0] == "red"
    assert model.tokenizer.seen[0] == "a photo of a blue"
    # The probabilities are those of ten times the cosines.
    vector = model.embed_image(media.picture("red"))
    cosines = {name: vector @ model.embed_text(name) for name in media.COLOURS}
    weights = {name: np.exp(10 * cosine) for name, cosine in cosines.items()}
    for label, probability in answer:
        assert probability == pytest.approx(weights[label] / sum(weights.values()), rel=1e-4)


def test_a_sigmoid_gives_each_label_a_probability_of_its_own():
    model = media.comparer(scales={"text-image": 10.0}, bias=-9.0, loss="sigmoid")
    answer = dict(model.zero_shot(media.picture("red"), ["blue", "red"], template="{}"))
    cosine = float(model.embed_image(media.picture("red")) @ model.embed_text("red"))
    assert answer["red"] == pytest.approx(1 / (1 + np.exp(9 - 10 * cosine)), rel=1e-3)


def test_zero_shot_of_a_list_and_with_a_template():
    model = media.comparer()
    items = [media.picture("blue"), media.picture("green")]
    answers = model.zero_shot(items, ["blue", "green"], template="{}, {}")
    assert [answer[0][0] for answer in answers] == ["blue", "green"]
    assert model.tokenizer.seen[0] == "blue, blue"
    assert model.zero_shot([], ["blue", "green"]) == []


@pytest.mark.parametrize(
    ("labels", "template", "what"),
    [(["red"], None, "two labels or more"), (["red", "blue"], "a photo", r"no \{\} for the label")],
)
def test_zero_shot_refuses_what_is_no_choice(labels, template, what):
    with pytest.raises(ModelzooError, match=what):
        media.comparer().zero_shot(media.picture("red"), labels, template)


def test_suffixes_tell_the_kind():
    assert [kind_of_file(name) for name in ("a.PNG", "b.flac", "c", b"d.png", None)] == [
        "image",
        "audio",
        None,
        None,
        None,
    ]
