"""What the authors' network costs beside its backbone: one image, one sentence of 20 words.

    python benchmarks/released.py                           random weights
    KERAS_BACKEND=jax python benchmarks/released.py         the same under jax.jit

Times the forward pass of `build_cmsa_released` against `deeplab_resnet101` alone, with sentences of
all N words and of 8, in turn in one process. Each peak of memory is of a fresh process.
benchmarks/README.md says how it is measured.
"""

import cli
import keras
import measure
from model import VOCABULARY_SIZE, draw_batch

from keras_cmsa.models.backbones import deeplab_resnet101
from keras_cmsa.models.cmsa_released import build_cmsa_released

GIGABYTE = 10**9
WORDS = (20, 8)
TARGETS = {"peak_gigabytes": ("<=", 3)}


@cli.options
class Options:
    repeats: cli.Repeats = 5
    image_size: cli.ImageSize = 320
    memory: cli.Memory = True


def build(image_size):
    backbone = deeplab_resnet101(image_size)
    return build_cmsa_released(VOCABULARY_SIZE, image_size, backbone), backbone


def inputs_of(model, words):
    """An image of noise and a sentence of some words, as tensors."""
    inputs = draw_batch(model, 1)[0]
    inputs["words"][..., words:] = 0
    return keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)


def peak(image_size, words):
    """Peak bytes of the process in its first forward pass; 0 words is the backbone alone.

    To be run in a fresh process.
    """
    model, backbone = build(image_size)
    given = inputs_of(model, words)
    form = (model, given) if words else (backbone, given["image"])
    return measure.peak_memory(measure.forward_call(*form))[1]


def compare(image_size, repeats):
    model, backbone = build(image_size)
    forms = {"backbone": (backbone, inputs_of(model, WORDS[0])["image"])}
    forms |= {f"{words} words": (model, inputs_of(model, words)) for words in WORDS}
    calls = {name: measure.forward_call(*form) for name, form in forms.items()}
    return measure.summary(measure.interleaved(calls, repeats), "backbone")


def measure_all(options):
    """Times of the network and its backbone, and the peak of each."""
    peaks = {"backbone": 0, f"{WORDS[0]} words": WORDS[0]} if options.memory else {}
    return {
        "forward": compare(options.image_size, options.repeats),
        "peak_bytes": {
            name: measure.in_fresh_process(peak, options.image_size, words)
            for name, words in peaks.items()
        },
    }


def target_values(results):
    peaks = results["peak_bytes"]
    return {"peak_gigabytes": peaks[f"{WORDS[0]} words"] / GIGABYTE} if peaks else {}


def show(results, console):
    console.print(measure.timing_table("One image, forward", results["forward"]))
    for name, size in results["peak_bytes"].items():
        console.print(f"{name}: peak of the process {size / GIGABYTE:.2f} GB")


BENCHMARK = cli.Benchmark("released", Options, measure_all, show, TARGETS, target_values)

if __name__ == "__main__":
    BENCHMARK.main()
