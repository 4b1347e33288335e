"""Folding of what is constant at inference into fewer weights."""

import keras
import numpy as np
from keras import layers

from keras_cmsa.layers import CrossModalSelfAttention, FoldedAttention

LOW_PRECISION = ("float16", "bfloat16")
# What a `DepthwiseConv2D` has not.
OF_GROUPS = (
    "filters", "groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint",
)  # fmt: skip


def fold_for_inference(model, dtype=None, unroll=False):
    """Copies a model with what is constant at inference folded into fewer weights.

    - A batch normalisation scales and shifts each channel by fixed numbers. If it follows a
      convolution that has no activation and no other reader, these numbers go into the kernel and
      the bias of the convolution. Other normalisations stay as they are.
    - The value, output and reduction kernels of a `CrossModalSelfAttention` with `output_dim`
      become one.
    - A `Normalization` by given numbers becomes a `Rescaling`, and a `Conv2D` with a group for each
      channel a `DepthwiseConv2D`, which ONNX has too.

    Functional models within the model, such as a backbone, are folded too.

    Args:
        model: functional `keras.Model`, whose layers can be made from their configurations.
        dtype: dtype policy of the layers that compute in float16 or bfloat16; `None`: their own.
        unroll: write the loops of layers out, those over words and over chunks of positions, for
            formats that have none.

    Returns:
        `keras.Model` with weights of its own and the same inputs, outputs and names, for inference
        only. It computes the same up to rounding.

    Raises:
        ValueError: if the model is not functional.
    """
    if not isinstance(model, keras.Function):
        raise ValueError(
            "fold_for_inference needs a functional keras.Model. "
            f"Received: {type(model).__name__} {model.name!r}"
        )
    folded = foldable(model)
    convolutions = {convolution.name for convolution in folded.values()}

    def copy_layer(layer):
        if isinstance(layer, keras.Function):
            return fold_for_inference(layer, dtype, unroll)
        config = layer.get_config()
        if layer.name in convolutions:
            config["use_bias"] = True
        # An operation has no dtype.
        if dtype and getattr(layer, "compute_dtype", None) in LOW_PRECISION:
            config["dtype"] = dtype
        if unroll and "unroll" in config:
            config["unroll"] = True
        if is_rescaling(layer):
            return rescaling(layer)
        if is_depthwise(layer):
            kept = {key: value for key, value in config.items() if key not in OF_GROUPS}
            return layers.DepthwiseConv2D.from_config(kept)
        kind = FoldedAttention if is_foldable_attention(layer) else layer.__class__
        return kind.from_config(config)

    def call(layer, *args, **kwargs):
        if layer.name in folded:
            return keras.tree.flatten((args, kwargs))[0]  # what it is called on
        return layer(*args, **kwargs)

    # A compiled model would bring its losses and its optimizer.
    plain = keras.Model(model.input, model.output, name=model.name)
    copy = keras.models.clone_model(plain, clone_function=copy_layer, call_function=call)
    norms = {convolution.name: model.get_layer(norm) for norm, convolution in folded.items()}
    for layer in copy.layers:
        if not layer.weights or isinstance(layer, keras.Function):
            continue
        original = model.get_layer(layer.name)
        if is_foldable_attention(original):
            layer.take_weights(original)
            continue
        weights = original.get_weights()
        if layer.name in norms:
            weights = folded_weights(original, norms[layer.name])
        if is_depthwise(original):
            weights[0] = weights[0].swapaxes(2, 3)
        layer.set_weights(weights)
    copy.trainable = False
    return copy


def foldable(model):
    """Finds the batch normalisations that can be folded.

    Returns:
        Dict from the name of each such normalisation to the `Conv2D` before it.
    """
    readers = {}
    for operation in model.operations:
        # `operation.input` fails for a layer that is called more than once.
        for tensor in [x for call in operation._inbound_nodes for x in call.input_tensors]:
            readers.setdefault(id(tensor), []).append(operation)
    outputs = {id(tensor) for tensor in model.outputs}
    pairs = {}
    for layer in model.layers:
        if not is_called_once(layer, layers.Conv2D) or layer.activation != keras.activations.linear:
            continue
        norm, *others = readers.get(id(layer.output), [None])
        only_reader = not others and id(layer.output) not in outputs
        if (
            is_called_once(norm, layers.BatchNormalization)
            and norm.axis in (-1, 3)  # that of the channels
            and only_reader
            and layer.data_format == "channels_last"
        ):
            pairs[norm.name] = layer
    return pairs


def is_called_once(layer, kind):
    return isinstance(layer, kind) and len(layer._inbound_nodes) == 1


def folded_weights(convolution, norm):
    """Kernel `(k, k, C, D)` and bias `(D,)` of a convolution that includes a normalisation."""
    kernel, *bias = (w.astype("float64") for w in convolution.get_weights())
    mean = keras.ops.convert_to_numpy(norm.moving_mean).astype("float64")
    variance = keras.ops.convert_to_numpy(norm.moving_variance).astype("float64")
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * keras.ops.convert_to_numpy(norm.gamma)
    shift = (sum(bias) - mean) * scale
    if norm.center:
        shift = shift + keras.ops.convert_to_numpy(norm.beta)
    return [kernel * scale, shift]


def is_rescaling(layer):
    """Whether a layer normalises by numbers that were given, one for all or each channel."""
    given = isinstance(layer, layers.Normalization) and layer.input_mean is not None
    return given and set(layer.mean.shape[:-1]) == {1}


def rescaling(norm):
    """The `Rescaling` that does what a `Normalization` does."""
    mean, variance = (
        keras.ops.convert_to_numpy(x).ravel().astype("float64") for x in (norm.mean, norm.variance)
    )
    scale = 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())
    return layers.Rescaling(
        scale.tolist(), (-mean * scale).tolist(), name=norm.name, dtype=norm.dtype_policy
    )


def is_depthwise(layer):
    """Whether a convolution has a group, and one channel of its result, for each channel."""
    return (
        type(layer) is layers.Conv2D
        and 1 < layer.groups == layer.filters
        and layer.kernel.shape[2] == 1
    )


def is_foldable_attention(layer):
    # A subclass may compute something else, or be folded already.
    is_plain = type(layer) is CrossModalSelfAttention
    return is_plain and layer.attention != "none" and bool(layer.output_dim)
