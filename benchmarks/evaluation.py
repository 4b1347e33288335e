"""What an evaluation saves that asks an image all its sentences at once.

    python benchmarks/evaluation.py --data-dir data/ref_shapes           the paper's sizes
    python benchmarks/evaluation.py --data-dir REFER_ROOT --split testA --images 3

Times `evaluate` on the first images of a split against a plain form, which gives the predictor an image
for every sentence, in batches; in turn in one process. Random weights: the IoU is of no use but must be
the same. benchmarks/README.md says how it is measured.
"""

from dataclasses import replace
from pathlib import Path

import cli
import keras
import measure
from model import build
from predictor import balance, draw_preprocessor

from keras_cmsa.data.record import images_of
from keras_cmsa.data.sources import read_records
from keras_cmsa.evaluation.evaluate import evaluate
from keras_cmsa.evaluation.scores import score_mask, summarize
from keras_cmsa.inference.predictor import Predictor

TARGETS = {"times_faster": (">=", 2.5), "difference_of_iou": ("<=", 1e-6)}


@cli.options
class Options:
    """What is measured.

    Parameters
    ----------
    data_dir
        The data, as of keras-cmsa evaluate.
    dataset
        As of keras-cmsa evaluate.
    split
        The split.
    images
        How many of its images.
    """

    data_dir: Path = Path("data/ref_shapes")
    dataset: str = "refcoco"
    split: str = "val"
    images: int = 12
    repeats: cli.Repeats = 1
    image_size: cli.ImageSize = 320
    small: cli.Small = False


def first_images(records, count):
    """The records of the first images."""
    images = images_of(records)
    kept = set(list(dict.fromkeys(images))[:count])
    return [record for record, image in zip(records, images, strict=True) if image in kept]


def one_by_one(predictor, records):
    """`evaluate` with an image for every sentence."""
    predictions = predictor.stream((record.image(), record.expression) for record in records)
    return [score_mask(*pair) for pair in zip(records, (x.mask for x in predictions), strict=True)]


def compare(options):
    """Timings of the two ways, and their overall IoU."""
    records = read_records(options.data_dir, options.dataset, splits=[options.split])[options.split]
    records = first_images(records, options.images)
    keras.utils.set_random_seed(0)
    model, _ = build(options.image_size, options.small)
    preprocessor = draw_preprocessor(model)
    # The words are not those of the random vocabulary, so each sentence gets words of its own.
    words = preprocessor.vocabulary.words
    drawn = {r.expression: " ".join(words[2 + i : 10 + i]) for i, r in enumerate(records)}
    records = [replace(r, expression=drawn[r.expression]) for r in records]
    first = preprocessor([records[0].image()], [records[0].expression])
    balance(model, first["image"], first["words"][0])
    predictor, overall_iou = Predictor(model, preprocessor), {}

    def run(name, form):
        overall_iou[name] = summarize(form(predictor, records))["overall_iou"]
        return keras.ops.zeros(1)  # all is computed by now; `interleaved` waits for a tensor

    forms = {
        "at once": lambda: run("at once", evaluate),
        "one by one": lambda: run("one by one", one_by_one),
    }
    return {
        "images": len(set(images_of(records))),
        "sentences": len(records),
        "timings": measure.summary(measure.interleaved(forms, options.repeats), "at once"),
        "overall_iou": overall_iou,
    }


def target_values(results):
    iou = results["overall_iou"]
    return {
        "times_faster": results["timings"][1]["ratio"],
        "difference_of_iou": abs(iou["at once"] - iou["one by one"]),
    }


def show(results, console):
    title = f"{results['sentences']} sentences about {results['images']} images"
    console.print(measure.timing_table(title, results["timings"]))
    for name, iou in results["overall_iou"].items():
        console.print(f"overall IoU, {name}: {iou:.6f}")


BENCHMARK = cli.Benchmark("evaluation", Options, compare, show, TARGETS, target_values)

if __name__ == "__main__":
    BENCHMARK.main()
