"""Recurrences, fusions and joins of the systems against their equations in float64."""

import literal
import numpy as np
import pytest
import tiny

from keras_cmsa.systems import build_system

pytestmark = pytest.mark.keras


@pytest.fixture
def rng():
    return np.random.default_rng(6)


# --- recurrences and fusions against their equations in float64


def weights_of(layer):
    return {
        w.path.split("/", 1)[-1]: tiny.to_numpy(w.value).astype("float64") for w in layer.weights
    }


def draw(rng, *shape):
    return rng.normal(size=shape).astype("float32")


MASK = np.arange(5) < np.array([[5], [3], [1]])


def check(value, wanted, tolerance=1e-5):
    assert np.abs(value - wanted).max() < tolerance * max(1, np.abs(wanted).max())


def test_sentence_lstm_is_its_equations(seeded, rng):
    """Keras' LSTM as the systems call it: padding skipped, forget bias 1."""
    words = draw(rng, 3, 5, 4)
    layer = seeded.layers.LSTM(6)
    states = tiny.to_numpy(layer(words, mask=MASK))
    kernel, recurrent, bias = (tiny.to_numpy(w.value).astype("float64") for w in layer.weights)
    assert (bias.reshape(4, 6) == [[0], [1], [0], [0]]).all()
    for example, count in enumerate((5, 3, 1)):
        h, c = np.zeros(6), np.zeros(6)
        for word in words[example, :count]:
            i, f, j, o = np.split(word @ kernel + h @ recurrent + bias, 4)
            h, c = literal.lstm(i, j, f, o, c)
        check(states[example], h)


def test_multimodal_lstm_is_its_equations(seeded, rng):
    from keras_cmsa.layers import MultimodalLSTM

    positions, words = draw(rng, 3, 2, 3, 4), draw(rng, 3, 5, 6)
    layer = MultimodalLSTM(7)
    layer.build(positions.shape, words.shape)
    assert (tiny.to_numpy(layer.bias.value).reshape(4, 7) == [[0], [0], [1], [0]]).all()
    layer.bias.assign_add(draw(rng, 28))
    states = tiny.to_numpy(layer(positions, words, MASK))
    w = weights_of(layer)
    for example, count in enumerate((5, 3, 1)):
        for y, x in np.ndindex(2, 3):
            h, c = np.zeros(7), np.zeros(7)
            for word in words[example, :count]:
                joint = np.concatenate([positions[example, y, x], word])
                gates = joint @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"]
                h, c = literal.lstm(*np.split(gates, 4), c)
            check(states[example, y, x], h)


@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 5, 2, 3, 6)])
def test_simple_recurrent_unit_is_its_equations(seeded, rng, shape):
    """A vector per word of another width than the state; a map per word of the same."""
    from keras_cmsa.layers import SimpleRecurrentUnit
    from keras_cmsa.layers.word_scan import last_word

    x = draw(rng, *shape)
    layer = SimpleRecurrentUnit(6)
    layer.build(shape)
    layer.bias.assign_add(draw(rng, 12))
    states = layer(x, MASK)
    last, states = tiny.to_numpy(last_word(states, MASK)), tiny.to_numpy(states)
    w = weights_of(layer)
    for example, count in enumerate((5, 3, 1)):
        for place in np.ndindex(*shape[2:-1]):
            c = np.zeros(6)
            for n in range(count):
                word = x[(example, n, *place)].astype("float64")
                forget, reset, value, *highway = np.split(
                    word @ w["kernel"], w["kernel"].shape[1] // 6
                )
                forget = literal.sigmoid(forget + w["bias"][:6])
                reset = literal.sigmoid(reset + w["bias"][6:])
                c = forget * c + (1 - forget) * value
                h = reset * np.tanh(c) + (1 - reset) * (highway[0] if highway else word)
                check(states[(example, n, *place)], h)
            check(last[(example, *place)], h)


@pytest.mark.parametrize("shared", [False, True])
def test_conv_lstm_is_its_equations(seeded, rng, shared):
    from keras_cmsa.layers import ConvLSTM

    maps = [draw(rng, 2, 2, 3, 4) for _ in range(3)]
    layer = ConvLSTM(5, shared_peepholes=shared)
    layer.build([x.shape for x in maps])
    for weight in layer.weights:
        weight.assign_add(draw(rng, *weight.shape))
    assert layer.input_peephole.shape == ((5,) if shared else (2, 3, 5))
    hidden = tiny.to_numpy(layer(maps))
    w = weights_of(layer)

    def norm(x, row):
        return (x - x.mean()) / np.sqrt(x.var() + 1e-6) * w["gain"][row] + w["bias"][row]

    for example in range(2):
        h = c = np.zeros((2, 3, 5))
        for x in maps:
            joint = np.concatenate([x[example].astype("float64"), h], axis=-1)
            j, i, f, o = np.split(joint @ w["kernel"], 4, axis=-1)
            i = literal.sigmoid(norm(i + w["input_peephole"] * c, 1))
            f = literal.sigmoid(norm(f + w["forget_peephole"] * c, 2) + 1)
            c = f * c + i * np.tanh(norm(j, 0))
            o = literal.sigmoid(norm(o + w["output_peephole"] * c, 3))
            c = norm(c, 4)
            h = o * np.tanh(c)
        check(hidden[example], h)


