"""The LSTM over words at every position against its equations in float64."""

import literal
import numpy as np
import pytest
import tiny

from keras_cmsa.layers import MultimodalLSTM

pytestmark = pytest.mark.keras

# Expressions of 5, 3 and 1 words.
MASK = np.arange(5) < np.array([[5], [3], [1]])


def test_multimodal_lstm_is_its_equations(seeded, rng):
    positions, words = tiny.normal(rng, 3, 2, 3, 4), tiny.normal(rng, 3, 5, 6)
    layer = MultimodalLSTM(7)
    layer.build(positions.shape, words.shape)
    assert (tiny.to_numpy(layer.bias.value).reshape(4, 7) == [[0], [0], [1], [0]]).all()
    layer.bias.assign_add(tiny.normal(rng, 28))
    states = tiny.to_numpy(layer(positions, words, MASK))
    w = tiny.weights_of(layer)
    for example, count in enumerate((5, 3, 1)):
        for y, x in np.ndindex(2, 3):
            h, c = np.zeros(7), np.zeros(7)
            for word in words[example, :count]:
                joint = np.concatenate([positions[example, y, x], word])
                gates = joint @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"]
                h, c = literal.lstm(*np.split(gates, 4), c)
            tiny.assert_near(states[example, y, x], h)
