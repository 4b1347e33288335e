"""DeepLab's checkpoint of TensorFlow 1 as a backbone, read by the names of its variables."""

import keras
from keras import layers

from keras_cmsa.convert.checkpoints import TensorFlowCheckpoint
from keras_cmsa.models.backbones import PAPER_STAGES, deeplab_resnet101


def load_deeplab(checkpoint, image_size=320, train_stages=PAPER_STAGES, freeze_norm=True):
    """`deeplab_resnet101` with the weights of DeepLab, trained on COCO, from which the paper starts.

    Args:
        checkpoint: its path, as in `TensorFlowCheckpoint`.
        image_size, train_stages, freeze_norm: as in `dilated_resnet101`.

    Returns:
        As `dilated_resnet101`.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ModuleNotFoundError: if TensorFlow is not installed.
        ValueError: if `image_size` or a stage is not possible, the checkpoint is damaged, or it
            lacks a variable.

    Source: https://github.com/DrSleep/tensorflow-deeplab-resnet.
    """
    checkpoint = TensorFlowCheckpoint(checkpoint)
    backbone = deeplab_resnet101(image_size, train_stages, freeze_norm)
    variables = deeplab_variables(backbone)
    checkpoint.check({name: x.shape for name, x in variables.items()})
    for name, variable in variables.items():
        variable.assign(checkpoint.read(name))
    return backbone


def deeplab_variables(backbone):
    """`{name in DeepLab's checkpoint: variable}` of a `deeplab_resnet101`."""
    features = next(x for x in backbone.layers if isinstance(x, keras.Model))
    variables = {}
    for layer in features.layers:
        scope = deeplab_scope(layer.name)
        if isinstance(layer, layers.Conv2D):
            variables[f"{scope}/weights"] = layer.kernel
        elif isinstance(layer, layers.BatchNormalization):
            scope = "bn_conv1" if scope == "conv1" else scope.replace("res", "bn")
            for kind in ("gamma", "beta", "moving_mean", "moving_variance"):
                variables[f"{scope}/{kind}"] = getattr(layer, kind)
    return variables


def deeplab_scope(name):
    """The convolution to which a layer of Keras' ResNet-101 belongs, as the checkpoint calls it.

    `conv4_block3_2_conv` and `conv4_block3_2_bn` are of `res4b2_branch2b`.
    """
    parts = name.split("_")
    if len(parts) < 4:
        return parts[0]
    stage, block = int(parts[0].removeprefix("conv")), int(parts[1].removeprefix("block"))
    if stage in (3, 4):  # the long ones: a, b1, b2, ...
        letter = "a" if block == 1 else f"b{block - 1}"
    else:
        letter = "abc"[block - 1]
    branch = {"0": "1", "1": "2a", "2": "2b", "3": "2c"}[parts[2]]
    return f"res{stage}{letter}_branch{branch}"