@pytest.mark.parametrize(("side", "bins"), [(6, 6), (6, 3), (7, 3), (2, 6), (5, 1)])
def test_region_means(seeded, rng, side, bins):
    from keras_cmsa.layers import RegionMeans

    maps = draw(rng, 2, side, side + 1, 3)
    means = tiny.to_numpy(RegionMeans(bins)(maps))
    for i, j in np.ndindex(bins, bins):
        rows, columns = (
            slice(int(np.floor(k * n / bins)), int(np.ceil((k + 1) * n / bins)))
            for k, n in ((i, side), (j, side + 1))
        )
        check(means[:, i, j], maps[:, rows, columns].astype("float64").mean((1, 2)))


def fused(keras, rng, fusion):
    """A fusion of three maps of different widths: inputs, result, and weights by name in float64."""
    levels = [draw(rng, 1, 3, 3, channels) for channels in (2, 3, 4)]
    inputs = [keras.Input(x.shape[1:]) for x in levels]
    model = keras.Model(inputs, fusion(inputs, 8))
    tiny.shaken(model, rng)
    weights = {w.path: tiny.to_numpy(w.value).astype("float64") for w in model.weights}
    return [x[0].astype("float64") for x in levels], tiny.to_numpy(model(levels))[0], weights


def convolved(x, weights, name):
    return literal.convolution(x, weights[f"{name}/kernel"], weights[f"{name}/bias"])


def reduced(levels, weights):
    return [convolved(x, weights, f"reduction_{i}") for i, x in enumerate(levels, 1)]


def test_single_level(seeded, rng):
    from keras_cmsa.layers.fusion_alternatives import single_level

    levels, value, weights = fused(seeded, rng, single_level)
    check(value, np.maximum(0, convolved(levels[-1], weights, "reduction_1")))


def test_self_gated_fusion(seeded, rng):
    from keras_cmsa.layers.fusion_alternatives import self_gated

    levels, value, weights = fused(seeded, rng, self_gated)
    x = reduced(levels, weights)
    m = [literal.sigmoid(convolved(x[i], weights, f"memory_gate_{i + 1}")) for i in range(3)]
    assert [gate.shape for gate in m] == [(3, 3, 1)] * 3
    check(value, sum(m[i] * x[i] for i in range(3)))


def test_pyramid_pooling(seeded, rng):
    from keras_cmsa.layers.fusion_alternatives import pyramid_pooling

    levels, value, weights = fused(seeded, rng, pyramid_pooling)
    total = sum(reduced(levels, weights))
    joined = [total]
    for bins in (1, 2, 3, 6):
        edges = [
            (int(np.floor(k * 3 / bins)), int(np.ceil((k + 1) * 3 / bins))) for k in range(bins)
        ]
        means = np.array([[total[a:b, c:d].mean((0, 1)) for c, d in edges] for a, b in edges])
        pyramid = np.maximum(0, convolved(means, weights, f"pyramid_{bins}"))
        joined.append(literal.resize_bilinear(pyramid, 3))
    check(value, np.maximum(0, convolved(np.concatenate(joined, -1), weights, "pyramid_fusion")))


def test_deconvolution(seeded, rng):
    from keras_cmsa.layers.fusion_alternatives import deconvolution

    levels, value, weights = fused(seeded, rng, deconvolution)
    x3, x4, x5 = reduced(levels, weights)

    def deconvolved(x, name, stride):
        kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
        return np.maximum(0, literal.transposed_convolution(x, kernel, bias, stride))

    x = deconvolved(x5, "deconvolution_2", 1) + x4
    x = deconvolved(x, "deconvolution_1", 1) + x3
    x = deconvolved(x, "enlargement_1", 2)
    x = deconvolved(x, "enlargement_2", 2)
    assert value.shape == (12, 12, 2)
    check(value, x)


def test_recurrent_refinement_runs_from_coarse_to_fine(seeded, rng):
    from keras_cmsa.layers import ConvLSTM
    from keras_cmsa.layers.fusion_alternatives import recurrent_refinement

    levels, value, weights = fused(seeded, rng, recurrent_refinement)
    maps = [x[None].astype("float32") for x in reduced(levels, weights)[::-1]]
    cell = ConvLSTM(8)
    cell.build([x.shape for x in maps])
    cell.set_weights([weights[f"fusion/{w.name}"] for w in cell.weights])
    check(value, tiny.to_numpy(cell(maps))[0])


