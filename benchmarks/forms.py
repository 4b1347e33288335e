"""Forms of one level's attention: each computes the mean over n of vhat_pn (Eqs. 2-3).

They start from ready-made query, key and value parts:

    factorised      keras_cmsa.layers.pair_attention.attend
    literal         q_pn, k_pn, v_pn for all N * P pairs, the N * P x N * P scores, softmax, product
    fused           the same by the backend's own attention
    plain           another sum: self-attention over the P positions alone, without words
"""

import numpy as np
from keras import ops

from keras_cmsa.layers.ops import word_shares
from keras_cmsa.layers.pair_attention import attend


def draw_parts(positions, words, width, dtype="float32"):
    """Query, key and value: pairs of a position part `(1, P, d)` and a word part `(1, N, d)`."""
    rng = np.random.default_rng(0)

    def draw(scale):
        return [
            ops.convert_to_tensor(scale * rng.normal(size=(1, count, width)), dtype)
            for count in (positions, words)
        ]

    # A score is a product of two sums of two: 4 d terms of variance scale^4. Its deviation is 1.
    scale = (1 / (2 * width**0.5)) ** 0.5
    return draw(scale), draw(scale), draw(1.0)


def factorised(query, key, value, query_chunk=None):
    query, key, value = ([positions, words[:, None]] for positions, words in (query, key, value))
    share = word_shares(value[1], None)  # (1, 1, N): one sentence
    return attend(query, key, value, share, query_chunk=query_chunk)[0][:, 0]


def literal(query, key, value):
    """Eqs. 2-3 as they stand, `(1, P, d)`."""
    query, key, joint = (all_pairs(*parts) for parts in (query, key, value))
    weights = ops.softmax(ops.matmul(key, ops.swapaxes(query, -1, -2)))  # (1, N P, N P)
    return mean_over_words(ops.matmul(weights, joint), value)


def fused(query, key, value):
    """The literal form as a user of the backend would write it: its own attention, on N P tokens.

    It is `torch.nn.functional.scaled_dot_product_attention` or `jax.nn.dot_product_attention`.
    TensorFlow has none of its own, so that Keras multiplies there as `literal` does.
    """
    # As in Eq. 3 the key belongs to the pair that attends, and no score is scaled.
    key, query, joint = (all_pairs(*parts)[:, :, None] for parts in (key, query, value))
    attended = ops.dot_product_attention(key, query, joint, scale=1.0)  # (1, N P, 1, d)
    return mean_over_words(attended, value)


def all_pairs(positions, words):
    """The sums of both parts as N P tokens in a row: `(1, P, d)`, `(1, N, d)` to `(1, N P, d)`."""
    joined = positions[:, None] + words[:, :, None]  # (1, N, P, d)
    return ops.reshape(joined, (1, -1, joined.shape[-1]))


def mean_over_words(attended, value):
    positions, words = value
    shape = (1, words.shape[1], *positions.shape[1:])
    return ops.mean(ops.reshape(attended, shape), axis=1)


def plain(query, key, value):
    """softmax(K Q^T) V over the positions: what no exact method can beat."""
    weights = ops.softmax(ops.matmul(key[0], ops.swapaxes(query[0], -1, -2)))
    return ops.matmul(weights, value[0])


FORMS = {"factorised": factorised, "literal": literal, "fused": fused, "plain": plain}
