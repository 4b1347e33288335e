"""What tells whether anything in an image fits a sentence, from words and the fused map."""

import keras
from keras import layers, ops

from keras_cmsa.layers.ops import matmul_transposed, softmax, word_shares


@keras.saving.register_keras_serializable(package="keras_cmsa")
class ExistenceFeature(keras.layers.Layer):
    """A vector for each sentence that says how well its words meet with the image.

        a_n = softmax over positions p of q_n . k_p / sqrt(D),  q_n = W_q e_n,  k_p = W_k x_p
        h_n = ReLU(W_h [q_n; v_n; q_n * v_n; max_p q_n . k_p / sqrt(D)]),  v_n = sum_p a_np W_v x_p
        f = ReLU(W_f [max_n h_n; mean_n h_n; max_p x_p; mean_p x_p])

    The softmax says where a word fits best and not how well, so the largest product stands beside
    it. The vector is read before the mask, which may be a blob where nothing fits. Ours; that a head
    of its own decides is as in Liu et al., "GRES", CVPR 2023.

    Args:
        dim: length D of the vector.

    Call arguments:
        fused: `(R, H, W, F)`, a row for each sentence.
        words: `(R, N, C)`, the vectors of its words e_n.
        word_mask: `(R, N)` bool, False at padding.

    Returns:
        `(R, D)`.
    """

    def __init__(self, dim=64, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.query = layers.Dense(dim, dtype=self.dtype_policy, name="query")
        self.key = layers.Dense(dim, dtype=self.dtype_policy, name="key")
        self.value = layers.Dense(dim, dtype=self.dtype_policy, name="value")
        self.match = layers.Dense(dim, activation="relu", dtype=self.dtype_policy, name="match")
        self.join = layers.Dense(dim, activation="relu", dtype=self.dtype_policy, name="join")

    def build(self, fused_shape, words_shape, word_mask_shape):
        self.query.build(words_shape)
        self.key.build(fused_shape)
        self.value.build(fused_shape)
        self.match.build((*words_shape[:-1], 3 * self.dim + 1))
        self.join.build((None, 2 * self.dim + 2 * fused_shape[-1]))

    def call(self, fused, words, word_mask):
        positions = ops.reshape(fused, (-1, fused.shape[1] * fused.shape[2], fused.shape[3]))
        query, value = self.query(words), self.value(positions)  # (R, N, D), (R, P, D)
        # Low precision has too few bits for scores that an exponential will magnify.
        wide = [ops.cast(x, "float32") for x in (query, self.key(positions))]
        scores = matmul_transposed(*wide) * self.dim**-0.5  # (R, N, P)
        seen = ops.matmul(ops.cast(softmax(scores), value.dtype), value)  # (R, N, D)
        best = ops.cast(ops.max(scores, axis=-1, keepdims=True), query.dtype)
        matches = self.match(ops.concatenate([query, seen, query * seen, best], axis=-1))
        shares = ops.cast(word_shares(words, word_mask), matches.dtype)
        # A word's match is 0 or more, so padding can be 0 in the maximum.
        strongest = ops.max(ops.where(word_mask[..., None], matches, 0), axis=1)
        mean = ops.einsum("rn,rnd->rd", shares, matches)
        peaks, level = ops.max(positions, axis=1), ops.mean(positions, axis=1)
        return self.join(ops.concatenate([strongest, mean, peaks, level], axis=-1))

    def compute_output_spec(self, fused, words, word_mask):
        return keras.KerasTensor((fused.shape[0], self.dim), self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "dim": self.dim}
