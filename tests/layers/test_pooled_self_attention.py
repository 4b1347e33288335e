"""The attention of the authors' released code against its equations, pair by pair, in float64."""

import numpy as np
import pytest
import tiny

from keras_cmsa.layers import PooledSelfAttention

pytestmark = pytest.mark.keras

HEIGHT, WIDTH, VISUAL, WORD, COUNT = 3, 4, 5, 3, 5  # an odd height: blocks of one row
# Padding on the right, on the left, between, and none; 5 words, an odd number, are 3 blocks.
MASK = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], bool)


def literal(weights, positions, words, is_word, joint):
    """One example, `(H, W, Cp)` and `(N, Cl)`: the equations of the docstring as they stand."""

    def affine(name, x):
        return x @ weights[f"{name}_kernel"] + weights[f"{name}_bias"]

    words = words[is_word]
    pairs = np.stack(
        [
            np.concatenate([positions, np.broadcast_to(w, (*positions.shape[:2], len(w)))], -1)
            for w in words
        ]
    )  # (N, H, W, C)
    if joint:
        pairs = np.maximum(affine("joint", pairs), 0)
    query, key, value = (np.maximum(affine(x, pairs), 0) for x in ("query", "key", "value"))

    def blocks(x):
        count, height, width, _ = x.shape
        return np.stack(
            [
                x[n : n + 2, i : i + 2, j : j + 2].max(axis=(0, 1, 2))
                for n in range(0, count, 2)
                for i in range(0, height, 2)
                for j in range(0, width, 2)
            ]
        )

    key, value = blocks(key), blocks(value)
    output = np.zeros(pairs.shape[1:])
    for n, i, j in np.ndindex(pairs.shape[:3]):
        scores = key @ query[n, i, j]
        shares = np.exp(scores - scores.max())
        attended = shares @ value / shares.sum()
        output[i, j] += np.maximum(affine("output", attended), 0) + pairs[n, i, j]
    return output / len(words)


def made(keras, rng, joint_dim):
    layer = PooledSelfAttention(4, joint_dim)
    layer.build((None, HEIGHT, WIDTH, VISUAL), (None, COUNT, WORD))
    for weight in layer.weights:
        weight.assign(rng.normal(scale=0.5, size=weight.shape))  # steeper softmaxes cancel digits
    return layer


@pytest.mark.parametrize("joint_dim", [None, 6])
@pytest.mark.parametrize("count", [5, 4, 1])
def test_it_is_the_literal_form(seeded, rng, joint_dim, count):
    layer = made(seeded, rng, joint_dim)
    positions = tiny.normal(rng, len(MASK), HEIGHT, WIDTH, VISUAL)
    words = tiny.normal(rng, len(MASK), count, WORD)
    mask = MASK[:, :count] | (np.arange(count) == 0)
    weights = tiny.weights_of(layer)
    wanted = np.stack(
        [literal(weights, *row, joint_dim) for row in zip(positions, words, mask, strict=True)]
    )
    tiny.assert_near(layer(positions, words, mask), wanted)
    # Without a mask all are words.
    tiny.assert_near(layer(positions[3:], words[3:]), wanted[3:] if mask[3].all() else None)


@pytest.mark.parametrize("joint_dim", [None, 6])
def test_gradients_are_those_of_differences(seeded, rng, joint_dim):
    """Of the literal form, by inputs and weights.

    Also in a TensorFlow graph, where training runs; recomputing must not count one twice.
    """
    layer = made(seeded, rng, joint_dim)
    positions = tiny.normal(rng, 2, HEIGHT, WIDTH, VISUAL)
    words, mask = tiny.normal(rng, 2, COUNT, WORD), MASK[1:3]
    names = [w.name for w in layer.weights]
    arrays = [positions, words, *(tiny.to_numpy(w.value) for w in layer.weights)]

    def ours(positions, words, *values):
        return layer.stateless_call(list(values), [], positions, words, mask)[0]

    def total(positions, words, *values):
        weights = dict(zip(names, values, strict=True))
        rows = zip(positions, words, mask, strict=True)
        return sum(literal(weights, *row, joint_dim).sum() for row in rows)

    found = tiny.gradients(ours, arrays)
    tiny.assert_gradients(found, total, arrays, rng, 1e-3)
    assert (found[1][~mask] == 0).all() and (found[1][mask] != 0).any()
    found = found[2:]
    if seeded.backend.backend() == "tensorflow":
        import tensorflow as tf

        def of_variables():
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(layer(positions, words, mask))
            return tape.gradient(total, [w.value for w in layer.weights])

        for run in (of_variables, tf.function(of_variables)):
            for one, other in zip(run(), found, strict=True):
                tiny.assert_near(one, other, 1e-4)


@pytest.mark.parametrize(
    ("policy", "large"), [("mixed_float16", 256), ("mixed_bfloat16", 16), ("float32", 256)]
)
def test_low_precision_tells_scores_apart(seeded, policy, large):
    """Products of 256² and one more, beyond float16; and of 16² and one more, equal in bfloat16."""
    if seeded.backend.backend() == "torch" and policy == "mixed_float16":
        pytest.skip("PyTorch has not every operation in float16 on a CPU")
    positions, words = (
        np.float32([[[[large, 1], [large, 1], [large, 0]]]]),
        np.zeros((1, 1, 1), "f"),
    )
    layer = PooledSelfAttention(2, dtype=policy)
    layer.build(positions.shape, words.shape)
    for kernel, _ in (layer.query, layer.key):
        kernel.assign(np.eye(3, 2))  # of the first block 1 more than of the second
    layer.value[0].assign([[0, 0], [0, 1], [0, 0]])  # 1 in the first block and 0 in the second
    layer.output_map[0].assign([[0, 0, 0], [0, 0, 1]])  # beside the positions, which are added
    found = seeded.ops.cast(layer(positions, words), "float32")
    wanted = [1 / (1 + np.exp(-1))] * 2 + [0.5]
    np.testing.assert_allclose(tiny.to_numpy(found)[0, 0, :, 2], wanted, rtol=5e-3)


def test_words_are_taken_in_pairs(seeded, rng):
    """Within a pair their order says nothing; across pairs it does."""
    layer = made(seeded, rng, None)
    positions, words = tiny.normal(rng, 1, HEIGHT, WIDTH, VISUAL), tiny.normal(rng, 1, 4, WORD)
    result, within, across = (
        tiny.to_numpy(layer(positions, words[:, order]))
        for order in ([0, 1, 2, 3], [1, 0, 3, 2], [0, 2, 1, 3])
    )
    np.testing.assert_allclose(result, within, rtol=1e-4, atol=1e-5)
    assert np.abs(result - across).max() > 1e-2


def test_a_sentence_without_a_word_is_finite(seeded, rng):
    layer = made(seeded, rng, None)
    positions, words = tiny.normal(rng, 2, HEIGHT, WIDTH, VISUAL), tiny.normal(rng, 2, COUNT, WORD)
    mask = np.array([[True] * COUNT, [False] * COUNT])
    both = tiny.to_numpy(layer(positions, words, mask))
    assert np.isfinite(both).all()
    tiny.assert_near(layer(positions[:1], words[:1], mask[:1]), both[:1])
