"""The simple recurrent unit against its equations in float64."""

import literal
import numpy as np
import pytest
import tiny

from keras_cmsa.layers import SimpleRecurrentUnit
from keras_cmsa.layers.word_scan import last_word

pytestmark = pytest.mark.keras

# Expressions of 5, 3 and 1 words.
MASK = np.arange(5) < np.array([[5], [3], [1]])


@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 5, 2, 3, 6)])
def test_simple_recurrent_unit_is_its_equations(seeded, rng, shape):
    """A vector per word of another width than the state; a map per word of the same."""
    x = tiny.normal(rng, *shape)
    layer = SimpleRecurrentUnit(6)
    layer.build(shape)
    layer.bias.assign_add(tiny.normal(rng, 12))
    states = layer(x, MASK)
    last, states = tiny.to_numpy(last_word(states, MASK)), tiny.to_numpy(states)
    w = tiny.weights_of(layer)
    for example, count in enumerate((5, 3, 1)):
        for place in np.ndindex(*shape[2:-1]):
            c = np.zeros(6)
            for n in range(count):
                word = x[(example, n, *place)].astype("float64")
                forget, reset, value, *highway = np.split(
                    word @ w["kernel"], w["kernel"].shape[1] // 6
                )
                forget = literal.sigmoid(forget + w["bias"][:6])
                reset = literal.sigmoid(reset + w["bias"][6:])
                c = forget * c + (1 - forget) * value
                h = reset * np.tanh(c) + (1 - reset) * (highway[0] if highway else word)
                tiny.assert_near(states[(example, n, *place)], h)
            tiny.assert_near(last[(example, *place)], h)
