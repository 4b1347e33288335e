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


@pytest.mark.parametrize("query_chunk", [None, 5])
@pytest.mark.parametrize("mode", MODES)
def test_attention_is_equations_2_to_4(seeded, rng, mode, query_chunk):
    visual, words = draw(rng, batch=3)
    mask = np.arange(WORDS) < np.array([[WORDS], [2], [1]])
    layer, output, _, _ = apply_layer(visual, words, mask, attention=mode, query_chunk=query_chunk)
    for example, count in enumerate((WORDS, 2, 1)):
        wanted = literal_output(layer, visual[example], words[example, :count], mode)
        tiny.assert_near(output[example].reshape(wanted.shape), wanted, 1e-5)


@pytest.mark.parametrize("query_chunk", [None, 5])
@pytest.mark.parametrize("mode", MODES)
def test_each_sentence_gets_what_it_gets_alone(seeded, rng, mode, query_chunk):
    """Equations 2 to 4 and the reduction, for three sentences an image; one is all padding."""
    visual, _ = draw(rng)
    words = tiny.normal(rng, 2, SENTENCES, WORDS, WORD)
    counts = np.array([[WORDS, 0, 2], [1, 3, WORDS]])
    mask = np.arange(WORDS) < counts[..., None]
    options = {"output_dim": OUTPUT, "attention": mode, "query_chunk": query_chunk}
    layer, output, by_word, by_position = apply_layer(visual, words, mask, **options)
    layer.reduction_bias.assign(tiny.normal(rng, OUTPUT))
    _, output, by_word, by_position = apply_layer(visual, words, mask, layer=layer)
    assert output.shape == (2, SENTENCES, HEIGHT, WIDTH, OUTPUT) and np.isfinite(output).all()
    kernel, bias = (tiny.to_numpy(w) for w in (layer.reduction_kernel, layer.reduction_bias))
    for b, k in zip(*np.nonzero(counts)):
        wanted = literal_output(layer, visual[b], words[b, k, : counts[b, k]], mode)
        tiny.assert_near(output[b, k].reshape(-1, OUTPUT), wanted @ kernel + bias, 1e-5)
        _, _, word, position = apply_layer(
            visual[b : b + 1], words[b : b + 1, k], mask[b : b + 1, k], layer=layer
        )
        np.testing.assert_allclose(by_word[b, k], word[0], atol=1e-6)
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


@pytest.mark.parametrize("query_chunk", [None, 5])
@pytest.mark.parametrize("mode", MODES[1:])
def test_attention_survives_scores_of_any_range(seeded, rng, mode, query_chunk):
    visual, words = draw(rng)
    layer, *_ = apply_layer(visual, words, attention=mode, query_chunk=query_chunk)
    f = literal.feature(visual[0], words[0])
    w_query, w_key, *_ = kernels(layer)
    scale_scores(
        layer, 1e4 / np.abs((f @ w_key).reshape(-1, DIM) @ (f @ w_query).reshape(-1, DIM).T).max()
    )
    _, output, _, _ = apply_layer(visual, words, layer=layer)
    for example in range(2):
        wanted = literal_output(layer, visual[example], words[example], mode)
        tiny.assert_near(output[example].reshape(wanted.shape), wanted, 1e-4)


def test_far_apart_maxima_take_the_exact_branch(seeded):
    """The case in which every product of the two exponentials underflows."""
    scores = np.array([[[0.0, -200.0, -100.0]]], "float32")
    word_scores = np.array([[[[-200.0, 0.0, -100.0], [0.0, -1.0, -2.0]]]], "float32")
    share = np.array([[[0.5, 0.5]]], "float32")
    tensors = [seeded.ops.convert_to_tensor(x) for x in (scores, word_scores, share)]
    value = tiny.to_numpy(mean_attention(*tensors))
    both = (scores[0] + word_scores[0, 0]).astype("float64")
    wanted = np.exp(both - both.max(-1, keepdims=True))
    wanted = (wanted / wanted.sum(-1, keepdims=True)).mean(0)
    np.testing.assert_allclose(value[0, 0, 0], wanted, atol=1e-6)


