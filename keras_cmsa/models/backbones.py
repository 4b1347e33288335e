"""Backbones: an image to the maps of Res3, Res4 and Res5, at one eighth of the image's side.

Two compared systems use other backbones: LSTM-CNN `vgg16`, and DMN `pyramid_resnet101` in place of
the published DPN-92.

Each backbone takes RGB in 0..255 and scales it as its weights expect. Only backbones do this, so
training, prediction and serving use the same scaling.
"""

import keras
from keras import layers, ops

from keras_cmsa.models.channels_last import channels_last

STAGES = ("conv1", "conv2", "conv3", "conv4", "conv5")
PAPER_STAGES = ("conv3", "conv4", "conv5")  # of pretrained weights
# ImageNet's mean in BGR. The published weights expect images from which it is subtracted.
CAFFE_MEAN = (103.939, 116.779, 123.68)
DEEPLAB_MEAN = (104.00698793, 116.66876762, 122.67891434)
# Res4 and Res5 keep the stride of Res3 and widen their 3x3 kernels instead (DeepLab).
DILATION = {"conv4": 2, "conv5": 4}
DILATED_ENDS = ("conv3_block4_out", "conv4_block23_out", "conv5_block3_out")
# TensorFlow's "same" at an even side: before and after, on both axes.
SAME_PADDING = {"conv1_pad": ((2, 3), (2, 3)), "pool1_pad": ((0, 1), (0, 1))}


@channels_last()
def dilated_resnet101(image_size=320, weights="imagenet", train_stages=None, freeze_norm=None):
    """ResNet-101 at stride 8, with dilation 2 in Res4 and 4 in Res5 instead of their strides.

    Args:
        image_size: side of the square input in pixels, a multiple of 8.
        weights: `"imagenet"` (from `keras.applications`, downloaded once), the path of a weights
            file of `keras.applications.ResNet101(include_top=False)`, or `None` for random
            weights. The paper starts from DeepLab's, trained on COCO, whose network is
            `deeplab_resnet101`.
        train_stages: the stages to train, a subset of `STAGES` ("conv3" is the paper's Res3). `None`:
            Res3, Res4 and Res5 of pretrained weights, and all of random ones.
        freeze_norm: keep batch normalisation at its stored statistics. `None`: only if there are
            pretrained weights.

    Returns:
        `keras.Model` named "backbone": `(B, S, S, 3)` RGB in 0..255 -> list of three maps
        `(B, S/8, S/8, 512)`, `(B, S/8, S/8, 1024)`, `(B, S/8, S/8, 2048)`.

    Raises:
        ValueError: if `image_size` or a stage is not possible, or the file does not fit.
        OSError: if the ImageNet weights are not in Keras' cache and cannot be downloaded; the
            message says what to do.

    Source: He et al., CVPR 2016; Chen et al., "DeepLab", PAMI 2018.
    """
    check_image_size(image_size)
    return resnet101(image_size, weights, train_stages, freeze_norm, dilate, DILATED_ENDS)


@channels_last()
def deeplab_resnet101(image_size=320, train_stages=None, freeze_norm=False):
    """`dilated_resnet101` as DeepLab's checkpoint of TensorFlow has it, with random weights.

    It differs from Keras' ResNet-101 in what is subtracted from the image (`DEEPLAB_MEAN`), in the
    padding of the first convolution and pooling (`"same"`), in the epsilon of batch normalisation
    (1e-3), and in that no convolution has a bias. `keras_cmsa.convert.deeplab` loads its weights.

    Args:
        image_size, train_stages, freeze_norm: as in `dilated_resnet101`.

    Returns:
        As `dilated_resnet101`.

    Raises:
        ValueError: if `image_size` or a stage is not possible.

    Source: Chen et al., "DeepLab", PAMI 2018; https://github.com/DrSleep/tensorflow-deeplab-resnet.
    """
    check_image_size(image_size)
    return resnet101(
        image_size, None, train_stages, freeze_norm, as_deeplab, DILATED_ENDS, DEEPLAB_MEAN
    )


@channels_last()
def pyramid_resnet101(image_size=512, weights="imagenet", train_stages=None, freeze_norm=None):
    """ResNet-101 as published, at stride 32, with a map at each power of two.

    Args:
        image_size: side of the square input in pixels, a multiple of 32.
        weights, train_stages, freeze_norm: as in `dilated_resnet101`.

    Returns:
        `keras.Model` named "backbone": `(B, S, S, 3)` RGB in 0..255 -> list of five maps of sides
        S/2, S/4, S/8, S/16, S/32 with 64, 256, 512, 1024 and 2048 channels.

    Raises:
        ValueError, OSError: as in `dilated_resnet101`.

    Source: He et al., CVPR 2016.
    """
    check_image_size(image_size, 32)
    blocks = ("conv2_block3", "conv3_block4", "conv4_block23", "conv5_block3")
    ends = ["conv1_relu", *(f"{block}_out" for block in blocks)]
    return resnet101(image_size, weights, train_stages, freeze_norm, None, ends)


