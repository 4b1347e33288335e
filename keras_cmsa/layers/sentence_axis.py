"""The axis of sentences: K sentences about each of B images as B K rows, and back.

A system that joins image and words early works on rows, an image and a sentence each.
"""

import keras
from keras import ops


def as_rows(tensor):
    """`(B, K, ...)` to `(B K, ...)`; the trailing axes must be known."""
    return ops.reshape(tensor, (-1, *tensor.shape[2:]))


@keras.saving.register_keras_serializable(package="keras_cmsa")
class RepeatPerSentence(keras.layers.Layer):
    """Repeats a map of an image for each of its sentences.

    Call arguments:
        maps: `(B, H, W, C)`; H, W and C must be known.
        words: `(B, K, N)`, for its K.

    Returns:
        `(B K, H, W, C)`.
    """

    def call(self, maps, words):
        batch, sentences = ops.shape(words)[:2]
        size = maps.shape[1:]
        return ops.reshape(
            ops.broadcast_to(maps[:, None], (batch, sentences, *size)), (batch * sentences, *size)
        )

    def compute_output_spec(self, maps, words):
        return keras.KerasTensor((None, *maps.shape[1:]), self.compute_dtype)


@keras.saving.register_keras_serializable(package="keras_cmsa")
class FromRows(keras.layers.Layer):
    """Gives rows their sentence axis back; undoes `as_rows`.

    Call arguments:
        rows: `(B K, ...)`; the trailing axes must be known.
        words: `(B, K, N)`, for its B and K.

    Returns:
        `(B, K, ...)`.
    """

    def call(self, rows, words):
        return ops.reshape(rows, (*ops.shape(words)[:2], *rows.shape[1:]))

    def compute_output_spec(self, rows, words):
        return keras.KerasTensor((*words.shape[:2], *rows.shape[1:]), self.compute_dtype)
