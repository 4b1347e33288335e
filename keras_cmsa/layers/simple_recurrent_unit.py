"""The simple recurrent unit, over the words of an expression."""

import keras
from keras import ops

from keras_cmsa.layers.word_scan import align


@keras.saving.register_keras_serializable(package="keras_cmsa")
class SimpleRecurrentUnit(keras.layers.Layer):
    """A recurrence whose only step from word to word is elementwise (SRU).

    With x_n the input at word n and sigma the sigmoid,

        1. f_n = sigma(x_n W_f + b_f),  r_n = sigma(x_n W_r + b_r)
        2. c_n = f_n c_n-1 + (1 - f_n) (x_n W)
        3. h_n = r_n tanh(c_n) + (1 - r_n) x_n

    from c = 0. Where x_n has another width than h_n, step 3 takes x_n W_h in its place.

    Args:
        units: width of the state.

    Call arguments:
        inputs: `(B, N, ..., C)`, a vector per word, or a map of vectors that share the weights;
            N must be known.
        word_mask: `(B, N)` bool, False at padding, which leaves c as it was.

    Returns:
        h_n for each word, `(B, N, ..., units)`; at padding it means nothing.

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

        # Padding forgets nothing and writes nothing.
        is_word = align(word_mask, forget)
        forget = ops.where(is_word, forget, ops.ones_like(forget))
        written = ops.where(is_word, written, ops.zeros_like(written))
        cells = [written[:, 0]]
        for keep, write in zip(ops.unstack(forget, axis=1)[1:], ops.unstack(written, axis=1)[1:]):
            cells.append(keep * cells[-1] + write)
        return reset * ops.tanh(ops.stack(cells, axis=1)) + (1 - reset) * carried

    def compute_output_shape(self, inputs_shape, word_mask_shape=None):
        return (*inputs_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
