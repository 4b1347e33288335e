"""The attention of the authors' released code: ReLU projections, keys and values in blocks."""

import keras
import numpy as np
from keras import ops

from keras_cmsa.layers.ops import MASKED, matmul_transposed, softmax, word_shares

WORDS, SIDE = 2, 2  # a block of keys and values: 2 words, 2 x 2 positions


@keras.saving.register_keras_serializable(package="keras_cmsa")
class PooledSelfAttention(keras.layers.Layer):
    """Every (position, word) pair attends to blocks of pairs, as in the authors' released code.

    With f_pn the multimodal feature of Eq. 1 and affine maps W of its channels,

        1. m_pn   = f_pn, or relu(W_m f_pn) with `joint_dim`
        2. q_pn   = relu(W_q m_pn)
        3. k_c    = the maximum of relu(W_k m) over block c, channel by channel; v_c likewise
        4. vhat_pn = sum over c of  softmax_c(q_pn . k_c)  v_c
        5. fhat_p = mean over n of  relu(W vhat_pn) + m_pn

    A block is 2 words x 2 x 2 positions; the last one may be smaller. Where a sentence has padding,
    its words are first moved together, in their order, so blocks are those of the words alone.

    Because f_pn is a concatenation, without `joint_dim` W f_pn is a term of the position plus one
    of the word, and its maximum over a block is the sum of both maxima: m, W_q m and W_k m of all
    pairs are never built. The scores, N P x (N P / 8) in all, are made a word at a time.

    Args:
        attention_dim: width d of query, key and value.
        joint_dim: channels of m. `None`: those of f, Cp + Cl.

    Call arguments:
        positions: `(B, H, W, Cp)`, the part of the feature that depends on the position; H and W
            must be known.
        words: `(B, N, Cl)`, the part that depends on the word.
        word_mask: `(B, N)` bool, False at padding, which takes no part; `None`: all are words.

    Returns:
        `(B, H, W, C)`, where C is `joint_dim` or Cp + Cl.

    Source: https://github.com/lwye/CMSA-Net; it differs from Sec. 3.2 of the paper, which
    `CrossModalSelfAttention` follows.
    """

    def __init__(self, attention_dim, joint_dim=None, **kwargs):
        super().__init__(**kwargs)
        # TensorFlow's XLA cannot differentiate the loop over words.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self.attention_dim = attention_dim
        self.joint_dim = joint_dim
        self.joint = None

    def build(self, positions_shape, words_shape):
        channels = positions_shape[-1] + words_shape[-1]
        if self.joint_dim:
            self.joint = self._affine("joint", channels, self.joint_dim)
            channels = self.joint_dim
        self.query, self.key, self.value = (
            self._affine(name, channels, self.attention_dim) for name in ("query", "key", "value")
        )
        self.output_map = self._affine("output", self.attention_dim, channels)

    def _affine(self, name, inputs, outputs):
        """Kernel and bias of an affine map."""
        kernel = self.add_weight(shape=(inputs, outputs), name=f"{name}_kernel")
        bias = self.add_weight(shape=(outputs,), initializer="zeros", name=f"{name}_bias")
        return kernel, bias

    def call(self, positions, words, word_mask=None):
        _, height, width, channels = positions.shape
        words, is_word = words_first(words, word_mask)
        # Side by side these are f_pn of all pairs, which are only built for a joint map.
        flat = ops.reshape(positions, (-1, 1, height * width, channels))  # (B, 1, P, Cp)
        parts = [flat, words[:, :, None]]  # and (B, N, 1, Cl)
        if self.joint_dim:
            parts = [ops.relu(sum(project(parts, *self.joint)))]  # (B, N, P, C)
        queries = project(parts, *self.query)
        keys, values = (
            in_blocks(project(parts, *x), is_word, (height, width)) for x in (self.key, self.value)
        )  # (B, C, d)
        is_block = blocks_of_words(is_word, keys.shape[1])  # (B, 1, C)
        share = word_shares(words, is_word)  # (B, N)
        # As copies: TensorFlow counts the gradient of a variable twice that is an argument below.
        output_map = [ops.copy(x) for x in self.output_map]

        # The scores are recomputed in the backward pass. Those of all words would fill the memory:
        # 128 million numbers for 20 words at the paper's sizes. What has a gradient is an argument:
        # TensorFlow gives none to what a recomputed function takes from around it.
        @keras.remat
        def attend(part, query, keys, values, kernel, bias):  # query: (B, P, d)
            # Low precision has too few bits for scores that an exponential will magnify.
            scores = matmul_transposed(*(ops.cast(x, "float32") for x in (query, keys)))
            weights = softmax(ops.where(is_block, scores, MASKED))
            attended = ops.matmul(ops.cast(weights, values.dtype), values)
            return part * ops.relu(ops.matmul(attended, kernel) + bias)

        def add_word(n, total):
            part = ops.cast(ops.take(share, n, axis=1), total.dtype)[:, None, None]
            return total + attend(part, at_word(queries, n), keys, values, *output_map)

        # What is padding in every sentence costs nothing, but on JAX, whose loops have a gradient
        # only where their length is known.
        count = words.shape[1]
        if keras.backend.backend() != "jax":
            count = ops.max(ops.sum(ops.cast(is_word, "int32"), axis=1))
        output = ops.fori_loop(0, count, add_word, mean_over_words(parts, share))
        return ops.reshape(output, (-1, height, width, output.shape[-1]))

    def compute_output_shape(self, positions_shape, words_shape):
        channels = self.joint_dim or positions_shape[-1] + words_shape[-1]
        return (*positions_shape[:-1], channels)

    def get_config(self):
        config = super().get_config()
        config.update(attention_dim=self.attention_dim, joint_dim=self.joint_dim)
        return config


