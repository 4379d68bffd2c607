"""Images, sounds and videos to labels: data, training, figures, answers, signatures."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn import metrics

import modelzoo
from modelzoo.errors import DataError, ExportError, ModelzooError, RecipeError
from modelzoo.recipe import Recipe
from modelzoo.registry.of_recipe import task_of
from modelzoo.tasks.shared.scores import classification_scores
from modelzoo.training.evaluate import evaluate
from modelzoo.training.train import train
from tests import media

LABELS = ["blue", "green", "red"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return media.photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def model(folder):
    """A classifier that has learnt its three colours."""
    keras.utils.set_random_seed(0)
    built = modelzoo.build(media.vit_recipe(LABELS))
    built.fit(modelzoo.dataset(built, folder), epochs=12, verbose=0, shuffle=False)
    return built


# === Learning ===


def test_it_learns_and_says_how_well(model, folder):
    figures = evaluate(model, folder)
    assert figures["accuracy"] == 1.0 and figures["f1"] == 1.0 and figures["examples"] == 12
    assert 0 < figures["loss"] < 0.7 < np.log(3)


def test_labels_come_from_the_data_in_their_order(folder):
    recipe = media.vit_recipe()
    task = task_of(recipe)
    completed = task.completed(recipe, task.examples(folder))
    assert completed.table("task_options")["labels"] == LABELS
    counted = Recipe("a", {**recipe.values, "task_options": {"num_labels": 7}}, "a test")
    assert modelzoo.build(counted).num_labels == 7
    completed = task_of(counted).completed(counted, task.examples(folder))
    assert modelzoo.build(completed).num_labels == 3


def test_one_class_alone_and_a_class_never_seen_are_refused(model, folder, tmp_path):
    recipe = media.vit_recipe()
    alone = media.photos(tmp_path / "one", colours=["red"])
    with pytest.raises(DataError, match="the same label, 'red'"):
        task_of(recipe).completed(recipe, task_of(recipe).examples(alone))
    media.write_picture(tmp_path / "new" / "reds" / "1.png", media.picture("red"))
    with pytest.raises(DataError, match="label 'reds' is none of blue, green, red") as error:
        evaluate(model, tmp_path / "new")
    assert error.value.did_you_mean == "red"


def test_training_alters_pictures_and_evaluation_does_not(folder):
    augment = {"crop": 0.5, "flip": 0.5, "color": 0.3}
    task = task_of(media.vit_recipe(LABELS, task_options={"augment": augment}))
    batches = task.batches(
        task.examples(folder), processing={"image": media.IMAGE}, batch_size=12, shuffle=False
    )
    plain = batches.evaluation_batch(0)[0]["images"]
    first, again = batches.batch(0)[0]["images"], batches.batch(0)[0]["images"]
    np.testing.assert_array_equal(first, again)
    assert (first != plain).mean() > 0.5
    assert (batches.batch(1)[0]["images"] != first).mean() > 0.5
    np.testing.assert_array_equal(plain, batches.evaluation_batch(0)[0]["images"])


def test_options_that_make_no_sense_are_refused_before_the_first_batch():
    for options, what in (
        ({"augment": {"flop": 1}}, "no 'flop'"),
        ({"labels": ["a"]}, "two or more different labels"),
        ({"labels": ["a", "b"], "num_labels": 3}, "2 labels, and num_labels is 3"),
        ({"num_labels": 1}, "2 or more"),
    ):
        with pytest.raises(RecipeError, match=what):
            modelzoo.build(media.vit_recipe(task_options=options))


def test_a_backbone_for_something_else_is_refused():
    values = {**media.vit_recipe().values, "task": "audio-classification"}
    with pytest.raises(ModelzooError, match="needs a backbone that reads audio.*reads image"):
        modelzoo.build(Recipe("a", values, "a test"))


# === Figures ===


def test_figures_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(size=(200, 8)), rng.integers(0, 7, 200)
    scores = classification_scores(logits, truth, top5=True)
    guess = logits.argmax(-1)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    labels = list(range(8))
    assert scores == pytest.approx(
        {
            "loss": metrics.log_loss(truth, shares, labels=labels),
            "accuracy": metrics.accuracy_score(truth, guess),
            "top5": metrics.top_k_accuracy_score(truth, logits, k=5, labels=labels),
            "f1": metrics.f1_score(truth, guess, average="macro"),
            "examples": 200,
        }
    )


# === Answers ===


def test_it_answers_as_a_bundle_does_from_files_and_arrays(model, folder):
    path = folder / "red" / "0.png"
    answer = model.classify(path)
    assert answer[0][0] == "red"
    assert model.classify(path.read_bytes(), top=1) == answer[:1]
    assert model.classify(media.picture("red", 0)) == answer
    assert model.abilities == ("classify", "embed_image")


def test_a_long_list_is_answered_as_one_by_one(model, folder):
    paths = sorted(folder.rglob("*.png"))
    together, alone = model.classify(paths), [model.classify(path) for path in paths]
    for one, other in zip(together, alone, strict=True):
        assert [label for label, _ in one] == [label for label, _ in other]
        np.testing.assert_allclose([p for _, p in one], [p for _, p in other], atol=1e-5)
    vectors = model.embed_image(paths)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_answers_follow_the_training(model, folder):
    built = modelzoo.build(media.vit_recipe(LABELS))
    path = folder / "red" / "0.png"
    before = built.classify(path)
    built.set_weights(model.get_weights())
    assert built.classify(path) != before
    assert dict(built.classify(path)) == pytest.approx(dict(model.classify(path)), abs=1e-6)


def test_it_is_the_same_after_saving(model, folder, tmp_path):
    directory = modelzoo.save(model, tmp_path / "saved")
    loaded = modelzoo.load(directory)
    path = folder / "green" / "1.png"
    assert dict(loaded.classify(path)) == pytest.approx(dict(model.classify(path)), abs=1e-6)
    assert loaded.processing() == model.processing()


def test_signatures_take_bytes_of_pixels_and_come_in_several_sizes(model):
    signatures = model.export_signatures(batch_sizes=(4,))
    assert list(signatures) == ["serve", "encode_image", "serve_x4", "encode_image_x4"]
    spec = signatures["serve_x4"].inputs["images"]
    assert spec.shape == (4, 8, 8, 3) and spec.dtype == "uint8"
    pixels = np.stack([media.picture("red", n, 8, 8) for n in range(4)])
    outputs = signatures["serve_x4"].function({"images": pixels})
    right = keras.ops.convert_to_numpy(model({"images": pixels}))
    np.testing.assert_allclose(outputs["logits"], right, atol=1e-5)
    with pytest.raises(ExportError, match="must be 1 or more"):
        model.export_signatures(batch_sizes=(0,))


# === Sounds ===

AST = {
    "num_layers": 1,
    "hidden_dim": 16,
    "num_heads": 2,
    "num_columns": 24,
    "num_mels": 16,
    "patch_size": 8,
    "time_stride": 8,
    "frequency_stride": 8,
}


def sounds(folder, count=6):
    """Low and high tones at three sample rates; some are longer than the model hears."""
    rng = np.random.default_rng(0)
    for label, hertz in (("low", 300), ("high", 2500)):
        for number in range(count):
            rate = (8000, 16_000, 44_100)[number % 3]
            samples = media.tone(hertz * rng.uniform(0.9, 1.1), 0.2 + 0.05 * number, rate)
            media.write_sound(folder / label / f"{number}.wav", samples, rate)
    return folder


def test_sounds_of_mixed_rates_are_told_apart(tmp_path):
    keras.utils.set_random_seed(0)
    values = {
        "architecture": "ast",
        "task": "audio-classification",
        "model": AST,
        "task_options": {
            "labels": ["high", "low"],
            "norm_epsilon": 1e-5,
            "augment": {"shift": 0.1, "gain": 3.0},
        },
        "train": {"batch_size": 6, "learning_rate": 5e-3, "warmup_steps": 0},
    }
    built = modelzoo.build(Recipe("ast-test", values, "a test"))
    folder = sounds(tmp_path)
    built.fit(modelzoo.dataset(built, folder), epochs=15, verbose=0, shuffle=False)
    assert evaluate(built, folder)["accuracy"] == 1.0
    assert built.abilities == ("classify", "embed_audio")
    # A rate that is not among those of the training.
    assert built.classify((media.tone(300, 0.2, 22_050), 22_050))[0][0] == "low"
    with pytest.raises(DataError, match="more than the"):
        built.classify(folder / "low" / "5.wav")
    assert built.classify(folder / "low" / "5.wav", truncate=True)[0][0] == "low"


# === Bad files in training ===


def test_a_bad_file_ends_the_training_or_is_left_out_and_told_of(tmp_path):
    folder = media.photos(tmp_path / "photos")
    bad = folder / "red" / "bad.png"
    bad.write_bytes((folder / "red" / "0.png").read_bytes()[:60])
    recipe = media.vit_recipe(train={"steps": 2, "validation_fraction": 0.25})
    with pytest.raises(DataError) as error:
        train(recipe, folder, tmp_path / "out")
    assert str(bad) in error.value.where
    assert "train.on_bad_file=skip" in error.value.next_step
    assert not (tmp_path / "out").exists()

    skipping = media.vit_recipe(
        train={"steps": 2, "validation_fraction": 0.25, "on_bad_file": "skip"}
    )
    with pytest.warns(UserWarning, match="1 of 13 examples are left out.*bad.png"):
        figures = train(skipping, folder, tmp_path / "out")
    assert figures["examples"] == 3
    assert modelzoo.load(tmp_path / "out").num_labels == 3


def test_nothing_but_bad_files_is_an_error_all_the_same(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(b"")
    recipe = media.vit_recipe(train={"steps": 1, "on_bad_file": "skip"})
    with pytest.raises(DataError, match="none of the 2 examples can be read"):
        train(recipe, tmp_path, tmp_path / "out")


# === Videos ===


def test_videos_are_told_apart_by_the_order_of_their_frames(tmp_path):
    """Red then blue, or blue then red: no frame alone says which."""
    red, blue = media.picture("red", 1, 8, 8), media.picture("blue", 2, 8, 8)
    examples = [
        {"video": np.stack(frames), "label": label}
        for label, frames in (("down", [red, red, blue, blue]), ("up", [blue, blue, red, red]))
        for _ in range(4)
    ]
    for number, frame in enumerate((red, blue)):
        media.write_picture(tmp_path / "clip" / f"{number}.png", frame)
    keras.utils.set_random_seed(0)
    built = modelzoo.build(
        "video-tiny",
        **{f"image.model.{key}": value for key, value in media.VIT.items()},
        **{
            "num_frames": 4,
            "num_layers": 1,
            "num_heads": 2,
            "train.batch_size": 8,
            "train.learning_rate": 5e-3,
        },
        **{"train.warmup_steps": 0, "task_options.labels": ["down", "up"]},
        **{"task_options.num_labels": None, "task_options.augment": None},
    )
    built.fit(modelzoo.dataset(built, examples), epochs=40, verbose=0, shuffle=False)
    assert evaluate(built, examples)["accuracy"] == 1.0
    assert built.abilities == ("classify", "embed_video")
    assert built.classify(tmp_path / "clip")[0][0] == "down"
