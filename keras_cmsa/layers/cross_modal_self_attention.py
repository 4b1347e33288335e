"""Cross-modal self-attention over all pairs of a word and a position (Eqs. 2-4), exactly."""

import keras
from keras import ops

from keras_cmsa.layers.ops import word_shares
from keras_cmsa.layers.pair_attention import SUMS, attend, rows_at_once

MODES = ("none", *SUMS)


@keras.saving.register_keras_serializable(package="keras_cmsa")
class CrossModalSelfAttention(keras.layers.Layer):
    """Every (position, word) pair attends to every other; the result is a map (Eqs. 2-4).

    With f_pn the multimodal feature of Eq. 1 and linear maps W_q, W_k, W_v, W of its parts,

        1. a_pn(p'n') = softmax over all (p', n') of  (W_q f_p'n') . (W_k f_pn)
        2. vhat_pn    = sum over (p', n') of  a_pn(p'n') W_v f_p'n'
        3. fhat_p     = mean over n of  W vhat_pn + f_pn
        4. X_p        = R fhat_p + r, with `output_dim`: the 1x1 convolution of Sec. 3.3

    The N * P x N * P matrix `a` is never built. Because f_pn is a concatenation, the score is a
    sum u(p') + w(n'), its softmax over pairs is the product of a softmax over positions (alpha) and
    one over words (beta), and step 2 is  sum_p' alpha_pn(p') g_p' + sum_n' beta_pn(n') h_n'  with
    the position part g and the word part h of W_v f. `pair_attention` has the rest.

    Several sentences about one image share what depends on the positions alone: the projections of
    the positions and their scores with each other. Each sentence gets what it gets alone.

    With `output_dim` the wide map of step 3 is never built either: with x the position part and e
    the word part of f,  X_p = (W R applied to vhat_p) + R x_p + R (mean of e_n) + r.

    Args:
        attention_dim: width d of query, key and value. Paper: 512.
        output_dim: channels F of X. Paper: 500. `None`: return fhat, which has Cp + Cl channels.
        attention: which summands of step 2 are kept (Table 2): `"full"` all; `"word"` those of the
            same position (p' = p); `"pixel"` those of the same word (n' = n); `"pair"` those that
            differ in both; `"none"` none, so that step 3 is the mean of f_pn. The softmax is taken
            anew over the summands that are kept, which is a reading: the paper zeroes components of
            Eq. 2. With one word or one position, `"pair"` keeps none: vhat is 0.
        query_chunk: number of positions p per chunk. One chunk is taken after the other, and each
            recomputed in the backward pass, so that memory grows with P instead of its square.
            `"auto"`: all positions at once while their P * P scores take 16 MB for a sentence at
            most (up to 2,048 positions, images of 360 x 360), else chunks of that size. `None`:
            always all at once.
        unroll: make each chunk a part of the graph of its own, for formats that have no loops.
        scaled: divide the scores of Eq. 3 by the square root of d (Vaswani et al., 2017, Sec. 3.2.1),
            for features that are not of unit length, as the paper's are.

    Call arguments:
        positions: `(B, H, W, Cp)`, the part of the feature that depends on the position.
        words: `(B, K, N, Cl)`, the part that depends on the word, for K sentences about each image;
            or `(B, N, Cl)`, for one.
        word_mask: `(B, K, N)` or `(B, N)` bool, False at padding, which takes no part: the result
            does not depend on it. `None`: all are words. A sentence may be all padding; its result
            is finite and concerns no other.
        return_attention: also return the word attention and the position attention.

    Returns:
        `(B, K, H, W, F)`, where F is Cp + Cl without `output_dim`. With `return_attention` a triple
        of this, the word attention `(B, K, N)` (mean over p and n of beta) and the position
        attention `(B, K, H, W)` (mean over p and n of alpha). Both are float32 and sum to one;
        where no summand is kept they are 0. They correspond to the paper's Fig. 4. Its text also
        averages over the attended word, which would give a constant. No result has the axis K if
        `words` has none.

    Raises:
        ValueError: if `attention` is not one of the five, or the height or width is unknown.

    Source: Ye et al., CVPR 2019, Sec. 3.2; the factorised form is this package's own.
    """

    def __init__(
        self,
        attention_dim=512,
        output_dim=None,
        attention="full",
        query_chunk="auto",
        unroll=False,
        scaled=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # TensorFlow's XLA cannot differentiate the loop in `word_by_word`; JAX's can. By default
        # Keras turns XLA on wherever TensorFlow sees a GPU.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        if attention not in MODES:
            raise ValueError(f"attention must be one of {MODES}. Received: attention={attention!r}")
        if query_chunk not in (None, "auto") and not (
            isinstance(query_chunk, int) and query_chunk > 0
        ):
            raise ValueError(
                'query_chunk must be "auto", a positive integer or None. '
                f"Received: query_chunk={query_chunk!r}"
            )
        self.attention_dim = attention_dim
        self.output_dim = output_dim
        self.attention = attention
        self.query_chunk = query_chunk
        self.unroll = unroll
        self.scaled = scaled

    def build(self, positions_shape, words_shape):
        if len(positions_shape) != 4 or None in positions_shape[1:3]:
            raise ValueError(
                "CrossModalSelfAttention needs positions (batch, height, width, channels) whose "
                f"height and width are known. Received: shape {tuple(positions_shape)}"
            )
        joint = positions_shape[-1] + words_shape[-1]
        width = self.attention_dim
        if self.attention != "none":
            self.query_kernel = self.add_weight(shape=(joint, width), name="query_kernel")
            self.key_kernel = self.add_weight(shape=(joint, width), name="key_kernel")
            self.build_value(joint)
        if self.output_dim:
            self.reduction_kernel = self.add_weight(
                shape=(joint, self.output_dim), name="reduction_kernel"
            )
            self.reduction_bias = self.add_weight(
                shape=(self.output_dim,), initializer="zeros", name="reduction_bias"
            )

    def build_value(self, joint):
        """Makes the weights W_v and W, of a feature with `joint` channels."""
        width = self.attention_dim
        self.value_kernel = self.add_weight(shape=(joint, width), name="value_kernel")
        self.output_kernel = self.add_weight(shape=(width, joint), name="output_kernel")

    def call(self, positions, words, word_mask=None, return_attention=False):
        has_sentences = len(words.shape) == 4
        if not has_sentences:
            words = words[:, None]
            word_mask = None if word_mask is None else word_mask[:, None]
        batch, sentences = ops.shape(words)[:2]
        _, height, width, channels = positions.shape
        flat = ops.reshape(positions, (batch, height * width, channels))  # (B, P, Cp)
        share = word_shares(words, word_mask)  # (B, K, N), float32
        output = self.residual(flat, words, share)  # (B, K, P, F)

        if self.attention == "none":
            word_attention = ops.zeros_like(share)
            position_attention = ops.zeros((batch, sentences, height * width), "float32")
        else:
            attended, word_attention, position_attention = attend(
                *self.queries_and_keys(flat, words),
                self.values(flat, words),
                share,
                self.attention,
                rows_at_once(height * width) if self.query_chunk == "auto" else self.query_chunk,
                self.unroll,
            )
            if not self.output_dim:
                attended = ops.matmul(attended, self.output_kernel)
            output = output + attended
        output = ops.reshape(output, (batch, sentences, height, width, output.shape[-1]))
        position_attention = ops.reshape(position_attention, (batch, sentences, height, width))
        outputs = output, word_attention, position_attention
        if not has_sentences:
            outputs = [x[:, 0] for x in outputs]
        return tuple(outputs) if return_attention else outputs[0]

    def queries_and_keys(self, positions, words):
        """The query and the key, each as its position part and its word part.

        Args:
            positions: `(B, P, Cp)`, the positions in one row.
            words: `(B, K, N, Cl)`.

        Returns:
            Two pairs of `(B, P, d)` and `(B, K, N, d)`. The score of Eq. 3 is the product of q_p'n'
            and k_pn, each the sum of its two parts.
        """
        query = self.project(self.query_kernel, positions, words)
        if self.scaled:
            query = [part * self.attention_dim**-0.5 for part in query]
        return query, self.project(self.key_kernel, positions, words)

    def project(self, kernel, positions, words):
        """The position part (B, P, d) and the word part (B, K, N, d) of a projection of f_pn."""
        kernel = ops.convert_to_tensor(kernel)
        channels = positions.shape[-1]
        return ops.matmul(positions, kernel[:channels]), ops.matmul(words, kernel[channels:])

    def values(self, positions, words):
        """The two parts of W_v f_pn, or with `output_dim` of R W W_v f_pn."""
        if not self.output_dim:
            return self.project(self.value_kernel, positions, words)
        # The kernels first: that is one small product, however many sentences and images there are.
        # Words are so few that theirs would cost more than their projection.
        kernel = ops.matmul(self.output_kernel, self.reduction_kernel)  # (d, F)
        channels = positions.shape[-1]
        value_kernel = ops.convert_to_tensor(self.value_kernel)
        of_positions = ops.matmul(value_kernel[:channels], kernel)  # (Cp, F)
        of_words = ops.matmul(words, value_kernel[channels:])
        return ops.matmul(positions, of_positions), ops.matmul(of_words, kernel)

    def residual(self, positions, words, share):
        """The mean over n of f_pn, or of R f_pn + r: `(B, K, P, F)`."""
        share = ops.cast(share, words.dtype)
        mean_word = ops.einsum("bkn,bknc->bkc", share, words)[:, :, None]  # (B, K, 1, Cl)
        positions = positions[:, None]  # (B, 1, P, Cp)
        if self.output_dim:
            own, of_words = self.project(self.reduction_kernel, positions, mean_word)
            return own + self.reduction_bias + of_words
        shape = (*ops.shape(words)[:2], positions.shape[2])
        return ops.concatenate(
            [ops.broadcast_to(x, (*shape, x.shape[-1])) for x in (positions, mean_word)], axis=-1
        )

    def compute_output_spec(self, positions, words, word_mask=None, return_attention=False):
        # Otherwise Keras traces `call` for its shapes, most of the time of building a model.
        *size, channels = positions.shape
        size = [*words.shape[:-2], *size[1:]]  # (B, K, H, W)
        channels = self.output_dim or channels + words.shape[-1]
        output = keras.KerasTensor((*size, channels), self.compute_dtype)
        if not return_attention:
            return output
        return output, keras.KerasTensor(words.shape[:-1]), keras.KerasTensor(size)

    def get_config(self):
        config = super().get_config()
        config.update(
            attention_dim=self.attention_dim,
            output_dim=self.output_dim,
            attention=self.attention,
            query_chunk=self.query_chunk,
            unroll=self.unroll,
            scaled=self.scaled,
        )
        return config
