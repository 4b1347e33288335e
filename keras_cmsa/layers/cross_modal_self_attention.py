"""Cross-modal self-attention over all pairs of a word and a position (Eqs. 2-4), exactly."""

import functools

import keras
from keras import ops

from keras_cmsa.layers.ops import MASKED, matmul_transposed, softmax, word_shares

MODES = ("none", "word", "pixel", "pair", "full")

# A smaller partition sum is not precise in float32: its largest terms come near the smallest normal
# number, 1e-38, and its squared inverse, in the gradient, comes near the largest.
SMALLEST_PARTITION = 1e-15


@keras.saving.register_keras_serializable(package="keras_cmsa")
class CrossModalSelfAttention(keras.layers.Layer):
    """Every (position, word) pair attends to every other; the result is a map (Eqs. 2-4).

    With f_pn the multimodal feature of Eq. 1 and linear maps W_q, W_k, W_v, W of its parts,

        1. a_pn(p'n') = softmax over all (p', n') of  (W_q f_p'n') . (W_k f_pn)
        2. vhat_pn    = sum over (p', n') of  a_pn(p'n') W_v f_p'n'
        3. fhat_p     = mean over n of  W vhat_pn + f_pn

    The N * P x N * P matrix `a` is never built. Because f_pn is a concatenation, the score is a
    sum u(p') + w(n'), its softmax over pairs is the product of a softmax over positions (alpha) and
    one over words (beta), and step 2 is  sum_p' alpha_pn(p') g_p' + sum_n' beta_pn(n') h_n'  with
    the position part g and the word part h of W_v f. `mean_attention` has the rest.

    Args:
        attention_dim: width d of query, key and value. Paper: 512.
        attention: which summands of step 2 are kept (Table 2): `"full"` all; `"word"` those of the
            same position (p' = p); `"pixel"` those of the same word (n' = n); `"pair"` those that
            differ in both; `"none"` none, so that step 3 is the mean of f_pn. The softmax runs
            over what is kept. With one word or one position, `"pair"` keeps none: vhat is 0.
        query_chunk: number of positions p per chunk. Each chunk is recomputed in the backward pass,
            so that memory grows with P instead of its square. `None`: all positions at once.

    Call arguments:
        positions: `(B, H, W, Cp)`, the part of the feature that depends on the position.
        words: `(B, N, Cl)`, the part that depends on the word.
        word_mask: `(B, N)` bool, False at padding, which takes no part: the result does not depend
            on it. `None`: all are words.
        return_attention: also return the word attention and the position attention.

    Returns:
        `(B, H, W, Cp + Cl)`; with `return_attention` a triple of this, the word attention `(B, N)`
        (mean over p and n of beta) and the position attention `(B, H, W)` (mean over p and n of
        alpha). Both are float32 and sum to one; where no summand is kept they are 0. They
        correspond to the paper's Fig. 4. Its text also averages over the attended word, which would
        give a constant.

    Raises:
        ValueError: if `attention` is not one of the five, or the height or width is unknown.

    Source: Ye et al., CVPR 2019, Sec. 3.2; the factorised form is this package's own.
    """

    def __init__(self, attention_dim=512, attention="full", query_chunk=None, **kwargs):
        super().__init__(**kwargs)
        # TensorFlow's XLA cannot differentiate the loop in `word_by_word`; JAX's can. By default
        # Keras turns XLA on wherever TensorFlow sees a GPU.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        if attention not in MODES:
            raise ValueError(f"attention must be one of {MODES}. Received: attention={attention!r}")
        if query_chunk is not None and query_chunk < 1:
            raise ValueError(f"query_chunk must be positive. Received: query_chunk={query_chunk}")
        self.attention_dim = attention_dim
        self.attention = attention
        self.query_chunk = query_chunk

    def build(self, positions_shape, words_shape):
        if len(positions_shape) != 4 or None in positions_shape[1:3]:
            raise ValueError(
                "CrossModalSelfAttention needs positions (batch, height, width, channels) whose "
                f"height and width are known. Received: shape {tuple(positions_shape)}"
            )
        if self.attention == "none":
            return
        joint = positions_shape[-1] + words_shape[-1]
        width = self.attention_dim
        self.query_kernel = self.add_weight(shape=(joint, width), name="query_kernel")
        self.key_kernel = self.add_weight(shape=(joint, width), name="key_kernel")
        self.value_kernel = self.add_weight(shape=(joint, width), name="value_kernel")
        self.output_kernel = self.add_weight(shape=(width, joint), name="output_kernel")

    def call(self, positions, words, word_mask=None, return_attention=False):
        batch = ops.shape(positions)[0]
        _, height, width, channels = positions.shape
        flat = ops.reshape(positions, (batch, height * width, channels))  # (B, P, Cp)
        share = word_shares(words, word_mask)  # (B, N), float32
        mean_word = ops.einsum("bn,bnc->bc", ops.cast(share, words.dtype), words)[:, None]
        residual = ops.concatenate(
            [flat, ops.broadcast_to(mean_word, (batch, height * width, words.shape[-1]))], axis=-1
        )  # (B, P, Cp + Cl), the mean over n of f_pn

        if self.attention == "none":
            word_attention = ops.zeros_like(share)
            position_attention = ops.zeros((batch, height * width), "float32")
            output = residual
        else:
            attended, word_attention, position_attention = attend(
                self._project(self.query_kernel, flat, words),
                self._project(self.key_kernel, flat, words),
                self._project(self.value_kernel, flat, words),
                share,
                self.attention,
                self.query_chunk,
            )
            output = ops.matmul(attended, self.output_kernel) + residual
        output = ops.reshape(output, (batch, height, width, channels + words.shape[-1]))
        if not return_attention:
            return output
        position_attention = ops.reshape(position_attention, (batch, height, width))
        return output, word_attention, position_attention

    def _project(self, kernel, positions, words):
        """The position part (B, P, d) and the word part (B, N, d) of a projection of f_pn."""
        kernel = ops.convert_to_tensor(kernel)
        channels = positions.shape[-1]
        return ops.matmul(positions, kernel[:channels]), ops.matmul(words, kernel[channels:])

    def compute_output_spec(self, positions, words, word_mask=None, return_attention=False):
        # Otherwise Keras traces `call` for its shapes, most of the time of building a model.
        *size, channels = positions.shape
        output = keras.KerasTensor((*size, channels + words.shape[-1]), self.compute_dtype)
        if not return_attention:
            return output
        return output, keras.KerasTensor(words.shape[:2]), keras.KerasTensor(size)

    def get_config(self):
        config = super().get_config()
        config.update(
            attention_dim=self.attention_dim,
            attention=self.attention,
            query_chunk=self.query_chunk,
        )
        return config


