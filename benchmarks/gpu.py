"""What the paper-size model costs on an accelerator: images/s, sentences/s, peak memory.

    KERAS_BACKEND=torch python benchmarks/gpu.py --precision bfloat16
    KERAS_BACKEND=jax python benchmarks/gpu.py --precision bfloat16
    KERAS_BACKEND=jax python benchmarks/gpu.py --small --image-sizes 112 --words 5 --batch-size 2

Forward passes and training steps of `build_cmsa` with K sentences about each image stand beside those
of its bare backbone. Then one level's attention at N words, from ready-made parts, stands beside the
literal Eqs. 2-3 over all N * P pairs, written out and as the backend's own attention on as many tokens.
A form that does not fit says what it needs. It runs on one device, the CPU if there is no other.
benchmarks/README.md says how it is measured.
"""

import os
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

# JAX would take most of the memory for its first process, and none is left for the next.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import attention
import cyclopts
import keras
import measure
import model
import numpy as np
from keras import ops
from rich.console import Console
from rich.table import Table

from keras_cmsa.training.loop import compile_model

BACKBONE = "backbone"
BASE = "factorised"
FORMS = (BASE, "fused", "literal")
PASSES = {"forward": False, "forward_backward": True}
# Matrices of N P x N P numbers that are held at once, at least: the scores and their softmax; with
# the gradient also that of the softmax.
SQUARES = {False: 2, True: 3}
NUMBER_BYTES = {"float32": 4, "bfloat16": 2}
TARGETS = {
    "forward_over_backbone": ("<=", 1.3),
    "training_over_backbone": ("<=", 1.5),
    "fused_over_factorised": (">=", 10),
}


