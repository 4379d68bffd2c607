"""The plain convolutional network, against its formulas in numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from modelzoo.architectures.convnet import build
from modelzoo.errors import DataError, RecipeError
from tests.core import number

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 9, 12, 3)).astype(np.uint8)


def by_hand(x, kernel, norm):
    """A convolution of stride 2 that keeps its edges, batch normalisation, SiLU."""
    height, width = (-(-side // 2) for side in x.shape[1:3])
    spare = [max(0, 2 * (-(-side // 2) - 1) + 3 - side) for side in x.shape[1:3]]
    x = np.pad(x, ((0, 0), *((n // 2, n - n // 2) for n in spare), (0, 0)))
    out = np.zeros((len(x), height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            patch = x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            out[:, i, j] = np.tensordot(patch, kernel, 3)
    gamma, beta, mean, variance = norm
    out = (out - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    return out / (1 + np.exp(-out))


def test_it_is_its_formula_and_its_places_are_in_reading_order():
    model = build(image_size=(9, 12), widths=(4, 6))
    rng = np.random.default_rng(1)
    for norm in model.norms:
        for weight in norm.weights:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    x = IMAGES / 127.5 - 1
    for convolution, norm in zip(model.convolutions, model.norms, strict=True):
        x = by_hand(x, number(convolution.kernel), [number(weight) for weight in norm.weights])
    outputs = model({"images": IMAGES})
    assert model.num_positions == 3 * 3
    np.testing.assert_allclose(number(outputs["sequence"]), x.reshape(2, 9, 6), atol=2e-5)
    np.testing.assert_allclose(number(outputs["pooled"]), x.mean((1, 2)), atol=2e-5)


def test_it_opens_again_from_a_file(tmp_path):
    model = build(image_size=16, widths=(4, 8), dropout=0.1)
    model.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    images = np.zeros((1, 16, 16, 3), np.uint8)
    assert np.array_equal(number(again(images)["pooled"]), number(model(images)["pooled"]))


def test_images_of_another_size_are_refused():
    with pytest.raises(DataError, match="16, 16"):
        build(image_size=16, widths=(4,))(IMAGES)


@pytest.mark.parametrize("widths", [(), (4, 0)])
def test_a_network_without_channels_is_refused(widths):
    with pytest.raises(RecipeError, match="widths"):
        build(widths=widths)


def test_flattened_towers_need_a_fixed_number_of_positions():
    from modelzoo.architectures.contrastive import build as contrastive

    text = {"architecture": "bert", "pooling": "mean"}
    text["model"] = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "vocab_size": 30}
    image = {"architecture": "convnet", "pooling": "flatten"}
    image["model"] = {"image_size": 16, "widths": [4, 8]}
    model = contrastive(image=image, text=text, embed_dim=8)
    assert model.image_projection.kernel.shape == (4 * 4 * 8, 8)
    with pytest.raises(RecipeError, match="fixed number of positions"):
        contrastive(image=image, text={**text, "pooling": "flatten"}, embed_dim=8)
