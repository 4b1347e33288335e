"""The authors' gates against their equations in float64."""

import literal
import numpy as np
import pytest
import tiny

from keras_cmsa.layers import ChannelGatedFusion

pytestmark = pytest.mark.keras


def test_it_is_the_literal_form(seeded, rng):
    res3, res4, res5 = levels = [tiny.normal(rng, 2, 3, 4, 5) for _ in range(3)]
    layer = ChannelGatedFusion()
    layer(levels)
    for weight in layer.weights:
        weight.assign(rng.normal(scale=0.3, size=weight.shape))
    weights = tiny.weights_of(layer)
    wanted = 0
    # As the authors have the cells: a level, then the two others, the deeper one first.
    for i, (x, deeper, other) in enumerate(
        [(res3, res5, res4), (res4, res5, res3), (res5, res4, res3)]
    ):
        gate = weights[f"gates_{i + 1}/kernel"], weights[f"gates_{i + 1}/bias"]
        gates = np.stack([literal.convolution(example, *gate) for example in x])
        candidate, forget, reset = np.split(gates, 3, axis=-1)
        forget, reset = literal.sigmoid(forget + 1), literal.sigmoid(reset + 1)
        share = weights["mix"][i]
        mixed = share * forget * deeper + (1 - share) * forget * other + (1 - forget) * candidate
        wanted = wanted + reset * np.tanh(mixed) + (1 - reset) * x
    tiny.assert_near(layer(levels), wanted)


def test_it_starts_in_the_middle(seeded):
    layer = ChannelGatedFusion()
    layer.build([(None, 3, 4, 5)] * 3)
    assert tiny.to_numpy(layer.mix.value).tolist() == [0.5] * 3
