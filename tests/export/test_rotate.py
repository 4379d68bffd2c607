"""Rotations before a product: no answer changes, and nothing stands out any more."""

import numpy as np
import pytest

from modelzoo.exporting.quantization.calibrate import blocks_of
from modelzoo.exporting.quantization.rotate import hadamard, rotate, rotate_head
from tests.small import build

IDS = np.arange(32, dtype="int32").reshape(2, 16)
GATED = {"gated": True, "activation": "silu", "norm": "rms"}


def _logits(model):
    return np.asarray(model.backbone.logits(model.backbone(IDS, training=False)))


@pytest.mark.parametrize("size", [1, 8, 64])
def test_a_hadamard_matrix_is_orthogonal_and_its_numbers_are_equally_large(size):
    matrix = hadamard(size)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-6)
    np.testing.assert_allclose(np.abs(matrix), size**-0.5, rtol=1e-6)


@pytest.mark.parametrize("tied", [True, False])
def test_rotating_changes_no_logit(tied):
    model = build(tie_embeddings=tied, **GATED)
    before = _logits(model)
    down = np.asarray(blocks_of(model)[0].ffn.down.kernel)
    assert rotate(model) == [block.ffn.down.path for block in blocks_of(model)]
    (head,) = rotate_head(model)
    assert head == (model.backbone.tokens if tied else model.backbone.head).path
    assert np.abs(np.asarray(blocks_of(model)[0].ffn.down.kernel) - down).max() > 0.01
    np.testing.assert_allclose(_logits(model), before, rtol=1e-4, atol=1e-5)


def test_a_large_activation_is_spread_over_its_block():
    model = build(**GATED)
    down = blocks_of(model)[0].ffn.down
    width = down.kernel.shape[0]
    size = min(64, width & -width)
    seen = []
    inner = down.call
    object.__setattr__(down, "call", lambda x: seen.append(np.asarray(x)) or inner(x))
    rotate(model)
    x = np.zeros((1, 1, width), "float32")
    x[..., 3] = 100.0
    down(x)
    (turned,) = seen
    np.testing.assert_allclose(np.abs(turned[0, 0, :size]), 100 / size**0.5, rtol=1e-5)
    assert not turned[0, 0, size:].any()


def test_eight_bits_lose_less_of_what_was_rotated():
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 128)).astype("float32")
    x[:, 5] *= 100  # as behind a gate
    kernel = random.normal(size=(128, 32)).astype("float32")
    exact = x @ kernel

    def error(matrix):
        blocks = x.reshape(16, -1, len(matrix)) @ matrix
        turned = blocks.reshape(x.shape)
        rows = (kernel.T.reshape(32, -1, len(matrix)) @ matrix).reshape(32, -1).T
        step = np.abs(turned).max(axis=1, keepdims=True) / 127
        return np.abs(np.rint(turned / step) * step @ rows - exact).mean()

    assert error(hadamard(64)) < error(np.eye(64, dtype="float32")) / 3


def test_what_has_no_gate_or_no_head_stays_and_what_is_skipped():
    assert rotate(build()) == []
    assert rotate_head(build("bert-tiny-classifier")) == []
    paths = rotate(build(num_layers=2, **GATED), skip=lambda path: "block_0" in path)
    assert paths and all("block_1" in path for path in paths)
    assert rotate_head(build(), skip=lambda path: True) == []
