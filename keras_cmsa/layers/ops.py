"""Functions of tensors that several layers and models share."""

import numpy as np
from keras import ops

# Stands for minus infinity in a masked score: its exponential is 0, and inf - inf cannot arise.
MASKED = -1e30


def unit_length(vectors):
    """`vectors / ||vectors||` over the last axis; 0 stays 0, with a finite gradient there."""
    # Squares overflow float16 from 256 on. keras.ops.normalize has no gradient at 0, the vector of
    # a position where every ReLU is off.
    wide = ops.cast(vectors, "float32")
    squared = ops.sum(ops.square(wide), axis=-1, keepdims=True)
    return ops.cast(wide * ops.rsqrt(ops.maximum(squared, 1e-12)), vectors.dtype)


def spatial_coordinates(height, width):
    """The coordinates of each cell of a map: `(height, width, 8)` float32 NumPy array.

    Channels: xmin, ymin, xmax, ymax, xcentre, ycentre of the cell, where the image spans [-1, 1],
    then 1/width and 1/height.
    """
    x = np.arange(width + 1) * 2.0 / width - 1.0
    y = np.arange(height + 1) * 2.0 / height - 1.0
    xmin, ymin = np.meshgrid(x[:-1], y[:-1])
    xmax, ymax = np.meshgrid(x[1:], y[1:])
    size = np.broadcast_to([1.0 / width, 1.0 / height], (height, width, 2))
    corners = [xmin, ymin, xmax, ymax, (xmin + xmax) / 2, (ymin + ymax) / 2]
    return np.concatenate([np.stack(corners, -1), size], -1).astype("float32")


def append_coordinates(visual):
    """`(B, H, W, C)` with `spatial_coordinates` as further channels: `(B, H, W, C + 8)`."""
    _, height, width, _ = visual.shape
    coordinates = ops.cast(spatial_coordinates(height, width), visual.dtype)
    coordinates = ops.broadcast_to(coordinates[None], (ops.shape(visual)[0], height, width, 8))
    return ops.concatenate([visual, coordinates], axis=-1)


def word_shares(words, word_mask):
    """The weight of each word in a mean over the words of its sentence: `(..., N)` float32.

    It is 1 / (number of words) at a word and 0 at padding.

    Args:
        words: `(..., N, C)`.
        word_mask: `(..., N)` bool, False at padding; `None`: all are words.
    """
    if word_mask is None:
        word_mask = ops.ones(ops.shape(words)[:-1], "float32")
    mask = ops.cast(word_mask, "float32")
    return mask / ops.maximum(ops.sum(mask, axis=-1, keepdims=True), 1.0)


def softmax(scores):
    """Softmax over the last axis, which may have a single entry."""
    # keras.ops.softmax warns about a last axis of size one; here that is an expression of one word.
    return ops.softmax(scores, axis=-1) if scores.shape[-1] != 1 else ops.ones_like(scores)


def matmul_transposed(left, right):
    """`left` `(..., R, d)` times the transpose of `right` `(..., K, d)`: `(..., R, K)`."""
    return ops.matmul(left, ops.swapaxes(right, -1, -2))
