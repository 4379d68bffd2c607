"""Weights made ready for small integers: what stays the same, and what lies on the grid."""

import numpy as np
import pytest
from keras.layers import Dense

from modelzoo.exporting.quantization.affine import affine_blocks, split_affine
from modelzoo.exporting.quantization.calibrate import blocks_of, smooth
from tests.core import randomise
from tests.small import build

IDS = np.arange(32, dtype="int32").reshape(2, 16)


def _outputs(model):
    return np.asarray(model.backbone(IDS, training=False))


def _with_outliers(model):
    """Channels of which some are 100 times the others."""
    for block in blocks_of(model):
        gamma = block.ffn_norm.weights[0]
        gamma.assign(np.asarray(gamma) * np.where(np.arange(gamma.shape[0]) == 3, 100.0, 1.0))
    return model


def test_smoothing_changes_no_output():
    model = _with_outliers(build(num_kv_heads=1, gated=True, activation="silu", norm="rms"))
    before = np.asarray(blocks_of(model)[0].ffn.up.kernel)
    outputs = _outputs(model)
    assert smooth(model, IDS) == 4
    assert (np.asarray(blocks_of(model)[0].ffn.up.kernel) != before).any()
    np.testing.assert_allclose(_outputs(model), outputs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ({"parallel_residual": True, "shared_norm": True, "gated": True}, 3),
        ({"parallel_residual": True}, 3),
        ({"norm_position": "output", "qk_norm": True, "qk_norm_heads": "joint"}, 1),
        ({"norm_bias": False, "norm_scale": False, "gated": True}, 2),
    ],
)
def test_smoothing_finds_the_norms_of_every_shape_of_block(options, groups):
    model = randomise(build(**options))
    outputs = _outputs(model)
    assert smooth(model, IDS) == groups
    np.testing.assert_allclose(_outputs(model), outputs, rtol=1e-4, atol=1e-4)


def test_smoothing_takes_the_large_channel_out_of_the_activations():
    model = _with_outliers(build())
    block = blocks_of(model)[0]
    before = np.abs(np.asarray(block.ffn_norm.weights[0]))
    smooth(model, IDS, 0.5)
    after = np.abs(np.asarray(block.ffn_norm.weights[0]))
    assert after.max() / np.median(after) < before.max() / np.median(before) / 3


def test_a_kernel_of_sixteen_levels_a_block_comes_back_exactly():
    random = np.random.default_rng(0)
    levels = random.integers(0, 16, (64, 5)).astype("float32")
    levels[[0, 32]], levels[[1, 33]] = 0, 15
    kernel = levels * 0.125 - 0.75  # a scale that bfloat16 has
    integers, scales, offsets = affine_blocks(kernel, 32)
    assert integers.min() == -8 and integers.max() == 7
    again = (integers * scales[:, None] + offsets[:, None]).reshape(kernel.shape)
    np.testing.assert_array_equal(again, kernel)


def test_any_kernel_is_within_half_a_step():
    kernel = np.random.default_rng(0).normal(size=(64, 7)).astype("float32")
    integers, scales, offsets = affine_blocks(kernel, 32)
    error = integers * scales[:, None] + offsets[:, None] - kernel.reshape(2, 32, 7)
    # and the rounding of a scale to 8 bits, over at most 8 steps
    assert (np.abs(error) <= scales[:, None] * (0.5 + 8 / 256)).all()


def test_equal_weights_still_show_a_scale():
    integers, scales, offsets = affine_blocks(np.full((32, 2), 0.3, "float32"), 32)
    assert (np.abs(integers) == 1).any(axis=1).all() and (scales > 0).all()
    again = integers * scales[:, None] + offsets[:, None]
    np.testing.assert_allclose(again, 0.3, atol=1e-3)


def test_split_layers_hold_the_grid_and_give_what_the_offsets_give_back():
    model = build(dropout=0.0)
    before = _outputs(model)
    paths = split_affine(model, 32)
    layers = [x for b in blocks_of(model) for x in b._flatten_layers() if isinstance(x, Dense)]
    assert len(paths) == len(layers)
    for layer in layers:
        blocks = np.asarray(layer.kernel).reshape(-1, 32, layer.kernel.shape[1])
        sizes = np.sort(np.abs(np.concatenate([np.zeros_like(blocks[:, :1]), blocks], 1)), axis=1)
        steps = np.diff(sizes, axis=1)
        scale = np.where(steps > 1e-9, steps, np.inf).min(axis=1, keepdims=True)
        integers = blocks / scale
        np.testing.assert_array_equal(integers, np.rint(integers))
        assert integers.min() >= -8 and integers.max() <= 7
    after = _outputs(model)
    assert 0 < np.abs(after - before).max() < 0.1 * np.abs(before).max()


def test_a_skipped_layer_and_one_that_no_block_fits_stay():
    model = build()
    paths = split_affine(model, 32, skip=lambda path: "attention" in path)
    assert paths and not any("attention" in path for path in paths)
    assert split_affine(build(), 7) == []
