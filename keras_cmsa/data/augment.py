"""Augmentation that keeps expressions true: mirrored images with mirrored words, scale and light.

The paper trains without augmentation. Many expressions, above all in UNC+, depend on colours, so
the hue is unchanged by default.
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
    if OF_TEXT.intersection(words):
        return _has_direction(words)
    return any(_has_direction(split_words("".join(quoted))) for quoted in QUOTED.findall(written))


def _has_direction(words):
    return any(DIRECTION.search(word) for word in words)


class Augmentation:
    """Changes training samples at random, with layers of keras-cv, which need TensorFlow.

    Mirroring depends only on the seed and on a row's place in the training, so a resumed run
    mirrors the same rows. The layers' own random numbers start anew when a run resumes.

    Args:
        flip: probability of mirroring, for expressions that allow it.
        scale: `(smallest, largest)` scale factor. A larger image is cropped at random, a smaller
            one is padded with black. None keeps the scale. An image is unchanged if one of its
            objects would be cut away.
        brightness: largest shift of brightness, as a fraction of the range of values.
        contrast: largest relative change of contrast.
        saturation: largest change of saturation, from 0 to 0.5 (0.5 gives grey to double).
        hue: largest shift of hue, from 0 to 1. Any value but 0 changes colours into others.
        seed: seed of all random numbers.

    Raises:
        ValueError: if a number is out of range.
        ModuleNotFoundError: if keras-cv is needed but not installed.
    """

    def __init__(
        self,
        flip=0.5,
        scale=(0.8, 1.25),
        brightness=0.1,
        contrast=0.2,
        saturation=0.1,
        hue=0.0,
        seed=0,
    ):
        if not 0 <= flip <= 1 or (scale is not None and not 0 < scale[0] <= scale[1]):
            raise ValueError(
                "wanted flip in 0..1 and scale as (smallest, largest) above 0 or None. "
                f"Received: flip={flip}, scale={scale}"
            )
        self.flip = flip
        self.scale = scale
        self.light = brightness, contrast, saturation, hue
        self.seed = seed
        self.layers = None  # built for the first batch, because they need its size

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
            `(images, masks)`: TensorFlow tensors of the same shapes and ranges.
        """
        import tensorflow as tf

        if self.layers is None:
            with tf.init_scope():  # outside of any graph, so that graphs can share the variables
                self.layers = self._light_layers(), self._scale_layers(images.shape[1])
        light_layers, scale_layers = self.layers
        images, masks = tf.convert_to_tensor(images), tf.convert_to_tensor(masks)
        lit = images
        for layer in light_layers:
            lit = layer(lit, training=True)
        # Padding stays black.
        images = tf.where(tf.reduce_all(images == 0, -1, keepdims=True), 0.0, lit)
        for layer in scale_layers:
            scaled = layer({"images": images, "segmentation_masks": masks}, training=True)
            new_masks = tf.cast(scaled["segmentation_masks"] >= 0.5, tf.float32)
            had, has = (tf.reduce_any(x > 0, (1, 2), keepdims=True) for x in (masks, new_masks))
            has_all = tf.reduce_all(has | ~had, -1, keepdims=True)
            images = tf.where(has_all, scaled["images"], images)
            masks = tf.where(has_all, new_masks, masks)
        return tf.clip_by_value(images, 0.0, 255.0), masks

    def _light_layers(self):
        if not any(self.light):
            return []
        brightness, contrast, saturation, hue = self.light
        cv, values, seed = _keras_cv().layers, (0, 255), self.seed
        layers = (
            brightness and cv.RandomBrightness(brightness, values, seed=seed),
            contrast and cv.RandomContrast(values, contrast, seed=seed),
            saturation and cv.RandomSaturation((0.5 - saturation, 0.5 + saturation), seed=seed),
            hue and cv.RandomHue(hue, values, seed=seed),
        )
        return [layer for layer in layers if layer]

    def _scale_layers(self, side):
        if self.scale is None:
            return []
        return [_keras_cv().layers.JitteredResize((side, side), self.scale, seed=self.seed)]


def _keras_cv():
    return require("keras_cv", "data", "Changing scale or light")
