"""HTSAT answers as the reference implementation does, waveforms in, on seeded random weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from modelzoo.architectures import htsat
from modelzoo.backbones.swin import stretched
from modelzoo.errors import RecipeError
from modelzoo.layers.frontends.swin import from_windows, rolled, to_windows
from modelzoo.runtime.media.sounds import prepare_sound

SMALL = {"width": 24, "depths": (2, 2), "num_heads": (2, 4), "side": 64, "num_mels": 32}
SMALL |= {"window": 4, "sample_rate": 8000, "frame_length": 256, "hop": 80}
SMALL |= {"high_hz": 3800.0, "seconds": 1.0}


def reference():
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.ClapAudioConfig(
        spec_size=64,
        num_mel_bins=32,
        window_size=4,
        patch_embeds_hidden_size=24,
        depths=[2, 2],
        num_attention_heads=[2, 4],
        num_hidden_layers=2,
        hidden_size=48,
    )
    model = transformers.ClapAudioModel(config).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                value.add_(0.1 * torch.randn_like(value))
                if "running_var" in name:
                    value.abs_()
    return model, torch


def take_over(ours, theirs) -> None:
    """Their weights, with the statistics of the bands made into a factor and an offset."""
    state = {
        name.removeprefix("audio_encoder."): value.numpy()
        for name, value in theirs.state_dict().items()
    }
    factor = state["batch_norm.weight"] / np.sqrt(state["batch_norm.running_var"] + 1e-5)
    ours.band_scale.scale.assign(factor)
    offset = state["batch_norm.bias"] - factor * state["batch_norm.running_mean"]
    ours.band_scale.offset.assign(offset)

    def dense(layer, name):
        layer.kernel.assign(state[f"{name}.weight"].T)
        if layer.use_bias:
            layer.bias.assign(state[f"{name}.bias"])

    def norm(layer, name):
        layer.gamma.assign(state[f"{name}.weight"])
        layer.beta.assign(state[f"{name}.bias"])

    ours.patches.kernel.assign(state["patch_embed.proj.weight"].transpose(3, 2, 1, 0))
    ours.patches.bias.assign(state["patch_embed.proj.bias"])
    norm(ours.patch_norm, "patch_embed.norm")
    norm(ours.final_norm, "norm")
    places = [(s, i) for s, depth in enumerate(ours.depths) for i in range(depth)]
    for (stage, i), swin in zip(places, ours.blocks, strict=True):
        at, block = f"layers.{stage}.blocks.{i}", swin.block
        swin.relative_bias.assign(state[f"{at}.attention.self.relative_position_bias_table"])
        for part in ("query", "key", "value"):
            dense(getattr(block.attention, part), f"{at}.attention.self.{part}")
        dense(block.attention.output_projection, f"{at}.attention.output.dense")
        norm(block.attention_norm, f"{at}.layernorm_before")
        norm(block.ffn_norm, f"{at}.layernorm_after")
        dense(block.ffn.up, f"{at}.intermediate.dense")
        dense(block.ffn.down, f"{at}.output.dense")
    for stage, merge in enumerate(ours.merges):
        dense(merge.reduction, f"layers.{stage}.downsample.reduction")
        norm(merge.norm, f"layers.{stage}.downsample.norm")


@pytest.mark.real
def test_htsat_answers_as_the_reference_does():
    theirs, torch = reference()
    ours = htsat.build(**SMALL)
    take_over(ours, theirs)
    from transformers import ClapFeatureExtractor

    features = ClapFeatureExtractor(
        feature_size=32,
        sampling_rate=8000,
        hop_length=80,
        max_length_s=1,
        fft_window_size=256,
        frequency_min=50,
        frequency_max=3800,
        truncation="rand_trunc",
        padding="repeatpad",
    )
    sound = np.random.default_rng(0).normal(0, 0.1, 3000).astype("float32")
    found = features(sound, sampling_rate=8000, return_tensors="pt")
    with torch.no_grad():
        wanted = theirs(**{"input_features": found["input_features"]}).pooler_output.numpy()
    audio, _ = prepare_sound(sound, ours.processing["audio"])
    got = ops.convert_to_numpy(ours({"audio": audio[None]})["pooled"])
    np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())


def test_stretching_keeps_both_ends_and_straight_lines_straight_between_them():
    x = np.arange(6, dtype="float32").reshape(1, 6, 1)
    found = ops.convert_to_numpy(stretched(x, 11))[0, :, 0]
    assert found[0] == 0.0 and found[-1] == pytest.approx(5.0)
    torch = pytest.importorskip("torch")
    wanted = torch.nn.functional.interpolate(
        torch.tensor(x)[None], (11, 1), mode="bicubic", align_corners=True
    )
    np.testing.assert_allclose(found, wanted.numpy()[0, 0, :, 0], atol=1e-5)


def test_windows_and_rolls_come_back():
    x = np.arange(2 * 8 * 8 * 3, dtype="float32").reshape(2, 8, 8, 3)
    windows = ops.convert_to_numpy(to_windows(x, (8, 8), 4))
    np.testing.assert_array_equal(windows[1], x[0, :4, 4:].reshape(16, 3))
    np.testing.assert_array_equal(ops.convert_to_numpy(from_windows(windows, (8, 8), 4)), x)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(rolled(x, -3)), np.roll(x, (-3, -3), axis=(1, 2))
    )


def test_a_saved_tower_opens_and_answers_alike(tmp_path):
    ours = htsat.build(**SMALL)
    ours.save(tmp_path / "tower.keras")
    again = keras.saving.load_model(tmp_path / "tower.keras")
    audio = np.random.default_rng(1).normal(0, 0.1, (2, 8000)).astype("float32")
    np.testing.assert_allclose(ours(audio)["pooled"], again(audio)["pooled"], atol=1e-6)


def test_a_sound_too_long_for_the_square_is_refused():
    with pytest.raises(RecipeError, match="do not fold into a square of 64"):
        htsat.build(**{**SMALL, "seconds": 2.0})
