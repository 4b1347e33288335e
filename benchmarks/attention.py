"""What the factorised attention costs, against the literal Eqs. 2-3 and plain self-attention.

    python benchmarks/attention.py                          one level at the paper's sizes
    KERAS_BACKEND=jax python benchmarks/attention.py        the same under jax.jit

`forms.py` has the forms, float32, batch 1. "Word by word" is `attend` with scores whose
exponentials leave the range of float32.

Then the memory of one level, the whole layer with its gradient, as the map grows: with
`--no-forms --empty-growth-words --empty-growth-sides` that alone. benchmarks/README.md says how it is measured.
"""

import statistics
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import cyclopts
import measure
import numpy as np
from forms import FORMS, USUAL_SCORES, draw_parts, factorised, literal, numpy_softmax, plain
from keras import ops
from rich.console import Console
from rich.table import Table

from keras_cmsa.layers import CrossModalSelfAttention
from keras_cmsa.layers.pair_attention import rows_at_once

STRIDE = 8  # image pixels per position
FUSION_DIM = 500  # channels of the level's reduced map
SMALL_SIDE = 10  # of the map on which float64 has memory for the literal form
EXTREME_SCORES = 100.0  # standard deviation of a score; it underflows in every row
TARGETS = {
    "forward_times_faster_than_literal": (">=", 200),
    "forward_over_plain": ("<=", 1.1),
    "forward_backward_over_plain": ("<=", 1.2),
    "memory_below_literal": (">=", 40),
    "level_gigabytes": ("<=", 6),
    "level_bytes_per_position": ("<=", 1.2),
}


