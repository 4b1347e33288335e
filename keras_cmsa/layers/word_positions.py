"""A learned vector per place in the expression: word order, which Eq. 1 does not have."""

import keras


@keras.saving.register_keras_serializable(package="keras_cmsa")
class WordPositions(keras.layers.Layer):
    """Adds a learned vector of place n to word n of an expression. It is not in the paper.

    Call arguments:
        words: word vectors, `(..., N, Cl)`; N must be known.

    Returns:
        As `words`.
    """

    def build(self, words_shape):
        # The same range as the word vectors' initial values.
        self.vectors = self.add_weight(
            shape=tuple(words_shape[-2:]),
            initializer=keras.initializers.RandomUniform(-0.08, 0.08),
            name="vectors",
        )

    def call(self, words):
        return words + self.vectors

    def compute_output_shape(self, words_shape):
        return words_shape
