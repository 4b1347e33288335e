"""Augmentation that keeps an expression true: mirrored scenes with mirrored words, size and light.

The paper trains without any. Colours decide what many expressions mean, those of UNC+ most of all,
so the hue stays as it is unless asked otherwise.
"""

import re

import numpy as np

from keras_cmsa.text import split_words

# "left" and "right" as a word or in one, such as "leftmost" or "topright", but not in "bright",
# "upright", "alright", "fright", "playwright", "copyright", "outright", "cleft" or "leftovers".
DIRECTION = re.compile(
    r"(?<!\b[bfw])(?<!up)(?<!al)(?<!copy)(?<!out)(?<!playw)right|(?<!\bc)left(?!over)"
)
OTHER = {"left": "right", "right": "left"}

# What says left or right in ways that cannot be swapped for sure: short forms, slips of the
# keyboard, the clock's hands.
UNSURE = frozenset(
    "l r lt rt lf lft rgt lef rigt rigth riht oclock clock clockwise east west".split()
)
# "right behind" is "just behind" unless a place is spoken of: "on the right behind the tree".
AFTER_JUST = frozenset(
    "above after against at before behind below beneath beside between by here in inside near next "
    "on over there under underneath up where".split()
)
BEFORE_PLACE = frozenset(
    "at back bottom bottommost extreme far from front her his in lower mid middle most my of on our "
    "second the their third to top upper very way your".split()
)
# "left behind", "left over": what remains.
AFTER_REMAINS = frozenset("alone behind out over".split())


def mirrored(expression):
    """What the expression becomes when its image is mirrored.

    Args:
        expression: `str`.

    Returns:
        Its words with left and right swapped, joined by spaces; or None if it is not sure that
        swapping keeps its meaning: then the image must stay as it is.
    """
    words = split_words(expression)
    if UNSURE.intersection(words):
        return None
    for before, word, after in zip(["", *words], words, [*words[1:], ""]):
        just = word == "right" and after in AFTER_JUST and before not in BEFORE_PLACE
        if just or (word == "left" and after in AFTER_REMAINS):
            return None
    return " ".join(DIRECTION.sub(lambda found: OTHER[found[0]], word) for word in words)


class Augmentation:
    """Random changes of training samples. The layers are keras-cv's, which need TensorFlow.

    Whether a sample is mirrored follows from the seed and its place in the training alone, as its
    order does. What the layers draw does not: a resumed run draws anew.

    Args:
        flip: probability of mirroring, for expressions that allow it.
        scale: `(smallest, largest)` factor of size; the larger is cut at random, the smaller padded
            with black. None leaves size alone. A sample whose object would be cut away stays.
        brightness: largest shift, as a part of the range of values.
        contrast: largest change of contrast, as a part of it.
        saturation: largest change of saturation, from 0 to 0.5 (grey or twice as much).
        hue: largest shift of hue, from 0 to 1. Anything but 0 makes other colours of colours.
        seed: of all draws.

    Raises:
        ValueError: if a number is out of range.
        ImportError: if keras-cv is needed and not installed.
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
                "wanted flip in 0..1 and scale as (smallest, largest) above 0 or None; received: "
                f"flip={flip}, scale={scale}"
            )
        self.flip = flip
        self.scale = scale
        self.light = {
            "brightness": brightness,
            "contrast": contrast,
            "saturation": saturation,
            "hue": hue,
        }
        self.seed = seed
        self.layers = None  # made for the first batch, whose size they must know

    def flips(self, places):
        """Which samples of the training's stream would be mirrored.

        Args:
            places: `(n,)` integers, places in the stream.

        Returns:
            `(n,)` boolean.
        """
        return np.array(
            [np.random.default_rng([self.seed, place]).random() < self.flip for place in places],
            dtype=bool,
        )

    def __call__(self, images, masks):
        """Changes size and light of a batch.

        Args:
            images: `(B, S, S, 3)` float32 in 0..255.
            masks: `(B, S, S, 1)` float32 of 0 and 1.

        Returns:
            Tensors of TensorFlow of the same shapes and ranges.
        """
        import tensorflow as tf

        if self.layers is None:
            with tf.init_scope():  # their variables belong to no graph
                self.layers = self._light(), self._size(images.shape[1])
        light, size = self.layers
        images, masks = tf.convert_to_tensor(images), tf.convert_to_tensor(masks)
        lit = images
        for layer in light:
            lit = layer(lit, training=True)
        # Padding stays black.
        images = tf.where(tf.reduce_all(images == 0, -1, keepdims=True), 0.0, lit)
        for layer in size:
            sized = layer({"images": images, "segmentation_masks": masks}, training=True)
            new_masks = tf.cast(sized["segmentation_masks"] >= 0.5, tf.float32)
            kept = tf.reduce_any(new_masks > 0, (1, 2, 3), keepdims=True)
            images = tf.where(kept, sized["images"], images)
            masks = tf.where(kept, new_masks, masks)
        return tf.clip_by_value(images, 0.0, 255.0), masks

    def _light(self):
        light = self.light
        if not any(light.values()):
            return []
        cv, values, low = _keras_cv().layers, (0, 255), light["saturation"]
        made = {
            "brightness": lambda: cv.RandomBrightness(light["brightness"], values, seed=self.seed),
            "contrast": lambda: cv.RandomContrast(values, light["contrast"], seed=self.seed),
            "saturation": lambda: cv.RandomSaturation((0.5 - low, 0.5 + low), seed=self.seed),
            "hue": lambda: cv.RandomHue(light["hue"], values, seed=self.seed),
        }
        return [made[name]() for name in made if light[name]]

    def _size(self, side):
        if self.scale is None:
            return []
        return [_keras_cv().layers.JitteredResize((side, side), self.scale, seed=self.seed)]


def _keras_cv():
    try:
        import keras_cv
    except ImportError as error:
        raise ImportError(
            'keras-cv is needed to change size or light: pip install "keras-cmsa[data]"'
        ) from error
    return keras_cv
