"""What a model costs: parameters, multiply-adds, milliseconds per image.

KERAS_BACKEND=jax python recipes/costs.py MODEL.keras       prints its multiply-adds
"""

import json
import os
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec

import keras
import numpy as np


def measure_costs(model, path):
    """Dict of `parameters`, `multiply_adds` (None without JAX) and `milliseconds` per image.

    Args:
        model: from `image` and `words` to logits.
        path: its `.keras` file, for another process to count in.
    """
    return {
        "parameters": model.count_params(),
        "multiply_adds": multiply_adds_in_jax(path) if find_spec("jax") else None,
        "milliseconds": milliseconds_per_image(model),
    }


def milliseconds_per_image(model, repeats=20):
    """Median wall time of `predict_on_batch` of one image and expression."""
    inputs = draw_inputs(model)
    model.predict_on_batch(inputs)  # compiles
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        model.predict_on_batch(inputs)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def multiply_adds_in_jax(path):
    """`count_multiply_adds` of a saved model, whatever the backend of this process."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, __file__, str(path)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def count_multiply_adds(model):
    """Multiply-adds of the matrix products and convolutions for one image and expression.

    Counted in what JAX traces, for an expression as long as the model takes. What is elementwise
    does not count, nor do the zeros between the inputs of a strided transposed convolution. Of two
    branches the cheaper one counts: the attention has another for scores of unusual range.

    Args:
        model: on Keras' JAX backend.
    """
    import jax

    variables = model.trainable_variables, model.non_trainable_variables

    def forward(inputs):
        return model.stateless_call(*variables, inputs)[0]

    return multiply_adds_of(jax.make_jaxpr(forward)(draw_inputs(model)).jaxpr)


def multiply_adds_of(jaxpr):
    total = 0
    for equation in jaxpr.eqns:
        parameters = equation.params
        match equation.primitive.name:
            case "dot_general":
                (contracted, _), _ = parameters["dimension_numbers"]
                shape = equation.invars[0].aval.shape
                total += equation.outvars[0].aval.size * product(shape[i] for i in contracted)
            case "conv_general_dilated":
                kernel = equation.invars[1].aval
                channels = kernel.shape[parameters["dimension_numbers"].rhs_spec[0]]
                products = equation.outvars[0].aval.size * kernel.size // channels
                total += products // product(parameters["lhs_dilation"])
            case "cond":
                total += min(multiply_adds_of(x) for x in jaxprs_in(parameters["branches"]))
            case name:
                inner = sum(multiply_adds_of(x) for value in parameters.values()
                            for x in jaxprs_in(value))  # fmt: skip
                total += inner * (parameters["length"] if name == "scan" else 1)
    return total


def jaxprs_in(value):
    """The computations that an equation carries in one of its parameters."""
    for x in value if isinstance(value, tuple | list) else [value]:
        if hasattr(x, "jaxpr"):
            yield x.jaxpr
        elif hasattr(x, "eqns"):
            yield x


def product(numbers):
    return int(np.prod(list(numbers)))


def draw_inputs(model):
    """An image and as long an expression as the model takes, batch 1."""
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (1, *model.input["image"].shape[1:])).astype("float32")
    return {"image": image, "words": np.ones((1, model.input["words"].shape[1]), "int32")}


if __name__ == "__main__":
    import keras_cmsa  # noqa: F401 - for its side effect: it registers the layers

    print(count_multiply_adds(keras.saving.load_model(sys.argv[1], compile=False)))
