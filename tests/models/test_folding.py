"""Folded models compute the same with fewer steps."""

import numpy as np
import pytest
import tiny
from keras import Model, layers

from keras_cmsa.models.backbones import dilated_resnet101
from keras_cmsa.models.cmsa import with_attention
from keras_cmsa.models.folding import fold_for_inference
from keras_cmsa.presets.safe_loading import load_keras

pytestmark = pytest.mark.keras

# Statistics and weights that are not those of a fresh normalisation: gamma, beta, mean, variance.
NORM = [[1.5, -2, 0.5, 3], [0.1, 2, -1, 0.3], [0.3, -0.2, 0, 1], [0.5, 2, 3, 0.1]]


def norms_of(model):
    inner = [norm for x in model.layers if isinstance(x, Model) for norm in norms_of(x)]
    return inner + [x.name for x in model.layers if isinstance(x, layers.BatchNormalization)]


def test_folding_changes_nothing_but_the_work(seeded, photo, tmp_path):
    model = tiny.shaken(tiny.model(), np.random.default_rng(5))
    norm = model.get_layer("backbone").get_layer("stem_norm")
    norm.set_weights([np.array(x, "float32") for x in NORM])
    before = model.get_weights()
    folded, outputs = fold_for_inference(model), fold_for_inference(with_attention(model))
    assert norms_of(model) == ["stem_norm"] and norms_of(folded) == []
    # Per level W_v (joint, d), W (d, joint) and R W W_v (joint, F).
    assert folded.count_params() < model.count_params()
    inputs = tiny.preprocessor()([photo] * 3, ["red box", "box", "the green box right"])
    wanted, found = (m(inputs, training=False) for m in (with_attention(model), outputs))
    for name, value in wanted.items():
        value, other = tiny.to_numpy(value), tiny.to_numpy(found[name])
        np.testing.assert_allclose(other, value, atol=1e-5 * max(1, np.abs(value).max()))
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert not folded.trainable_variables
    folded.save(tmp_path / "folded.keras")
    for same in (fold_for_inference(folded), load_keras(tmp_path / "folded.keras")):
        again = tiny.to_numpy(same(inputs, training=False))
        np.testing.assert_allclose(again, tiny.to_numpy(found["logits"]), atol=1e-5)


def test_only_what_can_be_folded_is(seeded):
    """Not behind an activation, not where the convolution is read twice or is an output, not alone.

    Nor what is normalised over another axis than the channels, what is called twice, or is in a model that is not functional.
    """
    rng = np.random.default_rng(0)
    x = seeded.Input((6, 6, 2))
    norm = layers.BatchNormalization
    a = norm(name="folds", scale=False)(layers.Conv2D(3, 3, groups=1, name="a")(x))
    b = norm(name="after_relu")(layers.Conv2D(3, 3, activation="relu", name="b")(x))
    twice = layers.Conv2D(3, 3, name="twice")(x)
    c = layers.Add()([norm(name="read_twice")(twice), twice])
    out = layers.Conv2D(3, 3, name="out")(x)
    d = norm(name="of_an_output")(out)
    e = norm(name="alone", center=False)(a)
    shared = norm(name="of_two")
    f, g = (shared(layers.Conv2D(3, 3, name=name)(x)) for name in "fg")
    conv = layers.Conv2D(3, 1, padding="same", name="shared")
    h = norm(name="of_one_of_two")(conv(a))
    relu = layers.ReLU(name="relu")
    also = layers.Conv2D(3, 3, name="also")(x)
    i = layers.Add()([norm(name="beside_relu")(also), relu(also), relu(conv(b))])
    times = layers.Conv2D(3, 3, name="times")(x)
    k = norm(name="beside_an_operation")(times) + 2 * times
    rows = layers.Conv2D(3, 3, name="rows")(x)
    m = norm(axis=1, name="of_rows")(rows)
    sequential = seeded.Sequential([layers.Conv2D(3, 3), norm(name="in_sequence")])
    model = seeded.Model(x, [layers.Add()([a, b, c, d, e, f, g, h, i, k, m, sequential(x)]), out])
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    folded = fold_for_inference(model)
    assert set(norms_of(model)) - set(norms_of(folded)) == {"folds"}
    image = rng.normal(size=(2, 6, 6, 2)).astype("float32")
    for found, wanted in zip(folded(image, training=False), model(image, training=False)):
        np.testing.assert_allclose(
            tiny.to_numpy(found), tiny.to_numpy(wanted), rtol=1e-5, atol=1e-5
        )

    with pytest.raises(ValueError, match="needs a functional keras.Model. Received: Sequential"):
        fold_for_inference(sequential)


def test_what_other_files_have_not(seeded, rng):
    """A normalisation by given numbers, and a group for each channel, before a batch normalisation."""
    image = seeded.Input((6, 6, 3))
    x = layers.Normalization(mean=[1, 2, 3], variance=[0.5, 4, 2])(image)
    x = layers.Conv2D(3, 3, strides=2, groups=3, use_bias=False, padding="same")(x)
    x = layers.BatchNormalization(axis=3)(x)
    model = seeded.Model(image, layers.Conv2D(3, 2, groups=3, activation="gelu")(x))
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    folded = fold_for_inference(model)
    kinds = [type(layer).__name__ for layer in folded.layers[1:]]
    assert kinds == ["Rescaling", "DepthwiseConv2D", "DepthwiseConv2D"]
    pixels = tiny.normal(rng, 2, 6, 6, 3)
    tiny.assert_near(folded(pixels), tiny.to_numpy(model(pixels)))


@pytest.mark.slow
def test_resnet_101_folds_whole(seeded):
    backbone = dilated_resnet101(64, weights=None)
    assert len(norms_of(backbone)) == 104 and not norms_of(fold_for_inference(backbone))
