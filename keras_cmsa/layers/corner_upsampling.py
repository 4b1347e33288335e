"""Bilinear enlargement as TensorFlow 1 did it, which starts at the corner of a pixel."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="keras_cmsa")
class CornerUpsampling2D(keras.layers.Layer):
    """Enlarges a map bilinearly; pixel i of the result lies at i / scale of the map.

    Every `scale`-th pixel is one of the map's, from the first on, and the last `scale - 1` repeat
    the last. `keras.layers.UpSampling2D` lies half a pixel of the map aside: it puts pixel i at
    (i + 0.5) / scale - 0.5.

    Args:
        scale: a whole number.

    Call arguments:
        maps: `(B, H, W, C)`; H, W and C must be known.

    Returns:
        `(B, scale H, scale W, C)`.

    Source: `tf.image.resize_bilinear` with `align_corners=False` of TensorFlow 1.
    """

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, maps):
        _, height, width, channels = maps.shape
        tall = self._enlarge(maps)  # (B, scale H, W, C)
        tall = ops.reshape(tall, (-1, self.scale * height, width, channels))
        wide = self._enlarge(ops.swapaxes(tall, 1, 2))  # (B, scale W, scale H, C)
        wide = ops.reshape(wide, (-1, self.scale * width, self.scale * height, channels))
        return ops.swapaxes(wide, 1, 2)

    def _enlarge(self, maps):
        """`(B, H, W, C)` to `(B, H, scale, W, C)`."""
        share = np.arange(self.scale, dtype="float32") / self.scale
        share = ops.cast(share[:, None, None], maps.dtype)
        following = ops.concatenate([maps[:, 1:], maps[:, -1:]], axis=1)
        return maps[:, :, None] + (following - maps)[:, :, None] * share

    def compute_output_shape(self, maps_shape):
        batch, height, width, channels = maps_shape
        return (batch, height * self.scale, width * self.scale, channels)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
