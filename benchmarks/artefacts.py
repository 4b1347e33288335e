"""What an exported form of a model costs in IoU and saves in time and bytes.

    python benchmarks/artefacts.py --model runs/demo --data-dir data/ref_shapes

Exports a trained model in every form, asks each the same expressions one by one, and compares with
the model in Keras: overall IoU under the profile `strict`, pixels of the masks that differ, size
on disk, and the time of one image from tensors to logits, in turn in one process.
benchmarks/README.md says how it is measured.
"""

import tempfile
from functools import partial
from pathlib import Path

import cli
import measure
import numpy as np
import onnxruntime
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from rich.progress import track
from rich.table import Table

from keras_cmsa.data.sources import read_records
from keras_cmsa.evaluation.scores import score_mask, summarize
from keras_cmsa.export.portable import export_litert, export_onnx
from keras_cmsa.export.saved_model import ExportOptions, export_saved_model
from keras_cmsa.inference.masks import to_mask
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.utils.files import size_of_folder
from keras_cmsa.utils.silence import silenced

# Each the format and the options of its export; all are compared with the first.
FORMS = {
    "Keras": ("keras", {}),
    "SavedModel": ("saved_model", {}),
    "SavedModel, float16": ("saved_model", {"dtype": "float16"}),
    "SavedModel, bfloat16": ("saved_model", {"dtype": "bfloat16"}),
    "ONNX": ("onnx", {}),
    "LiteRT": ("litert", {}),
}


@cli.options
class Options:
    """What is measured.

    Parameters
    ----------
    data_dir
        The data, as recipes take it.
    dataset
        Name of the data set, as recipes take it.
    split_owner
        Owner of the splits, as recipes take it.
    split
        The split to evaluate.
    forms
        Forms to compare, each with the first.
    samples
        How many expressions of the split, at even distances.
    """

    model: cli.Model = "runs/demo"
    data_dir: Path = Path("data/ref_shapes")
    dataset: str = "refcoco"
    split_owner: str = "unc"
    split: str = "val"
    forms: tuple[str, ...] = tuple(FORMS)
    samples: int = 400
    repeats: cli.Repeats = 15


def export_form(predictor, folder, kind, options):
    """Its path, and a function from a dict of arrays, batch 1, to logits (1, 1, S, S, 1)."""
    if kind == "saved_model":
        path = export_saved_model(predictor, folder, options=ExportOptions(warmup=False, **options))
        with silenced():
            return path, partial(ask_saved_model, tf.saved_model.load(str(path)))
    if kind == "keras":
        folder.mkdir()
        predictor.model.save(folder / "model.keras")
        return folder / "model.keras", predictor.model.predict_on_batch
    if kind == "onnx":
        path = export_onnx(predictor, folder) / "model.onnx"
        return path, partial(ask_onnx, onnxruntime.InferenceSession(path))
    path = export_litert(predictor, folder) / "model.tflite"
    return path, partial(ask_litert, Interpreter(str(path)).get_signature_runner())


def ask_saved_model(loaded, inputs):
    tensors = {name: tf.constant(x) for name, x in inputs.items()}
    return loaded.signatures["tensors"](**tensors)["logits"].numpy()


def ask_onnx(session, inputs):
    return session.run(["logits"], inputs)[0]


def ask_litert(runner, inputs):
    return runner(**inputs)["logits"]


def compare(forms, predictor, records):
    """Per form its size, its overall IoU and how its masks differ from those of the first form."""
    found = {name: {"scores": [], "differ": 0} for name in forms}
    for record in track(records, "asking"):
        inputs = inputs_of(predictor, record)
        reference = None
        for name, (_, ask) in forms.items():
            size = record.height, record.width
            mask = to_mask(ask(inputs)[0, 0], size, predictor.preprocessor)
            reference = mask if reference is None else reference
            found[name]["scores"].append(score_mask(record, mask))
            found[name]["differ"] += int(np.sum(mask != reference))
    pixels = sum(record.height * record.width for record in records)
    return [
        {
            "name": name,
            "bytes": path.stat().st_size if path.is_file() else size_of_folder(path),
            "overall_iou": summarize(found[name]["scores"])["overall_iou"],
            "pixels_that_differ": found[name]["differ"] / pixels,
        }
        for name, (path, _) in forms.items()
    ]


def inputs_of(predictor, record):
    image = predictor.preprocessor.image(read_image(record.image_path))[None]
    return {
        "image": image,
        "words": predictor.preprocessor.vocabulary.encode([record.expression])[None],
    }


def measure_all(options):
    """A row and a timing for each form."""
    if unknown := set(options.forms) - set(FORMS):
        raise ValueError(f"--forms must be among {sorted(FORMS)}. Received: {sorted(unknown)}")
    predictor = Predictor.from_preset(options.model)
    records = read_records(options.data_dir, options.dataset, options.split_owner)[options.split]
    records = records[:: max(1, len(records) // options.samples)][: options.samples]
    with tempfile.TemporaryDirectory() as folder:
        exported = {
            name: export_form(predictor, Path(folder) / str(number), *FORMS[name])
            for number, name in enumerate(options.forms)
        }
        rows = compare(exported, predictor, records)
        inputs = inputs_of(predictor, records[0])
        calls = {name: partial(ask, inputs) for name, (_, ask) in exported.items()}
        times = measure.interleaved(calls, options.repeats)
    timings = measure.summary(times, options.forms[0])
    return {"samples": len(records), "forms": rows, "timings": timings}


def show(results, console):
    title = f"{results['samples']} of {results['settings']['split']}"
    table = Table("", "MB", "overall IoU", "pixels that differ", title=title)
    for row in results["forms"]:
        share = f"{row['pixels_that_differ']:.2e}"
        table.add_row(row["name"], f"{row['bytes'] / 1e6:.2f}", f"{row['overall_iou']:.4f}", share)
    console.print(table)
    console.print(measure.timing_table("Batch 1, tensors to logits", results["timings"]))


BENCHMARK = cli.Benchmark("artefacts", Options, measure_all, show)

if __name__ == "__main__":
    BENCHMARK.main()
