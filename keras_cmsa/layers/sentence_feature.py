"""Image, coordinates and sentence vector side by side, and image and coordinates alone."""

import keras
from keras import ops

from keras_cmsa.layers.ops import append_coordinates, unit_length


@keras.saving.register_keras_serializable(package="keras_cmsa")
class SentenceFeature(keras.layers.Layer):
    """The joint feature of networks that encode an expression as one vector.

    It is Eq. 1 with one vector for the whole expression instead of one per word: at each position
    the visual vector of length 1, the eight coordinates and the sentence vector of length 1.

    Call arguments:
        visual: feature map, `(B, H, W, Cv)`; H and W must be known.
        sentence: `(B, Cl)`.

    Returns:
        `(B, H, W, Cv + 8 + Cl)`.

    Source: Hu et al., "Segmentation from Natural Language Expressions", ECCV 2016.
    """

    def call(self, visual, sentence):
        _, height, width, _ = visual.shape
        tiled = unit_length(sentence)[:, None, None]
        shape = (ops.shape(visual)[0], height, width, sentence.shape[-1])
        placed = append_coordinates(unit_length(visual))
        return ops.concatenate([placed, ops.broadcast_to(tiled, shape)], axis=-1)

    def compute_output_shape(self, visual_shape, sentence_shape):
        return (*visual_shape[:3], visual_shape[3] + 8 + sentence_shape[-1])


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
