"""What stands around a network from the pixels of a photo to masks, in operations of ONNX and LiteRT.

The rule of the masks is `strict` alone: that of `tf_phrasecut` hangs on the last bit of a resize.
"""

import tensorflow as tf

from keras_cmsa.export.graph.fitting import placement
from keras_cmsa.export.graph.masks import score_and_box
from keras_cmsa.preprocessing.preprocessor import INSIDE
from keras_cmsa.presets.files import fits


class PhotoGraph:
    """The two graphs before and after a network with a square of side S and N words.

    Together they take `image` `(H, W, 3)` uint8 RGB and `words` `(K, N)` int32, 0 at padding, and
    give `mask` `(K, H, W)` uint8, 255 inside and 0 outside; `probabilities`, `score`, `box`, `exists`
    and `existence` as the signature `segment_many` of `export_saved_model` does, without B; and
    `valid` `(K,)` bool, False for ids outside of the vocabulary and a sentence without a word. All
    else of such a sentence is 0.

    Args:
        size: S in pixels.
        resizing: how images fill the square.
        vocabulary_size: ids are below it.
        threshold: the least `exists` of the network that means a target.
    """

    def __init__(self, size, resizing, vocabulary_size, threshold):
        self.size = size
        self.resizing = resizing
        self.vocabulary_size = vocabulary_size
        self.threshold = threshold

    def before(self, image, words):
        """The network's inputs, `square` and `ids`; `valid` `(K,)` and `sides` `(2,)` int32."""
        sides = tf.shape(image)[:2]
        is_known = tf.reduce_all((words >= 0) & (words < self.vocabulary_size), axis=-1)
        valid = is_known & tf.reduce_any(words > 0, axis=-1)
        ids = tf.where(valid[:, None], words, 0)
        # A product fails without a sentence.
        ids = tf.pad(ids, [[0, tf.maximum(1 - tf.shape(ids)[0], 0)], [0, 0]])
        # LiteRT takes another number of axes or channels without a word; this does not.
        image = tf.reshape(image, [sides[0], sides[1], 3])
        new_height, new_width, top, left = self.placement(sides)
        square = resize_axis(resize_axis(image, new_height, 0), new_width, 1)
        bottom, right = self.size - top - new_height, self.size - left - new_width
        square = tf.pad(square, [[top, bottom], [left, right], [0, 0]])
        return {
            "square": tf.reshape(square, (1, self.size, self.size, 3)),
            "ids": ids[None],
            "valid": valid,
            "sides": sides,
        }

    def after(self, outputs, valid, sides):
        """The answer, from the network's `logits` and, if it has it, `exists`."""
        count = tf.shape(valid)[0]
        outputs = {name: outputs[name][0, :count] for name in outputs}
        probabilities = tf.sigmoid(outputs["logits"][..., 0])
        probabilities = tf.where(valid[:, None, None], probabilities, 0.0)
        exists = valid
        if "exists" in outputs:
            exists = valid & fits(outputs["exists"], self.threshold)
        new_height, new_width, top, left = self.placement(sides)
        inside = probabilities[:, top : top + new_height, left : left + new_width]
        undone = resize_axis(resize_axis(inside, sides[0], 1), sides[1], 2)
        mask = (undone >= INSIDE) & exists[:, None, None]
        score, box = score_and_box(mask, undone)
        answer = {
            "mask": tf.cast(255 * tf.cast(mask, tf.int32), tf.uint8),
            "probabilities": probabilities,
            "score": score,
            "box": box,
            "exists": exists,
            "valid": valid,
        }
        if "exists" in outputs:
            answer["existence"] = tf.where(valid, outputs["exists"], 0.0)
        return answer

    def placement(self, sides):
        return placement(sides[0], sides[1], self.size, self.resizing)


def resize_axis(array, length, axis):
    """Bilinear resizing of an axis, in the steps of `preprocessing.fitting`, so with its roundings."""
    old = tf.shape(array)[axis]
    scale = tf.cast(old, tf.float32) / tf.cast(length, tf.float32)
    centre = (tf.cast(tf.range(length), tf.float32) + 0.5) * scale - 0.5
    centre = tf.clip_by_value(centre, 0.0, tf.cast(old - 1, tf.float32))
    below = tf.cast(centre, tf.int32)
    weight = centre - tf.cast(below, tf.float32)
    weight = tf.reshape(weight, [-1, *[1] * (array.shape.rank - 1 - axis)])
    start, end = (
        tf.cast(tf.gather(array, place, axis=axis), tf.float32)
        for place in (below, tf.minimum(below + 1, old - 1))
    )
    return start + (end - start) * weight
