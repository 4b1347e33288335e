"""Cross-modal self-attention against Eqs. 2-4 in float64, element by element."""

import literal
import numpy as np
import pytest
import tiny

from keras_cmsa.layers import CrossModalSelfAttention, MultimodalFeature, pair_attention
from keras_cmsa.layers import cross_modal_self_attention as attention_module
from keras_cmsa.layers.pair_attention import MOST_SCORES, mean_attention, rows_at_once

pytestmark = pytest.mark.keras

HEIGHT, WIDTH, WORDS = 3, 4, 5
VISUAL, WORD, DIM = 6, 5, 4
MODES = ("none", "word", "pixel", "pair", "full")
KERNELS = ("query_kernel", "key_kernel", "value_kernel", "output_kernel")
SENTENCES, OUTPUT = 3, 3


def draw(rng, batch=2):
    visual = tiny.normal(rng, batch, HEIGHT, WIDTH, VISUAL)
    return visual, tiny.normal(rng, batch, WORDS, WORD)


def kernels(layer):
    return [tiny.to_numpy(getattr(layer, name)).astype("float64") for name in KERNELS]


def apply_layer(visual, words, mask=None, layer=None, **options):
    """Feature and attention: the layer and its three outputs as arrays."""
    positions, unit_words = MultimodalFeature()(visual, words)
    layer = layer or CrossModalSelfAttention(DIM, **options)
    output, by_word, by_position = layer(positions, unit_words, mask, return_attention=True)
    return layer, tiny.to_numpy(output), tiny.to_numpy(by_word), tiny.to_numpy(by_position)


def literal_output(layer, visual, words, mode):
    """Eqs. 1-4 on one example; `words` without its padding."""
    f = literal.feature(visual, words)
    if mode == "none":
        return f.mean(axis=0)
    return literal.self_attention(f, *kernels(layer), mode)


def scale_scores(layer, factor):
    for name in ("query_kernel", "key_kernel"):
        kernel = getattr(layer, name)
        kernel.assign(kernel * factor**0.5)


@pytest.mark.parametrize(("query_chunk", "output_dim"), [(None, None), (5, OUTPUT)])
@pytest.mark.parametrize("mode", MODES)
def test_each_sentence_gets_equations_2_to_4(seeded, rng, mode, query_chunk, output_dim):
    """And the reduction: three sentences an image, of all lengths, as each gets them alone.

    What stands at padding counts for nothing; one sentence is all padding.
    """
    visual, _ = draw(rng)
    words = tiny.normal(rng, 2, SENTENCES, WORDS, WORD)
    counts = np.array([[WORDS, 0, 2], [1, 3, WORDS]])
    mask = np.arange(WORDS) < counts[..., None]
    padded = np.where(mask[..., None], words, 1e3 * words)
    options = {"output_dim": output_dim, "attention": mode, "query_chunk": query_chunk}
    layer, *_ = apply_layer(visual, words, mask, **options)
    reduce = np.eye(VISUAL + 8 + WORD), 0
    if output_dim:
        layer.reduction_bias.assign(tiny.normal(rng, output_dim))
        reduce = [tiny.to_numpy(w) for w in (layer.reduction_kernel, layer.reduction_bias)]
    _, output, by_word, by_position = apply_layer(visual, padded, mask, layer=layer)
    assert output.shape[:-1] == (2, SENTENCES, HEIGHT, WIDTH) and np.isfinite(output).all()
    assert not by_word[~mask & (counts > 0)[..., None]].any()
    for b, k in zip(*np.nonzero(counts)):
        alone = words[b : b + 1, k, : counts[b, k]]
        wanted = literal_output(layer, visual[b], alone[0], mode) @ reduce[0] + reduce[1]
        tiny.assert_near(output[b, k].reshape(wanted.shape), wanted, 1e-5)
        _, single, word, position = apply_layer(visual[b : b + 1], alone, layer=layer)
        tiny.assert_near(single[0].reshape(wanted.shape), wanted, 1e-5)
        np.testing.assert_allclose(by_word[b, k, : counts[b, k]], word[0], atol=1e-6)
        np.testing.assert_allclose(by_position[b, k], position[0], atol=1e-6)


@pytest.mark.parametrize("mode", MODES[1:])
def test_attention_maps_are_the_means_of_equation_3(seeded, rng, mode):
    visual, words = draw(rng, batch=1)
    layer, _, by_word, by_position = apply_layer(visual, words, attention=mode)
    weights = literal.attention(literal.feature(visual[0], words[0]), *kernels(layer)[:2], mode)
    np.testing.assert_allclose(by_word[0], weights.mean((0, 1)).sum(1), atol=1e-6)
    np.testing.assert_allclose(by_position[0].ravel(), weights.mean((0, 1)).sum(0), atol=1e-6)


