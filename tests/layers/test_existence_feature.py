"""`ExistenceFeature` against its equations in NumPy, word by word and position by position."""

import numpy as np
import pytest
import tiny

from keras_cmsa.layers import ExistenceFeature

pytestmark = pytest.mark.keras


def test_it_is_its_equations(seeded, rng):
    """Of the words alone: what stands at padding counts for nothing."""
    layer = ExistenceFeature(3)
    fused, words = tiny.normal(rng, 2, 2, 3, 4), tiny.normal(rng, 2, 3, 5)
    mask = np.array([[True, True, False], [True, False, False]])
    words[~mask] = 9
    value = layer(fused, words, mask)
    w = tiny.weights_of(layer)

    def dense(name, x):
        return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    for row in range(2):
        positions = fused[row].reshape(6, 4).astype("float64")
        matches = []
        for word in words[row][mask[row]]:
            query = dense("query", word)
            scores = [query @ dense("key", x) / np.sqrt(3) for x in positions]
            shares = np.exp(scores) / np.exp(scores).sum()
            seen = sum(share * dense("value", x) for share, x in zip(shares, positions))
            match = dense("match", np.concatenate([query, seen, query * seen, [max(scores)]]))
            matches.append(np.maximum(match, 0))
        parts = [
            np.max(matches, axis=0), np.mean(matches, axis=0), positions.max(0), positions.mean(0),
        ]  # fmt: skip
        wanted = np.maximum(dense("join", np.concatenate(parts)), 0)
        tiny.assert_near(value[row], wanted)
