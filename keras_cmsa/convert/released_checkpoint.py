"""The authors' checkpoint of TensorFlow 1 as a `cmsa_released`, read by the names of its variables."""

from typing import NamedTuple

import keras
import numpy as np

from keras_cmsa.convert.checkpoints import TensorFlowCheckpoint
from keras_cmsa.convert.deeplab import load_deeplab
from keras_cmsa.models.cmsa import LEVELS
from keras_cmsa.models.cmsa_released import build_cmsa_released

HEAD = "text_objseg/"
COORDINATES = 8  # channels
MAX_WIDTH = 1024  # of words, queries and fused maps (authors: 1000, 512, 500): 0.5 GB at most
# Of each level, from Res3 on: its attention, the map that joins its features, the map behind its
# attention, and its gates.
SCOPES = {
    "res3": ("CMSA_C3", "conv3d_1", "conv2d_2", "mgate/x3"),
    "res4": ("CMSA_C4", "conv3d", "conv2d_1", "mgate/x2"),
    "res5": ("CMSA", None, "conv2d", "mgate/x1"),
}


def load_released_checkpoint(checkpoint, image_size=320, max_words=20):
    """The model of a checkpoint that the authors' code wrote.

    Args:
        checkpoint: path as TensorFlow names it, of one of its files, or of a folder with one
            checkpoint.
        image_size: side S of the model's square input in pixels, a multiple of 8. Authors: 320.
        max_words: words per expression N. Authors: 20.

    Returns:
        `keras.Model`, a `cmsa_released`. Its word ids are the authors', see `ReleasedVocabulary`.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ModuleNotFoundError: if TensorFlow is not installed.
        ValueError: if it is damaged, or of another model; names a variable.

    Source: https://github.com/lwye/CMSA-Net.
    """
    path, checkpoint = checkpoint, TensorFlowCheckpoint(checkpoint)
    sizes = {
        "word_dim": head_shape(checkpoint, "embedding", 2)[1],
        "attention_dim": head_shape(checkpoint, "CMSA/conv3d/kernel", 5)[-1],
        "fusion_dim": head_shape(checkpoint, "conv2d/kernel", 4)[-1],
    }
    # Its sizes are ours. Those of the rest are the checkpoint's: nothing is built of them before.
    backbone = load_deeplab(path, image_size)
    vocabulary = vocabulary_size(checkpoint)
    model = build_cmsa_released(vocabulary, image_size, backbone, max_words, **sizes)
    # All names and shapes before the first value.
    sources = head_sources(model)
    checkpoint.check({name: x.shape for name, x in sources.items()})
    for name, source in sources.items():
        source.assign(checkpoint.read(name))
    return model


def vocabulary_size(checkpoint):
    """How many word vectors a checkpoint has; the error is that of `head_shape`."""
    return head_shape(checkpoint, "embedding", 2)[0]


def head_shape(checkpoint, name, rank):
    """The shape of a variable above the backbone; a `ValueError` if that is not possible."""
    shape = checkpoint.shapes.get(HEAD + name)
    if shape is None or len(shape) != rank or not 1 <= shape[-1] <= MAX_WIDTH:
        raise ValueError(
            f"{checkpoint.prefix} is not of the authors' CMSA: wanted the variable {HEAD}{name} of "
            f"{rank} axes, the last at most {MAX_WIDTH:,} long. Received: {shape or 'none'}, among "
            f"{len(checkpoint.shapes)} variables such as {min(checkpoint.shapes, default='none')}"
        )
    return shape


class Source(NamedTuple):
    """A variable of the checkpoint and where its values go.

    Attributes:
        variable: of our model.
        shape: in the checkpoint.
        order: a pair of an axis of `shape` and the places on it in our order; `None`: as they are.
        entry: index in `variable` of a number that is a variable of its own there, or `None`.
    """

    variable: keras.Variable
    shape: tuple[int, ...]
    order: tuple[int, np.ndarray] | None = None
    entry: int | None = None

    def assign(self, value):
        if self.order is not None:
            axis, places = self.order
            value = np.take(value, places, axis=axis)
        if self.entry is not None:
            whole = np.array(keras.ops.convert_to_numpy(self.variable.value))
            whole[self.entry] = value
            value = whole
        self.variable.assign(np.reshape(value, self.variable.shape))


def head_sources(model):
    """`{name in the checkpoint: Source}` of all that lies above the backbone."""
    words = model.get_layer("word_vectors").embeddings
    fusion = model.get_layer("fusion")
    sources = {
        "embedding": Source(words, tuple(words.shape)),
        **convolution("mlp_c5", model.get_layer("reduction_res5"), ("DW", "biases")),
        **convolution("score", model.get_layer("score"), ("DW", "biases")),
    }
    for i, level in enumerate(LEVELS):
        scope, joint, behind, gate = SCOPES[level]
        attention = model.get_layer(f"attention_{level}")
        of_level = model.get_layer(f"level_{level}")
        feature = attention.joint or attention.query
        order = feature_order(feature[0].shape[0], words.shape[1])
        if joint:
            sources |= affine(joint, attention.joint, 5, order)
            order = None  # only the joint map sees the features themselves
        parts = attention.query, attention.key, attention.value
        for suffix, part in zip(("", "_1", "_2"), parts):
            sources |= affine(f"{scope}/conv3d{suffix}", part, 5, order)
        sources |= affine(f"{scope}/conv3d_3", attention.output_map, 5, order, of_outputs=True)
        sources |= affine(behind, (of_level.kernel, of_level.bias), 4, order)
        sources |= convolution(f"{gate}/conv2d", fusion.gates[i])
        sources[f"{gate}/Variable"] = Source(fusion.mix, (), entry=i)
    return {HEAD + name: source for name, source in sources.items()}


def feature_order(channels, word_dim):
    """Places of a feature's channels in the authors' order: visual, word, coordinates.

    Ours is visual, coordinates, word.
    """
    visual = channels - word_dim - COORDINATES
    places = np.arange(channels)
    return np.concatenate(
        [places[:visual], places[visual + word_dim :], places[visual : visual + word_dim]]
    )


def affine(scope, kernel_and_bias, rank, order=None, of_outputs=False):
    """Sources of an affine map, which is a convolution of size 1 there, with `rank` axes.

    Args:
        order: as `feature_order` gives it, of its inputs, or `of_outputs`.
    """
    kernel, bias = kernel_and_bias
    inputs, outputs = kernel.shape[-2:]
    shape = (1,) * (rank - 2) + (inputs, outputs)
    of_kernel = None if order is None else (rank - 1 if of_outputs else rank - 2, order)
    of_bias = (0, order) if of_outputs and order is not None else None
    return {
        f"{scope}/kernel": Source(kernel, shape, of_kernel),
        f"{scope}/bias": Source(bias, (outputs,), of_bias),
    }


def convolution(scope, layer, names=("kernel", "bias")):
    """Sources of a convolution as it is."""
    return {
        f"{scope}/{name}": Source(x, tuple(x.shape))
        for name, x in zip(names, (layer.kernel, layer.bias))
    }