@pytest.mark.parametrize("stride", [2, 8])
def test_a_bilinear_filter_interpolates(seeded, rng, stride):
    """Away from the border, where a transposed convolution sees zeros beyond the map."""
    from keras_cmsa.layers import BilinearFilter

    x = draw(rng, 1, 6, 6, 2)
    layer = seeded.layers.Conv2DTranspose(
        2, 2 * stride, stride, "same", use_bias=False, kernel_initializer=BilinearFilter()
    )
    wanted = literal.resize_bilinear(x[0].astype("float64"), 6 * stride)
    inner = slice(stride, -stride)
    check(tiny.to_numpy(layer(x))[0, inner, inner], wanted[inner, inner])


# --- the pages of KWA and DMN, whose joins are written as sums


def test_key_words_of_kwa(seeded, rng):
    """Weights, key words and their context, region by region and word by word."""
    from keras_cmsa.baselines.kwa import key_word_context, word_weights

    appearance, hidden, coordinates = draw(rng, 1, 4, 5), draw(rng, 1, 5, 6), draw(rng, 1, 4, 8)
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
    check(by_region, wanted)

    is_key = wanted >= 1 / 3
    assert 4 <= is_key.sum() < 12
    for r in range(4):
        total = np.zeros(5 + 8)
        for n in np.flatnonzero(is_key[r]):
            regions = is_key[:, n]
            mean = appearance[0][regions].mean(0) @ w["context/kernel"] + w["context/bias"]
            away = coordinates[0, r] - coordinates[0][regions].mean(0)
            total += np.concatenate([np.maximum(0, mean), away])
        check(found[r], total)


def test_dmn_joins_positions_words_and_responses(seeded, rng):
    from keras_cmsa.baselines.dmn import join

    positions, words, responses = (
        draw(rng, 1, 2, 3, 4),
        draw(rng, 1, 5, 6),
        draw(rng, 1, 5, 2, 3, 2),
    )
    inputs = [seeded.Input(x.shape[1:]) for x in (positions, words, responses)]
    model = tiny.shaken(seeded.Model(inputs, join(*inputs, 7)), rng)
    value = tiny.to_numpy(model([positions, words, responses]))[0]
    w = {x.path: tiny.to_numpy(x.value).astype("float64") for x in model.weights}
    kernel = np.concatenate(
        [w[f"join_{part}/kernel"] for part in ("positions", "words", "responses")]
    )
    for n, y, x in np.ndindex(5, 2, 3):
        joint = np.concatenate([positions[0, y, x], words[0, n], responses[0, n, y, x]])
        check(value[n, y, x], joint @ kernel + w["join_positions/bias"])


@pytest.mark.parametrize("shape", ["pyramid", "flat"])
def test_dmn_climbs_the_pyramid_it_is_given(seeded, shape):
    """Five maps that double up to half of the image; three of one size, and bilinear to the image."""
    maps = {"pyramid": [(s, 3) for s in (2, 4, 8, 16, 32)], "flat": [(8, 3)] * 3}[shape]
    backbone = tiny.weightless_backbone(seeded, 32, maps)
    sizes = {"word_dim": 6, "attention_dim": 4, "fusion_dim": 8, "max_words": 5}
    model = build_system("dmn", 10, image_size=32, backbone=backbone, **sizes)
    stages = [x.output.shape[1:] for x in model.layers if x.name.startswith("stage_")]
    wanted = {
        "pyramid": [(2, 2, 8), (4, 4, 4), (8, 8, 2), (16, 16, 1), (32, 32, 1)],
        "flat": [(4, 4, 8), (4, 4, 4), (8, 8, 2)],
    }
    assert stages == wanted[shape]
    assert model.output.shape[1:] == (32, 32, 1)


# --- the backbones that some of them were published on


@pytest.mark.slow
def test_vgg_as_convolutions_is_vgg(seeded, rng):
    """At 224 pixels the middle of the 7 x 7 map sees what the dense layers see."""
    from keras_cmsa.backbones import fully_convolutional

    published = seeded.applications.VGG16(weights=None, classifier_activation=None)
    image = rng.uniform(0, 255, (1, 224, 224, 3)).astype("float32")
    caffe = image[..., ::-1] - np.array([103.939, 116.779, 123.68], "float32")
    maps = fully_convolutional(published, 224)(image)
    assert maps.shape == (1, 7, 7, 1000)
    logits = tiny.to_numpy(published(caffe))
    np.testing.assert_allclose(
        tiny.to_numpy(maps)[:, 3, 3], logits, atol=1e-4 * np.abs(logits).max()
    )


@pytest.mark.slow
def test_pyramid_resnet_maps(seeded):
    from keras_cmsa.backbones import pyramid_resnet101

    backbone = pyramid_resnet101(64, weights=None)
    assert [tuple(x.shape[1:]) for x in backbone.outputs] == [
        (32, 32, 64),
        (16, 16, 256),
        (8, 8, 512),
        (4, 4, 1024),
        (2, 2, 2048),
    ]
    with pytest.raises(ValueError, match=r"multiple of 32.* Received: image_size=48"):
        pyramid_resnet101(48, weights=None)