@cyclopts.Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is measured.

    Parameters
    ----------
    image_sizes
        Sides of the square input in pixels, multiples of 8.
    sentences
        Numbers of sentences K about each image. Targets are about the first.
    words
        Numbers of words N for the attention. The model's sentences have all 20.
    batch_size
        Images per batch of the model. The attention takes one sentence about one image.
    precision
        Compute in this; weights stay in float32.
    torch_compile
        On PyTorch, compile; without, it runs operation by operation. JAX and TensorFlow compile.
    repeats
        Timed rounds, in each of which every form runs once.
    small
        Measure the recipes' small model instead of the paper's.
    memory
        Also measure memory, each number in a process of its own.
    """

    image_sizes: tuple[int, ...] = (320, 480, 640)
    sentences: tuple[int, ...] = (1, 4, 8)
    words: tuple[int, ...] = (5, 10, 20)
    batch_size: int = 2
    precision: Literal["float32", "bfloat16"] = "float32"
    torch_compile: bool = False
    repeats: int = 7
    small: bool = False
    memory: bool = True


USUAL = Options()
# A driver does not work in a process that is forked.
in_fresh_process = partial(measure.in_fresh_process, start="spawn")


def build(image_size, options):
    """The model and its backbone in the precision of the options."""
    if options.precision != "float32":
        keras.config.set_dtype_policy(f"mixed_{options.precision}")
    return model.build(image_size, options.small)


def model_names(options):
    """The forms of the model: the backbone, and the model by its number of sentences."""
    return {BACKBONE: 0} | {f"K = {count}": count for count in options.sentences}


def forward_call(networks, count, options):
    """A forward pass as a callable without arguments; of the backbone for `count` 0."""
    network, backbone = networks
    inputs = model.draw_batch(network, options.batch_size, count or 1)[0]
    inputs = keras.tree.map_structure(ops.convert_to_tensor, inputs)
    form, given = (network, inputs) if count else (backbone, inputs["image"])
    run = measure.compiled(partial(form, training=False), (given,), options.torch_compile)
    return partial(run, given)


def training_call(networks, count, options):
    """A training step as the recipes compile it, as a callable; of the backbone for `count` 0.

    The backbone alone learns to bring the mean of its maps to 0.
    """
    network, backbone = networks
    inputs, target = model.draw_batch(network, options.batch_size, count or 1)
    jit = options.torch_compile if keras.backend.backend() == "torch" else "auto"
    if count:
        form = keras.Model(network.input, network.output)  # has an optimizer of its own
        recipe = model.recipe(network.input["image"].shape[1], options.small)
        compile_model(form, replace(recipe, steps=1000), jit)
    else:
        means = [ops.mean(ops.cast(x, "float32"), axis=(1, 2, 3)) for x in backbone.outputs]
        form = keras.Model(backbone.input, sum(means))
        form.compile(keras.optimizers.AdamW(), "mse", jit_compile=jit)
        inputs, target = inputs["image"], np.zeros(options.batch_size, "float32")
    # The loss comes as a number of NumPy, after the step.
    return lambda: ops.convert_to_tensor(
        form.train_on_batch(inputs, target, return_dict=True)["loss"]
    )


CALLS = {"forward": forward_call, "training": training_call}


def compare_model(image_size, mode, options):
    """Times of the model and its backbone with rates, rows of `measure.summary`."""
    networks, counts = build(image_size, options), model_names(options)
    makers = {
        name: partial(CALLS[mode], networks, count, options) for name, count in counts.items()
    }
    rows = fitting(makers, options.repeats, BACKBONE)
    for row in rows:
        if "seconds" in row:
            row["images_per_second"] = options.batch_size / row["seconds"]
            row["sentences_per_second"] = row["images_per_second"] * counts[row["name"]]
    return rows


def model_peak(image_size, mode, count, options):
    """Peak bytes of the process in the first pass of a form of the model; None if out of memory."""
    return peak(lambda: CALLS[mode](build(image_size, options), count, options))


def case(side, words, options, **changes):
    """`attention.Case` of a level of the model."""
    width = model.recipe(8 * side, options.small).attention_dim
    usual = attention.Case(BASE, side, words, width, dtype=options.precision)
    chunk = attention.rows_at_once(side**2) if changes.get("form", BASE) == BASE else None
    return replace(usual, query_chunk=chunk, **changes)


def bytes_needed(given):
    """What the N P x N P matrices of a form take at least, in bytes; 0 where it has none."""
    makes_squares = given.form == "literal" or (
        # PyTorch has kernels without such a matrix. JAX has them for narrow heads only.
        given.form == "fused" and keras.backend.backend() != "torch"
    )
    pairs = given.words * given.side**2
    return makes_squares * SQUARES[given.backward] * pairs**2 * NUMBER_BYTES[given.dtype]


def attention_cases(side, words, backward, options):
    return {form: case(side, words, options, form=form, backward=backward) for form in FORMS}


def compare_attention(side, words, backward, options, limit):
    """Times of the forms of attention; of one that does not fit in `limit` bytes what it needs."""
    cases = attention_cases(side, words, backward, options)
    needs = {form: bytes_needed(given) for form, given in cases.items()}
    makers = {
        form: partial(given.call, options.torch_compile)
        for form, given in cases.items()
        if needs[form] <= limit
    }
    rows = fitting(makers, options.repeats, BASE)
    rows += [{"name": form} for form in cases if form not in makers]
    return [row | {"needs_bytes": needs[row["name"]]} for row in rows]


def attention_peak(given, limit):
    """Peak bytes of the process in the first call of a case; None if it does not fit."""
    if bytes_needed(given) > limit:
        return None
    return peak(given.call)


def fitting(makers, repeats, base):
    """`measure.summary` of the calls that memory suffices for, and the names of the others.

    Args:
        makers: dict of name -> function that makes a callable without arguments.
        repeats: rounds of timing.
        base: the name of the call to which ratios are; without it there are none to time.
    """
    calls = {}

    def make(name):
        call = makers[name]()
        measure.wait_for(call())
        calls[name] = call

    left_out = [{"name": name} for name in makers if runs_out(partial(make, name))]
    if base not in calls:
        return [{"name": name} for name in makers]
    return measure.summary(measure.interleaved(calls, repeats), base) + left_out


def runs_out(call):
    """Whether a call runs out of memory."""
    try:
        call()
    except Exception as error:
        if measure.is_out_of_memory(error):
            return True
        raise
    return False


def peak(make):
    """Peak bytes of this process in the call that `make` returns; None if memory runs out."""
    found = []
    return None if runs_out(lambda: found.append(measure.peak_memory(make())[1])) else found[0]


def with_peaks(rows, peak_of):
    """The rows with the peak bytes of each, of a fresh process by its name."""
    return [row | {"peak_bytes": peak_of(row["name"])} for row in rows]


def measure_model(image_size, mode, options):
    rows = in_fresh_process(compare_model, image_size, mode, options)
    if not options.memory:
        return rows
    counts = model_names(options)
    return with_peaks(
        rows, lambda name: in_fresh_process(model_peak, image_size, mode, counts[name], options)
    )


def measure_attention(side, words, backward, options, limit):
    rows = in_fresh_process(compare_attention, side, words, backward, options, limit)
    if not options.memory:
        return rows
    cases = attention_cases(side, words, backward, options)
    return with_peaks(rows, lambda name: in_fresh_process(attention_peak, cases[name], limit))


def measure_all(options):
    """What the JSON file holds."""
    limit = measure.memory_limit()
    results = {
        "environment": measure.environment() | {"memory_limit_bytes": limit},
        "settings": asdict(options),
        "model": [
            {"image_size": size, "mode": mode, "rows": measure_model(size, mode, options)}
            for size in options.image_sizes
            for mode in CALLS
        ],
        "attention": [
            {
                "image_size": size,
                "words": words,
                "mode": mode,
                "rows": measure_attention(
                    size // attention.STRIDE, words, backward, options, limit
                ),
            }
            for size in options.image_sizes
            for words in options.words
            for mode, backward in PASSES.items()
        ],
    }
    return results | {"targets": measure.check_targets(target_values(results), TARGETS)}


def target_values(results):
    """What `TARGETS` are about, at the first size and the most words, where they fit."""
    values = {}
    for mode, group in zip(CALLS, results["model"]):
        ratios = [row.get("ratio") for row in group["rows"] if row["name"] != BACKBONE]
        values[f"{mode}_over_backbone"] = ratios[0] if ratios else None
    size = results["settings"]["image_sizes"][0]
    groups = [g for g in results["attention"] if (g["image_size"], g["mode"]) == (size, "forward")]
    for row in max(groups, key=lambda group: group["words"], default={"rows": []})["rows"]:
        if row["name"] == "fused":
            values["fused_over_factorised"] = row.get("ratio")
    return {name: value for name, value in values.items() if value is not None}


def gigabytes(size):
    return "-" if size is None else f"{size / 1e9:.2f}"


def group_table(title, rows, base):
    rates = any("images_per_second" in row for row in rows)
    columns = ["", "ms", f"of {base}", *(["images/s", "sentences/s"] if rates else []), "peak GB"]
    table = Table(*columns, title=title)
    for row in rows:
        if "seconds" in row:
            cells = [f"{1e3 * row['seconds']:.2f}", f"{row['ratio']:.2f}"]
            if rates:
                cells += [f"{row['images_per_second']:.2f}", f"{row['sentences_per_second']:.2f}"]
        else:
            needs = row.get("needs_bytes")
            cells = ["does not fit" + (f": needs {gigabytes(needs)} GB" if needs else ""), ""]
            cells += [""] * (2 * rates)
        table.add_row(row["name"], *cells, gigabytes(row.get("peak_bytes")))
    return table


def show(results, console):
    for key, value in results["environment"].items():
        console.print(f"{key}: {value}")
    for group in results["model"]:
        title = f"Model, {group['mode']}, {group['image_size']} pixels"
        console.print(group_table(title, group["rows"], BACKBONE))
    for group in results["attention"]:
        title = f"Attention, {group['mode']}, {group['image_size']} pixels, N = {group['words']}"
        console.print(group_table(title, group["rows"], BASE))
    console.print(measure.target_table(results["targets"]))


def main(*, options: Options = USUAL, output: Path = Path("runs/benchmarks/gpu.json")):
    """Time and weigh model and attention on a device; print tables and write them as JSON.

    Parameters
    ----------
    output
        The JSON file.
    """
    results = measure_all(options)
    show(results, Console())
    measure.write_json(output, results)


if __name__ == "__main__":
    cyclopts.run(main)
