"""KWA: weights of words, key words and their context, which are written as sums."""

import numpy as np
import pytest
import tiny

from keras_cmsa.models.kwa import MARGIN, key_word_context, word_weights

pytestmark = pytest.mark.keras

# Expressions of 5, 3 and 1 words.
MASK = np.arange(5) < np.array([[5], [3], [1]])


def test_key_words_of_kwa(seeded, rng):
    """Weights, key words and their context, region by region and word by word."""
    appearance, hidden, coordinates = (
        tiny.normal(rng, 1, 4, 5),
        tiny.normal(rng, 1, 5, 6),
        tiny.normal(rng, 1, 4, 8),
    )
    inputs = [seeded.Input(x.shape[1:]) for x in (appearance, hidden, coordinates)]
    mask = seeded.Input((5,), dtype="bool")
    weights = word_weights(inputs[0], inputs[1], mask, 7)
    context = key_word_context(inputs[0], inputs[2], weights, mask)
    model = tiny.shaken(seeded.Model([*inputs, mask], [weights, context]), rng)
    by_region, found = (
        tiny.to_numpy(x)[0] for x in model([appearance, hidden, coordinates, MASK[1:2]])
    )
    w = {x.path: tiny.to_numpy(x.value).astype("float64") for x in model.weights}

    def unit(x):
        return x / np.linalg.norm(x)

    kernel = np.concatenate([w["weigh_regions/kernel"], w["weigh_words/kernel"]])
    wanted = np.zeros((4, 5))
    for r in range(4):
        scores = []
        for n in range(3):
            joint = np.concatenate([unit(appearance[0, r]), unit(hidden[0, n])])
            hidden_layer = np.maximum(0, joint @ kernel + w["weigh_regions/bias"])
            scores.append(float((hidden_layer @ w["weigh/kernel"])[0]))
        wanted[r, :3] = np.exp(scores) / np.exp(scores).sum()
    tiny.assert_near(by_region, wanted)

    is_key = wanted >= (1 - MARGIN) / 3
    assert 4 <= is_key.sum() < 12
    for r in range(4):
        total = np.zeros(5 + 8)
        for n in np.flatnonzero(is_key[r]):
            regions = is_key[:, n]
            mean = appearance[0][regions].mean(0) @ w["context/kernel"] + w["context/bias"]
            away = coordinates[0, r] - coordinates[0][regions].mean(0)
            total += np.concatenate([np.maximum(0, mean), away])
        tiny.assert_near(found[r], total)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_equal_words_are_all_key_words_whatever_rounding_does(seeded, rng, count):
    """A weight of 1/N is a tie, which a processor's last bit must not decide."""
    appearance, coordinates = tiny.normal(rng, 1, 4, 5), tiny.normal(rng, 1, 4, 8)
    weights, mask = seeded.Input((4, 5)), seeded.Input((5,), dtype="bool")
    inputs = [seeded.Input(x.shape[1:]) for x in (appearance, coordinates)]
    model = seeded.Model([*inputs, weights, mask], key_word_context(*inputs, weights, mask))
    tie = np.where(np.arange(5) < count, np.float32(1 / count), np.float32(0))
    tie = np.broadcast_to(tie, (1, 4, 5)).astype("float32")
    here = (np.arange(5) < count)[None]
    wanted, *others = (
        tiny.to_numpy(model([appearance, coordinates, tie * np.float32(factor), here]))
        for factor in (1, 1 - 1e-6, 1 + 1e-6)
    )
    assert np.abs(wanted[..., 5:]).max() > 0.1  # the offset from the mean place: all regions agree
    for found in others:
        tiny.assert_near(found, wanted)
