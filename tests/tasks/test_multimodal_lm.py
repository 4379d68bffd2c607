"""Text with an image or a video in, text out: the Keras model."""

import keras
import numpy as np
import pytest
from keras import ops

from modelzoo.architectures.multimodal import build
from modelzoo.errors import DataError, ModelzooError, RecipeError
from modelzoo.tasks.base import token_loss
from modelzoo.tasks.multimodal_lm import MultimodalLM
from tests import multimodals
from tests.core import assert_near, number
from tests.multimodals import FRAMES, SIZE, SIZES, film, inputs


@pytest.fixture(scope="module")
def model():
    return multimodals.model()


def without_frames(x: dict) -> dict:
    return {key: value for key, value in x.items() if not key.startswith("frame")}


# === The sequence ===


def test_masked_frames_change_nothing(model):
    x = inputs()
    x["frame_mask"][0, 2:], x["frame_mask"][1] = 0, 0
    right = number(model(x))
    noise = {**x, "frames": x["frames"].copy()}
    noise["frames"][0, 2:], noise["frames"][1] = 255 - noise["frames"][0, 2:], 7
    assert_near(number(model(noise)), right, 1e-6)
    first = {key: value[:1] for key, value in x.items()}
    first |= {"frames": x["frames"][:1, :2], "frame_mask": x["frame_mask"][:1, :2]}
    assert_near(number(model(first)), right[:1], 1e-5)
    second = {key: value[1:] for key, value in without_frames(x).items()}
    assert_near(number(model(second)), right[1:], 1e-5)


def test_no_frame_is_text_alone(model):
    x = inputs(frames=0)
    assert_near(number(model(x)), number(model(without_frames(x))), 1e-6)


def test_rows_of_unequal_lengths_equal_those_alone(model):
    x = inputs()
    x["padding_mask"][1, 3:] = 0
    x["frame_mask"][1, 1:] = 0
    together = number(model(x))
    alone = {key: value[1:] for key, value in x.items()}
    alone |= {key: alone[key][:, :3] for key in ("token_ids", "padding_mask")}
    alone |= {key: alone[key][:, :1] for key in ("frames", "frame_mask")}
    assert_near(number(model(alone)), together[1:], 1e-5)


def test_an_image_is_a_video_of_one_frame_and_frames_have_an_order(model):
    x = inputs()
    image = {**x, "frames": x["frames"][:, :1], "frame_mask": np.array([[1], [1]])}
    again = {**x, "frame_mask": np.array([[1, 0, 0], [1, 0, 0]])}
    assert_near(number(model(image)), number(model(again)), 1e-5)
    still = {**x, "frames": np.repeat(x["frames"][:, :1], FRAMES, axis=1)}
    assert np.abs(number(model(still)) - number(model(image))).max() > 1e-3  # a type of its own
    turned = {**x, "frames": x["frames"][:, ::-1]}
    assert np.abs(number(model(turned)) - number(model(x))).max() > 1e-3


def test_cached_steps_equal_the_call(model):
    x = inputs()
    x["frame_mask"][1, 1:] = 0
    backbone = model.backbone
    memory = backbone.encode(x["token_ids"], x["padding_mask"], x["frames"], x["frame_mask"])
    cache, rows = backbone.init_cache(2, 8), []
    for place in range(4):
        ids = ops.convert_to_tensor(x["decoder_token_ids"][:, place : place + 1])
        logits, cache = backbone.step(ids, ops.full((2, 1), place, "int32"), cache, memory)
        rows.append(number(logits))
    assert_near(np.concatenate(rows, 1), number(model(x)), 1e-5)


