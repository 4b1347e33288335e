"""The sentence as one vector."""

import literal
import numpy as np
import pytest
import tiny

pytestmark = pytest.mark.keras

# Expressions of 5, 3 and 1 words.
MASK = np.arange(5) < np.array([[5], [3], [1]])


def test_sentence_lstm_is_its_equations(seeded, rng):
    """Keras' LSTM as the systems call it: padding skipped, forget bias 1."""
    words = tiny.normal(rng, 3, 5, 4)
    layer = seeded.layers.LSTM(6)
    states = tiny.to_numpy(layer(words, mask=MASK))
    kernel, recurrent, bias = (tiny.to_numpy(w.value).astype("float64") for w in layer.weights)
    assert (bias.reshape(4, 6) == [[0], [1], [0], [0]]).all()
    for example, count in enumerate((5, 3, 1)):
        h, c = np.zeros(6), np.zeros(6)
        for word in words[example, :count]:
            i, f, j, o = np.split(word @ kernel + h @ recurrent + bias, 4)
            h, c = literal.lstm(i, j, f, o, c)
        tiny.assert_near(states[example], h)
