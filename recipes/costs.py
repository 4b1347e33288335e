"""What a model costs: parameters and multiply-adds.

KERAS_BACKEND=jax python recipes/costs.py runs/demo     prints its multiply-adds
"""

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np

from keras_cmsa.cli.command_line import run_script
from keras_cmsa.utils.silence import import_keras


def measure_costs(model, preset):
    """Dict of `parameters` and `multiply_adds` (None without JAX) for one image and expression.

    Args:
        model: from `image` and `words` to logits.
        preset: its folder, for another process to count in.
    """
    return {
        "parameters": model.count_params(),
        "multiply_adds": multiply_adds_in_jax(preset) if find_spec("jax") else None,
    }


def multiply_adds_in_jax(preset):
    """`count_multiply_adds` of a preset, whatever the backend of this process."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, __file__, str(preset)]
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
    """Multiply-adds of a `jaxpr`, a computation as JAX traces it."""
    total = 0
    for equation in jaxpr.eqns:
        parameters = equation.params
        match equation.primitive.name:
            case "dot_general":
                (contracted, _), _ = parameters["dimension_numbers"]
                shape = equation.invars[0].aval.shape
                total += equation.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
            case "conv_general_dilated":
                kernel = equation.invars[1].aval
                channels = kernel.shape[parameters["dimension_numbers"].rhs_spec[0]]
                products = equation.outvars[0].aval.size * kernel.size // channels
                total += products // math.prod(parameters["lhs_dilation"])
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


def draw_inputs(model):
    """An image and as long an expression as the model takes, batch 1."""
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (1, *model.input["image"].shape[1:])).astype("float32")
    return {"image": image, "words": np.ones((1, 1, model.input["words"].shape[-1]), "int32")}


def main(model: str):
    """Print the multiply-adds of a model for one image and expression.

    Parameters
    ----------
    model
        A preset's folder, or its address on a hub.
    """
    backend = import_keras().backend.backend()
    if backend != "jax":
        raise ValueError(f"JAX counts: set KERAS_BACKEND=jax. Received: {backend!r}")
    from keras_cmsa.presets.preset import load_preset

    print(count_multiply_adds(load_preset(model).model))


if __name__ == "__main__":
    run_script(main)
