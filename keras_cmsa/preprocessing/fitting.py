"""Resizes images to the square input of a network; `Preprocessor.undo` takes maps back over them.

This module needs only NumPy. `keras_cmsa.export.graph.fitting` does the same in a TensorFlow graph;
the tests hold both to the same table of cases.
"""

from fractions import Fraction

import numpy as np

# The ways to make an image square. The authors' code pads; their paper says "resized".
RESIZINGS = ("pad", "stretch")


def placement(height, width, size, resizing="pad"):
    """Computes where an image lies in the square.

    `"pad"` scales the image until it touches two sides of the square, and centres it. `"stretch"`
    scales each side to fill the square. All numbers are plain integers, so any pipeline can use
    them.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        size: side of the square in pixels.
        resizing: one of `RESIZINGS`.

    Returns:
        `(new_height, new_width, top, left)` in pixels of the square. The new sides are rounded
        exactly (halves to even) and are at least 1. If the padding is odd, the extra pixel is
        at the bottom or on the right.

    Raises:
        ValueError: if `resizing` is unknown.
    """
    if resizing not in RESIZINGS:
        raise ValueError(f"resizing must be one of {RESIZINGS}. Received: resizing={resizing!r}")
    if resizing == "stretch":
        return size, size, 0, 0
    # Whole numbers, so that every engine rounds alike; the authors' floats differ in 7 of the 8
    # million sizes up to 4,000 at a side of 320.
    height, width, size = map(int, (height, width, size))  # those of NumPy overflow
    longest = max(height, width)
    new_height, new_width = (
        max(1, round(Fraction(side * size, longest))) for side in (height, width)
    )
    return new_height, new_width, (size - new_height) // 2, (size - new_width) // 2


def to_square(array, size, resizing="pad"):
    """Resizes an image to the square; the padding is 0.

    Args:
        array: `(H, W)` or `(H, W, C)`; an image has values in [0, 255].
        size: side of the square in pixels.
        resizing: one of `RESIZINGS`.

    Returns:
        `(size, size)` or `(size, size, C)` float32, within the range of the input, and 0 in the
        padding.
    """
    array = np.asarray(array)
    new_height, new_width, top, left = placement(*array.shape[:2], size, resizing)
    square = np.zeros((size, size, *array.shape[2:]), "float32")
    square[top : top + new_height, left : left + new_width] = resize_bilinear(
        array, (new_height, new_width)
    )
    return square


def resize_bilinear(array, size):
    """Resizes with bilinear interpolation: half-pixel centres, clamped edges, no antialiasing.

    The result equals that of `tf.image.resize(..., "bilinear", antialias=False)`.

    Args:
        array: `(H, W)` or `(H, W, C)`, any number type.
        size: `(height, width)` of the result in pixels.

    Returns:
        `(height, width)` or `(height, width, C)` float32, within the range of the input.

    Raises:
        ValueError: if the array has another rank or no pixels, or the size is not positive.
    """
    array = np.asarray(array)
    if array.ndim not in (2, 3) or not array.size or min(size) < 1:
        raise ValueError(
            "wanted (H, W) or (H, W, C) pixels and a positive size. "
            f"Received: shape {array.shape}, size {size}"
        )
    return _resize_axis(_resize_axis(array, size[0], axis=0), size[1], axis=1)


def _resize_axis(array, length, axis):
    if array.shape[axis] == length:
        return array.astype("float32")
    below, above, weight = _taps(array.shape[axis], length)
    weight = weight.reshape((-1,) + (1,) * (array.ndim - 1 - axis))
    start = array.take(below, axis).astype("float32", copy=False)
    step = array.take(above, axis).astype("float32", copy=False)
    step -= start
    step *= weight
    step += start
    return step


def _taps(length, new_length):
    """For each new pixel: the indices of its two old neighbours, and the weight of the second."""
    # In float32 and in this order as in TensorFlow; at 640 pixels the rounding makes a difference.
    scale = np.float32(length) / np.float32(new_length)
    centre = (np.arange(new_length, dtype="float32") + np.float32(0.5)) * scale - np.float32(0.5)
    centre = np.clip(centre, np.float32(0), np.float32(length - 1))
    below = centre.astype("int32")
    return below, np.minimum(below + 1, length - 1), centre - below.astype("float32")
