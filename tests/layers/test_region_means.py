"""Means over a grid of regions, region by region."""

import numpy as np
import pytest
import tiny

from keras_cmsa.layers import RegionMeans

pytestmark = pytest.mark.keras


@pytest.mark.parametrize(("side", "bins"), [(6, 6), (6, 3), (7, 3), (2, 6), (5, 1)])
def test_region_means(seeded, rng, side, bins):
    maps = tiny.normal(rng, 2, side, side + 1, 3)
    means = tiny.to_numpy(RegionMeans(bins)(maps))
    for i, j in np.ndindex(bins, bins):
        rows, columns = (
            slice(int(np.floor(k * n / bins)), int(np.ceil((k + 1) * n / bins)))
            for k, n in ((i, side), (j, side + 1))
        )
        tiny.assert_near(means[:, i, j], maps[:, rows, columns].astype("float64").mean((1, 2)))