def resnet101(
    image_size, weights, train_stages, freeze_norm, clone_function, ends, mean=CAFFE_MEAN
):
    """`keras.applications.ResNet101` from the image to the layers named `ends`.

    Args:
        clone_function: function from a published layer to the layer that takes its place; `None`: a
            copy.
        ends: names of the layers whose outputs are the maps.
        mean: BGR, subtracted from the image.

    The other arguments and errors are those of `dilated_resnet101`.
    """
    unknown = set(train_stages or ()) - set(STAGES)
    if unknown:
        raise ValueError(f"train_stages must be among {STAGES}. Received: {sorted(unknown)}")
    published = published_weights(
        keras.applications.ResNet101,
        weights,
        "resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        include_top=False,
    )
    changed = keras.models.clone_model(
        published,
        input_tensors=keras.Input((image_size, image_size, 3)),
        clone_function=clone_function,
    )
    if weights is not None:
        changed.set_weights(published.get_weights())
    if freeze_norm is None:
        freeze_norm = weights is not None
    if train_stages is None:
        train_stages = STAGES if weights is None else PAPER_STAGES
    for layer in changed.layers:
        is_norm = isinstance(layer, layers.BatchNormalization)
        layer.trainable = layer.name.split("_")[0] in train_stages and not (is_norm and freeze_norm)
    features = keras.Model(changed.input, [changed.get_layer(end).output for end in ends])

    image = keras.Input((image_size, image_size, 3), name="image")
    return keras.Model(image, features(caffe_pixels(image, mean)), name="backbone")


@channels_last()
def vgg16(image_size=512, weights="imagenet"):
    """VGG-16 at stride 32, with its three dense layers turned into convolutions.

    Its 13 convolutions are trained only if they are random; Hu et al. keep pretrained ones frozen.

    Args:
        image_size: side of the square input in pixels, a multiple of 32.
        weights: `"imagenet"`, the path of a weights file of `keras.applications.VGG16()`, or `None`
            for random weights.

    Returns:
        `keras.Model` named "backbone": `(B, S, S, 3)` RGB in 0..255 -> list of one map
        `(B, S/32, S/32, 1000)`, the logits of ImageNet's classes at each place.

    Raises:
        ValueError, OSError: as in `dilated_resnet101`.

    Source: Simonyan and Zisserman, ICLR 2015; as used by Hu et al., ECCV 2016.
    """
    check_image_size(image_size, 32)
    published = published_weights(
        keras.applications.VGG16, weights, "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5"
    )
    return fully_convolutional(published, image_size, train_convolutions=weights is None)


@channels_last()
def fully_convolutional(vgg, image_size, train_convolutions=False):
    """`vgg16` with the weights of `vgg`, a `keras.applications.VGG16` with its top."""
    to_pool = keras.Model(vgg.input, vgg.get_layer("block5_pool").output)
    features = keras.models.clone_model(
        to_pool, input_tensors=keras.Input((image_size, image_size, 3))
    )
    features.set_weights(to_pool.get_weights())
    features.trainable = train_convolutions

    image = keras.Input((image_size, image_size, 3), name="image")
    x = features(caffe_pixels(image))
    for name, dense, size in (("fc6", "fc1", 7), ("fc7", "fc2", 1), ("fc8", "predictions", 1)):
        kernel, bias = vgg.get_layer(dense).get_weights()
        convolution = layers.Conv2D(
            len(bias),
            size,
            padding="same",
            activation=None if name == "fc8" else "relu",
            # The weights come from `vgg`. To draw 100 million at random first would take seconds.
            kernel_initializer="zeros",
            name=name,
        )
        x = convolution(x)
        convolution.set_weights([kernel.reshape(size, size, -1, len(bias)), bias])
    return keras.Model(image, [x], name="backbone")


