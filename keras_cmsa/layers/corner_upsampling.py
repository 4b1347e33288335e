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
        share = np.arange(self.scale, dtype="float32") / self.scale
        share = ops.cast(share[:, None, None], maps.dtype)
        for _ in range(2):  # along the height, then along the width
            _, height, width, channels = maps.shape
            following = ops.concatenate([maps[:, 1:], maps[:, -1:]], axis=1)
            maps = maps[:, :, None] + (following - maps)[:, :, None] * share
            maps = ops.reshape(maps, (-1, self.scale * height, width, channels))
            maps = ops.swapaxes(maps, 1, 2)
        return maps

    def compute_output_shape(self, maps_shape):
        batch, height, width, channels = maps_shape
        return (batch, height * self.scale, width * self.scale, channels)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
