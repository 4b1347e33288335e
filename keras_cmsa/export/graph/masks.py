"""The TensorFlow twin of `keras_cmsa.inference.masks`, with the score and the box of each mask."""

import tensorflow as tf

from keras_cmsa.export.graph.fitting import from_square
from keras_cmsa.preprocessing.preprocessor import INSIDE


def strict_mask(logits, original_size, resizing):
    """The mask of probabilities of at least `INSIDE` at the original size."""
    return from_square(tf.sigmoid(logits), original_size, resizing) >= INSIDE


def tf_phrasecut_mask(logits, original_size, resizing):
    """The rule of the code that CMSA, RMI and RRN share."""
    foreground = tf.cast(logits >= 1e-9, tf.float32)[..., None]
    if resizing == "stretch":
        return tf.image.resize(foreground, original_size, "bilinear", antialias=False)[..., 0] > 0
    side = tf.cast(foreground.shape[0], tf.float64)
    scale = tf.reduce_max(tf.cast(original_size, tf.float64)) / side
    cover = tf.cast(tf.round(side * scale), tf.int32)
    covering = tf.image.resize(foreground, (cover, cover), "bilinear", antialias=False)[..., 0]
    top, left = (cover - original_size[0]) // 2, (cover - original_size[1]) // 2
    return covering[top : top + original_size[0], left : left + original_size[1]] > 0


MASKS = {"strict": strict_mask, "tf_phrasecut": tf_phrasecut_mask, "gres": strict_mask}


def find_masks(logits, sizes, resizing="pad", profile="strict"):
    """Masks at the sizes of the original images.

    Args:
        logits: `(B, S, S)` float32.
        sizes: `(B, 2)` int32, height and width.
        resizing: how images fill the square.
        profile: the rule, a key of `keras_cmsa.inference.masks.PROFILES`.

    Returns:
        pngs: `(B,)` strings, PNG of one channel, 255 inside and 0 outside.
        scores: `(B,)` float32, mean probability over the mask; 0 where it is empty.
        boxes: `(B, 4)` float32, left, top, right and bottom of the mask, as shares of the width and
            height; 0 where it is empty.
    """

    def find(row):
        logit, size = row
        mask = MASKS[profile](logit, size, resizing)
        probability = from_square(tf.sigmoid(logit), size, resizing)
        png = tf.io.encode_png(tf.cast(mask, tf.uint8)[..., None] * 255)
        return png, *score_and_box(mask, probability)

    signature = (
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((), tf.float32),
        tf.TensorSpec((4,), tf.float32),
    )
    return tf.map_fn(find, (logits, sizes), fn_output_signature=signature)


def score_and_box(mask, probability):
    """The scores `(...)` and boxes `(..., 4)`, as in `find_masks`, of masks `(..., H, W)`."""
    # Line by line, since float32 cannot count the pixels of a large photo one by one.
    area, total = (
        tf.reduce_sum(tf.reduce_sum(tf.where(mask, x, 0.0), axis=-1), axis=-1)
        for x in (tf.ones_like(probability), probability)
    )
    left, right = extent(tf.reduce_any(mask, axis=-2))
    top, bottom = extent(tf.reduce_any(mask, axis=-1))
    return total / tf.maximum(area, 1.0), tf.stack([left, top, right, bottom], axis=-1)


def extent(line):
    """Where the True values of `(..., n)` bool start and end, as shares of n; 0 and 0 if none.

    The end is just after the last True.
    """
    length = tf.shape(line)[-1]
    place = tf.range(length)
    last = tf.reduce_max(tf.where(line, place + 1, 0), axis=-1)
    first = tf.reduce_min(tf.where(line, place, last[..., None]), axis=-1)
    share = tf.cast(tf.maximum(length, 1), tf.float32)
    return tf.cast(first, tf.float32) / share, tf.cast(last, tf.float32) / share
