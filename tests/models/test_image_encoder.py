"""Image encoders: what each source gives, at which side, and which inputs its weights see."""

import keras
import numpy as np
import pytest
import tiny
from keras import layers
from keras.src.applications.convnext import ConvNeXt  # the published ones have 28 million weights
from towers import (
    SIDE,
    randomized,
    tiny_dino2,
    tiny_dino3,
    tiny_efficientnet,
    tiny_mit,
    tiny_vit,
)

from keras_cmsa.models.image_encoder import image_encoder

pytestmark = pytest.mark.keras


def image(rng, side=SIDE):
    return rng.uniform(0, 255, (2, side, side, 3)).astype("float32")


def maps_of(encoder, pixels):
    return [keras.ops.convert_to_numpy(x) for x in encoder(pixels)]


@pytest.mark.parametrize(
    ("name", "channels", "finest"),
    [
        ("EfficientNetV2B0", (48, 112, 192), 32),
        ("MobileNetV3Small", (24, 48, 96), 16),
        ("ResNet50", (512, 1024, 2048), 256),
        ("ConvNeXtTiny", (192, 384, 768), 96),
    ],
)
def test_networks_of_keras_applications(name, channels, finest, seeded):
    # Nobody looks at the weights, and to draw 30 million of them takes a second.
    with seeded.StatelessScope(initialize_variables=False):
        encoder = image_encoder(name, SIDE, weights=None, finer=(4,))
    shapes = [x.shape[1:] for x in encoder.outputs]
    assert shapes == [(4, 4, c) for c in channels] + [(16, 16, finest)]
    assert not encoder.trainable_weights


