"""What an evaluation saves that asks an image all its sentences at once.

    python benchmarks/evaluation.py data/ref_shapes                      the paper's sizes
    python benchmarks/evaluation.py REFER_ROOT --split testA --images 3

Times `evaluate` on the first images of a split against a plain form, which gives the model an image
for every sentence, in batches of as many sentences; in turn in one process. Random weights: the
IoU is of no use but must be the same. benchmarks/README.md says how it is measured.
"""

from dataclasses import replace
from pathlib import Path

import cyclopts
import keras
import measure
import numpy as np
from model import build
from predictor import balance, draw_preprocessor
from rich.console import Console

from keras_cmsa.data.pipeline import RecordBatches
from keras_cmsa.data.record import images_of
from keras_cmsa.data.sources import read_records
from keras_cmsa.evaluation.evaluate import evaluate, score
from keras_cmsa.evaluation.scores import summarize

BATCH = 8  # sentences
TARGETS = {"times_faster": (">=", 2.5), "difference_of_iou": ("<=", 1e-6)}


def first_images(records, count):
    """The records of the first images."""
    images = images_of(records)
    kept = set(list(dict.fromkeys(images))[:count])
    return [record for record, image in zip(records, images, strict=True) if image in kept]


def one_by_one(model, preprocessor, records):
    """`evaluate` with an image for every sentence."""
    batches = RecordBatches(records, preprocessor, BATCH)
    scores = {}
    for number in range(len(batches)):
        logits = np.asarray(model.predict_on_batch(batches[number][0]))[..., 0]
        for (i,), (of_one,) in zip(batches.rows(number), logits, strict=True):
            if i < len(records):
                scores[int(i)] = score(records[i], of_one, preprocessor)
    return [scores[i] for i in range(len(records))]


def compare(records, image_size, repeats, small):
    """Timings of the two ways, and their overall IoU."""
    keras.utils.set_random_seed(0)
    model, _ = build(image_size, small)
    preprocessor = draw_preprocessor(model)
    # The words are not those of the random vocabulary, so each sentence gets words of its own.
    words = preprocessor.vocabulary.words
    asked = {r.expression: " ".join(words[2 + i : 10 + i]) for i, r in enumerate(records)}
    records = [replace(r, expression=asked[r.expression]) for r in records]
    first = preprocessor([records[0].image()], [records[0].expression])
    balance(model, first["image"], first["words"][0])
    found = {}

    def run(name, form):
        found[name] = summarize(form(model, preprocessor, records))["overall_iou"]
        return keras.ops.zeros(1)  # all is computed by now; `interleaved` waits for a tensor

    forms = {
        "at once": lambda: run("at once", evaluate),
        "one by one": lambda: run("one by one", one_by_one),
    }
    timings = measure.summary(measure.interleaved(forms, repeats), "at once")
    return {"timings": timings, "overall_iou": found}


def main(
    data_dir: Path,
    /,
    *,
    dataset: str = "refcoco",
    split: str = "val",
    images: int = 12,
    image_size: int = 320,
    repeats: int = 1,
    small: bool = False,
    output: Path = Path("runs/benchmarks/evaluation.json"),
):
    """Time an evaluation; print and write JSON.

    Parameters
    ----------
    data_dir
        As of keras-cmsa evaluate.
    dataset
        As of keras-cmsa evaluate.
    split
        The split.
    images
        How many of its images.
    image_size
        Side of the network's square input in pixels, a multiple of 8.
    repeats
        Timed rounds, in each of which every way runs once.
    small
        Measure the recipes' small model instead of the paper's.
    output
        The JSON file.
    """
    records = first_images(read_records(data_dir, dataset, splits=[split])[split], images)
    results = {
        "environment": measure.environment(),
        "settings": {"data": data_dir.name, "split": split, "image_size": image_size},
        "images": len(set(images_of(records))),
        "sentences": len(records),
        **compare(records, image_size, repeats, small),
    }
    iou = results["overall_iou"]
    values = {
        "times_faster": results["timings"][1]["ratio"],
        "difference_of_iou": abs(iou["at once"] - iou["one by one"]),
    }
    results["targets"] = measure.check_targets(values, TARGETS)
    console = Console()
    title = f"{results['sentences']} sentences about {results['images']} images"
    console.print(measure.timing_table(title, results["timings"]))
    console.print(f"overall IoU: {iou['at once']:.6f} at once, {iou['one by one']:.6f} one by one")
    console.print(measure.target_table(results["targets"]))
    measure.write_json(output, results)


if __name__ == "__main__":
    cyclopts.run(main)
