"""What the paper-size model costs on an accelerator: images/s, sentences/s, peak memory.

    KERAS_BACKEND=torch python benchmarks/gpu.py --precision bfloat16
    KERAS_BACKEND=jax python benchmarks/gpu.py --precision bfloat16
    KERAS_BACKEND=jax python benchmarks/gpu.py --small --image-sizes 112 --words 5 --batch-size 2

Forward passes and training steps of `build_cmsa` with K sentences about each image stand beside those
of its bare backbone. Then one level's attention at N words, from ready-made parts, stands beside the
backend's own attention over all N * P pairs. Each number is of a process of its own; what memory does
not suffice for says so. It runs on one device, the CPU if there is no other.
benchmarks/README.md says how it is measured.
"""

import os
import statistics
from dataclasses import replace
from functools import partial
from typing import Literal

# JAX would take most of the memory for its first process, and none is left for the next.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import attention
import cli
import keras
import measure
import model
import numpy as np
from keras import ops

from keras_cmsa.training.loop import compile_model

BACKBONE, FACTORISED = "backbone", "factorised"
# What the backends call it when memory runs out.
OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "out of memory", "OOM when", "can't allocate memory")


@cli.options
class Options:
    """What is measured."""

    repeats: cli.Repeats = 7
    small: cli.Small = False
    image_sizes: tuple[int, ...] = (320, 480, 640)
    """Sides of the square input in pixels, multiples of 8."""
    sentences: tuple[int, ...] = (1, 4, 8)
    """Numbers of sentences K about each image. Targets are about the first."""
    words: tuple[int, ...] = (5, 10, 20)
    """Numbers of words N for the attention. The model's sentences have all 20."""
    batch_size: int = 2
    """Images per batch of the model. The attention takes one sentence about one image."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Compute in this; weights stay in float32."""
    torch_compile: bool = False
    """On PyTorch, compile; without, it runs operation by operation. JAX and TensorFlow compile."""


def build(image_size, options):
    """The model and its backbone in the precision of the options."""
    if options.precision != "float32":
        keras.config.set_dtype_policy(f"mixed_{options.precision}")
    return model.build(image_size, options.small)


def forward_call(image_size, count, options):
    """A forward pass as a callable without arguments; of the backbone for `count` 0."""
    network, backbone = build(image_size, options)
    inputs = model.draw_batch(network, options.batch_size, count or 1)[0]
    inputs = keras.tree.map_structure(ops.convert_to_tensor, inputs)
    form, given = (network, inputs) if count else (backbone, inputs["image"])
    return measure.forward_call(form, given, options.torch_compile)


def training_call(image_size, count, options):
    """A training step as the recipes compile it, as a callable; of the backbone for `count` 0.

    The backbone alone learns to bring the mean of its maps to 0.
    """
    network, backbone = build(image_size, options)
    inputs, target = model.draw_batch(network, options.batch_size, count or 1)
    if count:
        compile_model(network, replace(model.recipe(image_size, options.small), steps=1000))
        form = network
    else:
        means = [ops.mean(ops.cast(x, "float32"), axis=(1, 2, 3)) for x in backbone.outputs]
        form = keras.Model(backbone.input, sum(means))
        form.compile(keras.optimizers.AdamW(), "mse")
        inputs, target = inputs["image"], np.zeros(options.batch_size, "float32")
    if keras.backend.backend() == "torch":
        form.jit_compile = options.torch_compile
    return partial(form.train_on_batch, inputs, target)  # its losses come after the step


CALLS = {"forward": forward_call, "training": training_call}


def attention_call(form, image_size, words, backward, options):
    """A form of a level's attention as a callable without arguments."""
    width = model.recipe(image_size, options.small).attention_dim
    side = image_size // attention.STRIDE
    chunk = attention.rows_at_once(side**2) if form == FACTORISED else None
    function, parts = attention.form_of(side, form, words, width, chunk, options.precision)
    function = measure.with_gradient(function) if backward else function
    return partial(measure.compiled(function, parts, options.torch_compile), *parts)


def measured(make, repeats):
    """Median seconds, and peak bytes of this process in the first call that `make` returns."""
    try:
        call = make()
        peak = measure.peak_memory(call)[1]
        times = [measure.timed(call)[0] for _ in range(repeats)]
    except Exception as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
            return {"note": "does not fit"}
        raise
    return {"seconds": statistics.median(times), "peak_bytes": peak}


def rows_of(makers, repeats):
    """`measured` in a fresh process by name, with ratios to the first: list of dicts."""
    # A driver does not work in a process that is forked.
    start = "spawn" if measure.accelerator() else "forkserver"
    rows = [
        {"name": name} | measure.in_fresh_process(measured, make, repeats, start=start)
        for name, make in makers.items()
    ]
    for row in rows:
        if "seconds" in row and "seconds" in rows[0]:
            row["ratio"] = row["seconds"] / rows[0]["seconds"]
    return rows


def measure_model(image_size, mode, options):
    """Rows of the backbone and of the model with each number of sentences."""
    counts = {BACKBONE: 0} | {f"K = {count}": count for count in options.sentences}
    makers = {name: partial(CALLS[mode], image_size, n, options) for name, n in counts.items()}
    rows = rows_of(makers, options.repeats)
    for row in rows:
        if "seconds" in row:
            row["images_per_second"] = options.batch_size / row["seconds"]
            row["sentences_per_second"] = row["images_per_second"] * counts[row["name"]]
    return rows


def measure_attention(image_size, words, backward, options):
    """Rows of the factorised form and the backend's own over all pairs."""
    makers = {
        form: partial(attention_call, form, image_size, words, backward, options)
        for form in (FACTORISED, "fused")
    }
    return rows_of(makers, options.repeats)


def measure_all(options):
    """What the JSON file holds."""
    return {
        "model": {
            f"{mode}, {size} pixels": measure_model(size, mode, options)
            for size in options.image_sizes
            for mode in CALLS
        },
        "attention": {
            f"{passes}, {size} pixels, N = {words}": measure_attention(
                size, words, passes == "with gradient", options
            )
            for size in options.image_sizes
            for words in options.words
            for passes in ("forward", "with gradient")
        },
    }


def targets(results):
    """At the first size and the most words, where they fit."""
    size, words = results["settings"]["image_sizes"][0], max(results["settings"]["words"])
    forward, training = (results["model"][f"{mode}, {size} pixels"][1] for mode in CALLS)
    fused = results["attention"][f"forward, {size} pixels, N = {words}"][1]
    if "ratio" in forward:
        yield "forward_over_backbone", forward["ratio"], "<=", 1.3
    if "ratio" in training:
        yield "training_over_backbone", training["ratio"], "<=", 1.5
    if "ratio" in fused:
        yield "fused_over_factorised", fused["ratio"], ">=", 10


if __name__ == "__main__":
    cli.main(Options, measure_all, targets)