def attend(query, key, value, share, attention="full", query_chunk=None):
    """The mean over n of vhat_pn (Eqs. 2-3), with the word and the position attention.

    Args:
        query, key, value: pairs of a position part `(B, P, d)` and a word part `(B, N, d)`, whose
            sums are q_pn, k_pn and v_pn. As in Eq. 3, the key belongs to the pair that attends and
            the query to the pair that is attended to.
        share: `(B, N)` float32, see `word_shares`.
        attention: one of `MODES` but `"none"`.
        query_chunk: see `CrossModalSelfAttention`.

    Returns:
        `(B, P, d)` in the dtype of `value`; word attention `(B, N)`; position attention `(B, P)`.
    """
    # Low precision has too few bits for scores that an exponential will magnify.
    query_positions, query_words = [ops.cast(part, "float32") for part in query]
    key_positions, key_words = [ops.cast(part, "float32") for part in key]
    value_positions, value_words = value
    count = key_positions.shape[1]

    def attend_rows(key_rows, start=0, wrap=lambda function: function):
        over_positions = functools.partial(attend_positions, attention=attention, start=start)
        over_words = functools.partial(attend_words, attention=attention, positions=count)
        from_positions, position_attention = wrap(over_positions)(
            key_rows, key_words, query_positions, value_positions, share
        )
        from_words, word_attention = wrap(over_words)(
            key_rows, key_words, query_words, value_words, share
        )
        return from_positions + from_words, word_attention, position_attention

    if query_chunk is None:
        return attend_rows(key_positions)
    pieces = [
        attend_rows(key_positions[:, start : start + query_chunk], start, keras.remat)
        for start in range(0, count, query_chunk)
    ]
    attended, word_attention, position_attention = zip(*pieces)
    return ops.concatenate(attended, axis=1), sum(word_attention), sum(position_attention)


def attend_positions(
    key_rows, key_words, query_positions, value_positions, share, attention, start=0
):
    """The sum over positions of step 2,  sum_p' alpha_pn(p') g_p',  as its mean over n.

    Args:
        key_rows: `(B, R, d)`, the rows `start` to `start + R` of the position part of the key.
        key_words: `(B, N, d)`.
        query_positions, value_positions: `(B, P, d)`.
        share, attention: see `attend`.
        start: the first of the R positions.

    Returns:
        The sum `(B, R, d)`; the part of these rows in the position attention, `(B, P)`.
    """
    rows, positions = key_rows.shape[1], query_positions.shape[1]
    if attention == "word":  # alpha is 1 at the position itself
        own = value_positions[:, start : start + rows]
        return own, ops.ones_like(query_positions[..., 0]) * (rows / positions**2)
    scores = matmul_transposed(key_rows, query_positions)  # (B, R, P)
    word_scores = matmul_transposed(key_words, query_positions)  # (B, N, P)
    if attention == "pair":
        is_same = ops.arange(start, start + rows)[:, None] == ops.arange(positions)[None]
        scores = ops.where(is_same[None], MASKED, scores)
    alpha = mean_attention(scores, word_scores, share)  # (B, R, P)
    if attention == "pair":
        alpha = alpha * has_other_pair(share, positions)
    attended = ops.matmul(ops.cast(alpha, value_positions.dtype), value_positions)
    return attended, ops.sum(alpha, axis=1) / positions


