"""The layers against the literal float64 form of Eqs. 1-6."""

import literal
import numpy as np
import pytest

pytestmark = pytest.mark.keras

HEIGHT, WIDTH, WORDS = 3, 4, 5
VISUAL, WORD, DIM = 6, 5, 4
MODES = ("none", "word", "pixel", "pair", "full")


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def draw(rng, batch=2):
    visual = rng.normal(size=(batch, HEIGHT, WIDTH, VISUAL)).astype("float32")
    words = rng.normal(size=(batch, WORDS, WORD)).astype("float32")
    return visual, words


def kernels(layer):
    names = ("query_kernel", "key_kernel", "value_kernel", "output_kernel")
    return [to_numpy(getattr(layer, name)).astype("float64") for name in names]


def to_numpy(tensor):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def apply_layer(keras, visual, words, mask=None, layer=None, **options):
    """Feature and attention; returns the layer, F of Eq. 1 in float64 and the outputs."""
    from keras_cmsa.layers import CrossModalSelfAttention, MultimodalFeature

    positions, unit_words = MultimodalFeature()(visual, words)
    layer = layer or CrossModalSelfAttention(DIM, **options)
    output, by_word, by_position = layer(positions, unit_words, mask, return_attention=True)
    return layer, to_numpy(output), to_numpy(by_word), to_numpy(by_position)


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


def relative_error(value, wanted):
    return np.abs(value - wanted).max() / np.abs(wanted).max()


def test_feature_is_equation_1(seeded, rng):
    from keras_cmsa.layers import MultimodalFeature
    from keras_cmsa.layers.multimodal_feature import join_features

    visual, words = draw(rng)
    joined = to_numpy(join_features(*MultimodalFeature()(visual, words)))
    assert joined.shape == (2, WORDS, HEIGHT, WIDTH, VISUAL + 8 + WORD)
    for example in range(2):
        wanted = literal.feature(visual[example], words[example])
        np.testing.assert_allclose(joined[example].reshape(wanted.shape), wanted, atol=1e-6)


def test_feature_of_a_dead_position_is_zero_and_has_a_gradient(seeded):
    from keras_cmsa.layers import MultimodalFeature

    visual = np.zeros((1, 2, 2, 3), "float32")
    positions, _ = MultimodalFeature()(visual, np.ones((1, 1, 2), "float32"))
    assert not to_numpy(positions)[..., :3].any()
    assert np.isfinite(gradients(lambda x: MultimodalFeature()(x, x[:, 0])[0], [visual])[0]).all()


@pytest.mark.parametrize("query_chunk", [None, 5])
@pytest.mark.parametrize("mode", MODES)
def test_attention_is_equations_2_to_4(seeded, rng, mode, query_chunk):
    visual, words = draw(rng, batch=3)
    mask = np.arange(WORDS) < np.array([[WORDS], [2], [1]])
    layer, output, _, _ = apply_layer(
        seeded, visual, words, mask, attention=mode, query_chunk=query_chunk
    )
    for example, count in enumerate((WORDS, 2, 1)):
        wanted = literal_output(layer, visual[example], words[example, :count], mode)
        assert relative_error(output[example].reshape(wanted.shape), wanted) < 1e-5


@pytest.mark.parametrize("mode", MODES[1:])
def test_attention_maps_are_the_means_of_equation_3(seeded, rng, mode):
    visual, words = draw(rng, batch=1)
    layer, _, by_word, by_position = apply_layer(seeded, visual, words, attention=mode)
    weights = literal.attention(literal.feature(visual[0], words[0]), *kernels(layer)[:2], mode)
    np.testing.assert_allclose(by_word[0], weights.mean((0, 1)).sum(1), atol=1e-6)
    np.testing.assert_allclose(by_position[0].ravel(), weights.mean((0, 1)).sum(0), atol=1e-6)


def test_pair_attention_of_one_word_or_one_position_is_the_residual(seeded, rng):
    visual, words = draw(rng)
    for v, w in ((visual, words[:, :1]), (visual[:, :1, :1], words)):
        _, output, by_word, by_position = apply_layer(seeded, v, w, attention="pair")
        wanted = [literal.feature(v[i], w[i]).mean(axis=0) for i in range(2)]
        np.testing.assert_allclose(output.reshape(np.shape(wanted)), wanted, atol=1e-6)
        assert not by_word.any() and not by_position.any()


