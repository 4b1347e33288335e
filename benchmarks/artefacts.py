"""What a smaller or another form of an exported model costs in IoU and saves in time and bytes.

    python benchmarks/artefacts.py runs/demo data/ref_shapes

Exports a trained model in every form, asks each the same expressions one by one, and compares with
the float32 SavedModel: overall IoU under the profile `strict`, pixels of the masks that differ, size
on disk, and the time of one image from tensors to logits, in turn in one process.
benchmarks/README.md says how it is measured.
"""

import tempfile
from functools import partial
from pathlib import Path

import cyclopts
import numpy as np
import onnxruntime
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from measure import environment, interleaved, summary, timing_table, write_json
from rich.console import Console
from rich.progress import track
from rich.table import Table

from keras_cmsa.data.sources import read_records
from keras_cmsa.evaluation import score_mask, strict_mask, summarize
from keras_cmsa.export import export_saved_model
from keras_cmsa.image import FITS, read_image
from keras_cmsa.portable import export_litert, export_onnx
from keras_cmsa.predictor import Predictor
from keras_cmsa.quiet import quiet

# Each the format and the options of its export; all are compared with the first.
FORMS = {
    "SavedModel": ("saved_model", {}),
    "SavedModel, folded": ("saved_model", {"fold_norms": True}),
    "SavedModel, float16": ("saved_model", {"dtype": "float16"}),
    "SavedModel, bfloat16": ("saved_model", {"dtype": "bfloat16"}),
    "ONNX": ("onnx", {}),
    "ONNX, folded": ("onnx", {"fold_norms": True}),
    "LiteRT": ("litert", {}),
}


def export_form(predictor, folder, kind, options):
    """Its path, and a function from a dict of arrays, batch 1, to logits (1, S, S, 1)."""
    network, vocabulary = predictor.model, predictor.vocabulary
    if kind == "saved_model":
        path = export_saved_model(
            network, vocabulary, folder, fit=predictor.fit, warmup=False, **options
        )
        with quiet():
            return path, partial(ask_saved_model, tf.saved_model.load(str(path)))
    if kind == "onnx":
        path = export_onnx(network, vocabulary, folder / "model.onnx", **options)
        return path, partial(ask_onnx, onnxruntime.InferenceSession(path))
    path = export_litert(network, vocabulary, folder / "model.tflite", **options)
    return path, partial(ask_litert, Interpreter(str(path)).get_signature_runner())


def ask_saved_model(loaded, inputs):
    tensors = {name: tf.constant(x) for name, x in inputs.items()}
    return loaded.signatures["tensors"](**tensors)["logits"].numpy()


def ask_onnx(session, inputs):
    return session.run(["logits"], inputs)[0]


def ask_litert(runner, inputs):
    return runner(**inputs)["logits"]


def bytes_of(path):
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def compare(forms, predictor, records):
    """Per form its size, its overall IoU and how its masks differ from those of the first form."""
    found = {name: {"scores": [], "differ": 0} for name in forms}
    for record in track(records, "asking"):
        inputs = inputs_of(predictor, record)
        reference = None
        for name, (_, ask) in forms.items():
            mask = strict_mask(ask(inputs)[0, ..., 0], (record.height, record.width), predictor.fit)
            reference = mask if reference is None else reference
            found[name]["scores"].append(score_mask(record, mask))
            found[name]["differ"] += int(np.sum(mask != reference))
    pixels = sum(record.height * record.width for record in records)
    return [
        {
            "name": name,
            "bytes": bytes_of(path),
            "overall_iou": summarize(found[name]["scores"])["overall_iou"],
            "pixels_that_differ": found[name]["differ"] / pixels,
        }
        for name, (path, _) in forms.items()
    ]


def inputs_of(predictor, record):
    image = FITS[predictor.fit][0](read_image(record.image_path), predictor.image_size)[None]
    return {"image": image, "words": predictor.encode([record.expression])}


def main(
    model: Path,
    data_dir: Path,
    *,
    dataset: str = "refcoco",
    split_owner: str = "unc",
    split: str = "val",
    forms: tuple[str, ...] = tuple(FORMS),
    samples: int = 400,
    repeats: int = 15,
    output: Path = Path("runs/benchmarks/artefacts.json"),
):
    """Export, ask, time; print and write JSON.

    Parameters
    ----------
    model
        A trained model, as Predictor.load takes it.
    data_dir, dataset, split_owner
        The data, as recipes take it.
    split
        That is asked.
    forms
        To compare, with the first; of FORMS.
    samples
        Expressions of it, at even distances.
    repeats
        Timed rounds, in each of which every form runs once.
    output
        The JSON file.
    """
    predictor = Predictor.load(model)
    records = read_records(data_dir, dataset, split_owner)[split]
    records = records[:: max(1, len(records) // samples)][:samples]
    with tempfile.TemporaryDirectory() as folder:
        exported = {
            name: export_form(predictor, Path(folder) / str(number), *FORMS[name])
            for number, name in enumerate(forms)
        }
        rows = compare(exported, predictor, records)
        inputs = inputs_of(predictor, records[0])
        calls = {name: partial(ask, inputs) for name, (_, ask) in exported.items()}
        timings = summary(interleaved(calls, repeats), forms[0])
    table = Table("", "MB", "overall IoU", "pixels that differ", title=f"{len(records)} of {split}")
    for row in rows:
        share = f"{row['pixels_that_differ']:.2e}"
        table.add_row(row["name"], f"{row['bytes'] / 1e6:.2f}", f"{row['overall_iou']:.4f}", share)
    console = Console()
    console.print(table)
    console.print(timing_table("Batch 1, tensors to logits", timings))
    settings = {"model": str(model), "samples": len(records), "repeats": repeats}
    write_json(
        output,
        {"environment": environment(), "settings": settings, "forms": rows, "timings": timings},
    )


if __name__ == "__main__":
    cyclopts.run(main)
