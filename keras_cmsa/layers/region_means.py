"""The means of a map over a grid of regions."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="keras_cmsa")
class RegionMeans(keras.layers.Layer):
    """Averages a map of any size over `bins` x `bins` regions that cover it.

    Along a side of L cells, region i has the cells from floor(i L / bins) to
    ceil((i + 1) L / bins) - 1. If L is not a multiple of `bins`, neighbouring regions share cells.

    Args:
        bins: regions per side.

    Call arguments:
        maps: `(B, H, W, C)`; H and W must be known.

    Returns:
        `(B, bins, bins, C)`.
    """

    def __init__(self, bins, **kwargs):
        super().__init__(**kwargs)
        self.bins = bins

    def call(self, maps):
        rows, columns = (region_shares(side, self.bins) for side in maps.shape[1:3])
        rows, columns = (ops.cast(shares, maps.dtype) for shares in (rows, columns))
        maps = ops.tensordot(rows, maps, [[1], [1]])  # (bins, B, W, C)
        maps = ops.tensordot(columns, maps, [[1], [2]])  # (bins, bins, B, C)
        return ops.transpose(maps, (2, 1, 0, 3))

    def compute_output_shape(self, maps_shape):
        return (maps_shape[0], self.bins, self.bins, maps_shape[3])

    def get_config(self):
        return {**super().get_config(), "bins": self.bins}


def region_shares(side, bins):
    """The weight of each of `side` cells in the mean of each region: `(bins, side)` float32."""
    shares = np.zeros((bins, side), "float32")
    for i in range(bins):
        first, last = i * side // bins, -(-(i + 1) * side // bins)
        shares[i, first:last] = 1 / (last - first)
    return shares
