"""Alpha and beta (Eq. 2) of a layer, and what can be said of an attention in one number."""

import functools
import itertools
from typing import NamedTuple

import numpy as np


class Attention(NamedTuple):
    """One attention of one sentence.

    Attributes:
        mean: `(P, C)`, the mean over n of what each position attends to.
        entropy: the mean over p and n of the entropy, as a share of the largest possible.
        has_choice: whether there are two things or more to attend to.
    """

    mean: np.ndarray
    entropy: float
    has_choice: bool


def attentions(mode, positions, sentences):
    """Alpha and beta of sentences about one image.

    Args:
        mode: of `CrossModalSelfAttention`: in `"pair"` a position and a word never attend to
            themselves; alpha is fixed in `"word"`, beta in `"pixel"`.
        positions: query and key of the positions, `(2, P, d)`.
        sentences: list of query and key of the words of each, `(2, n, d)`, without padding.

    Returns:
        List of `{"positions": alpha, "words": beta}`, an `Attention` each.
    """
    is_pair, results, (query, key) = mode == "pair", [], positions
    by_position = exponentials(scores_of(query, key, is_pair))
    count = len(query)
    for query_words, key_words in sentences:
        words = len(query_words)
        if is_pair and min(count, words) < 2:
            alpha, beta = (fixed(np.zeros((count, choices))) for choices in (count, words))
        else:
            by_word = exponentials(scores_of(query_words, key_words, is_pair))
            alpha = attention(by_position, exponentials(key_words @ query.T), is_pair)
            beta = attention(exponentials(key @ query_words.T), by_word, is_pair)
        if mode == "word":
            alpha = fixed(np.eye(count))
        if mode == "pixel":
            beta = fixed(np.full((count, words), 1 / words))
        results.append({"positions": alpha, "words": beta})
    return results


def fixed(mean):
    """An `Attention` that nothing can choose."""
    return Attention(mean.astype("float32"), 0.0, False)


def scores_of(query, key, is_pair):
    """Scores of keys by queries, with -inf on the diagonal where none attends to itself."""
    scores = key @ query.T
    return np.where(np.eye(len(scores)) > 0, -np.inf, scores) if is_pair else scores


def attention(by_position, by_word, leaves_one_out=False):
    """The `Attention` of the scores by_position[p, c] + by_word[n, c] of each p and n.

    Args:
        by_position: `exponentials` of `(P, C)`.
        by_word: `exponentials` of `(n, C)`.
        leaves_one_out: whether each p and n leaves out one c; its score is -inf in either.
    """
    # exp of a sum is a product, so all sums over c are matrix products.
    (rows, row_scores), (words, word_scores) = by_position, by_word
    choices = rows.shape[1] - leaves_one_out
    sums = np.maximum(rows @ words.T, np.finfo("float64").tiny)  # (P, n)
    mean = (rows * ((1 / sums) @ words) / len(words)).astype("float32")
    scores = row_scores @ words.T + rows @ word_scores.T
    entropy = np.log(sums) - scores / sums
    share = float(entropy.mean() / np.log(choices)) if choices > 1 else 0.0
    return Attention(mean, share, choices > 1)


@functools.lru_cache(maxsize=64)
def uniform(mode, positions, words):
    """`attentions` of so many positions and words if all scores are equal."""
    return attentions(mode, np.zeros((2, positions, 1)), [np.zeros((2, words, 1))])[0]


def exponentials(scores):
    """exp(s) and s exp(s), in float64, of scores s less their largest in a row; -inf gives 0, 0."""
    scores = scores.astype("float64")
    scores -= scores.max(axis=-1, keepdims=True)
    exp = np.exp(scores)
    return exp, np.where(exp > 0, scores, 0) * exp


def distance(one, other):
    """The mean total variation distance of distributions over the last axis: 0..1."""
    return 0.5 * np.abs(one - other).sum(axis=-1).mean()


def changes_with_sentence(ids, sentences, over):
    """Yields the distance of the attentions of each two sentences that follow each other.

    Args:
        ids: list of word ids `(n,)`, one of each sentence.
        sentences: list of `Attention`.
        over: `"positions"`, or `"words"`: these are compared over the words that both have.
    """
    pairs = zip(itertools.pairwise(ids), itertools.pairwise(sentences))
    for (own_ids, other_ids), (own, other) in pairs:
        if not (own.has_choice and other.has_choice):
            continue
        if over == "positions":
            yield distance(own.mean, other.mean)
        elif len(np.intersect1d(own_ids, other_ids)) > 1:
            yield distance(*among_shared(own_ids, own.mean, other_ids, other.mean))


def among_shared(own_ids, own, other_ids, other):
    """Two attentions over words, as shares over the words that both sentences have."""
    shared = np.intersect1d(own_ids, other_ids)
    both = [
        np.stack([attention[:, ids == word].sum(axis=-1) for word in shared], axis=-1)
        for ids, attention in ((own_ids, own), (other_ids, other))
    ]
    return [x / np.maximum(x.sum(axis=-1, keepdims=True), 1e-30) for x in both]
