"""Where the time of the model goes, part by part, and how far it is from the arithmetic limit.

    python benchmarks/parts.py                          the paper's sizes, random weights
    KERAS_BACKEND=jax python benchmarks/parts.py        the same under jax.jit

Times backbone, words, the attention of each level and the fusion, each alone, and the whole model, in
turn with a plain matrix product: forward, and with the gradient by weights and by what earlier parts
give. Multiply-adds are counted in what JAX traces (recipes/costs.py), in a process of its own.
benchmarks/README.md says how it is measured.
"""

import os
import sys
from functools import partial
from pathlib import Path
from unittest import mock

import cli
import keras
import measure
import model
import numpy as np
from keras import ops, tree

MATMUL, WHOLE = "matrix product", "whole model"
LEVELS = ("res3", "res4", "res5")
ON_JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}


@cli.options
class Options:
    """What is measured."""

    repeats: cli.Repeats = 5
    image_size: cli.ImageSize = 320
    small: cli.Small = False
    sentences: int = 4
    """Sentences about the one image."""
    matmul_side: int = 2048
    """Of the square matrices of the plain product."""


def split(network):
    """The parts of Fig. 2 as `keras.Model`s on the weights of a CMSA network.

    Returns:
        Dict of name -> `(part, what it takes)`; the latter symbolic tensors of the network.
    """
    layer, image = network.get_layer, network.input["image"]
    vectors = layer("word_vectors")
    ends = {
        "backbone": ([image], layer("backbone")(image)),
        "words": ([vectors.input], vectors.output),
    }
    for level in LEVELS:
        attention = layer(f"attention_{level}")
        given = [*layer(f"feature_{level}").input, attention.input[-1]]
        ends[f"attention {level}"] = given, attention.output[0]
    ends["fusion"] = tree.flatten(layer("fusion").input), layer("logits").input[0]
    ends[WHOLE] = tree.flatten(network.input), network.output
    return {name: (keras.Model(given, outputs), given) for name, (given, outputs) in ends.items()}


def functions(image_size, sentences, small):
    """The parts as functions to one tensor, each with arguments as the network has them.

    Returns:
        Dict of name -> `(function, arguments)`: the trainable weights, and what earlier parts give.
    """
    network, _ = model.build(image_size, small)
    inputs = tree.map_structure(ops.convert_to_tensor, model.draw_batch(network, 1, sentences)[0])
    parts = split(network)
    known = {id(network.input[name]): value for name, value in inputs.items()}
    between = [x for _, given in parts.values() for x in given if id(x) not in known]
    values = measure.forward_call(keras.Model(network.input, between), inputs)()
    learnt = {id(x): value for x, value in zip(between, values) if "float" in x.dtype}
    known |= {id(x): value for x, value in zip(between, values) if "float" not in x.dtype}
    return {name: as_function(*part, known, learnt) for name, part in parts.items()}


def as_function(part, given, known, learnt):
    """A part as a function, with its arguments.

    Args:
        part: `keras.Model`.
        given: what it takes, symbolic tensors.
        known, learnt: their values by `id`; by the latter there is a gradient.
    """
    weights = [ops.convert_to_tensor(weight) for weight in part.trainable_variables]
    fixed = [ops.convert_to_tensor(weight) for weight in part.non_trainable_variables]

    def function(weights, values):
        values = iter(values)
        taken = [next(values) if id(x) in learnt else known[id(x)] for x in given]
        outputs = tree.flatten(part.stateless_call(weights, fixed, taken, training=False)[0])
        return ops.concatenate([ops.reshape(x, (-1,)) for x in outputs])

    return function, (weights, [learnt[id(x)] for x in given if id(x) in learnt])


def multiply_adds(image_size, sentences, small):
    """Multiply-adds of each part, of all sentences about one image: dict of pass -> name -> number.

    Counted on the JAX backend, whatever that of this process.
    """
    with mock.patch.dict(os.environ, ON_JAX):
        return measure.in_fresh_process(count_on_jax, image_size, sentences, small, start="spawn")


def count_on_jax(image_size, sentences, small):
    import jax

    sys.path.append(str(Path(__file__).parents[1] / "recipes"))
    from costs import multiply_adds_of

    parts = functions(image_size, sentences, small)
    return {
        mode: {
            name: multiply_adds_of(jax.make_jaxpr(prepare(function))(*arguments).jaxpr)
            for name, (function, arguments) in parts.items()
        }
        for mode, prepare in measure.PASSES.items()
    }


def measure_all(options):
    """Rows of `measure.summary` by pass, with multiply-adds and the GFLOP/s that follow."""
    side, sizes = options.matmul_side, (options.image_size, options.sentences, options.small)
    square = np.random.default_rng(0).normal(size=(2, side, side))
    product = ops.matmul, tuple(map(ops.convert_to_tensor, square.astype("float32")))
    forms = {MATMUL: product, **functions(*sizes)}
    counts = multiply_adds(*sizes)
    results = {}
    for mode, prepare in measure.PASSES.items():
        # The gradient of the product would be two more; the limit is that of one.
        calls = {
            name: partial(
                measure.compiled(function if name == MATMUL else prepare(function), arguments),
                *arguments,
            )
            for name, (function, arguments) in forms.items()
        }
        results[mode] = measure.compare(calls, options.repeats, WHOLE)
        for row in results[mode]:
            row["multiply_adds"] = counts[mode].get(row["name"], side**3)
            row["gflops"] = 2e-9 * row["multiply_adds"] / row["seconds"]
    return results


def targets(results):
    """The share of the matrix product's speed that the model reaches."""
    product, *_, whole = results["forward"]
    yield "forward_of_matmul", whole["gflops"] / product["gflops"], ">=", 0.5
    product, *_, whole = results["forward_backward"]
    yield "forward_backward_of_matmul", whole["gflops"] / product["gflops"], ">=", 0.5


if __name__ == "__main__":
    cli.main(Options, measure_all, targets)
