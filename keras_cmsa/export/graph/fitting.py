"""The TensorFlow twin of `keras_cmsa.preprocessing.fitting` and of `Preprocessor.undo`."""

import tensorflow as tf


def placement(height, width, size, resizing):
    """Computes where an image lies in the square, for integer tensors `height` and `width`.

    It counts in their dtype, which must hold the product of a side and `size`.

    Returns:
        `(new_height, new_width, top, left)` int32 in pixels of the square.
    """
    if resizing == "stretch":
        return size, size, 0, 0
    longest = tf.maximum(height, width)
    new_height, new_width = (
        tf.maximum(1, tf.cast(rounded(side * size, longest), tf.int32)) for side in (height, width)
    )
    return new_height, new_width, (size - new_height) // 2, (size - new_width) // 2


def rounded(a, b):
    """`a / b` of positive integers, rounded exactly, halves to even."""
    below = a // b
    twice = 2 * (a - b * below)
    is_up = (twice > b) | ((twice == b) & (below % 2 == 1))
    return below + tf.cast(is_up, below.dtype)


def to_square(pixels, size, resizing):
    """Fits pixels `(H, W, C)` to the square: `(size, size, C)` float32."""
    height, width = tf.unstack(tf.shape(pixels, tf.int64)[:2])
    new_height, new_width, top, left = placement(height, width, size, resizing)
    resized = tf.image.resize(pixels, (new_height, new_width), "bilinear", antialias=False)
    square = tf.image.pad_to_bounding_box(resized, top, left, size, size)
    return tf.ensure_shape(square, (size, size, pixels.shape[-1]))


def from_square(array, original_size, resizing):
    """Undoes `to_square` for a map.

    Args:
        array: `(S, S)`.
        original_size: `(2,)` int32, height and width of the image.
        resizing: as in `to_square`.

    Returns:
        `(H, W)` float32.
    """
    height, width = tf.unstack(tf.cast(original_size, tf.int64))
    placed = placement(height, width, array.shape[0], resizing)
    new_height, new_width, top, left = placed
    inside = array[top : top + new_height, left : left + new_width, None]
    return tf.image.resize(inside, original_size, "bilinear", antialias=False)[..., 0]
