"""Multimodal feature: image, coordinates and word side by side (Eq. 1)."""

import keras

from keras_cmsa.layers.ops import append_coordinates, unit_length


@keras.saving.register_keras_serializable(package="keras_cmsa")
class MultimodalFeature(keras.layers.Layer):
    """The parts of the multimodal feature of Eq. 1, one per position and one per word.

    The paper's feature of position p and word n is

        f_pn = concat( v_p / ||v_p||,  s_p,  e_n / ||e_n|| )

    with the visual vector v_p, the eight coordinates s_p and the word vector e_n. (The paper puts
    the word second; the order of channels only permutes learned weights.) The N * H * W vectors
    have only H * W + N different parts, so the layer returns these: v_p and s_p joined per
    position, and e_n per word.

    Call arguments:
        visual: feature map of one backbone level, `(B, H, W, Cv)`; H and W must be known.
        words: word vectors, `(B, N, Cl)`, or `(B, K, N, Cl)` of K sentences about each image.

    Returns:
        positions: `(B, H, W, Cv + 8)`, the visual part of length 1 (0 where v_p is 0), then
            `spatial_coordinates`.
        words: as they came, each vector of length 1.

    Raises:
        ValueError: if `visual` is not of rank 4 with known height and width.

    Source: Ye et al., "Cross-Modal Self-Attention Network for Referring Image Segmentation",
    CVPR 2019, Sec. 3.1.
    """

    def build(self, visual_shape, words_shape):
        if len(visual_shape) != 4 or None in visual_shape[1:3]:
            raise ValueError(
                "MultimodalFeature needs a feature map (batch, height, width, channels) whose "
                f"height and width are known. Received: shape {tuple(visual_shape)}"
            )

    def call(self, visual, words):
        return append_coordinates(unit_length(visual)), unit_length(words)

    def compute_output_shape(self, visual_shape, words_shape):
        return (*visual_shape[:3], visual_shape[3] + 8), tuple(words_shape)
