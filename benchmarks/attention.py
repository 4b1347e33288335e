"""What the factorised attention costs, against the literal Eqs. 2-3 and plain self-attention.

    python benchmarks/attention.py                          one level at the paper's sizes
    KERAS_BACKEND=jax python benchmarks/attention.py        the same under jax.jit

`forms.py` has the forms, float32, batch 1. Then the memory of one level, the whole layer with its
gradient, as the map grows: with `--no-forms --empty-growth-words --empty-growth-sides` that alone.
benchmarks/README.md says how it is measured.
"""

from functools import partial

import cli
import measure
import numpy as np
from forms import FORMS, draw_parts, plain
from keras import ops

from keras_cmsa.layers import CrossModalSelfAttention
from keras_cmsa.layers.pair_attention import rows_at_once

STRIDE = 8  # image pixels per position
FUSION_DIM = 500  # channels of the level's reduced map


@cli.options
class Options:
    """What is measured."""

    side: int = 40
    """Of the square map, so that P = side * side positions."""
    words: int = 20
    """Words N."""
    width: int = 512
    """Of query, key and value, d."""
    visual_dim: int = 2048
    """Visual channels of the level, for the whole layer."""
    word_dim: int = 1000
    """Channels of a word vector, for the whole layer."""
    repeats: cli.Repeats = 21
    growth_repeats: int = 3
    """Timed rounds of the tables of growth."""
    growth_words: tuple[int, ...] = (1, 5, 10, 20, 40)
    """Numbers of words to time at this side."""
    growth_sides: tuple[int, ...] = (160, 320, 480, 640)
    """Sides of the image in pixels, 8 per position."""
    level_sides: tuple[int, ...] = (320, 480, 640)
    """Sides of the image at which to weigh one level with its gradient."""
    forms: bool = True
    """Compare the forms and the layers."""
    memory: cli.Memory = True


def form_of(side, form, words, width, query_chunk=None, dtype="float32"):
    """A form as a function with its arguments.

    Args:
        side: of the square map of positions, P = side * side.
        form: a key of `FORMS`.
        words: words N.
        width: of query, key and value, d.
        query_chunk: positions per chunk, for the factorised form.
        dtype: of the parts.
    """
    chunk = {} if query_chunk is None else {"query_chunk": query_chunk}
    return partial(FORMS[form], **chunk), draw_parts(side**2, words, width, dtype)


def level_of(side, options, output_dim=None):
    """The layer as a function, with its arguments: kernels, position and word parts of a feature."""
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


def plain_layer(kernels, features):
    query, key, value = (ops.matmul(features, kernel) for kernel in kernels[:3])
    return ops.matmul(plain([query], [key], [value]), kernels[3]) + features


def compare_forms(options):
    """The forms timed, forward and with gradient."""
    make = partial(form_of, options.side, words=options.words, width=options.width)
    forms = {form: make(form=form) for form in ("plain", "factorised")}
    results = measure.compare_passes(forms, options.repeats)
    # One run: the gap is so wide that its noise changes nothing.
    function, parts = make(form="literal")
    literal = measure.timed(partial(measure.compiled(function, parts), *parts))[:2]
    base = results["forward"][0]["seconds"], results["forward"][0]["cpu_seconds"]
    results["forward"] += measure.summary({"plain": [base], "literal": [literal]}, "plain")[1:]
    return results


def compare_layers(options):
    """The layer with its projections against plain attention on as many channels.

    The second projects features `(1, P, Cv + 8 + Cl)` by kernels of the same shapes and ends in the
    same output product and residual. Gradients are those of inputs and kernels.
    """
    layer, arguments = level_of(options.side, options)
    channels = options.visual_dim + 8 + options.word_dim
    features = draw_units(np.random.default_rng(1), 1, options.side**2, channels)
    forms = {"plain layer": (plain_layer, (arguments[0], features)), "layer": (layer, arguments)}
    return measure.compare_passes(forms, options.repeats)


def compare_growth(options):
    """The factorised form with more words, and with more positions at once and in chunks."""
    words = {
        f"N = {words}": form_of(options.side, "factorised", words, options.width)
        for words in options.growth_words
    }
    sides = {
        f"{pixels} pixels{f', chunks of {chunk}' if chunk else ''}": form_of(
            pixels // STRIDE, "factorised", options.words, options.width, chunk
        )
        for pixels in options.growth_sides
        for chunk in dict.fromkeys((None, rows_at_once((pixels // STRIDE) ** 2)))
    }
    return {
        name: measure.compare_passes(forms, options.growth_repeats)
        for name, forms in {"words": words, "image side": sides}.items()
        if forms
    }


def memory_of(make, side, backward):
    """Peak resident bytes above the level just before the first run of a compiled function.

    Args:
        make: function from a side to a function and its arguments.
        side: of the map.
        backward: also take the gradient by every argument.
    """

    def call(side):
        function, arguments = make(side)
        function = measure.with_gradient(function) if backward else function
        return partial(measure.compiled(function, arguments), *arguments)

    # Thread pools and kernels that are set up once are not the form's own memory.
    call(4)()
    return measure.peak_memory(call(side))[0]


def compare_memory(options):
    """Peak bytes of each form forward, each in a fresh process."""
    makers = {
        form: partial(form_of, form=form, words=options.words, width=options.width)
        for form in ("plain", "factorised", "literal")
    }
    return {
        form: measure.in_fresh_process(memory_of, make, options.side, False)
        for form, make in makers.items()
    }


def level_memory(options):
    """How the memory of one level grows: a dict per side, each of a fresh process."""
    make, rows = partial(level_of, options=options, output_dim=FUSION_DIM), []
    for pixels in options.level_sides:
        side = pixels // STRIDE
        peak = measure.in_fresh_process(memory_of, make, side, True)
        rows.append({
            "image_side": pixels,
            "positions": side**2,
            "query_chunk": rows_at_once(side**2),
            "bytes": peak,
            "bytes_per_position": peak / side**2,
        })  # fmt: skip
    return rows


def measure_all(options):
    """What the JSON file holds."""
    return {
        "forms": compare_forms(options) if options.forms else {},
        "layers": compare_layers(options) if options.forms else {},
        "growth": compare_growth(options),
        "memory": compare_memory(options) if options.memory and options.forms else {},
        "level": level_memory(options) if options.memory else [],
    }


def targets(results):
    """Those of what was measured."""
    if results["forms"]:
        _, factorised, literal = results["forms"]["forward"]
        faster = literal["seconds"] / factorised["seconds"]
        backward = results["forms"]["forward_backward"][1]["ratio"]
        yield "forward_times_faster_than_literal", faster, ">=", 200
        yield "forward_over_plain", factorised["ratio"], "<=", 1.1
        yield "forward_backward_over_plain", backward, "<=", 1.2
    if results["memory"]:
        peaks = results["memory"]
        yield "memory_below_literal", peaks["literal"] / peaks["factorised"], ">=", 40
    if results["level"]:
        first, *_, last = results["level"]
        growth = last["bytes_per_position"] / first["bytes_per_position"]
        yield "level_gigabytes", last["bytes"] / 1e9, "<=", 6
        yield "level_bytes_per_position", growth, "<=", 1.2


if __name__ == "__main__":
    cli.main(Options, measure_all, targets)
