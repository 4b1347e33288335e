"""Augmentation that keeps expressions true: mirrored images with mirrored words, scale and light.

The paper trains without augmentation. Many expressions, above all in UNC+, depend on colours, so
the hue is unchanged.
"""

import re

import numpy as np

from keras_cmsa.preprocessing.words import split_words
from keras_cmsa.utils.extras import require

# Matches "left" and "right" as a word or within one, such as "leftmost" or "topright", but not in
# "bright", "upright", "alright", "fright", "playwright", "copyright", "outright", "cleft" or
# "leftovers".
DIRECTION = re.compile(
    r"(?<!\b[bfw])(?<!up)(?<!al)(?<!copy)(?<!out)(?<!playw)right|(?<!\bc)left(?!over)"
)
OPPOSITE = {"left": "right", "right": "left"}

# Words that mean left or right but cannot be swapped safely: short forms, typing errors, clock
# positions and compass points.
UNSAFE = frozenset(
    "l r lt rt lf lft rgt lef rigt rigth riht oclock clock clockwise east west".split()
)
# "right" means "just" before one of these words, as in "right behind the tree", ...
AFTER_JUST = frozenset(
    "above after against at before behind below beneath beside between by here in inside near next "
    "on over there under underneath up where".split()
)
# ... unless it follows one of these, as in "on the right behind the tree".
BEFORE_PLACE = frozenset(
    "at back bottom bottommost extreme far from front her his in lower mid middle most my of on our "
    "second the their third to top upper very way your".split()
)
# "left" means "remaining" before one of these words, as in "left over".
AFTER_REMAINING = frozenset("alone behind out over".split())
# Beside one of these words, or in quotation marks, "left" may be what is to be read in the image.
# Mirrored letters are no other word.
OF_TEXT = frozenset(
    "say says said saying read reads reading write writes written writing print printed word words "
    "worded wording letter letters lettered lettering text texts spell spells spelled spelling "
    "label labels labeled labelled title titled name names named caption call called marked".split()
)
QUOTED = re.compile(
    r"""["“”„«»‹›「『](.*?)["“”„«»‹›」』]|(?<!\w)['‘‚](.*?)['’‘](?!\w)""", re.DOTALL
)


# Smallest and largest scale factor. A larger image is cropped at random, a smaller one is padded
# with black.
SCALES = 0.8, 1.25
BRIGHTNESS = 0.1  # largest shift, as a fraction of the range of values
CONTRAST = 0.2  # largest relative change
SATURATION = 0.4, 0.6  # 0.5 changes nothing


def mirror_expression(expression, raw=""):
    """Swaps left and right in an expression, for a mirrored image.

    Args:
        expression: `str`.
        raw: the expression as it was written, if its quotation marks are not in `expression`.

    Returns:
        The words of the expression with left and right swapped, joined by spaces; or None if the
        swap may change the meaning. Then the image must not be mirrored.
    """
    words = split_words(expression)
    if UNSAFE.intersection(words) or _tells_of_text(words, f"{expression}\n{raw}"):
        return None
    for before, word, after in zip(["", *words], words, [*words[1:], ""]):
        is_just = word == "right" and after in AFTER_JUST and before not in BEFORE_PLACE
        is_remaining = word == "left" and after in AFTER_REMAINING
        if is_just or is_remaining:
            return None
    return " ".join(DIRECTION.sub(lambda match: OPPOSITE[match[0]], word) for word in words)


def _tells_of_text(words, written):
    """Whether a direction in an expression may be text in the image."""
    if not OF_TEXT.intersection(words):
        words = [x for quoted in QUOTED.findall(written) for x in split_words("".join(quoted))]
    return any(DIRECTION.search(word) for word in words)


class Augmentation:
    """Changes training samples at random, with layers of keras-cv, which need TensorFlow.

    Mirroring depends only on the seed and on a row's place in the training, so a resumed run
    mirrors the same rows. The layers' own random numbers start anew when a run resumes.

    Args:
        flip: probability of mirroring, for expressions that allow it.
        changes: whether scale and light change too.
        seed: seed of all random numbers.

    Raises:
        ModuleNotFoundError: when it is called, if keras-cv is needed but not installed.
    """

    def __init__(self, flip=0.5, changes=True, seed=0):
        self.flip = flip
        self.changes = changes
        self.seed = seed
        self.change = None  # built for the first batch, because it needs its size

    def flips(self, places):
        """Says which rows of a training are mirrored if their expressions allow it.

        Args:
            places: `(n,)` integers, the rows' places in the training, from 0.

        Returns:
            `(n,)` boolean.
        """
        return np.array(
            [np.random.default_rng([self.seed, place]).random() < self.flip for place in places],
            dtype=bool,
        )

    def __call__(self, images, masks):
        """Changes the scale and the light of a batch.

        Args:
            images: `(B, S, S, 3)` float32 in 0..255.
            masks: `(B, S, S, K)` float32 of 0 and 1, those of K samples of the image.

        Returns:
            `(images, masks)` of the same shapes and ranges, as TensorFlow tensors if they change.
        """
        if not self.changes:
            return images, masks
        if self.change is None:
            self.change = light_and_scale(images.shape[1], self.seed)
        return self.change(images, masks)


def light_and_scale(side, seed):
    """A function as `Augmentation` is one, compiled by TensorFlow, for images of one side."""
    layers, values = layers_of_light_and_scale(), (0, 255)
    import tensorflow as tf

    light = [
        layers.RandomBrightness(BRIGHTNESS, values, seed=seed),
        layers.RandomContrast(values, CONTRAST, seed=seed),
        layers.RandomSaturation(SATURATION, seed=seed),
    ]
    scale = layers.JitteredResize((side, side), SCALES, seed=seed)

    @tf.function(autograph=False, reduce_retracing=True)
    def change(images, masks):
        lit = images
        for layer in light:
            lit = layer(lit, training=True)
        # Padding stays black.
        images = tf.where(tf.reduce_all(images == 0, -1, keepdims=True), 0.0, lit)
        scaled = scale({"images": images, "segmentation_masks": masks}, training=True)
        new_masks = tf.cast(scaled["segmentation_masks"] >= 0.5, tf.float32)
        had, has = (tf.reduce_any(x > 0, (1, 2), keepdims=True) for x in (masks, new_masks))
        # An image keeps its scale if one of its objects would be cut away.
        has_all = tf.reduce_all(has | ~had, -1, keepdims=True)
        images = tf.where(has_all, scaled["images"], images)
        return tf.clip_by_value(images, 0.0, 255.0), tf.where(has_all, new_masks, masks)

    return change


def layers_of_light_and_scale():
    """The module of keras-cv's layers.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    return require("keras_cv", "data", "Changing scale or light").layers
