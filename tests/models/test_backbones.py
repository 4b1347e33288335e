"""Backbones: the published networks with their weights, at stride 8 or turned into convolutions."""

import urllib.error

import numpy as np
import pytest
import tiny

from keras_cmsa.models.backbones import (
    as_deeplab,
    dilated_resnet101,
    fully_convolutional,
    pyramid_resnet101,
    small_resnet,
    vgg16,
)

pytestmark = pytest.mark.keras


def test_small_resnet_maps(seeded):
    backbone = small_resnet(24, widths=(3, 4, 5, 6))
    assert [tuple(x.shape) for x in backbone.outputs] == [(None, 3, 3, c) for c in (4, 5, 6)]
    for stage, rate in {"conv3": 1, "conv4": 2, "conv5": 4}.items():
        assert backbone.get_layer(f"{stage}_block1_2").dilation_rate == (rate, rate)


def test_an_image_size_or_a_stage_that_is_not_possible():
    for size in (0, 20):
        with pytest.raises(ValueError, match=f"multiple of 8.* Received: image_size={size}"):
            small_resnet(size)
        with pytest.raises(ValueError, match=f"multiple of 8.* Received: image_size={size}"):
            dilated_resnet101(size, weights=None)
    with pytest.raises(ValueError, match=r"train_stages must be among .* Received: \['res5'\]"):
        dilated_resnet101(32, weights=None, train_stages=("conv3", "res5"))
    with pytest.raises(ValueError, match=r"multiple of 32.* Received: image_size=48"):
        pyramid_resnet101(48, weights=None)


def test_a_backbone_has_its_channels_last_whatever_keras_is_set_to(seeded):
    seeded.config.set_image_data_format("channels_first")
    try:
        backbone = small_resnet(16)
    finally:
        seeded.config.set_image_data_format("channels_last")
    assert [tuple(x.shape) for x in backbone.outputs] == [(None, 2, 2, c) for c in (48, 96, 128)]


def test_batch_normalisation_has_deeplabs_epsilon(seeded):
    assert as_deeplab(seeded.layers.BatchNormalization(name="conv1_bn")).epsilon == 1e-3


@pytest.mark.slow
def test_dilated_resnet_is_the_published_one_at_every_other_position(seeded, rng, tmp_path):
    """A stride traded for dilation keeps what was computed and adds what lies between.

    By default it trains the paper's stages, but for what normalises.
    """
    published = seeded.applications.ResNet101(include_top=False, weights=None)
    for layer in published.layers:
        if isinstance(layer, seeded.layers.BatchNormalization):
            gamma, variance = rng.uniform([[0.3], [0.8]], [[0.6], [1.2]], (2, layer.gamma.shape[0]))
            beta, mean = rng.normal(0, 0.1, (2, len(gamma)))
            layer.set_weights([gamma, beta, mean, variance])
    # The format of the files that Keras publishes, which its own writer still knows.
    published.save(tmp_path / "resnet101_notop.h5")
    backbone = dilated_resnet101(64, tmp_path / "resnet101_notop.h5")
    weights = backbone.trainable_weights
    assert stages(weights) == {"conv3", "conv4", "conv5"}
    assert {w.name for w in weights} == {"kernel", "bias"}

    image = rng.uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    ends = ("conv3_block4_out", "conv4_block23_out", "conv5_block3_out")
    published = seeded.Model(published.input, [published.get_layer(end).output for end in ends])
    # Caffe's preprocessing: BGR, less the means of ImageNet.
    caffe = image[..., ::-1] - np.array([103.939, 116.779, 123.68], "float32")
    wanted = [tiny.to_numpy(x) for x in published(caffe, training=False)]
    maps = [tiny.to_numpy(x) for x in backbone(image, training=False)]
    assert [x.shape for x in maps] == [(1, 8, 8, c) for c in (512, 1024, 2048)]
    assert [x.shape[1] for x in wanted] == [8, 4, 2]
    for ours, theirs, step in zip(maps, wanted, (1, 2, 4)):
        assert theirs.std() > 0.01
        np.testing.assert_allclose(
            ours[:, ::step, ::step], theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max()
        )


def stages(weights):
    """The stages to which weights belong."""
    return {w.path.split("_")[0].split("/")[-1] for w in weights}


@pytest.mark.slow
@pytest.mark.parametrize("build", [dilated_resnet101, pyramid_resnet101, vgg16])
def test_a_backbone_of_random_weights_trains_whole(seeded, build):
    """Only pretrained stages are worth keeping; what stages were asked for are trained alone."""
    backbone = build(64, weights=None)
    if build is pyramid_resnet101:
        maps = [(32, 64), (16, 256), (8, 512), (4, 1024), (2, 2048)]
        assert [tuple(x.shape[2:]) for x in backbone.outputs] == maps
    frozen = {w.path for w in backbone.non_trainable_weights}
    assert all(path.endswith(("moving_mean", "moving_variance")) for path in frozen)
    if build is not vgg16:
        only = build(64, weights=None, train_stages=("conv5",)).trainable_weights
        assert stages(only) == {"conv5"}


def test_imagenet_weights_without_a_network(seeded, tmp_path, monkeypatch):
    """The error says which file, from where, where to put it, and how else to give it."""

    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    def quicker(weights, include_top):
        """Of Keras' published networks ResNet-101 takes seconds to build before it downloads."""
        return seeded.applications.MobileNet(
            (128, 128, 3), alpha=0.25, weights=weights, include_top=include_top
        )

    monkeypatch.setattr(seeded.applications, "ResNet101", quicker)
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", refuse)
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(OSError, match="no route to host") as error:
        dilated_resnet101(32)
    for part in (
        "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "keras-applications",
        "~/.keras/models",
        "`backbone_weights`",
    ):
        assert part in str(error.value)


@pytest.mark.slow
def test_vgg_as_convolutions_is_vgg(seeded, rng):
    """At 224 pixels the middle of the 7 x 7 map sees what the dense layers see."""
    published = seeded.applications.VGG16(weights=None, classifier_activation=None)
    image = rng.uniform(0, 255, (1, 224, 224, 3)).astype("float32")
    caffe = image[..., ::-1] - np.array([103.939, 116.779, 123.68], "float32")
    backbone = fully_convolutional(published, 224)
    assert len(backbone.trainable_weights) == 2 * 3  # what pretrained weights leave to train
    maps = backbone(image)
    assert maps.shape == (1, 7, 7, 1000)
    logits = tiny.to_numpy(published(caffe))
    np.testing.assert_allclose(
        tiny.to_numpy(maps)[:, 3, 3], logits, atol=1e-4 * np.abs(logits).max()
    )
