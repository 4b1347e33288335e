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


@pytest.mark.parametrize(
    ("policy", "large"), [("mixed_float16", 256), ("mixed_bfloat16", 16), ("float32", 256)]
)
def test_low_precision_tells_scores_apart(seeded, policy, large):
    """Products of 256² and one more, beyond float16; and of 16² and one more, equal in bfloat16."""
    if seeded.backend.backend() == "torch" and policy == "mixed_float16":
        pytest.skip("PyTorch has not every operation in float16 on a CPU")
    layer = ExistenceFeature(4, dtype=policy)
    fused = np.float32([[[[large, 1, 0, 0], [large, 0, 0, 0]]]])
    words = fused[:, 0, :1]
    layer.build(fused.shape, words.shape, (1, 1))
    # The result is the second channel of what the word sees: the share of the first position.
    ones = np.zeros((5, 16, 4), "float32")
    ones[0, :4] = ones[1, :4] = ones[3, 4:8] = ones[4, :4] = np.eye(4)
    ones[2, 1, 1] = 1
    parts = layer.query, layer.key, layer.value, layer.match, layer.join
    for part, kernel in zip(parts, ones):
        part.kernel.assign(kernel[: part.kernel.shape[0]])
    value = seeded.ops.cast(layer(fused, words, np.array([[True]])), "float32")
    np.testing.assert_allclose(tiny.to_numpy(value)[0, 1], 1 / (1 + np.exp(-0.5)), rtol=5e-3)