@pytest.mark.parametrize("query_chunk", [None, 5])
@pytest.mark.parametrize("mode", MODES[1:])
def test_attention_survives_scores_of_any_range(seeded, rng, mode, query_chunk):
    visual, words = draw(rng)
    layer, *_ = apply_layer(seeded, visual, words, attention=mode, query_chunk=query_chunk)
    f = literal.feature(visual[0], words[0])
    w_query, w_key, *_ = kernels(layer)
    scale_scores(
        layer, 1e4 / np.abs((f @ w_key).reshape(-1, DIM) @ (f @ w_query).reshape(-1, DIM).T).max()
    )
    _, output, _, _ = apply_layer(seeded, visual, words, layer=layer)
    for example in range(2):
        wanted = literal_output(layer, visual[example], words[example], mode)
        assert relative_error(output[example].reshape(wanted.shape), wanted) < 1e-4


def test_far_apart_maxima_take_the_exact_branch(seeded):
    """The case in which every product of the two exponentials underflows."""
    from keras_cmsa.layers.cross_modal_self_attention import mean_attention

    scores = np.array([[[0.0, -200.0, -100.0]]], "float32")
    word_scores = np.array([[[-200.0, 0.0, -100.0], [0.0, -1.0, -2.0]]], "float32")
    share = np.array([[0.5, 0.5]], "float32")
    tensors = [seeded.ops.convert_to_tensor(x) for x in (scores, word_scores, share)]
    value = to_numpy(mean_attention(*tensors))
    both = (scores[0] + word_scores[0]).astype("float64")
    wanted = np.exp(both - both.max(-1, keepdims=True))
    wanted = (wanted / wanted.sum(-1, keepdims=True)).mean(0)
    np.testing.assert_allclose(value[0, 0], wanted, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_padding_changes_nothing(seeded, rng, mode):
    visual, words = draw(rng)
    layer, alone, by_word, by_position = apply_layer(seeded, visual, words, attention=mode)
    padded = np.concatenate([words, 1e3 * rng.normal(size=(2, 4, WORD)).astype("float32")], axis=1)
    mask = np.broadcast_to(np.arange(WORDS + 4) < WORDS, (2, WORDS + 4))
    _, output, padded_by_word, padded_by_position = apply_layer(
        seeded, visual, padded, mask, layer=layer
    )
    np.testing.assert_allclose(output, alone, atol=1e-6)
    np.testing.assert_allclose(padded_by_word[:, :WORDS], by_word, atol=1e-6)
    np.testing.assert_allclose(padded_by_position, by_position, atol=1e-6)
    assert not padded_by_word[:, WORDS:].any()


def gradients(function, arrays):
    """Gradients of sum(function(*arrays)), on whichever backend runs."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tensors = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            total = keras.ops.sum(function(*tensors))
        return [g.numpy() for g in tape.gradient(total, tensors)]
    if backend == "jax":
        import jax

        total = jax.grad(lambda *a: keras.ops.sum(function(*a)), argnums=tuple(range(len(arrays))))
        return [np.asarray(g) for g in total(*arrays)]
    import torch

    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    keras.ops.sum(function(*tensors)).backward()
    return [t.grad.numpy() for t in tensors]


@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("mode", MODES[1:])
def test_gradients_are_those_of_the_literal_form(seeded, rng, mode, scale):
    """Every input and kernel, element by element; at 300 the exact branch runs as well."""
    from keras_cmsa.layers import CrossModalSelfAttention, MultimodalFeature

    visual, words = draw(rng, batch=1)
    layer, *_ = apply_layer(seeded, visual, words, attention=mode)
    scale_scores(layer, scale)
    weight = rng.normal(size=(HEIGHT * WIDTH, VISUAL + 8 + WORD)).astype("float32")
    arrays = [visual, words, *(k.astype("float32") for k in kernels(layer))]

    def ours(visual, words, *kernels):
        names = ("query_kernel", "key_kernel", "value_kernel", "output_kernel")
        variables = [getattr(layer, name) for name in names]
        with seeded.StatelessScope(state_mapping=zip(variables, kernels)):
            output = layer(*MultimodalFeature()(visual, words))
        return seeded.ops.reshape(output, weight.shape) * weight

    assert isinstance(layer, CrossModalSelfAttention)
    for which, value in enumerate(gradients(ours, arrays)):

        def at(array, which=which):
            full = [a.astype("float64") for a in arrays]
            full[which] = array
            visual, words, *kernels = full
            f = literal.feature(visual[0], words[0])
            return np.sum(weight * literal.self_attention(f, *kernels, mode))

        wanted = literal.gradient(at, arrays[which])
        assert np.abs(value - wanted).max() < 1e-4 * max(np.abs(wanted).max(), 1e-3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("mode", MODES)
def test_low_precision_stays_close(seeded, rng, mode, policy):
    visual, words = draw(rng)
    layer, exact, _, _ = apply_layer(seeded, visual, words, attention=mode)
    from keras_cmsa.layers import CrossModalSelfAttention, MultimodalFeature

    low = CrossModalSelfAttention(DIM, attention=mode, dtype=policy)
    features = MultimodalFeature(dtype=policy)(visual, words)
    low.build(*(tuple(part.shape) for part in features))
    for ours, theirs in zip(low.weights, layer.weights):
        ours.assign(theirs)
    output = low(*features)
    assert seeded.backend.standardize_dtype(output.dtype) == policy.removeprefix("mixed_")
    np.testing.assert_allclose(to_numpy(seeded.ops.cast(output, "float32")), exact, atol=0.05)


def fusion_weights(layer):
    pick = {"reduction": layer.reductions, "memory_gate": layer.memory_gates}
    pick["reset_gate"] = layer.reset_gates
    gamma = to_numpy(layer.gamma)
    return [
        {name: [to_numpy(w) for w in convs[i].weights] for name, convs in pick.items()}
        | {"gamma": gamma[i]}
        for i in range(3)
    ]


def test_fusion_is_equation_5(seeded, rng):
    from keras_cmsa.layers import GatedMultiLevelFusion

    levels = [rng.normal(size=(2, HEIGHT, WIDTH, c)).astype("float32") for c in (6, 7, 9)]
    layer = GatedMultiLevelFusion(5)
    layer(levels)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    fused, outputs = layer(levels, return_levels=True)
    for example in range(2):
        wanted, by_level = literal.fusion([x[example] for x in levels], fusion_weights(layer))
        assert relative_error(to_numpy(fused)[example], wanted) < 1e-5
        for output, level in zip(outputs, by_level):
            assert relative_error(to_numpy(output)[example], level) < 1e-5


def test_fusion_starts_as_documented(seeded, rng):
    from keras_cmsa.layers import GatedMultiLevelFusion

    layer = GatedMultiLevelFusion(5)
    layer([rng.normal(size=(1, 3, 3, 4)).astype("float32")] * 3)
    assert to_numpy(layer.gamma).tolist() == [0.5] * 3
    for gate in layer.memory_gates + layer.reset_gates:
        assert to_numpy(gate.bias).tolist() == [1.0]


@pytest.mark.parametrize(
    ("name", "options", "shapes"),
    [
        ("MultimodalFeature", {}, [(2, 4, 4, 6), (2, 5, 3)]),
        (
            "CrossModalSelfAttention",
            {"attention_dim": 7, "attention": "pair", "query_chunk": 4},
            [(2, 4, 4, 6), (2, 5, 3)],
        ),
        ("GatedMultiLevelFusion", {"fusion_dim": 6}, [[(2, 4, 4, 6), (2, 4, 4, 3)]]),
    ],
)
def test_layers_serialise_and_are_rebuilt(seeded, rng, name, options, shapes):
    from keras_cmsa import layers

    def draw_like(shape):
        if isinstance(shape, list):
            return [draw_like(s) for s in shape]
        return rng.normal(size=shape).astype("float32")

    inputs = [draw_like(shape) for shape in shapes]
    layer = getattr(layers, name)(**options)
    first = seeded.tree.flatten(layer(*inputs))
    twin = seeded.saving.deserialize_keras_object(seeded.saving.serialize_keras_object(layer))
    assert twin.get_config() == layer.get_config()
    assert {k: twin.get_config()[k] for k in options} == options
    twin(*inputs)
    twin.set_weights(layer.get_weights())
    for a, b in zip(first, seeded.tree.flatten(twin(*inputs))):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def test_layers_say_what_is_wrong(seeded):
    from keras_cmsa.layers import (
        CrossModalSelfAttention,
        GatedMultiLevelFusion,
        MultimodalFeature,
    )

    with pytest.raises(ValueError, match=r"attention must be one of .* Received: attention='all'"):
        CrossModalSelfAttention(4, attention="all")
    with pytest.raises(ValueError, match="query_chunk must be positive"):
        CrossModalSelfAttention(4, query_chunk=0)
    with pytest.raises(ValueError, match="height and width are known"):
        MultimodalFeature()(seeded.Input((None, None, 3)), seeded.Input((5, 4)))
    with pytest.raises(ValueError, match="same height and width"):
        GatedMultiLevelFusion(4)([np.zeros((1, 2, 2, 3)), np.zeros((1, 4, 4, 3))])
