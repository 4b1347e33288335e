"""The algebra of cross-modal self-attention: a softmax over all pairs of a word and a position.

Axes: B images, K sentences about each, N words of a sentence, P positions, R of these P as rows,
d the width of query and key, F that of the value.
"""

import functools

import keras
from keras import ops

from keras_cmsa.layers.ops import MASKED, matmul_transposed, softmax

# A smaller partition sum is not precise in float32: its largest terms come near the smallest normal
# number, 1e-38, and its inverse, times a sum over positions in the gradient, near the largest.
SMALLEST_PARTITION = 1e-30
# Scores of rows by positions that are held at once for a sentence: 16 MB of them.
MOST_SCORES = 2**22


def rows_at_once(positions):
    """Positions p per chunk whose scores fit `MOST_SCORES`, in chunks of one size; None for all."""
    chunks = -(-(positions**2) // MOST_SCORES)
    return None if chunks == 1 else -(-positions // chunks)


def attend(query, key, value, share, attention="full", query_chunk=None, unroll=False):
    """The mean over n of vhat_pn (Eqs. 2-3), with the word and the position attention.

    Args:
        query, key: pairs of a position part `(B, P, d)` and a word part `(B, K, N, d)`, whose sums
            are q_pn and k_pn. As in Eq. 3, the key belongs to the pair that attends and the query
            to the pair that is attended to.
        value: likewise the parts `(B, P, F)` and `(B, K, N, F)` of v_pn.
        share: `(B, K, N)` float32, see `word_shares`.
        attention: a key of `SUMS`.
        query_chunk: positions p per chunk, each recomputed in the backward pass; `None`: all.
        unroll: make each chunk a part of the graph of its own instead of a loop over them.

    Returns:
        `(B, K, P, F)` in the dtype of `value`; word attention `(B, K, N)`; position attention
        `(B, K, P)`.
    """
    # Low precision has too few bits for scores that an exponential will magnify.
    (key_positions, key_words), query = [[ops.cast(x, "float32") for x in y] for y in (key, query)]
    count = key_positions.shape[1]
    if attention == "pair":
        share = share * has_other_pair(share, count)
    sums = functools.partial(attend_rows, SUMS[attention])
    others = key_words, *query, *value, share
    # Attention to words alone has no scores of positions by positions.
    if query_chunk is None or query_chunk >= count or attention == "word":
        attended, word_attention, position_attention = sums(0, key_positions, *others)
        return attended, word_attention / count, position_attention / count

    def attend_chunk(key_rows, start):
        return keras.remat(functools.partial(sums, start))(key_rows, *others)

    whole = 0 if unroll else count // query_chunk * query_chunk
    pieces = [
        attend_chunk(key_positions[:, start : start + query_chunk], start)
        for start in range(whole, count, query_chunk)
    ]
    if whole:
        shape = (*ops.shape(share)[:2], query_chunk, value[0].shape[-1])
        zeros = ops.zeros(shape, value[0].dtype), ops.zeros_like(share)
        zeros = *zeros, ops.zeros((*shape[:2], count), "float32")
        pieces.insert(0, in_turn(attend_chunk, key_positions[:, :whole], zeros))
    attended, word_attention, position_attention = zip(*pieces)
    attended = ops.concatenate(attended, axis=2)
    return attended, sum(word_attention) / count, sum(position_attention) / count


def attend_rows(sums, start, key_rows, key_words, query_positions, query_words, *values_and_share):
    """`attend` for the R positions from `start`, with a value of `SUMS`.

    Returns:
        `(B, K, R, F)`; beta and alpha, each summed over the rows: `(B, K, N)`, `(B, K, P)`.
    """
    (over_positions, over_words), (positions, words, share) = sums, values_and_share
    attended, alpha = over_positions(start, key_rows, key_words, query_positions, positions, share)
    from_words, beta = over_words(key_rows, key_words, query_words, words, share)
    return attended + from_words, beta, alpha


def in_turn(attend_chunk, key_positions, zeros):
    """What `attend` returns, of one chunk after the other.

    Chunks that each are a part of the graph of their own may all be in memory at once.

    Args:
        attend_chunk: function of the rows of a chunk and the number of the first.
        key_positions: `(B, P, d)`, P a multiple of the R rows of a chunk.
        zeros: of the shapes that the function returns, the first `(B, K, R, F)`.
    """
    count, width = key_positions.shape[1:]
    batch, sentences, rows, channels = ops.shape(zeros[0])
    chunks = ops.reshape(key_positions, (-1, count // rows, rows, width))
    chunks = ops.transpose(chunks, (1, 0, 2, 3))  # (P / R, B, R, d)

    # Keras' scan on TensorFlow keeps only what has the shape of what is carried along.
    def step(_, chunk):
        outputs = attend_chunk(*chunk)
        return outputs, outputs

    _, outputs = ops.scan(step, zeros, (chunks, ops.arange(0, count, rows)))
    attended = ops.transpose(outputs[0], (1, 2, 0, 3, 4))  # (B, K, P / R, R, F)
    attended = ops.reshape(attended, (batch, sentences, count, channels))
    return attended, *(ops.sum(x, axis=0) for x in outputs[1:])


def all_positions(start, key_rows, key_words, query, value, share, others=False):
    """sum_p' alpha_pn(p') g_p', as its mean over n; with `others` without p' = p.

    Args:
        start, key_rows, key_words, share: see `attend_rows`.
        query: `(B, P, d)`.
        value: `(B, P, F)`.

    Returns:
        The sum `(B, K, R, F)`; the sum of alpha over the rows, `(B, K, P)`.
    """
    rows, positions = key_rows.shape[1], query.shape[1]
    batch, sentences, words = ops.shape(share)
    scores = matmul_transposed(key_rows, query)  # (B, R, P)
    if others:
        is_itself = (start + ops.arange(rows))[:, None] == ops.arange(positions)[None]
        scores = ops.where(is_itself[None], MASKED, scores)
    word_scores = matmul_transposed(words_in_a_row(key_words, share), query)  # (B, K N, P)
    word_scores = ops.reshape(word_scores, (batch, sentences, words, positions))
    alpha = mean_attention(scores, word_scores, share)  # (B, K, R, P)
    # One product for all sentences, which have the values in common.
    all_rows = ops.reshape(alpha, (batch, sentences * rows, positions))
    attended = ops.matmul(ops.cast(all_rows, value.dtype), value)
    attended = ops.reshape(attended, (batch, sentences, rows, value.shape[-1]))
    return attended, ops.sum(alpha, axis=2)


def own_position(start, key_rows, key_words, query, value, share):
    """`all_positions` where alpha is 1 at the position itself: g_p. It takes all rows at once."""
    each = ops.ones_like(share[..., :1])  # (B, K, 1)
    own = value[:, None] * ops.cast(ops.expand_dims(each, -1), value.dtype)
    return own, each * ops.ones((value.shape[1],), "float32")


def all_words(key_rows, key_words, query, value, share, others=False):
    """sum_n' beta_pn(n') h_n', as its mean over n; with `others` without n' = n.

    Args:
        key_rows, key_words, share: see `attend_rows`.
        query: `(B, K, N, d)`.
        value: `(B, K, N, F)`.

    Returns:
        The sum `(B, K, R, F)`; the sum of beta over the rows, `(B, K, N)`.
    """
    batch, sentences, words = ops.shape(share)
    rows = key_rows.shape[1]
    is_word = share[:, :, None] > 0  # (B, K, 1, N)
    scores = matmul_transposed(key_rows, words_in_a_row(query, share))  # (B, R, K N)
    scores = sentences_first(scores, (batch, sentences, rows, words))
    scores = ops.where(is_word, scores, MASKED)
    word_scores = matmul_transposed(key_words, query)  # (B, K, N, N)
    word_scores = ops.where(is_word, word_scores, MASKED)
    if others:
        word_scores = ops.where(ops.eye(words, dtype="bool"), MASKED, word_scores)
    # No two sentences share these scores, so each is an example of its own.
    beta = mean_attention(
        ops.reshape(scores, (batch * sentences, rows, words)),
        ops.reshape(word_scores, (batch * sentences, 1, words, words)),
        ops.reshape(share, (batch * sentences, 1, words)),
    )
    return weighted_words(ops.reshape(beta, (batch, sentences, rows, words)), value)


def own_word(key_rows, key_words, query, value, share):
    """`all_words` where beta is 1 at the word itself: h_n, as its mean over n."""
    batch, sentences, words = ops.shape(share)
    shape = (batch, sentences, key_rows.shape[1], words)
    return weighted_words(ops.broadcast_to(share[:, :, None], shape), value)


def weighted_words(beta, value):
    return ops.matmul(ops.cast(beta, value.dtype), value), ops.sum(beta, axis=2)


# Table 2: which (p', n') Eq. 2 sums over, as a sum over positions and one over words.
SUMS = {
    "word": (own_position, all_words),
    "pixel": (all_positions, own_word),
    "pair": (
        functools.partial(all_positions, others=True),
        functools.partial(all_words, others=True),
    ),
    "full": (all_positions, all_words),
}


def words_in_a_row(words, share):
    """The words of all sentences one after the other: `(B, K, N, d)` to `(B, K N, d)`."""
    # Were the sizes those of `words`, tf2onnx would write "B as before", and then join this reshape
    # with the one of the projection, before which B is another.
    batch, sentences, count = ops.shape(share)
    return ops.reshape(words, (batch, sentences * count, words.shape[-1]))


def sentences_first(scores, shape):
    """`(B, R, K N)` to `shape`, `(B, K, R, N)`."""
    batch, sentences, rows, words = shape
    return ops.transpose(ops.reshape(scores, (batch, rows, sentences, words)), (0, 2, 1, 3))


def has_other_pair(share, positions):
    """1 where another word and another position exist, else 0: `(B, K, 1)` float32."""
    count = ops.sum(ops.cast(share > 0, "int32"), axis=-1, keepdims=True)
    return ops.cast(count > 1, "float32") * float(positions > 1)


def mean_attention(scores, word_scores, share):
    """Mean over n of the softmax over c of  scores[p, c] + word_scores[n, c].

    If c runs over positions, this is the mean of alpha; if c runs over words, the mean of beta.
    With E_A, E_B the exponentials of the two scores, the softmax is E_A[p,c] E_B[n,c] / Z[p,n] and
    Z = E_A E_B^T, so the mean is  E_A * ((share / Z) E_B): two thin matrix products instead of a
    third axis. All sentences have E_A in common.

    Args:
        scores: `(B, R, C)` float32.
        word_scores: `(B, K, N, C)` float32.
        share: `(B, K, N)` float32.

    Returns:
        `(B, K, R, C)`; each row sums to one, or to 0 for a sentence without words.
    """
    # Padding gets a flat score, so that its embedding cannot make Z small.
    # LiteRT has no operation for `share[..., None]`.
    word_scores = ops.where(ops.expand_dims(share, -1) > 0, word_scores, 0.0)
    # A factor per row of E_A cancels, since Z has it too. The softmax of a row is one pass in most
    # backends; a maximum, a difference and an exponential are three.
    exp_scores = softmax(scores)
    # So does one per row of E_B: the shift needs no gradient.
    highest = ops.stop_gradient(ops.max(word_scores, axis=-1, keepdims=True))
    exp_word_scores = ops.exp(word_scores - highest)
    batch, sentences, words = ops.shape(share)
    partition = sentences_first(
        matmul_transposed(exp_scores, words_in_a_row(exp_word_scores, share)),
        (batch, sentences, scores.shape[1], words),
    )  # (B, K, R, N)

    def factorized():
        # The maximum only matters when `word_by_word` runs instead: the gradient of the branch that
        # is not taken must be finite too.
        inverse = inverse_of(ops.maximum(partition, SMALLEST_PARTITION))
        return exp_scores[:, None] * ops.matmul(share[:, :, None] * inverse, exp_word_scores)

    # If the maxima of scores[p] and word_scores[n] lie far apart and far above the rest, every
    # product of the two exponentials underflows, although the softmax is well defined.
    in_range = ops.min(partition) >= SMALLEST_PARTITION
    return ops.cond(in_range, factorized, lambda: word_by_word(scores, word_scores, share))


def inverse_of(partition):
    """`1 / Z`, whose gradient is multiplied by 1 / Z twice: Z^-2 itself overflows below Z = 1e-19.

    It has no second derivative by Z.
    """
    inverse = ops.stop_gradient(1.0 / partition)
    return inverse * (2.0 - partition * inverse)


def word_by_word(scores, word_scores, share):
    """`mean_attention` for scores of any range, at 2 to 3 times its cost."""

    # The N softmaxes are recomputed in the backward pass. Kept, they would fill the memory that the
    # factorised form saves, and JAX would reserve it even if this branch never runs.
    @keras.remat
    def one_word(scores, word_scores, share):
        return softmax(scores[:, None] + word_scores[:, :, None]) * ops.expand_dims(share, (-2, -1))

    def add_word(n, total):
        return total + one_word(
            scores, ops.take(word_scores, n, axis=2), ops.take(share, n, axis=2)
        )

    nothing = ops.zeros_like(scores[:, None] + word_scores[:, :, :1])  # (B, K, R, C)
    return ops.fori_loop(0, share.shape[2], add_word, nothing)
