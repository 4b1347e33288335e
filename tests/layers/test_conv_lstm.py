"""The ConvLSTM over maps against its equations in float64."""

import literal
import numpy as np
import pytest
import tiny

from keras_cmsa.layers import ConvLSTM

pytestmark = pytest.mark.keras


def test_conv_lstm_is_its_equations(seeded, rng):
    maps = [tiny.normal(rng, 2, 2, 3, 4) for _ in range(3)]
    layer = ConvLSTM(5)
    layer.build([x.shape for x in maps])
    for weight in layer.weights:
        weight.assign_add(tiny.normal(rng, *weight.shape))
    assert layer.input_peephole.shape == (2, 3, 5)
    hidden = tiny.to_numpy(layer(maps))
    w = tiny.weights_of(layer)

    def norm(x, row):
        return (x - x.mean()) / np.sqrt(x.var() + 1e-6) * w["gain"][row] + w["bias"][row]

    for example in range(2):
        h = c = np.zeros((2, 3, 5))
        for x in maps:
            joint = np.concatenate([x[example].astype("float64"), h], axis=-1)
            j, i, f, o = np.split(joint @ w["kernel"], 4, axis=-1)
            i = literal.sigmoid(norm(i + w["input_peephole"] * c, 1))
            f = literal.sigmoid(norm(f + w["forget_peephole"] * c, 2) + 1)
            c = f * c + i * np.tanh(norm(j, 0))
            o = literal.sigmoid(norm(o + w["output_peephole"] * c, 3))
            c = norm(c, 4)
            h = o * np.tanh(c)
        tiny.assert_near(hidden[example], h)


@pytest.mark.parametrize("shapes", [[(2, 3), (3, 2)], [(None, 3), (None, 3)]], ids=str)
def test_maps_of_other_or_unknown_sizes_are_refused(seeded, shapes):
    maps = [seeded.Input((*shape, 4)) for shape in shapes]
    with pytest.raises(ValueError, match="maps of one shape, whose height and width are known"):
        ConvLSTM(5)(maps)
