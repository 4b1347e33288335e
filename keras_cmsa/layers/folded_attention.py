"""Cross-modal self-attention for inference, with its value kernels multiplied."""

import keras

from keras_cmsa.layers.cross_modal_self_attention import CrossModalSelfAttention


@keras.saving.register_keras_serializable(package="keras_cmsa")
class FoldedAttention(CrossModalSelfAttention):
    """`CrossModalSelfAttention` whose value kernel `(Cp + Cl, F)` is R W W_v of the original.

    It is for inference: it has fewer weights and computes the same up to rounding. `output_dim` must
    be given; the rest is as in `CrossModalSelfAttention`.
    """

    def build_value(self, joint):
        shape = (joint, self.output_dim)
        self.value_kernel = self.add_weight(shape=shape, name="value_kernel")

    def values(self, positions, words):
        return self.project(self.value_kernel, positions, words)

    def take_weights(self, original):
        """Sets the weights to those of the unfolded layer."""
        values = {weight.name: keras.ops.convert_to_numpy(weight) for weight in original.weights}
        output, reduction = (
            values[f"{x}_kernel"].astype("float64") for x in ("output", "reduction")
        )
        values["value_kernel"] = values["value_kernel"] @ (output @ reduction)
        for weight in self.weights:
            weight.assign(values[weight.name])
