"""The TensorFlow twin of `keras_cmsa.preprocessing.fitting`."""

import tensorflow as tf


def placement(height, width, size, resizing):
    """Computes where an image lies in the square, for integer tensors `height` and `width`.

    Returns:
        `(new_height, new_width, top, left)` in pixels of the square.
    """
    if resizing == "stretch":
        return size, size, 0, 0
    height, width = tf.cast(height, tf.float64), tf.cast(width, tf.float64)
    scale = tf.minimum(size / height, size / width)
    # tf.round rounds halves to even, as Python does.
    new_height, new_width = (
        tf.maximum(1, tf.cast(tf.round(side * scale), tf.int32)) for side in (height, width)
    )
    return new_height, new_width, (size - new_height) // 2, (size - new_width) // 2


def to_square(pixels, size, resizing):
    """Fits pixels `(H, W, C)` to the square: `(size, size, C)` float32."""
    height, width = tf.shape(pixels)[0], tf.shape(pixels)[1]
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
    placed = placement(original_size[0], original_size[1], array.shape[0], resizing)
    new_height, new_width, top, left = placed
    inside = array[top : top + new_height, left : left + new_width, None]
    return tf.image.resize(inside, original_size, "bilinear", antialias=False)[..., 0]
