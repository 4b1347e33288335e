"""The gated fusion against Eq. 5 and the sum of Eq. 6 in float64."""

import literal
import numpy as np
import pytest
import tiny

from keras_cmsa.layers import GatedMultiLevelFusion

pytestmark = pytest.mark.keras


def test_fusion_is_equation_5(seeded, rng):
    levels = [tiny.normal(rng, 2, 3, 4, 5) for _ in range(3)]
    layer = GatedMultiLevelFusion()
    layer(levels)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    fused, outputs = layer(levels, return_levels=True)
    weights = [[*map(tiny.to_numpy, gate.weights)] for gate in layer.gates]
    weights = [(*gate, g) for gate, g in zip(weights, tiny.to_numpy(layer.gamma), strict=True)]
    for example in range(2):
        wanted, by_level = literal.fusion([x[example] for x in levels], weights)
        tiny.assert_near(fused[example], wanted)
        for output, level in zip(outputs, by_level):
            tiny.assert_near(output[example], level)


def test_fusion_starts_as_documented(seeded, rng):
    layer = GatedMultiLevelFusion()
    layer([tiny.normal(rng, 1, 3, 3, 4)] * 3)
    assert tiny.to_numpy(layer.gamma).tolist() == [0.5] * 3
    for gate in layer.gates:
        assert tiny.to_numpy(gate.bias).tolist() == [1.0, 1.0]


def test_maps_of_different_sizes_are_refused(seeded):
    with pytest.raises(ValueError, match="same height, width and channels"):
        GatedMultiLevelFusion()([np.zeros((1, 2, 2, 3)), np.zeros((1, 4, 4, 3))])
    with pytest.raises(ValueError, match="two or more maps"):
        GatedMultiLevelFusion()([np.zeros((1, 2, 2, 3))])
