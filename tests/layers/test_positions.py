"""Positions against the formulas of their papers."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from keras import ops

from modelzoo.errors import RecipeError
from modelzoo.layers.positions import (
    LearnedPositions,
    RelativeBias,
    rotary_angles,
    rotary_attention_factor,
    rotary_rates,
    rotate,
    sine_positions,
)
from tests.core import assert_near, number, randomise


def positions(*values):
    return ops.convert_to_tensor([values], dtype="int32")


# === Sine ===


def test_sine_positions_are_the_papers_formula():
    width, where = 8, [0, 1, 7, 500]
    wanted = np.zeros((1, len(where), width))
    for row, position in enumerate(where):
        for i in range(width // 2):
            angle = position / 10000 ** (2 * i / width)
            wanted[0, row, 2 * i], wanted[0, row, 2 * i + 1] = math.sin(angle), math.cos(angle)
    assert_near(sine_positions(positions(*where), width), wanted, 5e-5)


@pytest.mark.parametrize(("kind", "steps"), [("sine_halves", 4), ("sine_tensor2tensor", 3)])
def test_sines_stand_before_cosines(kind, steps):
    angles = np.array([0, 1, 7, 500])[:, None] / 10000 ** (np.arange(4) / steps)
    wanted = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[None]
    assert_near(sine_positions(positions(0, 1, 7, 500), 8, kind=kind), wanted, 5e-5)


# === Rotary ===


def turned(vector: np.ndarray, position: int, theta: float = 10_000.0) -> np.ndarray:
    x = ops.reshape(ops.cast(vector, "float32"), (1, 1, 1, -1))
    return number(
        rotate(x, rotary_angles(positions(position), rotary_rates(len(vector), theta)))
    ).reshape(-1)


def test_a_rotary_score_depends_on_the_distance_alone():
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, 16))
    near, far = [turned(query, n) @ turned(key, m) for n, m in ((5, 2), (105, 102))]
    other = turned(query, 5) @ turned(key, 3)
    assert near == pytest.approx(far, abs=1e-4)
    assert abs(near - other) > 1e-2


def test_rotation_keeps_lengths_and_position_zero_turns_nothing():
    vector = np.random.default_rng(1).normal(size=16)
    assert np.linalg.norm(turned(vector, 77)) == pytest.approx(np.linalg.norm(vector), rel=1e-5)
    np.testing.assert_allclose(turned(vector, 0), vector, rtol=1e-6)


def test_rotation_turns_pairs_of_the_two_halves_as_complex_numbers():
    vector, position, theta = np.random.default_rng(2).normal(size=8), 9, 100.0
    pairs = vector[:4] + 1j * vector[4:]
    pairs = pairs * np.exp(1j * position * theta ** (-np.arange(4) / 4))
    wanted = np.concatenate([pairs.real, pairs.imag])
    np.testing.assert_allclose(turned(vector, position, theta), wanted, atol=1e-5)


# === Learned ===


def test_learned_positions_begin_after_the_offset():
    layer = LearnedPositions(4, 3, offset=2)
    layer.build()
    randomise(layer)
    table = number(layer.embeddings)
    assert table.shape == (6, 3)
    assert_near(layer(positions(0, 3)), table[None, [2, 5]])


# === Relative ===


def buckets_of(distances, *, bidirectional: bool, num_buckets=32, max_distance=128) -> list[int]:
    layer = RelativeBias(2, num_buckets, max_distance, bidirectional)
    return (
        number(layer._bucket(ops.convert_to_tensor(distances, dtype="int32"))).astype(int).tolist()
    )


def published_bucket(
    distance: int, bidirectional: bool, num_buckets: int, max_distance: int
) -> int:
    """`_relative_position_bucket` of the T5 code, one number at a time; distance = key - query."""
    bucket, n = 0, -distance
    if bidirectional:
        num_buckets //= 2
        if n < 0:
            bucket += num_buckets
        n = abs(n)
    else:
        n = max(n, 0)
    max_exact = num_buckets // 2
    if n < max_exact:
        return bucket + n
    ratio = np.log(np.float32(n) / max_exact) / np.log(max_distance / max_exact)
    return bucket + min(
        max_exact + int(np.float32(ratio * (num_buckets - max_exact))), num_buckets - 1
    )


def test_known_distances_fall_into_the_buckets_of_the_paper():
    # Encoder: 16 buckets each way, 8 of them exact. Decoder: 32 backwards, 16 exact.
    assert buckets_of([0, -1, -7, -8, -127, -128, -5000], bidirectional=True) == [
        0,
        1,
        7,
        8,
        15,
        15,
        15,
    ]
    assert buckets_of([1, 7, 8, 128], bidirectional=True) == [17, 23, 24, 31]
    assert buckets_of([3, 0, -1, -15, -16, -128], bidirectional=False) == [0, 0, 1, 15, 16, 31]


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("num_buckets", "max_distance"), [(32, 128), (8, 20)])
def test_every_distance_falls_into_the_bucket_of_the_authors_code(
    bidirectional, num_buckets, max_distance
):
    distances = list(range(-200, 201))
    sizes = {"num_buckets": num_buckets, "max_distance": max_distance}
    wanted = [published_bucket(d, bidirectional, **sizes) for d in distances]
    assert buckets_of(distances, bidirectional=bidirectional, **sizes) == wanted


def test_the_bias_is_read_from_the_table_for_each_query_and_key():
    layer = RelativeBias(2, bidirectional=False)
    layer.build()
    randomise(layer)
    bias = number(layer(ops.convert_to_tensor([[3, 4], [0, 1]], dtype="int32"), num_keys=5))
    table = number(layer.embeddings)
    assert bias.shape == (2, 2, 2, 5)
    assert bias[0, :, 1, 0] == pytest.approx(table[4])  # position 4 looks back by 4
    assert bias[1, :, 0, 3] == pytest.approx(table[0])  # ahead, which a causal mask hides anyway


def test_a_part_of_a_head_turns_and_the_rest_stays():
    rates = rotary_rates(20, 100.0, fraction=0.9)
    np.testing.assert_allclose(rates[:9], 100.0 ** (-np.arange(9) / 9), rtol=1e-6)
    assert rates.tolist()[9:] == [0.0]
    x = np.random.default_rng(0).normal(size=(1, 1, 3, 20)).astype("float32")
    turned = number(rotate(x, rotary_angles(np.array([[5, 6, 7]]), rates)))
    np.testing.assert_allclose(turned[..., [9, 19]], x[..., [9, 19]], atol=1e-6)
    assert np.abs(turned[..., :9] - x[..., :9]).max() > 0.1


# === Stretched ===

LONGROPE = {"type": "longrope", "factor": 4, "original_max_length": 16}
LONGROPE |= {"short_factor": [1.0, 2.0], "long_factor": [4.0, 8.0]}
DYNAMIC = {"type": "dynamic", "factor": 2, "original_max_length": 16}


def test_yarn_divides_the_pairs_that_hardly_turn():
    """Peng et al. 2023: as it is above `beta_fast` turns, divided below `beta_slow`, a ramp."""
    scaling = {"type": "yarn", "factor": 8.0, "original_max_length": 1024}
    plain, found = rotary_rates(64, 1e4), rotary_rates(64, 1e4, scaling)
    turns = 1024 * plain / (2 * math.pi)
    ratio = plain / found
    np.testing.assert_allclose(ratio[turns > 50], 1)
    np.testing.assert_allclose(ratio[turns < 0.7], 8, rtol=1e-5)
    between = 1 / ratio[(turns < 32) & (turns > 1)]  # the share falls evenly from pair to pair
    assert len(between) > 5
    np.testing.assert_allclose(np.diff(between), np.diff(between)[0], rtol=1e-3)
    exact = rotary_rates(64, 1e4, {**scaling, "truncate": False})
    assert np.abs(exact / found - 1).max() > 1e-3
    early = rotary_rates(64, 1e4, {**scaling, "beta_fast": 64, "beta_slow": 2})
    assert (early <= found).all() and (early < found).any()


def test_longrope_has_a_factor_for_each_pair_by_the_length_of_the_model():
    plain = rotary_rates(4, 100.0)
    for length, factors in ((None, [1, 2]), (16, [1, 2]), (17, [4, 8])):
        found = rotary_rates(4, 100.0, LONGROPE, max_length=length)
        np.testing.assert_allclose(found, plain / factors, rtol=1e-6)


def test_dynamic_changes_nothing_up_to_the_original_length_and_is_rejected_beyond():
    assert (rotary_rates(8, 10.0, DYNAMIC, max_length=16) == rotary_rates(8, 10.0)).all()
    with pytest.raises(RecipeError, match="max_length is 17: a graph has one set"):
        rotary_rates(8, 10.0, DYNAMIC, max_length=17)


@pytest.mark.parametrize(
    ("scaling", "wanted"),
    [
        (None, 1.0),
        ({"type": "linear", "factor": 8}, 1.0),
        ({"type": "yarn", "factor": 8}, 0.1 * math.log(8) + 1),
        ({"type": "yarn", "factor": 0.5}, 1.0),
        ({"type": "yarn", "factor": 8, "attention_factor": 1.5}, 1.5),
        (LONGROPE, math.sqrt(1 + math.log(4) / math.log(16))),
        ({**LONGROPE, "factor": 1}, 1.0),
    ],
)
def test_the_attention_factor_is_stated_or_follows_from_the_factor(scaling, wanted):
    assert rotary_attention_factor(scaling) == pytest.approx(wanted)


def test_the_attention_factor_is_of_what_turns_alone():
    x = np.random.default_rng(0).normal(size=(1, 1, 1, 8)).astype("float32")
    angles = rotary_angles(positions(0), rotary_rates(8, 100.0, fraction=0.5), 3.0)
    found, turning = number(rotate(x, angles))[0, 0, 0], [0, 1, 4, 5]
    np.testing.assert_allclose(found[turning], 3 * x[0, 0, 0, turning], rtol=1e-6)
    np.testing.assert_allclose(found[[2, 3, 6, 7]], x[0, 0, 0, [2, 3, 6, 7]], rtol=1e-6)


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"type": "yran", "factor": 2}, "is it 'yarn'|did you mean.*yarn"),
        ({"type": "yarn", "factor": 2}, "yarn needs original_max_length"),
        ({"type": "linear", "factor": 2, "beta_fast": 2}, "linear does not know beta_fast"),
        ({**LONGROPE, "short_factor": [1.0]}, "1 numbers in short_factor, and 2 pairs"),
    ],
)
def test_a_scaling_that_cannot_be_followed_is_rejected(scaling, message):
    with pytest.raises(RecipeError) as caught:
        rotary_rates(4, 100.0, scaling)
    assert re.search(message, str(caught.value))
