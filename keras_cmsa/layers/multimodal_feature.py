"""Multimodal feature: image, place and word side by side (Eq. 1)."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="keras_cmsa")
class MultimodalFeature(keras.layers.Layer):
    """The parts of the multimodal feature of Eq. 1, one per position and one per word.

    The paper's feature of position p and word n is

        f_pn = concat( v_p / ||v_p||,  s_p,  e_n / ||e_n|| )

    with the visual vector v_p, the eight coordinates s_p and the word vector e_n. (The paper puts
    the word second; the order of channels is a permutation of learned weights.) Of its
    N * H * W vectors only H * W + N parts are different, so the layer returns those: the first two
    thirds joined per position, and the words. `join_features` builds F itself, to look at.

    Call arguments:
        visual: feature map of one backbone level, `(B, H, W, Cv)`; H and W must be known.
        words: word vectors, `(B, N, Cl)`.

    Returns:
        positions: `(B, H, W, Cv + 8)`, the visual part of length 1 (0 where v_p is 0), then
            `spatial_coordinates`.
        words: `(B, N, Cl)`, each vector of length 1.

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
        return position_feature(visual), unit_length(words)

    def compute_output_shape(self, visual_shape, words_shape):
        return (*visual_shape[:3], visual_shape[3] + 8), tuple(words_shape)


def position_feature(visual):
    """The part of Eq. 1 that no word has a part in: `(B, H, W, Cv)` to `(B, H, W, Cv + 8)`."""
    _, height, width, _ = visual.shape
    coordinates = ops.cast(spatial_coordinates(height, width), visual.dtype)
    coordinates = ops.broadcast_to(
        coordinates[None], (ops.shape(visual)[0], height, width, 8)
    )  # (B, H, W, 8)
    return ops.concatenate([unit_length(visual), coordinates], axis=-1)


def spatial_coordinates(height, width):
    """Where each cell of a map lies: `(height, width, 8)` float32, the image spanning [-1, 1].

    Channels: xmin, ymin, xmax, ymax, xcentre, ycentre of the cell, then 1/width and 1/height.
    """
    x = np.arange(width + 1) * 2.0 / width - 1.0
    y = np.arange(height + 1) * 2.0 / height - 1.0
    xmin, ymin = np.meshgrid(x[:-1], y[:-1])
    xmax, ymax = np.meshgrid(x[1:], y[1:])
    size = np.broadcast_to([1.0 / width, 1.0 / height], (height, width, 2))
    corners = [xmin, ymin, xmax, ymax, (xmin + xmax) / 2, (ymin + ymax) / 2]
    return np.concatenate([np.stack(corners, -1), size], -1).astype("float32")


def unit_length(vectors):
    """`vectors / ||vectors||` over the last axis; 0 stays 0, with a finite gradient there."""
    # float16 squares overflow at 256, and keras.ops.normalize has no gradient at 0, which is what a
    # position where every ReLU is off gives.
    wide = ops.cast(vectors, "float32")
    squared = ops.sum(ops.square(wide), axis=-1, keepdims=True)
    return ops.cast(wide * ops.rsqrt(ops.maximum(squared, 1e-12)), vectors.dtype)


def join_features(positions, words):
    """F of Eq. 1 in full, `(B, N, H, W, Cv + 8 + Cl)`, from the two parts of the layer."""
    batch, height, width, channels = ops.shape(positions)
    _, count, word_channels = ops.shape(words)
    shape = (batch, count, height, width)
    positions = ops.broadcast_to(positions[:, None], (*shape, channels))
    words = ops.broadcast_to(words[:, :, None, None], (*shape, word_channels))
    return ops.concatenate([positions, words], axis=-1)
