"""Image and coordinates side by side."""

import keras

from keras_cmsa.layers.ops import append_coordinates


@keras.saving.register_keras_serializable(package="keras_cmsa")
class AppendCoordinates(keras.layers.Layer):
    """Appends the eight coordinates of `spatial_coordinates` to a map as channels.

    Call arguments:
        visual: `(B, H, W, C)`; H and W must be known.

    Returns:
        `(B, H, W, C + 8)`.
    """

    def call(self, visual):
        return append_coordinates(visual)

    def compute_output_shape(self, visual_shape):
        return (*visual_shape[:3], visual_shape[3] + 8)
