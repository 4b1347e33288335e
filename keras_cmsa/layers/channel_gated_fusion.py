"""The gated fusion of the authors' released code: a gate for every channel."""

import keras
from keras import ops

from keras_cmsa.layers.gated_multi_level_fusion import gate_convolutions


@keras.saving.register_keras_serializable(package="keras_cmsa")
class ChannelGatedFusion(keras.layers.Layer):
    """Each of three levels receives the other two through gates; the result is the sum.

    For the map X of a level, the maps Y and Z of the others, Y the deeper one, and * a 3x3
    convolution with bias,

        1. (i, f, r) = X * W
        2. f, r      = sigmoid(f + 1), sigmoid(r + 1)
        3. G         = a f Y + (1 - a) f Z + (1 - f) i
        4. F_o       = r tanh(G) + (1 - r) X

    with a learned number a per level, which starts at 0.5 and may leave 0..1.

    Call arguments:
        levels: list of three maps, the deepest last, `(B, H, W, F)` each.

    Returns:
        `(B, H, W, F)`.

    Source: https://github.com/lwye/CMSA-Net; it differs from Eq. 5, which `GatedMultiLevelFusion`
    follows: there a gate is one number per position and mixes X itself, not a candidate i.
    """

    def build(self, levels_shape):
        channels = levels_shape[0][-1]
        self.gates = gate_convolutions(levels_shape, 3 * channels, dtype=self.dtype_policy)
        self.mix = self.add_weight(
            shape=(3,), initializer=keras.initializers.Constant(0.5), name="mix"
        )

    def call(self, levels):
        total = 0
        mix = ops.unstack(ops.cast(self.mix, levels[0].dtype))
        for i, (x, gate, share) in enumerate(zip(levels, self.gates, mix)):
            other, deeper = [level for j, level in enumerate(levels) if j != i]
            candidate, forget, reset = ops.split(gate(x), 3, axis=-1)
            forget, reset = ops.sigmoid(forget + 1), ops.sigmoid(reset + 1)
            mixed = forget * (share * deeper + (1 - share) * other) + (1 - forget) * candidate
            total = total + reset * ops.tanh(mixed) + (1 - reset) * x
        return total

    def compute_output_shape(self, levels_shape):
        return tuple(levels_shape[0])
