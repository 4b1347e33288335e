"""Gated multi-level fusion of the three self-attentive maps (Eq. 5 and the sum of Eq. 6)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_cmsa")
class GatedMultiLevelFusion(keras.layers.Layer):
    """Each level receives the others through gates; the fused map is the sum of the levels.

    With X^i the map of level i, reduced by a 1x1 convolution (the `output_dim` of
    `CrossModalSelfAttention`),

        1. memory gate m^i and reset gate r^i: sigmoid of a 3x3 convolution of X^i to one channel
        2. G^i   = (1 - m^i) X^i + sum over j != i of  gamma^j m^j X^j
        3. F_o^i = r^i tanh(G^i) + (1 - r^i) X^i
        4. the fused map is the sum of F_o^i over the levels

    gamma^j is a learned number per level. The bias of the gates starts at 1 and gamma at 0.5, as in
    the authors' code; the paper does not state them.

    Call arguments:
        levels: list of two maps X^i or more, `(B, H, W, F)` each. Paper: F = 500.
        return_levels: also return the list of F_o^i.

    Returns:
        `(B, H, W, F)`; with `return_levels` a pair of this and the list of F_o^i.

    Raises:
        ValueError: if there are fewer than two levels or their shapes differ.

    Source: Ye et al., CVPR 2019, Sec. 3.3.
    """

    def build(self, levels_shape):
        sizes = {tuple(shape[1:]) for shape in levels_shape}
        if len(levels_shape) < 2 or len(sizes) != 1:
            raise ValueError(
                "GatedMultiLevelFusion needs two or more maps of the same height, width and channels. "
                f"Received: shapes {[tuple(shape) for shape in levels_shape]}"
            )
        # To two channels: the memory gate and the reset gate of a level.
        self.gates = gate_convolutions(
            levels_shape, 2, bias_initializer="ones", dtype=self.dtype_policy
        )
        self.gamma = self.add_weight(
            shape=(len(levels_shape),), initializer=keras.initializers.Constant(0.5), name="gamma"
        )

    def call(self, levels, return_levels=False):
        gamma = ops.unstack(ops.cast(self.gamma, levels[0].dtype))
        gates = [
            ops.split(ops.sigmoid(gate(x)), 2, axis=-1)  # m^i and r^i, (B, H, W, 1) each
            for gate, x in zip(self.gates, levels)
        ]
        offers = [g * memory * x for g, (memory, _), x in zip(gamma, gates, levels)]
        outputs = []
        for i, (x, (memory, reset)) in enumerate(zip(levels, gates)):
            controller = (1 - memory) * x + sum(o for j, o in enumerate(offers) if j != i)
            outputs.append(reset * ops.tanh(controller) + (1 - reset) * x)
        fused = sum(outputs)
        return (fused, outputs) if return_levels else fused

    def compute_output_spec(self, levels, return_levels=False):
        # Without it Keras traces `call`, and on PyTorch gets its precision wrong.
        fused, *outputs = [
            keras.KerasTensor(levels[0].shape, self.compute_dtype) for _ in [0, *levels]
        ]
        return (fused, outputs) if return_levels else fused


def gate_convolutions(levels_shape, filters, **options):
    """A 3x3 convolution for each level, built."""
    options |= {"padding": "same", "data_format": "channels_last"}
    numbers = range(1, len(levels_shape) + 1)
    gates = [keras.layers.Conv2D(filters, 3, name=f"gates_{i}", **options) for i in numbers]
    for gate, shape in zip(gates, levels_shape):
        gate.build(shape)
    return gates
