"""RMI's multimodal LSTM, which reads the words at every position of a map."""

import keras
from keras import ops

from keras_cmsa.layers.word_scan import scan_words


@keras.saving.register_keras_serializable(package="keras_cmsa")
class MultimodalLSTM(keras.layers.Layer):
    """An LSTM that reads the words at each position, with the same weights at all positions.

    With x_pn the joint vector of position p and word n, and sigma the sigmoid,

        1. (i, j, f, o)_pn = x_pn W + h_p,n-1 U + b
        2. c_pn = sigma(f_pn) c_p,n-1 + sigma(i_pn) tanh(j_pn)
        3. h_pn = sigma(o_pn) tanh(c_pn)

    from c = h = 0; the result is h after the last word. x_pn is a concatenation, so x_pn W is the
    sum of a term per position and a term per word, and x_pn is never built. The forget bias starts
    at 1, the other biases at 0.

    Args:
        units: channels of the state. RMI: 500.

    Call arguments:
        positions: `(B, H, W, Cp)`, the part of x that depends on the position.
        words: `(B, N, Cw)`, the part that depends on the word; N must be known.
        word_mask: `(B, N)` bool, False at padding, which does not change the state.

    Returns:
        `(B, H, W, units)`.

    Source: Liu et al., "Recurrent Multimodal Interaction for Referring Image Segmentation",
    ICCV 2017.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, positions_shape, words_shape):
        joint = positions_shape[-1] + words_shape[-1]
        self.kernel = self.add_weight(shape=(joint, 4 * self.units), name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, 4 * self.units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(
            shape=(4 * self.units,), initializer=forget_bias_of_one, name="bias"
        )

    def call(self, positions, words, word_mask):
        kernel = ops.convert_to_tensor(self.kernel)
        channels = positions.shape[-1]
        at_positions = ops.matmul(positions, kernel[:channels]) + self.bias  # (B, H, W, 4 units)
        at_words = ops.matmul(words, kernel[channels:])  # (B, N, 4 units)

        def step(state, inputs):
            hidden, cell = state
            gates = at_positions + inputs[0][:, None, None]
            gates = gates + ops.matmul(hidden, self.recurrent_kernel)
            write, candidate, keep, show = ops.split(gates, 4, axis=-1)
            cell = ops.sigmoid(keep) * cell + ops.sigmoid(write) * ops.tanh(candidate)
            return ops.sigmoid(show) * ops.tanh(cell), cell

        start = ops.zeros_like(at_positions[..., : self.units])
        states = scan_words(step, [start, start], [at_words], word_mask)
        return states[-1][0]

    def compute_output_shape(self, positions_shape, words_shape, word_mask_shape=None):
        return (*positions_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def forget_bias_of_one(shape, dtype=None):
    units = shape[0] // 4
    return ops.concatenate(
        [ops.zeros(2 * units, dtype), ops.ones(units, dtype), ops.zeros(units, dtype)]
    )
