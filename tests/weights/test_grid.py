"""Position tables of an image's places are interpolated as the formula says."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.weights.position_grids import resample

TABLE = np.random.default_rng(0).normal(size=(12, 5)).astype("float32")  # 3 x 4 places


def kernel(x: float) -> float:
    """Keys' cubic with a = -0.75."""
    a, x = -0.75, abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def by_hand(table, old, new):
    grid, out = table.reshape(*old, -1).astype(float), np.zeros((*new, table.shape[-1]))
    for row in range(new[0]):
        for column in range(new[1]):
            y = (row + 0.5) * old[0] / new[0] - 0.5
            x = (column + 0.5) * old[1] / new[1] - 0.5
            for j in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
                for i in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
                    place = grid[min(max(j, 0), old[0] - 1), min(max(i, 0), old[1] - 1)]
                    out[row, column] += kernel(y - j) * kernel(x - i) * place
    return out.reshape(-1, table.shape[-1])


@pytest.mark.parametrize("new", [(6, 8), (5, 3), (2, 2), (1, 1), (3, 9)])
def test_each_place_is_a_weighted_mean_of_its_neighbours(new):
    np.testing.assert_allclose(resample(TABLE, (3, 4), new), by_hand(TABLE, (3, 4), new), atol=1e-6)


def test_the_same_grid_stays_as_it_is():
    np.testing.assert_array_equal(resample(TABLE, (3, 4), (3, 4)), TABLE)


def test_a_slope_stays_a_slope_away_from_the_edges():
    slope = np.arange(8.0, dtype="float32")[:, None] * np.ones((1, 2), "float32")
    found = resample(slope, (8, 1), (16, 1))[5:-5, 0]
    np.testing.assert_allclose(np.diff(found), 0.5, atol=0.1)
