"""Backbones that hear: their inputs, their processing, and steps against whole texts."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from modelzoo import registry
from modelzoo.errors import RecipeError
from modelzoo.layers.frontends.mel_stem import paired_sines
from modelzoo.layers.frontends.spectrogram_patches import SpectrogramPatches
from modelzoo.layers.frontends.wave_features import ConvPositions
from tests.core import assert_near, gelu, number, randomise, run_steps, token_ids

AST = {
    "num_layers": 1,
    "hidden_dim": 16,
    "num_heads": 2,
    "num_columns": 40,
    "num_mels": 32,
    "patch_size": 8,
    "time_stride": 6,
    "frequency_stride": 7,
}
WHISPER = {
    "vocab_size": 23,
    "num_layers": 1,
    "num_decoder_layers": 2,
    "hidden_dim": 16,
    "num_heads": 2,
    "max_length": 12,
    "num_columns": 20,
}
MOONSHINE = {
    "vocab_size": 23,
    "num_layers": 1,
    "num_decoder_layers": 2,
    "hidden_dim": 20,
    "num_heads": 2,
    "max_length": 12,
    "num_samples": 4000,
}

WAV2VEC2 = {
    "num_layers": 2,
    "hidden_dim": 16,
    "num_heads": 2,
    "num_samples": 600,
    "conv_dims": (6, 8),
    "conv_kernels": (10, 3),
    "conv_strides": (5, 2),
    "position_kernel": 6,
    "position_groups": 4,
}
LARGE = {"feature_norm": "layer", "norm_position": "pre", "conv_bias": True, "position_kernel": 5}


def made(name: str, values: dict):
    return randomise(registry.architecture(name)(**values))


def sounds(rows: int, count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (rows, count)).astype("float32")


def test_an_ast_says_what_sound_it_takes_and_takes_it():
    model = made("ast", AST)
    how = model.processing["audio"]
    assert how == {"sample_rate": 16_000, "num_samples": 39 * 160 + 400, "padding": "zeros"}
    audio = sounds(2, how["num_samples"])
    outputs = model({"audio": audio})
    tokens = 2 + 6 * 4  # of time and of frequency
    assert outputs["sequence"].shape == (2, tokens, 16)
    assert_near(outputs["pooled"], number(outputs["sequence"])[:, :2].mean(axis=1))
    assert_near(model(audio)["pooled"], outputs["pooled"])


def test_the_real_length_of_a_sound_counts():
    model = made("ast", AST)
    audio = sounds(1, model.num_samples)
    audio[:, 3000:] = 0
    whole = number(model({"audio": audio})["pooled"])
    shorter = number(model({"audio": audio, "num_samples": np.array([3000])})["pooled"])
    assert np.abs(whole - shorter).max() > 1e-2


@pytest.mark.parametrize("more", [{}, LARGE, {"weighted_layers": True}, {"normalize": False}])
def test_silence_after_a_sound_counts_nothing_in_a_wav2vec2(more):
    model = made("wav2vec2", {**WAV2VEC2, **more})
    assert model.processing["audio"]["num_samples"] == 600
    audio, count = 0.5 + sounds(2, 600), np.array([600, 405], "int32")
    audio[1, 405:] = 9.0  # and whatever else stands there
    got = model({"audio": audio, "num_samples": count})
    alone = registry.architecture("wav2vec2")(**{**WAV2VEC2, **more, "num_samples": 405})
    alone.set_weights(model.get_weights())
    for row, part in enumerate((model(audio[:1]), alone(audio[1:, :405]))):
        tokens = (119 - 3) // 2 + 1 if row == 0 else (80 - 3) // 2 + 1
        assert part["sequence"].shape == (1, tokens, 16)
        assert_near(number(got["sequence"])[row : row + 1, :tokens], number(part["sequence"]))
        assert_near(number(got["pooled"])[row : row + 1], number(part["pooled"]))


def test_positions_are_a_convolution_in_groups_with_a_normalised_kernel():
    layer = ConvPositions(8, 4, groups=2)
    layer.build()
    start = number(layer.kernel())  # a length of its own from the start, and none of the weights'
    assert_near(np.square(start).sum((1, 2)), np.full(4, start.shape[1] * 8 * 4 / (4 * 8)))
    randomise(layer)
    x = np.random.default_rng(0).normal(size=(1, 5, 8))
    direction, length = number(layer.direction), number(layer.length)
    norm = np.sqrt(np.square(direction).sum((1, 2), keepdims=True))
    kernel = direction / norm * length[:, None, None]
    padded = np.pad(x, ((0, 0), (2, 1), (0, 0)))
    wanted = np.zeros((1, 5, 8))
    for tap in range(4):
        for group in (slice(0, 4), slice(4, 8)):
            wanted[..., group] += padded[:, tap : tap + 5, group] @ kernel[tap, :, group]
    assert_near(layer(x.astype("float32")), gelu(wanted + number(layer.bias)))


def test_layers_that_are_weighed_are_all_of_them():
    model = made("wav2vec2", {**WAV2VEC2, "weighted_layers": True})
    model.layer_weights.assign([-1e9, 0.0, -1e9])  # the first layer alone
    one = registry.architecture("wav2vec2")(**{**WAV2VEC2, "num_layers": 1})
    own = {weight.path.partition("/")[2]: weight for weight in model.weights}
    for weight in one.weights:
        weight.assign(own[weight.path.partition("/")[2]])
    audio = sounds(1, 600)
    assert_near(model(audio)["pooled"], number(one(audio)["pooled"]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_samples": 12}, "num_samples 12 are too few for one token"),
        ({"conv_strides": (5,)}, r"conv_strides must be 2 numbers of 1 or more, not \[5\]"),
        ({"conv_dims": ()}, "conv_dims must be some numbers"),
        ({"feature_norm": "batch"}, "feature_norm 'batch' is not one of"),
        ({"position_groups": 3}, "groups that divide 16 channels"),
    ],
)
def test_convolutions_that_make_no_model_are_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        registry.architecture("wav2vec2")(**{**WAV2VEC2, **values})


def test_patches_count_along_time_from_the_lowest_bands_up():
    layer = SpectrogramPatches(6, 4, hidden_dim=1, patch_size=2, time_stride=2, frequency_stride=2)
    layer.build()
    for weight in layer.weights:
        weight.assign(np.full(weight.shape, float("kernel" in weight.path), "float32"))
    columns, bands = np.meshgrid(np.arange(6) // 2, np.arange(4) // 2, indexing="ij")
    got = number(layer((columns + 10.0 * bands)[None].astype("float32")))[0, 2:, 0]
    assert (got / 4).tolist() == [0, 1, 2, 10, 11, 12]


def test_a_patch_that_does_not_fit_is_refused():
    with pytest.raises(RecipeError, match="patches of 16 do not fit into 40 columns of 8 bands"):
        registry.architecture("ast")(**{**AST, "num_mels": 8, "patch_size": 16})


def test_whispers_positions_are_sines_beside_cosines():
    table = paired_sines(50, 8)
    rates = 10_000.0 ** (-np.arange(4) / 3)
    np.testing.assert_allclose(table[7], [*np.sin(7 * rates), *np.cos(7 * rates)], atol=1e-6)
    model = registry.architecture("whisper")(**WHISPER)
    np.testing.assert_array_equal(number(model.stem.positions), paired_sines(10, 16).astype("f8"))
    assert not model.stem.positions.trainable


def test_a_whisper_has_no_bias_of_keys_and_one_of_all_else():
    paths = [weight.path for weight in made("whisper", WHISPER).weights]
    assert not [path for path in paths if path.endswith("/key/bias")]
    assert len([path for path in paths if path.endswith("/query/bias")]) == 1 + 2 * 2


def test_a_column_of_the_encoder_sees_as_far_as_the_convolutions_reach():
    model = made("whisper", WHISPER)
    stem = model.stem
    flat = np.zeros((1, 20, 80), "float32")
    spike = flat.copy()
    spike[0, 9] = 1
    fed, outputs = [flat, spike], []
    stem.spectrogram.call = lambda audio, num_samples=None: keras.ops.convert_to_tensor(fed[0])
    while fed:
        outputs.append(number(stem(np.zeros((1, model.num_samples), "float32")))[0])
        del fed[0]
    changed = np.flatnonzero(np.abs(outputs[0] - outputs[1]).max(axis=1) > 1e-6)
    assert changed.tolist() == [4, 5]  # columns 8 to 10, read by 2i - 1 to 2i + 1


@pytest.mark.parametrize("chunks", [(7,), (1,) * 7, (4, 3)])
def test_steps_over_a_sound_give_what_the_whole_text_gives(chunks):
    model = made("whisper", WHISPER)
    audio, ids = sounds(2, model.num_samples), token_ids(2, 7)
    whole = model.logits(model({"audio": audio, "token_ids": ids}))
    assert_near(run_steps(model, ids, chunks, 9, model.encode(audio)), number(whole))


def test_padding_behind_a_text_changes_nothing_before_it():
    model = made("whisper", WHISPER)
    audio, ids = sounds(1, model.num_samples), token_ids(1, 7)
    short = model({"audio": audio, "token_ids": ids[:, :4]})
    mask = np.arange(7)[None] < 4
    padded = model({"audio": audio, "token_ids": ids, "padding_mask": mask})
    assert_near(number(padded)[:, :4], number(short))


@pytest.mark.parametrize(
    ("name", "values"), [("ast", AST), ("whisper", WHISPER), ("wav2vec2", WAV2VEC2)]
)
def test_half_precision_and_a_saved_config_give_the_same_model(name, values):
    model = made(name, values)
    again = type(model).from_config(model.get_config())
    again.set_weights(model.get_weights())
    audio = sounds(1, model.num_samples)
    inputs = {"audio": audio, "token_ids": token_ids(1, 5)}
    outputs = [
        number(m(inputs)["pooled"] if name != "whisper" else m(inputs)) for m in (model, again)
    ]
    np.testing.assert_array_equal(*outputs)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = registry.architecture(name)(**values)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(model.get_weights())
    found = number(half(inputs) if name == "whisper" else half(inputs)["pooled"])
    assert np.abs(found - outputs[0]).max() < 0.1 * np.abs(outputs[0]).max()


@pytest.mark.parametrize("chunks", [(7,), (1,) * 7])
def test_steps_of_a_moonshine_give_what_the_whole_text_gives(chunks):
    model = made("moonshine", MOONSHINE)
    audio, ids = sounds(2, 4000), token_ids(2, 7)
    real = np.array([4000, 2500], "int32")
    whole = model.logits(model({"audio": audio, "num_samples": real, "token_ids": ids}))
    memory = model.encode(audio, real)
    assert number(memory["memory_mask"]).sum(axis=1).tolist() == [9, 5]
    assert_near(run_steps(model, ids, chunks, 9, memory), number(whole))


def test_what_is_behind_the_real_samples_changes_nothing():
    model = made("moonshine", MOONSHINE)
    audio, ids = sounds(2, 4000), token_ids(1, 7)
    inputs = {"num_samples": np.array([2500], "int32"), "token_ids": ids}
    one, other = audio[:1].copy(), audio[:1].copy()
    other[:, 2500:] = audio[1, 2500:]
    assert_near(model({"audio": one, **inputs}), number(model({"audio": other, **inputs})))


@pytest.mark.parametrize("value", [3, 21])
def test_whispers_sizes_must_be_even(value):
    with pytest.raises(RecipeError, match=f"num_columns must be even, and 4 or more, not {value}"):
        registry.architecture("whisper")(**{**WHISPER, "num_columns": value})
