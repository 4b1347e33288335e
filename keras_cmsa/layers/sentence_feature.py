"""Image, place and sentence side by side, and the two parts without the third."""

import keras
from keras import ops

from keras_cmsa.layers.multimodal_feature import spatial_coordinates, unit_length


@keras.saving.register_keras_serializable(package="keras_cmsa")
class SentenceFeature(keras.layers.Layer):
    """The joint feature of networks that read a sentence into one vector.

    Eq. 1 with the whole sentence in the place of a word: per position the visual vector, brought to
    length 1, the eight coordinates, and the sentence vector, brought to length 1.

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
    """A map with the eight coordinates of `spatial_coordinates` as further channels.

    Call arguments:
        visual: `(B, H, W, C)`; H and W must be known.

    Returns:
        `(B, H, W, C + 8)`.
    """

    def call(self, visual):
        return append_coordinates(visual)

    def compute_output_shape(self, visual_shape):
        return (*visual_shape[:3], visual_shape[3] + 8)


def append_coordinates(visual):
    _, height, width, _ = visual.shape
    coordinates = ops.cast(spatial_coordinates(height, width), visual.dtype)
    coordinates = ops.broadcast_to(coordinates[None], (ops.shape(visual)[0], height, width, 8))
    return ops.concatenate([visual, coordinates], axis=-1)