def test_pair_attention_of_one_word_or_one_position_is_the_residual(seeded, rng):
    visual, words = draw(rng)
    for v, w in ((visual, words[:, :1]), (visual[:, :1, :1], words)):
        _, output, by_word, by_position = apply_layer(v, w, attention="pair")
        wanted = [literal.feature(v[i], w[i]).mean(axis=0) for i in range(2)]
        np.testing.assert_allclose(output.reshape(np.shape(wanted)), wanted, atol=1e-6)
        assert not by_word.any() and not by_position.any()


@pytest.mark.parametrize("mode", MODES[1:])
def test_attention_survives_scores_of_any_range(seeded, rng, mode):
    visual, words = draw(rng)
    layer, *_ = apply_layer(visual, words, attention=mode, query_chunk=5)
    f = literal.feature(visual[0], words[0])
    w_query, w_key, *_ = kernels(layer)
    scale_scores(
        layer, 1e4 / np.abs((f @ w_key).reshape(-1, DIM) @ (f @ w_query).reshape(-1, DIM).T).max()
    )
    _, output, _, _ = apply_layer(visual, words, layer=layer)
    for example in range(2):
        wanted = literal_output(layer, visual[example], words[example], mode)
        tiny.assert_near(output[example].reshape(wanted.shape), wanted, 1e-4)


@pytest.mark.parametrize(
    ("scores", "word_scores"),
    [
        # Every product of the two exponentials underflows: the exact branch.
        ([0, -200, -100], [[-200, 0, -100], [0, -1, -2]]),
        # Near enough for the factorised form, whose normaliser is about exp(-16), ...
        *(([0, -apart, 3 - apart], [[-apart, 0, 2 - apart]]) for apart in (16, 30, 45, 68)),
    ],
)
def test_maxima_far_apart_are_exact(seeded, rng, monkeypatch, scores, word_scores):
    """And so are the gradients."""
    if len(word_scores) == 1:
        monkeypatch.setattr(
            pair_attention, "word_by_word", lambda scores, *_: scores[:, None] * np.nan
        )
    count, weight = len(word_scores), tiny.normal(rng, 3)
    arrays = [np.float32([[scores]]), np.float32([[word_scores]])]
    share = seeded.ops.full((1, 1, count), 1 / count)

    def ours(scores, word_scores):
        return seeded.ops.multiply(mean_attention(scores, word_scores, share)[0, 0, 0], weight)

    def wanted(scores, word_scores):
        both = scores[0] + word_scores[0, 0]
        terms = np.exp(both - both.max(-1, keepdims=True))
        return (terms / terms.sum(-1, keepdims=True)).mean(0) * weight

    found = tiny.to_numpy(ours(*map(seeded.ops.convert_to_tensor, arrays)))
    np.testing.assert_allclose(found, wanted(*arrays), atol=1e-5)
    tiny.assert_gradients(tiny.gradients(ours, arrays), lambda *x: wanted(*x).sum(), arrays, rng)


@pytest.mark.parametrize(("scale", "output_dim"), [(1.0, None), (300.0, OUTPUT)])
@pytest.mark.parametrize("mode", MODES[1:])
def test_gradients_are_those_of_the_literal_form(seeded, rng, mode, scale, output_dim):
    """By every input and kernel, for three sentences; at 300 the exact branch runs as well.

    A sentence of padding, which the sum leaves out, makes no gradient that is not finite.
    """
    visual, _ = draw(rng, batch=1)
    words = tiny.normal(rng, 1, SENTENCES, WORDS, WORD)
    counts = (WORDS, 2, 0)
    mask = np.arange(WORDS) < np.array(counts)[None, :, None]
    layer, *_ = apply_layer(visual, words, mask, output_dim=output_dim, attention=mode)
    scale_scores(layer, scale)
    names = [*KERNELS, "reduction_kernel", "reduction_bias"] if output_dim else KERNELS
    weight = tiny.normal(rng, SENTENCES, HEIGHT * WIDTH, output_dim or VISUAL + 8 + WORD)
    weight[2] = 0
    arrays = [visual, words, *(tiny.to_numpy(getattr(layer, name)) for name in names)]

    def ours(visual, words, *values):
        variables = [getattr(layer, name) for name in names]
        with seeded.StatelessScope(state_mapping=zip(variables, values)):
            output = layer(*MultimodalFeature()(visual, words), mask)
        return seeded.ops.multiply(seeded.ops.reshape(output, weight.shape), weight)

    def wanted(visual, words, *kernels):
        total = 0
        for k, count in enumerate(counts[:2]):
            f = literal.feature(visual[0], words[0, k, :count])
            level_map = literal.self_attention(f, *kernels[:4], mode)
            if output_dim:
                level_map = level_map @ kernels[4] + kernels[5]
            total += np.sum(weight[k] * level_map)
        return total

    found = tiny.gradients(ours, arrays)
    assert not found[1][~mask].any()
    tiny.assert_gradients(found, wanted, arrays, rng)


