"""How fast data comes: files to batches, RefShapes to disk.

    python benchmarks/pipeline.py                       some minutes
    python benchmarks/pipeline.py --images 40 --repeats 1 --scenes 20

Photos are made up: smooth noise as JPEG of 640 x 480 pixels, each with `--sentences` expressions. The
floor is what TensorFlow needs to decode and resize the same JPEG bytes from memory, without masks,
words or order. Rounds of both take turns, so that what else the machine does falls on both.

Then rows of an image with `--row-sentences` expressions and their masks, as training takes them,
against what an accelerator would take by arithmetic: the multiply-adds of a training step of the
paper-size model for such a row, counted by parts.py (needs JAX), at a share of the peak that a data
sheet gives.
"""

import functools
import itertools
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import cli
import measure
import numpy as np
import parts
import tensorflow as tf
from PIL import Image

from keras_cmsa.data.pipeline import RecordBatches
from keras_cmsa.data.record import Record
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.vocabulary import Vocabulary

HEIGHT, WIDTH = 480, 640
QUALITY = 90
# NVIDIA H100 SXM data sheet: 1,979 TFLOP/s in bfloat16 with sparsity, half of it dense. What a
# training reaches of it is an assumption: 30 to 40 % are usual for large products.
ACCELERATOR_FLOPS, UTILISATION = 989e12, (0.3, 0.4)


@cli.options
class Options:
    """What is measured."""

    images: int = 400
    """Photos to make up."""
    sentences: int = 3
    """Expressions per photo."""
    image_size: cli.ImageSize = 320
    batch_size: int = 16
    """Expressions per batch."""
    row_sentences: int = 4
    """Expressions per row of the batches that training takes; as many per photo."""
    repeats: cli.Repeats = 5
    long_passes: int = 5
    """Passes over which memory is watched."""
    scenes: int = 2400
    """RefShapes to draw, 240 x 240."""


def measure_all(options):
    """What the JSON file holds."""
    tf.config.set_visible_devices([], "GPU")
    with tempfile.TemporaryDirectory() as folder:
        paths = make_photos(Path(folder), options.images)
        return {
            **measure_sentences(paths, options),
            "feeding": measure_feeding(paths, options),
            "ref_shapes": measure_ref_shapes(folder, options.scenes),
        }


def measure_sentences(paths, options):
    """The pipeline against the floor, and its memory, with a sentence a row."""
    stream, records = batches_of(paths, options, options.sentences)
    contents = [record.image_path.read_bytes() for record in records]
    calls = {
        "floor": lambda: exhaust(floor(contents, options.image_size, options.batch_size)),
        "pipeline": lambda: exhaust(stream(seed=0)),
    }
    return {
        "rates": rates(calls, options.repeats, len(records)),
        "memory": watch_memory(stream, options.long_passes),
    }


def make_photos(folder, count):
    """JPEG files of smooth noise, about as large as photos are."""
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    paths = []
    for number in range(count):
        coarse = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3)).astype("uint8")
        pixels = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.BICUBIC), "int16")
        pixels = pixels + rng.integers(-12, 13, pixels.shape)
        path = folder / "photos" / f"{number}.jpg"
        Image.fromarray(np.clip(pixels, 0, 255).astype("uint8")).save(path, quality=QUALITY)
        paths.append(path)
    return paths


