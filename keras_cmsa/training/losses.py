"""The losses: Eq. 7, with an optional Dice term for little data; and that of `exists`."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_cmsa")
class MaskLoss(keras.losses.Loss):
    """Mean binary cross-entropy over pixels, from logits: Eq. 7 with the minus sign it lacks.

    Args:
        dice_weight: factor of the soft Dice loss of each sample (Milletari et al., "V-Net", 3DV
            2016), which weighs small and large objects equally. The paper does not use it. Without
            it, a network with random weights first learns to answer "nothing".

    Call arguments:
        y_true: masks of 0 and 1, `(..., H, W, 1)`.
        y_pred: logits of the same shape.
        sample_weight: `(...)`, the weight of each sample in the mean over the samples; 0 at none.
    """

    def __init__(self, dice_weight=0.0, name="mask_loss", **kwargs):
        # By default Keras divides by the number of samples, with those that have no weight.
        super().__init__(name=name, **{"reduction": "mean_with_sample_weight", **kwargs})
        self.dice_weight = dice_weight

    def __call__(self, y_true, y_pred, sample_weight=None):
        axes = len(y_pred.shape) - 3
        if sample_weight is not None and len(sample_weight.shape) != axes:
            raise ValueError(
                f"sample_weight: wanted a weight for each mask, {axes} axes as those before its "
                f"height, such as (B, K). Received: shape {tuple(sample_weight.shape)}"
            )
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        entropy = keras.losses.binary_crossentropy(y_true, y_pred, from_logits=True)
        loss = ops.mean(entropy, axis=(-2, -1))  # (...), one per sample
        if not self.dice_weight:
            return loss
        probability = ops.sigmoid(y_pred)
        both = ops.sum(probability * y_true, axis=(-3, -2, -1))
        either = ops.sum(probability, axis=(-3, -2, -1)) + ops.sum(y_true, axis=(-3, -2, -1))
        # The added pixels give an empty mask a Dice coefficient too.
        return loss + self.dice_weight * (1 - (2 * both + 1) / (either + 1))

    def get_config(self):
        return {**super().get_config(), "dice_weight": self.dice_weight}


@keras.saving.register_keras_serializable(package="keras_cmsa")
class ExistenceLoss(keras.losses.Loss):
    """Binary cross-entropy of whether anything fits, a value for each sentence.

    Call arguments:
        y_true: `(B, K)` of 0 and 1.
        y_pred: `(B, K)` in 0..1.
        sample_weight: `(B, K)`, 0 at no sentence.
    """

    def __init__(self, name="existence_loss", **kwargs):
        super().__init__(name=name, **{"reduction": "mean_with_sample_weight", **kwargs})

    def call(self, y_true, y_pred):
        return ops.binary_crossentropy(y_true, y_pred)