@cyclopts.Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is measured.

    Parameters
    ----------
    side
        Of the square map, so that P = side * side positions.
    words
        Words N.
    width
        Of query, key and value, d.
    visual_dim
        Visual channels of the level, for the whole layer.
    word_dim
        Channels of a word vector, for the whole layer.
    repeats
        Timed rounds, in each of which every form runs once.
    growth_repeats
        The same for the tables of growth.
    growth_words
        Numbers of words to time at this side.
    growth_sides
        Sides of the image in pixels, 8 per position.
    level_sides
        Sides of the image at which to weigh one level with its gradient.
    forms
        Compare the forms and the layers.
    memory
        Also measure memory, each number in a process of its own. Linux.
    """

    side: int = 40
    words: int = 20
    width: int = 512
    visual_dim: int = 2048
    word_dim: int = 1000
    repeats: int = 21
    growth_repeats: int = 3
    growth_words: tuple[int, ...] = (1, 5, 10, 20, 40)
    growth_sides: tuple[int, ...] = (160, 320, 480, 640)
    level_sides: tuple[int, ...] = (320, 480, 640)
    forms: bool = True
    memory: bool = True


USUAL = Options()


@dataclass(frozen=True)
class Case:
    """One form at one size; what a fresh process needs to know.

    Args:
        form: a key of `FORMS`.
        side: of the square map of positions, P = side * side.
        words: words N.
        width: of query, key and value, d.
        backward: also take the gradient by every part.
        query_chunk: positions per chunk, for the factorised form.
        scores: standard deviation of the scores.
        dtype: of the parts.
    """

    form: str
    side: int
    words: int
    width: int
    backward: bool = False
    query_chunk: int | None = None
    scores: float = USUAL_SCORES
    dtype: str = "float32"

    def call(self, torch_compile=False):
        """A callable without arguments, compiled but not run."""
        parts = draw_parts(self.side**2, self.words, self.width, self.scores, dtype=self.dtype)
        function = FORMS[self.form]
        if self.query_chunk is not None:
            function = partial(function, query_chunk=self.query_chunk)
        if self.backward:
            function = measure.with_gradient(function)
        run = measure.compiled(function, parts, torch_compile)
        return lambda: run(*parts)


def relative_error(value, wanted):
    """Largest absolute difference over the largest absolute wanted value."""
    value, wanted = ops.convert_to_numpy(value), ops.convert_to_numpy(wanted)
    return float(np.abs(value - wanted).max() / np.abs(wanted).max())


def float64_agreement(side, words, width):
    """Relative error of the factorised form in float32 against the literal one in float64."""
    parts = draw_parts(side**2, words, width)
    wide = [[ops.convert_to_numpy(part).astype("float64") for part in pair] for pair in parts]
    wanted = literal(*wide, softmax=numpy_softmax, xp=np)
    return relative_error(factorised(*parts), wanted)


def compare_forms(usual, repeats):
    """The forms timed, forward and forward with backward; and their agreement.

    Args:
        usual: `Case` of the factorised form.
        repeats: rounds of timing.
    """
    cases = {
        "plain": replace(usual, form="plain"),
        "bare": replace(usual, form="bare"),
        "factorised": usual,
        "word by word": replace(usual, scores=EXTREME_SCORES),
    }
    forward = {name: case.call() for name, case in cases.items()}
    backward = {name: replace(case, backward=True).call() for name, case in cases.items()}
    results = {
        "forward": measure.summary(measure.interleaved(forward, repeats), "plain"),
        "forward_backward": measure.summary(measure.interleaved(backward, repeats), "plain"),
    }
    # One run: the gap is so wide that its noise changes nothing.
    wall, cpu, wanted = measure.timed(replace(usual, form="literal").call())
    base = results["forward"][0]
    results["forward"].append(
        {
            "name": "literal",
            "seconds": wall,
            "cpu_seconds": cpu,
            "ratio": wall / base["seconds"],
            "cpu_ratio": cpu / base["cpu_seconds"],
        }
    )
    results["agreement"] = {
        "literal_float32": relative_error(forward["factorised"](), wanted),
        "literal_float64": float64_agreement(min(usual.side, SMALL_SIDE), usual.words, usual.width),
    }
    return results


def plain_layer(kernels, features):
    query, key, value = (ops.matmul(features, kernel) for kernel in kernels[:3])
    return ops.matmul(plain([query], [key], [value]), kernels[3]) + features


def compare_layers(options):
    """The layer with its projections against plain attention on as many channels.

    The second projects features `(1, P, Cv + 8 + Cl)` by kernels of the same shapes and ends in the
    same output product and residual. Gradients are those of inputs and kernels.
    """
    layer, arguments = draw_level(options, options.side)
    channels = options.visual_dim + 8 + options.word_dim
    features = draw_units(np.random.default_rng(1), 1, options.side**2, channels)
    forms = {"plain layer": (plain_layer, (arguments[0], features)), "layer": (layer, arguments)}
    passes = {"forward": lambda form: form, "forward_backward": measure.with_gradient}
    results = {}
    for name, prepare in passes.items():
        calls = {
            form: partial(measure.compiled(prepare(function), arguments), *arguments)
            for form, (function, arguments) in forms.items()
        }
        results[name] = measure.summary(measure.interleaved(calls, options.repeats), "plain layer")
    return results


def draw_level(options, side, output_dim=None):
    """The layer as a function, and its arguments: kernels, position and word parts of a feature."""
    rng = np.random.default_rng(0)
    layer = CrossModalSelfAttention(options.width, output_dim)
    inputs = (
        draw_units(rng, 1, side, side, options.visual_dim + 8),
        draw_units(rng, 1, options.words, options.word_dim),
    )
    layer.build(*(part.shape for part in inputs))
    kernels = [ops.convert_to_tensor(weight) for weight in layer.weights]

    def whole_layer(kernels, *inputs):
        return layer.stateless_call(kernels, [], *inputs)[0]

    return whole_layer, (kernels, *inputs)


def draw_units(rng, *shape):
    """Random vectors of length 1 along the last axis."""
    vectors = rng.normal(size=shape)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return ops.convert_to_tensor(vectors, "float32")


def memory_of(case):
    """Peak resident bytes above the level just before the first run of a compiled case."""
    # Thread pools and kernels that are set up once are not the form's own memory.
    replace(case, side=4, query_chunk=case.query_chunk and 8).call()()
    return measure.peak_memory(case.call())[0]


def compare_memory(usual):
    """Peak bytes of each form at the sizes of a `Case`, each in a fresh process."""
    forms = {
        "forward": ("plain", "factorised", "literal"),
        "forward_backward": ("plain", "factorised"),
    }
    return {
        name: {
            form: measure.in_fresh_process(
                memory_of, replace(usual, form=form, backward=name == "forward_backward")
            )
            for form in names
        }
        for name, names in forms.items()
    }


def memory_of_level(side, options):
    """Peak resident bytes, as `memory_of`, of one level of the model with its gradient."""

    def call(side):
        level, arguments = draw_level(options, side, FUSION_DIM)
        return partial(measure.compiled(measure.with_gradient(level), arguments), *arguments)

    call(4)()
    return measure.peak_memory(call(side))[0]


def level_memory(options):
    """How the memory of one level grows: a dict per side, each of a fresh process."""
    rows = []
    for pixels in options.level_sides:
        side = pixels // STRIDE
        peak = measure.in_fresh_process(memory_of_level, side, options)
        rows.append({
            "image_side": pixels,
            "positions": side**2,
            "query_chunk": rows_at_once(side**2),
            "bytes": peak,
            "bytes_per_position": peak / side**2,
        })  # fmt: skip
    return rows


def growth(cases, repeats, memory):
    """How the factorised form grows: a dict per case.

    Args:
        cases: list of `Case` without backward.
        repeats: rounds of timing.
        memory: also measure `forward_backward_bytes`, each in a fresh process; `None` without.
    """
    both = [replace(case, backward=True) for case in cases]
    seconds = {}
    for name, kind in {"forward": cases, "forward_backward": both}.items():
        calls = {i: case.call() for i, case in enumerate(kind)}
        seconds[name] = [
            statistics.median(wall for wall, _ in rounds)
            for rounds in measure.interleaved(calls, repeats).values()
        ]
    return [
        {
            "image_side": case.side * STRIDE,
            "words": case.words,
            "query_chunk": case.query_chunk,
            "forward_seconds": seconds["forward"][i],
            "forward_backward_seconds": seconds["forward_backward"][i],
            "forward_backward_bytes": measure.in_fresh_process(memory_of, both[i])
            if memory
            else None,
        }
        for i, case in enumerate(cases)
    ]


def target_values(results):
    """What `TARGETS` are about, as far as it was measured."""
    values = {}
    if results["forms"]:
        forward = {row["name"]: row for row in results["forms"]["forward"]}
        backward = {row["name"]: row for row in results["forms"]["forward_backward"]}
        values |= {
            "forward_times_faster_than_literal": (
                forward["literal"]["seconds"] / forward["factorised"]["seconds"]
            ),
            "forward_over_plain": forward["factorised"]["ratio"],
            "forward_backward_over_plain": backward["factorised"]["ratio"],
        }
    if results["level"]:
        first, last = results["level"][0], results["level"][-1]
        values["level_gigabytes"] = last["bytes"] / 1e9
        values["level_bytes_per_position"] = (
            last["bytes_per_position"] / first["bytes_per_position"]
        )
    if results["memory"]:
        peaks = results["memory"]["forward"]
        values["memory_below_literal"] = peaks["literal"] / peaks["factorised"]
    return values


def memory_table(memory):
    table = Table("pass", "form", "peak MB", title="Memory above the level before the call")
    for name, peaks in memory.items():
        for form, size in peaks.items():
            table.add_row(name, form, f"{size / measure.MEGABYTE:.0f}")
    return table


def growth_table(title, rows):
    table = Table(
        "image side", "N", "query_chunk", "forward ms", "fwd+bwd ms", "fwd+bwd peak MB", title=title
    )
    for row in rows:
        size = row["forward_backward_bytes"]
        table.add_row(
            str(row["image_side"]),
            str(row["words"]),
            str(row["query_chunk"]),
            f"{1e3 * row['forward_seconds']:.1f}",
            f"{1e3 * row['forward_backward_seconds']:.1f}",
            "-" if size is None else f"{size / measure.MEGABYTE:.0f}",
        )
    return table


def level_table(rows):
    table = Table(
        "image side", "P", "query_chunk", "peak MB", "kB per position",
        title="One level with its gradient",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            *(str(row[key]) for key in ("image_side", "positions", "query_chunk")),
            f"{row['bytes'] / measure.MEGABYTE:.0f}",
            f"{row['bytes_per_position'] / 1e3:.0f}",
        )
    return table


def show(results, console):
    for scope in ("forms", "layers"):
        for name, rows in (results[scope] or {}).items():
            if name != "agreement":
                console.print(measure.timing_table(f"{scope}: {name}", rows))
    if results["level"]:
        console.print(level_table(results["level"]))
    if results["memory"]:
        console.print(memory_table(results["memory"]))
    for name, rows in results["growth"].items():
        console.print(growth_table(f"Growth with {name}", rows))
    if results["forms"]:
        for name, error in results["forms"]["agreement"].items():
            console.print(f"factorised float32 against {name}: relative error {error:.1e}")
    console.print(measure.target_table(results["targets"]))


def measure_all(options):
    """What the JSON file holds."""
    usual = Case("factorised", options.side, options.words, options.width)
    by_words = [replace(usual, words=words) for words in options.growth_words]
    by_side = [
        replace(usual, side=pixels // STRIDE, query_chunk=chunk)
        for pixels in options.growth_sides
        for chunk in dict.fromkeys((None, rows_at_once((pixels // STRIDE) ** 2)))
    ]
    results = {
        "environment": measure.environment(),
        "settings": asdict(options),
        "forms": compare_forms(usual, options.repeats) if options.forms else None,
        "layers": compare_layers(options) if options.forms else None,
        "memory": compare_memory(usual) if options.memory and options.forms else None,
        "level": level_memory(options) if options.memory else [],
        "growth": {
            "words": growth(by_words, options.growth_repeats, options.memory),
            "image side": growth(by_side, options.growth_repeats, options.memory),
        },
    }
    results["targets"] = measure.check_targets(target_values(results), TARGETS)
    return results


def main(*, options: Options = USUAL, output: Path = Path("runs/benchmarks/attention.json")):
    """Time and weigh the attention; print tables and write them as JSON.

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