def make_records(paths, sentences):
    """A ref per photo: a polygon of 40 points, about as COCO's are."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = np.stack([320 + 200 * np.cos(angles), 240 + 150 * np.sin(angles)], axis=1)
    return [
        Record(
            path, i, i, i * sentences + n, "the thing", "the thing on the left", "train",
            HEIGHT, WIDTH, [outline.ravel().tolist()],
        )
        for i, path in enumerate(paths, 1)
        for n in range(sentences)
    ]  # fmt: skip


def batches_of(paths, options, sentences, row=1):
    """`RecordBatches` of photos, as a function of its other arguments, and the records.

    Args:
        paths: of the photos.
        options: `Options`.
        sentences: about each photo.
        row: sentences of a row.
    """
    records = make_records(paths, sentences)
    vocabulary = Vocabulary.build([record.expression for record in records])
    preprocessor = Preprocessor(vocabulary, options.image_size)
    return partial(RecordBatches, records, preprocessor, options.batch_size, row), records


def floor(contents, image_size, batch_size):
    """Decoding and resizing alone, from bytes in memory."""

    def load(content):
        image = tf.io.decode_jpeg(content, channels=3)
        return tf.image.resize(image, (image_size, image_size))

    dataset = tf.data.Dataset.from_tensor_slices(contents)
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def measure_feeding(paths, options):
    """Rows a second of a core, and how many cores feed an accelerator at each utilisation."""
    count = options.row_sentences
    stream, _ = batches_of(paths, options, count, row=count)
    calls = {"rows": lambda: exhaust(stream(seed=0))}
    (row,) = rates(calls, options.repeats, len(paths))
    work = step_multiply_adds(options.image_size, count)
    wanted = [ACCELERATOR_FLOPS * share / (2 * work) for share in UTILISATION]
    return {
        "rows_per_core_second": row["per_core_second"],
        "multiply_adds_per_row": work,
        "utilisation": UTILISATION,
        "rows_wanted_per_second": wanted,
        "cores": [rate / row["per_core_second"] for rate in wanted],
    }


def step_multiply_adds(image_size, sentences):
    """Multiply-adds of a training step of the paper-size model for an image and its sentences."""
    return parts.multiply_adds(image_size, sentences, small=False)["forward_backward"][parts.WHOLE]


def exhaust(batches):
    """The last batch."""
    return functools.reduce(lambda _, batch: batch, batches)


def rates(calls, repeats, samples):
    """`measure.compare` with samples per second and per second of one core."""
    return [
        row
        | {"per_second": samples / row["seconds"], "per_core_second": samples / row["cpu_seconds"]}
        for row in measure.compare(calls, repeats)
    ]


def watch_memory(stream, passes):
    """Resident memory over passes; grown is what came on after the first.

    Args:
        stream: function from a seed and a number of batches to `RecordBatches`.
        passes: over all records.
    """
    batches = len(stream())
    megabytes = []
    iterator = iter(stream(seed=1, batches=batches * passes))
    for _ in range(passes):
        exhaust(itertools.islice(iterator, batches))
        megabytes.append(measure.resident("VmRSS") / 1e6)
    return {"megabytes_after_pass": megabytes, "growth_mb": megabytes[-1] - megabytes[0]}


# Its processes are spawned and import what asks for them: not TensorFlow, in a program of its own.
DRAW = """
import resource, sys, time
from keras_cmsa.data.ref_shapes import write_ref_shapes
who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
cpu = lambda: sum(sum(resource.getrusage(one)[:2]) for one in who)
wall, before = time.perf_counter(), cpu()
write_ref_shapes(sys.argv[1], scenes={"train": int(sys.argv[2])}, size=240, progress=False)
print(time.perf_counter() - wall, cpu() - before)
"""


def measure_ref_shapes(folder, scenes):
    """Drawing scenes to files."""
    command = [sys.executable, "-c", DRAW, str(Path(folder) / "ref_shapes"), str(scenes)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    wall, cpu = map(float, printed.split())
    return {"scenes": scenes, "seconds": wall, "scenes_per_core_second": scenes / cpu}


def targets(results):
    _, pipeline = results["rates"]
    scenes = results["ref_shapes"]["scenes_per_core_second"]
    yield "pipeline_over_floor_per_core", 1 / pipeline["cpu_ratio"], ">=", 0.6
    yield "memory_growth_mb", results["memory"]["growth_mb"], "<=", 100
    yield "scenes_per_second_of_two_cores", 2 * scenes, ">=", 300


if __name__ == "__main__":
    cli.main(Options, measure_all, targets)
