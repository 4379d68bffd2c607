"""KerasHub's models are built, trained, saved, opened and described for a device."""

from __future__ import annotations

import modelzoo
import numpy as np
import pytest
from modelzoo.errors import DataError, ExportError, ModelzooError

RNG = np.random.default_rng(0)


def texts(rows: int = 16, length: int = 8) -> dict[str, np.ndarray]:
    ids = RNG.integers(1, 128, (rows, length))
    return {"token_ids": ids, "padding_mask": np.ones_like(ids), "segment_ids": np.zeros_like(ids)}


def test_a_backbone_gives_what_kerashub_gives():
    model = modelzoo.build("kerashub/BertBackbone")
    x = texts(2)
    found, right = model(x), model.backbone.hub(x)
    assert set(found) == {"sequence_output", "pooled_output"}
    for name in found:
        assert np.array_equal(found[name], right[name])


def test_masks_and_segments_may_be_left_out():
    model = modelzoo.build("kerashub/BertBackbone")
    x = texts(2)
    alone = model({"token_ids": x["token_ids"]})["sequence_output"]
    assert np.array_equal(alone, model(x)["sequence_output"])


def test_a_wrong_input_is_named_with_the_nearest():
    model = modelzoo.build("kerashub/BertBackbone")
    with pytest.raises(DataError, match="no input 'token_id', did you mean token_ids?"):
        model({"token_id": np.ones((1, 4), "int32")})
    with pytest.raises(DataError, match="needs the input 'token_ids'"):
        model({"padding_mask": np.ones((1, 4), "int32")})


def test_a_classifier_learns_its_batch():
    model = modelzoo.build("kerashub/BertTextClassifier", **{"train.learning_rate": 1e-2})
    x = texts()
    y = x["token_ids"][:, 0] % 2
    losses = model.fit(x, y, epochs=15, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_an_image_classifier_is_trained_on_images():
    model = modelzoo.build("kerashub/ViTImageClassifier", **{"task_options.num_classes": 3})
    x, y = RNG.uniform(0, 1, (8, 32, 32, 3)), np.arange(8) % 3
    losses = model.fit(x, y, epochs=12, verbose=0).history["loss"]
    assert model(x).shape == (8, 3)
    assert losses[-1] < losses[0]


def test_features_are_trained_towards_given_ones():
    model = modelzoo.build("kerashub/VGGBackbone", **{"train.learning_rate": 1e-2})
    x = RNG.uniform(0, 1, (4, 32, 32, 3))
    y = np.full(model(x).shape, 0.5)
    losses = model.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["BertTextClassifier", "GPT2CausalLM", "SegFormerBackbone"])
def test_a_model_directory_opens_with_the_same_answers(name, tmp_path):
    model = modelzoo.build(f"kerashub/{name}")
    x = RNG.uniform(0, 1, (2, 32, 32, 3)) if "Seg" in name else {"token_ids": texts(2)["token_ids"]}
    modelzoo.save(model, tmp_path / "model")
    again = modelzoo.load(tmp_path / "model")
    assert type(again.functional) is type(model.functional)
    assert np.array_equal(again(x), model(x))


def test_the_same_seed_gives_the_same_model():
    import keras

    built = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        built.append(modelzoo.build("kerashub/ViTBackbone").get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*built, strict=True))


def test_a_text_encoder_takes_the_zoos_own_task_and_reads_raw_text():
    model = modelzoo.build("kerashub/BertBackbone", task="text-classification", vocabulary_size=600)
    rows = [{"text": "good and fine", "label": "pos"}, {"text": "bad and awful", "label": "neg"}]
    model.fit(modelzoo.dataset(model, rows * 8, batch_size=8), epochs=1, verbose=0)
    labels = dict(model.classify("good and fine"))
    assert sorted(labels) == ["neg", "pos"] and sum(labels.values()) == pytest.approx(1)


def test_an_encoder_without_a_pooler_reads_both_ways_and_a_decoder_does_not():
    ids = {"token_ids": np.ones((1, 4), "int32")}
    encoder = modelzoo.build("kerashub/RobertaBackbone").backbone
    decoder = modelzoo.build("kerashub/GPT2Backbone").backbone
    assert set(encoder(ids)) == {"sequence"}
    assert decoder(ids).shape == (1, 4, 32)