def published_weights(application, weights, file, **options):
    """A model of `keras.applications` with its weights.

    Args:
        application: function of `keras.applications`.
        weights: `"imagenet"`, a path or `None`.
        file: name of the file with the ImageNet weights, for the error message.
        **options: further arguments of `application`.

    Raises:
        OSError: if the ImageNet weights cannot be downloaded; the message says what to do.
    """
    try:
        return application(weights=weights, **options)
    except Exception as error:
        if weights != "imagenet" or "URL" not in str(error):
            raise
        raise OSError(
            f"{application.__name__} needs its ImageNet weights in Keras' cache or a network to "
            f"download them: {file} of Keras' application weights (Google Cloud Storage, "
            "'tensorflow/keras-applications'). Put the file into ~/.keras/models, or give its path "
            "in the place of imagenet; none starts from random weights (`weights`, in a recipe "
            f"`backbone_weights`). Received: {error}"
        ) from error


def dilate(layer):
    """A copy of a layer of ResNet-101, with dilation instead of stride in Res4 and Res5."""
    config = layer.get_config()
    stage = layer.name.split("_")[0]
    if stage in DILATION and isinstance(layer, layers.Conv2D):
        config["strides"] = (1, 1)
        if config["kernel_size"] == (3, 3):
            config["dilation_rate"] = (DILATION[stage],) * 2
    return layer.__class__.from_config(config)


def as_deeplab(layer):
    """A copy of a layer of ResNet-101, as DeepLab's checkpoint has it."""
    config = dilate(layer).get_config()
    if isinstance(layer, layers.Conv2D):
        config["use_bias"] = False
    elif isinstance(layer, layers.BatchNormalization):
        config["epsilon"] = 1e-3
    elif layer.name in SAME_PADDING:
        config["padding"] = SAME_PADDING[layer.name]
    return layer.__class__.from_config(config)


def caffe_pixels(image, mean=CAFFE_MEAN):
    """RGB in 0..255 -> BGR minus `mean`, in float32 under any dtype policy."""
    # Normalization would do, but ONNX asks whoever runs a file for its constants.
    mean_free = layers.Rescaling(
        1.0, offset=[-channel for channel in mean], dtype="float32", name="caffe_mean"
    )
    return mean_free(ops.flip(image, axis=-1))


@channels_last()
def small_resnet(image_size=112, widths=(24, 48, 96, 128), finer=False):
    """A small residual network with maps like `dilated_resnet101`, for CPUs and tests.

    It starts from random weights.

    Args:
        image_size: side of the square input in pixels, a multiple of 8.
        widths: channels of the stem and of Res3, Res4 and Res5.
        finer: give the map before Res3 too.

    Returns:
        `keras.Model` named "backbone": `(B, S, S, 3)` RGB in 0..255 -> list of three maps
        `(B, S/8, S/8, widths[i])` for i = 1, 2, 3, with the dilation of `dilated_resnet101`; then,
        with `finer`, `(B, S/4, S/4, widths[0])`.

    Raises:
        ValueError: if `image_size` is not a multiple of 8.
    """
    check_image_size(image_size)
    image = keras.Input((image_size, image_size, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, dtype="float32", name="rescale")(image)
    x = layers.ReLU(name="stem_relu")(convolve(x, widths[0], 3, strides=2, name="stem"))
    x = residual_block(x, widths[0], strides=2, name="conv2_block1")
    maps, before = [], x
    for stage, width, strides, dilation in zip(
        ("conv3", "conv4", "conv5"), widths[1:], (2, 1, 1), (1, 2, 4)
    ):
        x = residual_block(x, width, strides, dilation, name=f"{stage}_block1")
        maps.append(x)
    return keras.Model(image, maps + [before] * finer, name="backbone")


def residual_block(x, width, strides=1, dilation=1, name=None):
    shortcut = x
    if strides > 1 or x.shape[-1] != width:
        shortcut = convolve(x, width, 1, strides, name=f"{name}_shortcut")
    x = layers.ReLU(name=f"{name}_relu")(convolve(x, width, 3, strides, name=f"{name}_1"))
    x = convolve(x, width, 3, dilation=dilation, name=f"{name}_2")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([x, shortcut]))


def convolve(x, width, kernel, strides=1, dilation=1, name=None):
    """A convolution without bias and its normalisation."""
    convolution = layers.Conv2D(
        width,
        kernel,
        strides=strides,
        dilation_rate=dilation,
        padding="same",
        use_bias=False,
        name=name,
    )
    return batch_norm(convolution(x), f"{name}_norm")


def batch_norm(x, name):
    # Small models train for a few thousand steps, so the statistics are of the last tens of steps.
    return layers.BatchNormalization(momentum=0.9, name=name)(x)


def check_image_size(image_size, stride=8):
    if image_size < stride or image_size % stride:
        raise ValueError(
            f"image_size must be a multiple of {stride}, the stride of the backbone. "
            f"Received: image_size={image_size}"
        )
