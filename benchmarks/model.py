"""What the whole model costs beside its backbone, and what a training step needs.

    python benchmarks/model.py                          the paper's sizes, random weights
    KERAS_BACKEND=jax python benchmarks/model.py        the same under jax.jit

Times the forward pass of `build_cmsa` over `dilated_resnet101` against that backbone alone, batch 1,
both compiled, in turn in one process; then one training step as the recipes compile it, in a fresh
process. benchmarks/README.md says how it is measured.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import cyclopts
import keras
import measure
import numpy as np
from rich.console import Console

from keras_cmsa.models.backbones import PAPER_STAGES, dilated_resnet101, small_resnet
from keras_cmsa.models.cmsa import build_cmsa
from keras_cmsa.training.loop import compile_model
from keras_cmsa.training.settings import SMALL, Settings

VOCABULARY_SIZE = 10_000  # word ids
TARGETS = {"forward_over_backbone": ("<=", 1.5), "training_step_gigabytes": ("<=", 8)}


def recipe(image_size, small):
    """`Settings` with the paper's sizes, or those of the recipes' small model."""
    return Settings(**{**(SMALL if small else {}), "image_size": image_size})


def build(image_size, small):
    """The model and its backbone, with random weights. Batch norm is frozen as when pretrained."""
    sizes = recipe(image_size, small)
    if small:
        backbone = small_resnet(image_size)
    else:
        backbone = dilated_resnet101(
            image_size, weights=None, train_stages=PAPER_STAGES, freeze_norm=True
        )
    model = build_cmsa(
        VOCABULARY_SIZE,
        image_size,
        backbone,
        max_words=sizes.max_words,
        word_dim=sizes.word_dim,
        attention_dim=sizes.attention_dim,
        fusion_dim=sizes.fusion_dim,
    )
    return model, backbone


def draw_batch(model, batch):
    """Random inputs and masks: as long an expression as the model takes, images of noise."""
    rng = np.random.default_rng(0)
    (_, image_size, _, _), (_, max_words) = model.input["image"].shape, model.input["words"].shape
    image = rng.uniform(0, 255, (batch, image_size, image_size, 3)).astype("float32")
    words = rng.integers(2, VOCABULARY_SIZE, (batch, max_words)).astype("int32")
    mask = (rng.uniform(size=(batch, image_size, image_size, 1)) < 0.2).astype("float32")
    return {"image": image, "words": words}, mask


def compare_forward(image_size, small, repeats):
    """Forward passes of the model and of its backbone alone, and the parameters of both."""
    model, backbone = build(image_size, small)
    inputs, _ = draw_batch(model, 1)
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
    forms = {"backbone": (backbone, inputs["image"]), "model": (model, inputs)}
    calls = {
        name: partial(measure.compiled(partial(network, training=False), (given,)), given)
        for name, (network, given) in forms.items()
    }
    return {
        "forward": measure.summary(measure.interleaved(calls, repeats), "backbone"),
        "parameters": {name: network.count_params() for name, (network, _) in forms.items()},
    }


def training_step(image_size, small, batch):
    """Peak bytes of the process in its first training step, and seconds of its second.

    To be run in a fresh process.
    """
    model, _ = build(image_size, small)
    compile_model(model, replace(recipe(image_size, small), steps=2))
    inputs, mask = draw_batch(model, batch)

    def step():
        return keras.ops.convert_to_tensor(model.train_on_batch(inputs, mask)[0])

    above, total = measure.peak_memory(step)
    wall, cpu, _ = measure.timed(step)
    return {
        "batch": batch,
        "peak_bytes": total,
        "peak_bytes_above_model": above,
        "seconds": wall,
        "cpu_seconds": cpu,
    }


def show(results, console):
    console.print(measure.timing_table("One image, forward", results["forward"]))
    for name, count in results["parameters"].items():
        console.print(f"{name}: {count / 1e6:.1f} M parameters")
    step = results["training_step"]
    if step:
        console.print(
            f"training step, batch {step['batch']}: {step['seconds']:.1f} s, process peak "
            f"{step['peak_bytes'] / measure.MEGABYTE:.0f} MB, of which "
            f"{step['peak_bytes_above_model'] / measure.MEGABYTE:.0f} MB in the step"
        )
    console.print(measure.target_table(results["targets"]))


def main(
    *,
    image_size: int = 320,
    batch: int = 2,
    repeats: int = 7,
    small: bool = False,
    memory: bool = True,
    output: Path = Path("runs/benchmarks/model.json"),
):
    """Time the model beside its backbone and weigh a training step; print and write JSON.

    Parameters
    ----------
    image_size
        Side of the square input in pixels, a multiple of 8.
    batch
        Expressions in the training step.
    repeats
        Timed rounds, in each of which the backbone and the model run once.
    small
        Measure the recipes' small model instead of the paper's.
    memory
        Also run a training step in a process of its own and measure its memory. Linux.
    output
        The JSON file.
    """
    results = {
        "environment": measure.environment(),
        "settings": {"image_size": image_size, "small": small, "repeats": repeats},
        **compare_forward(image_size, small, repeats),
        "training_step": (
            measure.in_fresh_process(training_step, image_size, small, batch) if memory else None
        ),
    }
    values = {"forward_over_backbone": results["forward"][1]["ratio"]}
    if memory:
        values["training_step_gigabytes"] = results["training_step"]["peak_bytes"] / 1e9
    results["targets"] = measure.check_targets(values, TARGETS)
    show(results, Console())
    measure.write_json(output, results)


if __name__ == "__main__":
    cyclopts.run(main)