def test_scaled_scores_are_those_of_a_smaller_kernel(seeded, rng):
    visual, words = draw(rng)
    layer, output, by_word, by_position = apply_layer(visual, words, scaled=True)
    smaller = CrossModalSelfAttention(DIM)
    _, plain, *_ = apply_layer(visual, words, layer=smaller)
    for ours, theirs in zip(smaller.weights, layer.weights):
        ours.assign(theirs / DIM**0.5 if theirs is layer.query_kernel else theirs)
    _, *found = apply_layer(visual, words, layer=smaller)
    for ours, wanted in zip((output, by_word, by_position), found, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-6)
    assert np.abs(output - plain).max() > 1e-3


@pytest.mark.parametrize(
    ("mode", "policy"),
    [("full", "mixed_float16"), ("pair", "mixed_float16"), ("full", "mixed_bfloat16")],
)
def test_low_precision_stays_close(seeded, rng, mode, policy):
    visual, words = draw(rng)
    layer, exact, _, _ = apply_layer(visual, words, attention=mode)
    low = CrossModalSelfAttention(DIM, attention=mode, dtype=policy)
    features = MultimodalFeature(dtype=policy)(visual, words)
    low.build(*(tuple(part.shape) for part in features))
    for ours, theirs in zip(low.weights, layer.weights):
        ours.assign(theirs)
    output = low(*features)
    assert seeded.backend.standardize_dtype(output.dtype) == policy.removeprefix("mixed_")
    np.testing.assert_allclose(tiny.to_numpy(seeded.ops.cast(output, "float32")), exact, atol=0.05)


def test_impossible_arguments_are_named():
    with pytest.raises(ValueError, match=r"attention must be one of .* Received: attention='all'"):
        CrossModalSelfAttention(4, attention="all")
    for wrong in (0, -1, 2.5, "all"):
        with pytest.raises(
            ValueError, match='query_chunk must be "auto", a positive integer or None'
        ):
            CrossModalSelfAttention(4, query_chunk=wrong)


def test_large_maps_are_taken_in_chunks(seeded, rng, monkeypatch, spied):
    """The same result to rounding, in as few chunks of one size as the bound allows."""
    assert rows_at_once(40 * 40) is rows_at_once(2048) is None  # 320 x 320 pixels and more
    assert rows_at_once(80 * 80) == 640 and 640 * 6400 <= MOST_SCORES
    visual, words = draw(rng)
    layer, whole, _, _ = apply_layer(visual, words)
    assert layer.query_chunk == "auto"
    calls = spied(attention_module, "attend")
    monkeypatch.setattr(pair_attention, "MOST_SCORES", (HEIGHT * WIDTH) ** 2 // 3)
    _, in_chunks, _, _ = apply_layer(visual, words, layer=layer)
    assert {call[-2] for call in calls} == {HEIGHT * WIDTH // 3}
    tiny.assert_near(in_chunks, whole, 1e-6)


@pytest.mark.parametrize(("mode", "query_chunk"), [("pixel", 5), ("pair", 4), ("full", 5)])
def test_chunks_change_neither_result_nor_gradient(seeded, rng, mode, query_chunk):
    """With chunks that divide the positions and with a rest; by inputs and weights."""
    visual, words = draw(rng)
    layer, *_ = apply_layer(visual, words, attention=mode, output_dim=OUTPUT)
    weights = [tiny.to_numpy(weight) for weight in layer.weights]
    feature = [tiny.to_numpy(part) for part in MultimodalFeature()(visual, words)]

    def output(positions, words, *weights):
        return layer.stateless_call(list(weights), [], positions, words)[0]

    def squares(*arrays):
        return seeded.ops.square(output(*arrays))

    results = []
    for chunk in (None, query_chunk):
        layer.query_chunk = chunk
        arrays = [*feature, *weights]
        results.append([output(*arrays), *tiny.gradients(squares, arrays)])
    whole, in_chunks = results
    for value, wanted in zip(in_chunks, whole, strict=True):
        tiny.assert_near(value, tiny.to_numpy(wanted), 1e-6)