def test_a_pyramid_of_keras_hub_at_one_side(hub, seeded, rng):
    tower = randomized(tiny_efficientnet(hub), rng)
    pixels = image(rng)
    encoder = image_encoder(tower, SIDE, scaling=(1 / 128, -127 / 128), stride=16, finer=(8, 4))
    maps = maps_of(encoder, pixels)

    published = keras.Model(tower.input, [tower.pyramid_outputs[f"P{n}"] for n in (2, 3, 4, 5)])
    four, eight, sixteen, deep = maps_of(published, (pixels - 127) / 128)
    averaged = eight.reshape(2, 4, 2, 4, 2, -1).mean((2, 4))
    np.testing.assert_allclose(maps[0], averaged, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(maps[1], sixteen, rtol=1e-4, atol=1e-5)
    assert maps[2].shape == (2, 4, 4, 1280)
    # Half-pixel centres: a corner of the enlarged map is the corner of the map itself.
    np.testing.assert_allclose(maps[2][:, 0, 0], deep[:, 0, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(maps[3], eight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(maps[4], four, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "side", "patch", "others"),
    [(tiny_vit, SIDE, 16, 1), (tiny_dino2, 56, 14, 3), (tiny_dino3, SIDE, 16, 5)],
)
def test_the_patches_of_a_transformer_without_its_other_tokens(
    make, side, patch, others, hub, seeded, rng
):
    tower = randomized(make(hub), rng)
    pixels = image(rng, side) / 255
    maps = maps_of(image_encoder(tower, side), pixels)
    count = side // patch
    assert [x.shape for x in maps] == [(2, count, count, 8)] * 3
    # The last tokens, as the transformer's own class gives them.
    inputs = dict.fromkeys(tower.input, pixels) if isinstance(tower.input, dict) else pixels
    tokens = tiny.to_numpy(tower(inputs))[:, others:]
    np.testing.assert_allclose(maps[2].reshape(2, -1, 8), tokens, rtol=1e-4, atol=1e-5)
    assert np.abs(maps[0] - maps[1]).max() > 0.01 < np.abs(maps[1] - maps[2]).max()


def test_the_blocks_after_thirds_of_a_transformer(hub, seeded, rng):
    # Five, of which no third is whole.
    tower = randomized(tiny_dino3(hub, num_layers=5), rng)
    pixels = image(rng) / 255
    stages = keras.Model(tower.inputs[0], [tower.pyramid_outputs[f"stage{n}"] for n in (2, 4)])
    maps = maps_of(image_encoder(tower, SIDE), pixels)
    for got, tokens in zip(maps, stages(pixels)):
        wanted = keras.ops.convert_to_numpy(tower.layernorm(tokens))[:, 5:]
        np.testing.assert_allclose(got.reshape(2, -1, 8), wanted, rtol=1e-4, atol=1e-5)


def test_a_frozen_tower_has_no_dropout_in_training(hub, seeded, rng):
    pixels, tower = image(rng) / 255, randomized(tiny_mit(hub), rng)
    inputs = keras.Input((SIDE, SIDE, 3))
    dropped = layers.Dropout(0.5, noise_shape=(None, 1, 1, 1))(layers.Conv2D(4, 8, 8)(inputs))
    for source in (tower, keras.Model(inputs, [dropped, 2 * dropped, 3 * dropped])):
        frozen = image_encoder(source, SIDE)
        for one, other in zip(frozen(pixels, training=True), maps_of(frozen, pixels)):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), other)
    trained = image_encoder(tower, SIDE, trainable=True)
    assert trained.trainable_weights
    in_training = tiny.to_numpy(trained(pixels, training=True)[2])
    assert np.abs(maps_of(trained, pixels)[2] - in_training).max() > 1e-3


def plain_stages(widths=(4, 5, 6, 7, 8)):
    """A model of strides 2 to 32 with an expansion at the end of each stage, as mobile blocks have."""
    inputs = keras.Input((SIDE, SIDE, 3))
    x = inputs
    for number, width in enumerate(widths):
        x = layers.Conv2D(3 * width, 1, name=f"expand_{number}")(x)
        x = layers.Conv2D(3 * width, 3, strides=2, padding="same", name=f"halve_{number}")(x)
        x = layers.Conv2D(width, 1, name=f"project_{number}")(x)
        branch = layers.Conv2D(2 * width, 1, name=f"branch_{number}")(x)
        x = layers.Add(name=f"end_{number}")([x, layers.Conv2D(width, 1)(branch)])
    return keras.Model(inputs, layers.Conv2D(40, 1, name="top")(x))


def test_a_model_of_ones_own(seeded, rng):
    pixels, model = image(rng), plain_stages()
    encoder = image_encoder(model, SIDE, stride=32, finer=(4,))
    ends = keras.Model(model.input, [model.get_layer(f"end_{n}").output for n in (4, 1)])
    deep, fine = maps_of(ends, pixels)
    maps = maps_of(encoder, pixels)
    np.testing.assert_allclose(maps[2], deep, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(maps[3], fine, rtol=1e-4, atol=1e-4)
    for stride, sides in ((8, [16]), (16, [8, 16])):
        all_finer = image_encoder(model, SIDE, stride=stride, finer=None).outputs[3:]
        assert [x.shape[1] for x in all_finer] == sides

    inputs = keras.Input((SIDE, SIDE, 3))
    own = [layers.Conv2D(c, 8, strides=8)(inputs) for c in (2, 3, 4)]
    as_given = image_encoder(keras.Model(inputs, own), SIDE)
    assert [x.shape[1:] for x in as_given.outputs] == [(8, 8, 2), (8, 8, 3), (8, 8, 4)]


def test_where_keras_has_channels_first(seeded, rng):
    """The maps are what they are elsewhere."""
    pixels, model = image(rng), plain_stages()
    wanted = maps_of(image_encoder(model, SIDE), pixels)
    seeded.config.set_image_data_format("channels_first")
    try:
        encoder = image_encoder(model, SIDE)
    finally:
        seeded.config.set_image_data_format("channels_last")
    for one, other in zip(maps_of(encoder, pixels), wanted, strict=True):
        np.testing.assert_array_equal(one, other)


# Keras 3.15 says so of every backbone of KerasHub that it loads; the weights are all there.
skips_containers = pytest.mark.filterwarnings("ignore:Skipping nested container")


@skips_containers
def test_saved_and_loaded(hub, seeded, rng, tmp_path):
    pixels = image(rng)
    sizes = {"projection_dims": [4] * 4, "include_top": False, "weights": None}
    convnext = ConvNeXt([1] * 4, input_shape=(SIDE, SIDE, 3), **sizes)
    for number, tower in enumerate((tiny_mit(hub), tiny_vit(hub), convnext)):
        encoder = image_encoder(tower, SIDE, weights=None)
        encoder.save(tmp_path / f"{number}.keras")
        loaded = keras.models.load_model(tmp_path / f"{number}.keras", safe_mode=True)
        for one, other in zip(maps_of(encoder, pixels), maps_of(loaded, pixels)):
            np.testing.assert_array_equal(one, other)


@skips_containers
def test_a_preset_brings_its_weights_and_its_scaling(hub, seeded, rng, tmp_path):
    tower = randomized(tiny_efficientnet(hub), rng)
    tower.save_to_preset(tmp_path / "tower")
    converter = hub.EfficientNetImageClassifierPreprocessor.image_converter_cls
    converter(scale=1 / 128, offset=-127 / 128).save_to_preset(tmp_path / "tower")
    pixels = image(rng)
    wanted = maps_of(image_encoder(tower, SIDE, scaling=(1 / 128, -127 / 128)), pixels)
    for one, other in zip(maps_of(image_encoder(tmp_path / "tower", SIDE), pixels), wanted):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)

    (tmp_path / "tower" / "model.weights.h5").unlink()
    with pytest.raises(
        OSError, match=r"preset of KerasHub with its .* weights.* Received: .*tower"
    ):
        image_encoder(tmp_path / "tower", SIDE)


def test_what_is_no_image_encoder(hub, seeded, tmp_path):
    with pytest.raises(ValueError, match="wanted a network of .* Received: source='InceptionV3'"):
        image_encoder("InceptionV3", SIDE)
    with pytest.raises(OSError, match="preset of KerasHub .* Received: '.*empty'"):
        (tmp_path / "empty").mkdir()
        image_encoder(tmp_path / "empty", SIDE)
    with pytest.raises(ValueError, match="functional keras.Model .* Received: 3"):
        image_encoder(3, SIDE)
    with pytest.raises(ValueError, match=r"takes images of 96 x 96\. Received: .* takes 64 x 64"):
        image_encoder(tiny_vit(hub), 96)
    with pytest.raises(ValueError, match=r"multiple of 32.* Received: image_size=48"):
        image_encoder(tiny_efficientnet(hub), 48)
    with pytest.raises(ValueError, match=r"has one grid, .* Received: finer=\(4,\)"):
        image_encoder(tiny_vit(hub), SIDE, finer=(4,))
    with pytest.raises(ValueError, match=r"stride must be one of .* Received: stride=5"):
        image_encoder(tiny_efficientnet(hub), SIDE, stride=5)
    inputs = keras.Input((SIDE, SIDE, 3))
    coarse = [layers.Conv2D(2, s, strides=s)(inputs) for s in (16, 32, 64)]
    with pytest.raises(ValueError, match=r"strides \[8\] are missing\. Received: .* \[4, 2, 1\]"):
        image_encoder(keras.Model(inputs, coarse), SIDE)
    with_lambda = keras.Model(inputs, layers.Conv2D(2, 8, 8)(layers.Lambda(lambda x: x)(inputs)))
    with pytest.raises(ValueError, match=r"without Lambda layers.* Received: .*\['lambda"):
        image_encoder(with_lambda, SIDE)