@pytest.mark.parametrize("apart", [16, 20, 30])
def test_a_small_normaliser_is_exact(seeded, apart):
    """Maxima far apart, but near enough for the factorised form: Z is about exp(-apart)."""
    scores, word_scores = np.float32([[[0, -apart, -50]]]), np.float32([[[[-apart, 0, -50]]]])
    tensors = [seeded.ops.convert_to_tensor(x) for x in (scores, word_scores, np.float32([[[1]]]))]
    value = tiny.to_numpy(mean_attention(*tensors))
    np.testing.assert_allclose(value[0, 0, 0], [0.5, 0.5, 0], atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_padding_changes_nothing(seeded, rng, mode):
    visual, words = draw(rng)
    layer, alone, by_word, by_position = apply_layer(visual, words, attention=mode)
    padded = np.concatenate([words, 1e3 * rng.normal(size=(2, 4, WORD)).astype("float32")], axis=1)
    mask = np.broadcast_to(np.arange(WORDS + 4) < WORDS, (2, WORDS + 4))
    _, output, padded_by_word, padded_by_position = apply_layer(visual, padded, mask, layer=layer)
    np.testing.assert_allclose(output, alone, atol=1e-6)
    np.testing.assert_allclose(padded_by_word[:, :WORDS], by_word, atol=1e-6)
    np.testing.assert_allclose(padded_by_position, by_position, atol=1e-6)
    assert not padded_by_word[:, WORDS:].any()


@pytest.mark.parametrize(("scale", "output_dim"), [(1.0, None), (300.0, OUTPUT)])
@pytest.mark.parametrize("mode", MODES[1:])
def test_gradients_are_those_of_the_literal_form(seeded, rng, mode, scale, output_dim):
    """Every input and kernel, element by element; at 300 the exact branch runs as well."""
    visual, words = draw(rng, batch=1)
    layer, *_ = apply_layer(visual, words, attention=mode, output_dim=output_dim)
    scale_scores(layer, scale)
    names = [*KERNELS, "reduction_kernel"] if output_dim else KERNELS
    weight = tiny.normal(rng, HEIGHT * WIDTH, output_dim or VISUAL + 8 + WORD)
    arrays = [visual, words, *(tiny.to_numpy(getattr(layer, name)) for name in names)]

    def ours(visual, words, *values):
        variables = [getattr(layer, name) for name in names]
        with seeded.StatelessScope(state_mapping=zip(variables, values)):
            output = layer(*MultimodalFeature()(visual, words))
        return seeded.ops.multiply(seeded.ops.reshape(output, weight.shape), weight)

    exact = [array.astype("float64") for array in arrays]
    feature = literal.feature(exact[0][0], exact[1][0])
    for which, value in enumerate(tiny.gradients(ours, arrays)):

        def at(array, which=which):
            visual, words, *kernels = [*exact[:which], array, *exact[which + 1 :]]
            # A kernel changes nothing of Eq. 1, whose literal form is the slow part.
            f = feature if which > 1 else literal.feature(visual[0], words[0])
            wide = literal.self_attention(f, *kernels[:4], mode)
            return np.sum(weight * (wide @ kernels[4] if output_dim else wide))

        wanted = literal.gradient(at, arrays[which])
        assert np.abs(value - wanted).max() < 1e-4 * max(np.abs(wanted).max(), 1e-3)


@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("mode", MODES[1:])
def test_gradients_of_many_sentences_are_the_sum_of_those_of_each(seeded, rng, mode, scale):
    """Of the reduced map too; a sentence of padding has none, and makes none that is not finite."""
    visual, _ = draw(rng, batch=1)
    words = tiny.normal(rng, 1, SENTENCES, WORDS, WORD)
    mask = np.arange(WORDS) < np.array([[[WORDS], [2], [0]]])
    layer, *_ = apply_layer(visual, words, mask, output_dim=OUTPUT, attention=mode)
    scale_scores(layer, scale)
    names = (*KERNELS, "reduction_kernel", "reduction_bias")
    weight = rng.normal(size=(1, SENTENCES, HEIGHT, WIDTH, OUTPUT)).astype("float32")
    weight[:, 2] = 0
    arrays = [visual, words, *(tiny.to_numpy(getattr(layer, name)) for name in names)]

    def gradients_of(first, last):
        which = slice(first, last)

        def weighted(visual, words, *values):
            variables = [getattr(layer, name) for name in names]
            with seeded.StatelessScope(state_mapping=zip(variables, values)):
                positions, words = MultimodalFeature()(visual, words[:, which])
                output = layer(positions, words, mask[:, which])
            return seeded.ops.multiply(output, weight[:, which])

        return tiny.gradients(weighted, arrays)

    alone = [sum(parts) for parts in zip(gradients_of(0, 1), gradients_of(1, 2))]
    for value, wanted in zip(gradients_of(0, 3), alone, strict=True):
        assert np.abs(value - wanted).max() < 1e-4 * max(np.abs(wanted).max(), 1e-3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("mode", MODES)
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


def test_large_maps_are_taken_in_chunks(seeded, rng, monkeypatch):
    """The same result to rounding, in as few chunks of one size as the bound allows."""
    assert rows_at_once(40 * 40) is rows_at_once(2048) is None  # 320 x 320 pixels and more
    assert rows_at_once(80 * 80) == 640 and 640 * 6400 <= MOST_SCORES
    visual, words = draw(rng)
    layer, whole, _, _ = apply_layer(visual, words)
    assert layer.query_chunk == "auto"
    taken, attend = [], attention_module.attend
    monkeypatch.setattr(pair_attention, "MOST_SCORES", (HEIGHT * WIDTH) ** 2 // 3)
    monkeypatch.setattr(attention_module, "attend", lambda *a: taken.append(a[-2]) or attend(*a))
    _, in_chunks, _, _ = apply_layer(visual, words, layer=layer)
    assert taken and set(taken) == {HEIGHT * WIDTH // 3}
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