def attend_words(key_rows, key_words, query_words, value_words, share, attention, positions):
    """The sum over words of step 2,  sum_n' beta_pn(n') h_n',  as its mean over n.

    Args:
        key_rows: `(B, R, d)`, as in `attend_positions`.
        key_words, query_words, value_words: `(B, N, d)`.
        share, attention: see `attend`.
        positions: P.

    Returns:
        The sum `(B, R, d)`; the part of these rows in the word attention, `(B, N)`.
    """
    rows, words = key_rows.shape[1], share.shape[1]
    if attention == "pixel":  # beta is 1 at the word itself
        beta = ops.broadcast_to(share[:, None], (ops.shape(share)[0], rows, words))
    else:
        is_word = share[:, None] > 0  # (B, 1, N)
        scores = matmul_transposed(key_rows, query_words)  # (B, R, N)
        word_scores = matmul_transposed(key_words, query_words)  # (B, N, N)
        scores = ops.where(is_word, scores, MASKED)
        word_scores = ops.where(is_word, word_scores, MASKED)
        if attention == "pair":
            word_scores = ops.where(ops.eye(words, dtype="bool"), MASKED, word_scores)
        beta = mean_attention(scores, word_scores, share)  # (B, R, N)
        if attention == "pair":
            beta = beta * has_other_pair(share, positions)
    attended = ops.matmul(ops.cast(beta, value_words.dtype), value_words)
    return attended, ops.sum(beta, axis=1) / positions


def has_other_pair(share, positions):
    """1 where another word and another position exist, else 0: `(B, 1, 1)` float32."""
    is_word = ops.cast(share[:, None] > 0, "int32")
    return ops.cast(ops.sum(is_word, axis=-1) > 1, "float32")[:, None] * float(positions > 1)


def mean_attention(scores, word_scores, share, exp_scores=None):
    """Mean over n of the softmax over k of  scores[p, k] + word_scores[n, k].

    If k runs over positions, this is the mean of alpha; if k runs over words, the mean of beta.
    With E_A, E_B the exponentials of the two scores, the softmax is E_A[p,k] E_B[n,k] / Z[p,n] and
    Z = E_A E_B^T, so the mean is  E_A * ((share / Z) E_B): two thin matrix products instead of a
    third axis.

    Args:
        scores: `(B, R, K)` float32.
        word_scores: `(B, N, K)` float32.
        share: `(B, N)` float32.
        exp_scores: `softmax(scores)`, if it is already there.

    Returns:
        `(B, R, K)`; each row sums to one.
    """
    # Padding gets a flat score, so that its embedding cannot make Z small.
    word_scores = ops.where(share[..., None] > 0, word_scores, 0.0)
    # A factor per row of E_A cancels, since Z has it too. The softmax of a row is one pass in most
    # backends; a maximum, a difference and an exponential are three.
    exp_scores = softmax(scores) if exp_scores is None else exp_scores
    exp_word_scores = exponentials(word_scores)
    partition = matmul_transposed(exp_scores, exp_word_scores)  # (B, R, N)

    def factorized():
        # The maximum only matters when `word_by_word` runs instead: the gradient of the branch that
        # is not taken must be finite too.
        inverse = share[:, None] / ops.maximum(partition, SMALLEST_PARTITION)
        return exp_scores * ops.matmul(inverse, exp_word_scores)

    # If the maxima of scores[p] and word_scores[n] lie far apart and far above the rest, every
    # product of the two exponentials underflows, although the softmax is well defined.
    in_range = ops.min(partition) >= SMALLEST_PARTITION
    return ops.cond(in_range, factorized, lambda: word_by_word(scores, word_scores, share))


def word_by_word(scores, word_scores, share):
    """`mean_attention` for scores of any range, at 2 to 3 times its cost."""

    # The N softmaxes are recomputed in the backward pass. Kept, they would fill the memory that the
    # factorised form saves, and JAX would reserve it even if this branch never runs.
    @keras.remat
    def one_word(scores, word_scores, share):
        return softmax(scores + word_scores[:, None]) * share[:, None, None]

    def add_word(n, total):
        return total + one_word(
            scores, ops.take(word_scores, n, axis=1), ops.take(share, n, axis=1)
        )

    return ops.fori_loop(0, share.shape[1], add_word, ops.zeros_like(scores))


def exponentials(scores):
    """`exp(scores)` up to a factor per row; the largest value of each row is 1."""
    # The shift does not change the softmax, so it needs no gradient.
    return ops.exp(scores - ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True)))
