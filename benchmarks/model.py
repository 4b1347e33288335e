"""What the whole model costs beside its backbone, and what a training step needs.

    python benchmarks/model.py                          the paper's sizes, random weights
    KERAS_BACKEND=jax python benchmarks/model.py        the same under jax.jit

Times the forward pass of a system over `dilated_resnet101`, one image and 1, 4 and 8 sentences,
against that backbone alone. All are compiled and run in turn in one process. Then training steps as
the recipes compile them, each in a fresh process: 4 images of a sentence each, and one image of 4
sentences. benchmarks/README.md says how it is measured.
"""

from dataclasses import replace
from functools import partial

import cli
import keras
import measure
import numpy as np

from keras_cmsa.models.backbones import PAPER_STAGES, dilated_resnet101, small_resnet
from keras_cmsa.models.folding import fold_for_inference
from keras_cmsa.models.systems import build_system
from keras_cmsa.recipes.unc import SMALL
from keras_cmsa.training.loop import compile_model
from keras_cmsa.training.settings import Settings

VOCABULARY_SIZE = 10_000  # word ids
SENTENCES = (1, 4, 8)


@cli.options
class Options:
    """What is measured."""

    repeats: cli.Repeats = 7
    image_size: cli.ImageSize = 320
    small: cli.Small = False
    memory: cli.Memory = True
    sentences: int = 4
    """Sentences in a training step."""
    system: str = "cmsa"
    """One of keras_cmsa.models.systems."""


def recipe(image_size, small):
    """`Settings` with the paper's sizes, or those of the recipes' small model."""
    return Settings(**{**(SMALL if small else {}), "image_size": image_size})


def build(image_size, small, system="cmsa"):
    """The model and its backbone, with random weights. Batch norm is frozen as when pretrained."""
    sizes = recipe(image_size, small)
    if small:
        backbone = small_resnet(image_size, finer=system == "cmsa_refined")
    else:
        backbone = dilated_resnet101(
            image_size, weights=None, train_stages=PAPER_STAGES, freeze_norm=True
        )
    model = build_system(
        system,
        VOCABULARY_SIZE,
        image_size=image_size,
        backbone=backbone,
        max_words=sizes.max_words,
        word_dim=sizes.word_dim,
        attention_dim=sizes.attention_dim,
        fusion_dim=sizes.fusion_dim,
    )
    return model, backbone


def draw_batch(model, images, sentences=1):
    """Random inputs and masks: as long expressions as the model takes, images of noise."""
    rng = np.random.default_rng(0)
    image_size, max_words = model.input["image"].shape[1], model.input["words"].shape[-1]
    image = rng.uniform(0, 255, (images, image_size, image_size, 3)).astype("float32")
    words = rng.integers(2, VOCABULARY_SIZE, (images, sentences, max_words)).astype("int32")
    shape = (images, sentences, image_size, image_size, 1)
    return {"image": image, "words": words}, (rng.uniform(size=shape) < 0.2).astype("float32")


def compare_forward(image_size, small, system, repeats):
    """Forward passes of the model and its backbone alone, and their parameters.

    Model and backbone also as a predictor and an export have them, folded.
    """
    model, backbone = build(image_size, small, system)
    forms = {"backbone": (backbone, draw_batch(model, 1)[0]["image"])}
    forms |= {f"model, {k}": (model, draw_batch(model, 1, k)[0]) for k in SENTENCES}
    folded = fold_for_inference(model)
    forms["backbone, folded"] = folded.get_layer("backbone"), forms["backbone"][1]
    forms["model, 1, folded"] = folded, forms["model, 1"][1]
    forms = keras.tree.map_structure(
        lambda x: keras.ops.convert_to_tensor(x) if isinstance(x, np.ndarray) else x, forms
    )
    calls = {name: measure.forward_call(*form) for name, form in forms.items()}
    return {
        "forward": measure.compare(calls, repeats),
        "parameters": {x.name: x.count_params() for x in (backbone, model)},
    }


def training_step(image_size, small, system, images, sentences):
    """Peak bytes of the process in its first training step, and seconds of its second.

    To be run in a fresh process.
    """
    model, _ = build(image_size, small, system)
    compile_model(model, replace(recipe(image_size, small), steps=2))
    inputs, mask = draw_batch(model, images, sentences)

    step = partial(model.train_on_batch, inputs, mask)  # its losses come after the step
    above, total = measure.peak_memory(step)
    wall, cpu, _ = measure.timed(step)
    return {
        "name": f"{images} x {sentences}",
        "peak_bytes": total,
        "peak_bytes_above_model": above,
        "seconds": wall,
        "cpu_seconds": cpu,
    }


def measure_all(options):
    """What the JSON file holds."""
    sizes, count = (options.image_size, options.small, options.system), options.sentences
    return {
        **compare_forward(*sizes, options.repeats),
        "training_steps": [
            measure.in_fresh_process(training_step, *sizes, *step)
            for step in ([(count, 1), (1, count)] if options.memory else ())
        ],
    }


def targets(results):
    """Those of what was measured."""
    seconds = {row["name"]: row["seconds"] for row in results["forward"]}
    ratio = {row["name"]: row["ratio"] for row in results["forward"]}
    of_four, of_eight = (seconds[f"model, {k}"] / k / seconds["model, 1"] for k in SENTENCES[1:])
    yield "forward_over_backbone", ratio["model, 1"], "<=", 1.3
    yield "folded_forward_over_backbone", ratio["model, 1, folded"], "<=", 1.3
    yield "forward_per_sentence_of_4", of_four, "<=", 0.4
    yield "forward_per_sentence_of_8", of_eight, "<=", 0.3
    if results["training_steps"]:
        apart, shared = results["training_steps"]
        memory = shared["peak_bytes_above_model"] / apart["peak_bytes_above_model"]
        yield "training_step_per_sentence", shared["seconds"] / apart["seconds"], "<=", 0.5
        yield "training_step_memory", memory, "<=", 0.6
        yield "training_step_gigabytes", apart["peak_bytes"] / 1e9, "<=", 8


if __name__ == "__main__":
    cli.main(Options, measure_all, targets)