def project(parts, kernel, bias):
    """An affine map of all pairs, in terms whose sum it is.

    Args:
        parts: list of tensors `(B, N or 1, P or 1, C_i)`, which side by side are all pairs.
        kernel, bias: `(sum of C_i, d)`, `(d,)`.

    Returns:
        List of tensors `(B, N or 1, P or 1, d)`.
    """
    kernel, terms, start = ops.convert_to_tensor(kernel), [], 0
    for x in parts:
        channels = x.shape[-1]
        terms.append(ops.matmul(x, kernel[start : start + channels]))
        start += channels
    return [terms[0] + bias, *terms[1:]]


def at_word(terms, n):
    """relu of an affine map at all positions and word n: `(B, P, d)`."""
    return ops.relu(sum(ops.take(x, n, axis=1) if x.shape[1] > 1 else x[:, 0] for x in terms))


def mean_over_words(parts, share):
    """The mean of all pairs over the words: `(B, P, C)`."""
    means = [
        ops.einsum("bn,bnpc->bpc", ops.cast(share, x.dtype), x) if x.shape[1] > 1 else x[:, 0]
        for x in parts
    ]
    size = ops.shape(means[0])[:2]
    return ops.concatenate([ops.broadcast_to(x, (*size, x.shape[-1])) for x in means], axis=-1)


def in_blocks(terms, is_word, size):
    """The maximum of relu of an affine map over each block: `(B, C, d)`.

    The maximum of a sum of a term of the word and one of the position is the sum of both maxima.
    """
    maxima = []
    for x in terms:
        if x.shape[1] > 1:
            x = ops.where(is_word[..., None, None], x, MASKED)
            x = in_blocks_of_words(x, MASKED)  # (B, N', P or 1, d)
        if x.shape[2] > 1:
            _, words, positions, width = x.shape
            x = pool_positions(ops.reshape(x, (-1, positions, width)), size)
            x = ops.reshape(x, (-1, words, *x.shape[1:]))  # (B, N' or 1, P', d)
        maxima.append(x)
    # A block without a word, which nothing attends to, is 0.
    both = ops.relu(sum(maxima))  # (B, N', P', d)
    _, words, positions, width = both.shape
    return ops.reshape(both, (-1, words * positions, width))


def words_first(words, word_mask):
    """Moves the words of each sentence before its padding, in their order.

    Returns:
        `(B, N, Cl)`, 0 at padding; and `(B, N)` bool.
    """
    count = words.shape[1]
    if word_mask is None:
        word_mask = ops.ones(ops.shape(words)[:2], "bool")
    number = ops.cumsum(ops.cast(word_mask, "int32"), axis=1)  # (B, N), from 1
    place = np.arange(1, count + 1)
    # 1 where word n goes to place m: (B, M, N). Its product copies words, to the bit.
    moves = ops.logical_and(ops.equal(number[:, None], place[:, None]), word_mask[:, None])
    moved = ops.matmul(ops.cast(moves, words.dtype), words)
    return moved, ops.any(moves, axis=-1)


def in_blocks_of_words(values, filling):
    """The maximum over each two words: `(B, N, ...)` to `(B, N', ...)`, N' = N / 2 rounded up."""
    if values.shape[1] % WORDS:
        padding = [[0, 0], [0, 1]] + [[0, 0]] * (len(values.shape) - 2)
        values = ops.pad(values, padding, constant_values=filling)
    _, count, *rest = values.shape
    return ops.max(ops.reshape(values, (-1, count // WORDS, WORDS, *rest)), axis=2)


def pool_positions(values, size):
    """The maximum over each 2 x 2 positions: `(B, H W, d)` to `(B, P', d)`."""
    width = values.shape[-1]
    maps = ops.reshape(values, (-1, *size, width))
    pooled = ops.max_pool(maps, SIDE, SIDE, padding="same", data_format="channels_last")
    return ops.reshape(pooled, (-1, pooled.shape[1] * pooled.shape[2], width))


def blocks_of_words(is_word, count):
    """Which of `count` blocks have a word: `(B, 1, C)` bool."""
    has_word = in_blocks_of_words(ops.cast(is_word, "int32"), 0) > 0  # (B, N')
    blocks = has_word.shape[1]
    shape = (ops.shape(is_word)[0], blocks, count // blocks)
    return ops.reshape(ops.broadcast_to(has_word[:, :, None], shape), (-1, 1, count))