def test_a_saved_model_answers_alike(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_near(number(again(inputs())), number(model(inputs())), 1e-6)
    assert again.processing() == model.processing()
    assert again.processing()["caption_prompt"] == "say:"


def test_it_trains_on_batches_of_text_images_and_videos():
    keras.utils.set_random_seed(0)
    made = MultimodalLM(build(**SIZES))
    made.compile(keras.optimizers.Adam(1e-2), loss=token_loss())
    batches = []
    for frames in (0, 1, FRAMES):
        x = inputs(rows=4, frames=frames, seed=frames)
        y = np.full((4, 4), 7, "int32")
        batches.append((x, y, np.ones((4, 4), "float32")))
    first = [made.train_on_batch(*batch) for batch in batches]
    for _ in range(5):
        last = [made.train_on_batch(*batch) for batch in batches]
    assert all(after < before / 2 for before, after in zip(first, last, strict=True))


# === Sources ===


def test_a_batch_of_sources_gives_what_each_gives_alone(model):
    sources = ["red", {"text": "say:", "image": film(1)[0]}, {"text": "no", "video": film(7)}]
    together = model.generate(sources, max_new_tokens=4)
    assert together == [model.generate(one, max_new_tokens=4) for one in sources]
    assert model.generate({"text": "red"}, max_new_tokens=4) == together[0]
    assert "".join(model.generate(sources[1], stream=True, max_new_tokens=4)) == together[1]


def test_a_caption_is_what_is_written_of_the_prompt_and_the_image(model):
    image = film(1)[0]
    right = model.generate({"text": "say:", "image": image}, max_new_tokens=3)
    assert model.caption(image, max_new_tokens=3) == right
    asked = model.caption([image, image], ["no", None], max_new_tokens=3)
    assert asked == [model.generate({"text": "no", "image": image}, max_new_tokens=3), right]
    moving = model.caption(film(5), kind="video", max_new_tokens=3)
    assert moving == model.generate({"text": "say:", "video": film(5)}, max_new_tokens=3)


def test_targets_are_scored_and_ranked_after_a_source_with_an_image(model):
    source = {"text": "red", "image": film(1)[0]}
    scores = [model.score(text, given=source).total for text in ("yes", "no")]
    ranked = dict(model.rank(source, ["yes", "no"]))
    assert np.log(ranked["yes"] / ranked["no"]) == pytest.approx(scores[0] - scores[1], abs=1e-4)
    plain = model.score("yes", given="red").total
    assert abs(plain - scores[0]) > 1e-4


@pytest.mark.parametrize(("count", "frames"), [(1, 1), (2, FRAMES), (9, FRAMES)])
def test_a_video_of_one_frame_is_an_image_and_others_fill_the_frames(model, count, frames):
    _, found = model._encoded({"video": film(count)})
    assert found.shape == (frames, SIZE, SIZE, 3)


# === What does not fit ===


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"image": film(1)[0], "video": film(2)}, "both"),
        ({"picture": film(1)[0]}, "has no 'picture'"),
        ({"text": film(1)[0]}, 'goes under "image"'),
        (film(1)[0], "a source must be a str or a dict"),
    ],
)
def test_a_source_that_is_none_is_refused(model, source, said):
    with pytest.raises(ModelzooError, match=said):
        model.score("yes", given=source)


def test_an_image_where_the_decoder_expects_text_is_refused(model):
    x = inputs()
    with pytest.raises(DataError, match=r"expected decoder_token_ids \(batch, tokens\)"):
        model({**x, "decoder_token_ids": x["frames"][:, 0]})
    with pytest.raises(ModelzooError, match="expected a text to score"):
        model.score(film(1)[0].tobytes(), given="red")


def test_frames_that_do_not_fit_are_refused(model):
    x = inputs()
    with pytest.raises(DataError, match=r"expected frames \(batch, frames, 8, 8, 3\)"):
        model({**x, "frames": x["frames"][:, :, :4]})
    with pytest.raises(DataError, match="at most 3 frames, got 6"):
        model({**x, "frames": np.repeat(x["frames"], 2, axis=1)})


@pytest.mark.parametrize("changes", [{"patch_size": 9}, {"num_frames": 0}, {"image_size": 0}])
def test_sizes_without_a_patch_are_refused(changes):
    with pytest.raises(RecipeError):
        build(**{**SIZES, **changes})