def test_raw_data_is_refused_with_the_way_on():
    with pytest.raises(DataError, match="does not read raw data") as caught:
        modelzoo.dataset(modelzoo.build("kerashub/BertTextClassifier"), ["a text"])
    assert "--task text-classification" in caught.value.next_step


def test_a_task_that_kerashub_does_not_have_is_refused():
    with pytest.raises(ModelzooError, match="no ImageClassifier over BertBackbone"):
        modelzoo.build("kerashub/BertBackbone", task="kerashub/image-classifier")


def test_a_task_of_kerashub_needs_a_backbone_of_kerashub():
    with pytest.raises(ModelzooError, match="needs a backbone of KerasHub"):
        modelzoo.build("gpt-tiny", task="kerashub/features")


# === Presets ===


def test_a_preset_on_disk_is_built_with_its_weights(gpt2_preset):
    import keras_hub

    model = modelzoo.build("kerashub/preset", preset=str(gpt2_preset))
    right = keras_hub.models.Backbone.from_preset(str(gpt2_preset))
    for ours, theirs in zip(model.weights, right.weights, strict=True):
        assert np.array_equal(ours, theirs)


def test_a_preset_without_weights_has_its_shape_only(gpt2_preset):
    first = modelzoo.build("kerashub/preset", preset=str(gpt2_preset))
    other = modelzoo.build("kerashub/preset", preset=str(gpt2_preset), load_weights=False)
    assert other.count_params() == first.count_params()
    assert not np.array_equal(other.weights[0], first.weights[0])


def test_a_preset_that_is_nowhere_is_refused(tmp_path):
    with pytest.raises(ModelzooError, match="cannot be loaded"):
        modelzoo.build("kerashub/preset", preset=str(tmp_path / "nothing"))


# === Device ===


def test_every_input_gets_a_static_shape_and_every_output_a_name():
    model = modelzoo.build("kerashub/BertBackbone")
    (signature,) = model.export_signatures(length=5).values()
    assert {key: spec.shape for key, spec in signature.inputs.items()} == {
        "token_ids": (1, 5),
        "padding_mask": (1, 5),
        "segment_ids": (1, 5),
    }
    outputs = signature.function({k: np.ones((1, 5), "int32") for k in signature.inputs})
    assert {key: tuple(value.shape) for key, value in outputs.items()} == {
        "sequence_output": (1, 5, 32),
        "pooled_output": (1, 32),
    }


def test_flags_travel_as_numbers():
    model = modelzoo.build("kerashub/MoonshineBackbone")
    options = model.recipe.table("export")
    inputs = model.export_signatures(**options)["serve"].inputs
    assert inputs["encoder_padding_mask"].dtype == "int32"
    assert inputs["encoder_input_values"].shape == (1, 2048, 1)


def test_an_open_shape_is_refused_with_how_to_say_it():
    model = modelzoo.build("kerashub/VGGBackbone", image_shape=None)
    with pytest.raises(ExportError, match="needs every size|every size") as caught:
        model.export_signatures()
    assert "image_size" in caught.value.next_step
    spec = model.export_signatures(image_size=32)["serve"].inputs["images"]
    assert spec.shape == (1, 32, 32, 3)


def test_a_shape_of_no_input_is_refused():
    with pytest.raises(ExportError, match="'image', which is no input") as caught:
        modelzoo.build("kerashub/ViTBackbone").export_signatures(shapes={"image": [1, 32, 32, 3]})
    assert caught.value.did_you_mean == "images"


@pytest.mark.slow
def test_a_trained_classifier_is_exported_and_verified(tmp_path):
    model = modelzoo.build("kerashub/BertTextClassifier")
    x = texts()
    model.fit(x, x["token_ids"][:, 0] % 2, epochs=1, verbose=0)
    report = modelzoo.export(model, tmp_path / "bundle", quantize="float32")
    assert report.max_abs_error < 1e-4
    from modelzoo.runtime import load

    inputs = {key: value[:1, :1].repeat(16, 1).astype("int32") for key, value in x.items()}
    found = load(tmp_path / "bundle").engine.run("serve", inputs)
    (logits,) = found.values()
    assert np.abs(logits - np.asarray(model(inputs))).max() < 1e-4
