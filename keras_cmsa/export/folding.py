"""Folding of batch normalisations into the convolutions before them, for inference."""

import keras
import numpy as np
from keras import layers


def fold_batch_norms(model):
    """Copies a model with its batch normalisations folded into convolutions.

    At inference, a batch normalisation scales and shifts each channel by fixed numbers. If it
    follows a convolution that has no activation and no other reader, these numbers go into the
    kernel and the bias of the convolution. Other normalisations stay as they are. Models within the
    model, such as a backbone, are folded too.

    Args:
        model: functional `keras.Model`.

    Returns:
        `keras.Model` with weights of its own and the same inputs, outputs and names, for inference
        only. It computes the same up to rounding.
    """
    folded = foldable(model)
    convolutions = {convolution.name for convolution in folded.values()}

    def copy_layer(layer):
        if isinstance(layer, keras.Model):
            return fold_batch_norms(layer)
        config = layer.get_config()
        if layer.name in convolutions:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    def call(layer, inputs, *args, **kwargs):
        return inputs if layer.name in folded else layer(inputs, *args, **kwargs)

    copy = keras.models.clone_model(model, clone_function=copy_layer, call_function=call)
    norms = {convolution.name: model.get_layer(norm) for norm, convolution in folded.items()}
    for layer in copy.layers:
        if layer.name in norms:
            original = model.get_layer(layer.name)
            layer.set_weights(folded_weights(original, norms[layer.name]))
        elif layer.weights and not isinstance(layer, keras.Model):
            layer.set_weights(model.get_layer(layer.name).get_weights())
    copy.trainable = False
    return copy


def foldable(model):
    """Finds the batch normalisations that can be folded.

    Returns:
        Dict from the name of each such normalisation to the `Conv2D` before it.
    """
    readers = {}
    for layer in model.layers:
        if not isinstance(layer, layers.InputLayer):
            for tensor in keras.tree.flatten(layer.input):
                readers.setdefault(id(tensor), []).append(layer)
    outputs = {id(tensor) for tensor in model.outputs}
    pairs = {}
    for layer in model.layers:
        if not isinstance(layer, layers.Conv2D) or layer.activation != keras.activations.linear:
            continue
        norm, *others = readers.get(id(layer.output), [None])
        only_reader = not others and id(layer.output) not in outputs
        if isinstance(norm, layers.BatchNormalization) and only_reader:
            pairs[norm.name] = layer
    return pairs


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
