"""The refined system: its first round is CMSA's, and what comes after has a say."""

import keras
import numpy as np
import pytest
import tiny
from keras import layers

from keras_cmsa.models.cmsa import build_cmsa
from keras_cmsa.models.cmsa_refined import build_cmsa_refined
from keras_cmsa.models.systems import build_system

pytestmark = pytest.mark.keras
SIZES = {"image_size": 16, "max_words": 4, "word_dim": 6, "attention_dim": 4, "fusion_dim": 8}
WORDS = np.array([[[2, 3, 4, 0], [4, 3, 2, 0], [2, 0, 0, 0]]], "int32")


def tower(*sides, channels=(3, 4, 5, 2, 3)):
    image = keras.Input((16, 16, 3))
    small = layers.Rescaling(1 / 255)(image)
    maps = [
        layers.Conv2D(c, 16 // side, strides=16 // side, activation="tanh")(small)
        for c, side in zip(channels, sides)
    ]
    return keras.Model(image, maps, name="backbone")


def inputs(rng):
    return {"image": rng.uniform(0, 255, (1, 16, 16, 3)).astype("float32"), "words": WORDS}


def fused(model):
    return keras.Model(model.input, keras.tree.flatten(model.get_layer("fusion").output)[0])


def test_the_first_round_is_that_of_cmsa_with_word_order(seeded, rng):
    backbone = tower(4, 4, 4)
    ordered = build_cmsa(5, backbone=backbone, word_positions=True, **SIZES)
    refined = build_cmsa_refined(5, backbone=backbone, **SIZES)
    for layer in ordered.layers:
        if layer.weights and layer.name != "score":
            refined.get_layer(layer.name).set_weights(layer.get_weights())
    batch = inputs(rng)
    np.testing.assert_allclose(
        tiny.to_numpy(fused(refined)(batch)), tiny.to_numpy(fused(ordered)(batch)), atol=1e-5
    )


@pytest.mark.parametrize(
    ("sides", "score"), [((4, 4, 4), 4), ((4, 4, 4, 8), 8), ((2, 2, 2, 4, 8), 8)]
)
def test_the_score_is_at_the_finest_map(sides, score, seeded, rng):
    model = build_cmsa_refined(5, backbone=tower(*sides), **SIZES)
    assert model.get_layer("score").output.shape[1:] == (score, score, 1)
    logits = tiny.to_numpy(model(inputs(rng)))
    assert logits.shape == (1, 3, 16, 16, 1) and np.isfinite(logits).all()


def test_rounds_and_finer_maps_have_a_say(seeded, rng):
    batch = inputs(rng)
    model = build_cmsa_refined(5, backbone=tower(4, 4, 4, 8), rounds=3, **SIZES)
    for number in (2, 3):
        layer = model.get_layer(f"gain_{number}")
        gain, shift = layer.get_weights()
        assert not gain.any() and not shift.any()  # at the start a round adds nothing
        layer.set_weights([gain + 1, shift])
    before = tiny.to_numpy(model(batch))
    for name in ("attention_round_2", "attention_round_3", "finer_1", "refinement_1"):
        weights = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([0 * x for x in weights])
        after = tiny.to_numpy(model(batch))
        # What is before a part also goes by it.
        assert np.abs(after - before).max() > 1e-4 < after.std(axis=(2, 3)).min(), name
        model.get_layer(name).set_weights(weights)
    one_round = build_cmsa_refined(5, backbone=tower(4, 4, 4, 8), rounds=1, **SIZES)
    assert not [x for x in one_round.layers if "round" in x.name]


@pytest.mark.parametrize("build", [build_cmsa, build_cmsa_refined])
def test_with_words_from_elsewhere_saved_and_loaded(seeded, rng, tmp_path, build):
    table = layers.Embedding(5, 9, trainable=False)
    model = build(5, backbone=tower(4, 4, 4), word_encoder=table, **SIZES)
    assert getattr(model, "word_encoder", table) is table
    batch = inputs(rng)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        assert not [x for x in each.trainable_weights if x.path.endswith("embeddings")]
    np.testing.assert_array_equal(tiny.to_numpy(loaded(batch)), tiny.to_numpy(model(batch)))


def test_maps_of_unlike_sides():
    for name in ("cmsa_refined", "cmsa", "cmsa_released", "rrn"):
        with pytest.raises(ValueError, match=r"three maps of one side.* Received: .*\(8, 8\)"):
            build_system(name, 5, backbone=tower(4, 4, 8), **SIZES)
    with pytest.raises(ValueError, match=r"multiples of those before. Received: sides 8 and 4"):
        build_cmsa_refined(5, backbone=tower(8, 8, 8, 4), **SIZES)
