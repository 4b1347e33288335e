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


def attentions(mode, positions, words):
    """Alpha and beta of one sentence.

    Args:
        mode: `"pair"`, in which a position and a word never attend to themselves, or another mode
            of `CrossModalSelfAttention`.
        positions: query and key of the positions, `(2, P, d)`.
        words: query and key of the words, `(2, n, d)`, without padding.

    Returns:
        `{"positions": alpha, "words": beta}`, an `Attention` each.
    """
    count, length = positions.shape[1], words.shape[1]
    if mode == "pair" and min(count, length) < 2:
        choices = {"positions": count, "words": length}
        nothing = {over: np.zeros((count, c), "float32") for over, c in choices.items()}
        return {over: Attention(mean, 0.0, False) for over, mean in nothing.items()}
    (query, key), (query_words, key_words) = positions, words
    over_positions, over_words = key @ query.T, key @ query_words.T  # (P, P), (P, n)
    words_by_positions, words_by_words = key_words @ query.T, key_words @ query_words.T
    if mode == "pair":
        np.fill_diagonal(over_positions, -np.inf)
        np.fill_diagonal(words_by_words, -np.inf)
    return {
        "positions": attention(over_positions, words_by_positions, mode == "pair"),
        "words": attention(over_words, words_by_words, mode == "pair"),
    }


def attention(by_position, by_word, leaves_one_out=False):
    """The `Attention` of the scores by_position[p, c] + by_word[n, c] of each p and n.

    Args:
        by_position: `(P, C)`.
        by_word: `(n, C)`.
        leaves_one_out: whether each p and n leaves out one c; its score is -inf in either.
    """
    choices = by_position.shape[1] - leaves_one_out
    # exp of a sum is a product, so all sums over c are matrix products.
    (rows, row_scores), (words, word_scores) = map(exponentials, (by_position, by_word))
    sums = np.maximum(rows @ words.T, np.finfo("float64").tiny)  # (P, n)
    mean = (rows * ((1 / sums) @ words) / len(words)).astype("float32")
    scores = (rows * row_scores) @ words.T + rows @ (words * word_scores).T
    entropy = np.log(sums) - scores / sums
    share = float(entropy.mean() / np.log(choices)) if choices > 1 else 0.0
    return Attention(mean, share, choices > 1)


@functools.lru_cache(maxsize=64)
def uniform(mode, positions, words):
    """`attentions` of so many positions and words if all scores are equal."""
    return attentions(mode, np.zeros((2, positions, 1)), np.zeros((2, words, 1)))


def exponentials(scores):
    """exp of scores less their largest in a row, in float64, and these scores; -inf gives 0, 0."""
    scores = scores.astype("float64")
    scores -= scores.max(axis=-1, keepdims=True)
    return np.exp(scores), np.where(np.isfinite(scores), scores, 0)


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
