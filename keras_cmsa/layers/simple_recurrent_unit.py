"""The simple recurrent unit (SRU) over the words of an expression."""

import keras
from keras import ops

from keras_cmsa.layers.word_scan import scan_words


@keras.saving.register_keras_serializable(package="keras_cmsa")
class SimpleRecurrentUnit(keras.layers.Layer):
    """A recurrence that is elementwise from word to word (SRU).

    With x_n the input at word n and sigma the sigmoid,

        1. f_n = sigma(x_n W_f + b_f),  r_n = sigma(x_n W_r + b_r)
        2. c_n = f_n c_n-1 + (1 - f_n) (x_n W)
        3. h_n = r_n tanh(c_n) + (1 - r_n) x_n

    from c = 0. If the widths of x_n and h_n differ, step 3 has x_n W_h instead of x_n.

    Args:
        units: width of the state.

    Call arguments:
        inputs: `(B, N, ..., C)`, per word a vector or a map of vectors; N must be known.
        word_mask: `(B, N)` bool, False at padding, which does not change c.

    Returns:
        h_n for each word, `(B, N, ..., units)`; its values at padding have no meaning.

    Source: Lei and Zhang, "Training RNNs as Fast as CNNs", arXiv 1709.02755, first version.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, inputs_shape):
        self.highway = inputs_shape[-1] == self.units
        self.kernel = self.add_weight(
            shape=(inputs_shape[-1], (3 if self.highway else 4) * self.units), name="kernel"
        )
        self.bias = self.add_weight(shape=(2 * self.units,), initializer="zeros", name="bias")

    def call(self, inputs, word_mask):
        units = self.units
        projected = ops.matmul(inputs, self.kernel)  # (B, N, ..., 3 or 4 units)
        gates = ops.sigmoid(projected[..., : 2 * units] + self.bias)
        forget, reset = gates[..., :units], gates[..., units:]
        written = (1 - forget) * projected[..., 2 * units : 3 * units]
        carried = inputs if self.highway else projected[..., 3 * units :]

        def step(state, word):
            keep, write = word
            return [keep * state[0] + write]

        start = ops.zeros_like(written[:, 0])
        cells = scan_words(step, [start], [forget, written], word_mask)
        cells = ops.stack([cell for (cell,) in cells], axis=1)
        return reset * ops.tanh(cells) + (1 - reset) * carried

    def compute_output_shape(self, inputs_shape, word_mask_shape=None):
        return (*inputs_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
