"""What a form of a model costs in IoU and memory, and saves in time and bytes, by engine.

    python benchmarks/artefacts.py --model runs/demo --data-dir data/ref_shapes
    python benchmarks/artefacts.py --model none --clipseg PYTHON

Exports a model in every form and compares each with the model's own TensorFlow graph: overall IoU
under the profile `strict`, pixels of the masks that differ, size on disk, the time from tensors to
logits of an image with one sentence and of each further one, in turn in one process, and the memory
that loading it and a first answer take in a fresh process. `--model none` takes the paper's sizes with
random weights. benchmarks/README.md says how it is measured.
"""

import statistics
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Literal

import cli
import keras
import measure
import numpy as np
import onnxruntime
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from rich.progress import track

from keras_cmsa.data.sources import read_records
from keras_cmsa.evaluation.scores import score_mask, summarize
from keras_cmsa.export.portable import export_litert, export_onnx
from keras_cmsa.export.saved_model import ExportOptions, export_saved_model
from keras_cmsa.inference.masks import to_mask
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.models.backbones import dilated_resnet101
from keras_cmsa.models.cmsa import build_cmsa
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.preprocessing.vocabulary import Vocabulary
from keras_cmsa.presets.files import LITERT, MODEL, ONNX
from keras_cmsa.utils.files import size_of_folder
from keras_cmsa.utils.silence import silenced

# Each the format and the options of its export; all are compared with the first.
FORMS = {
    "TensorFlow": ("keras", {}),
    "SavedModel": ("saved_model", {}),
    "SavedModel, float16": ("saved_model", {"dtype": "float16"}),
    "SavedModel, bfloat16": ("saved_model", {"dtype": "bfloat16"}),
    "ONNX": ("onnx", {}),
    "ONNX, int8": ("onnx", {"int8": True}),
    "LiteRT": ("litert", {}),
    "LiteRT, int8": ("litert", {"int8": True}),
}
PAIRS = 5  # of CLIPSeg and the fastest form, in turn
FURTHER = 4  # sentences in the second timing, beyond the first
RANDOM = "none"


@cli.options
class Options:
    """What is measured."""

    model: str = "runs/demo"
    """A trained model, as --model of keras-cmsa takes it; "none": the paper's sizes, random
    weights."""
    data_dir: Path = Path("data/ref_shapes")
    """RefShapes, or another root of REFER with RefCOCO; its val is asked."""
    forms: tuple[Literal[*FORMS], ...] = tuple(FORMS)
    """Forms to compare, each with the first."""
    samples: int = 400
    """How many expressions, at even distances."""
    repeats: cli.Repeats = 15
    memory: cli.Memory = True
    clipseg: str | None = None
    """The Python of an environment with PyTorch and transformers, to time CLIPSeg beside."""


def export_form(predictor, folder, kind, options, calibration):
    if kind == "keras":
        folder.mkdir()
        predictor.network.save(folder / MODEL)
        return folder
    if kind == "saved_model":
        return export_saved_model(predictor, folder, options=ExportOptions(warmup=False, **options))
    write = {"onnx": export_onnx, "litert": export_litert}[kind]
    return write(predictor, folder, calibration if options.get("int8") else None)


def loaded(kind, path):
    """A function from a dict of arrays to logits; each engine with its own number of threads."""
    if kind == "keras":
        network = keras.saving.load_model(path / MODEL, compile=False)
        graph = tf.function(partial(network, training=False))
        return lambda inputs: graph(as_tensors(inputs))["logits"].numpy()
    if kind == "saved_model":
        with silenced():
            version = tf.saved_model.load(str(path))
        run = version.signatures["tensors"]
        run.owner = version  # keeps its weights alive
        return lambda inputs: run(**as_tensors(inputs))["logits"].numpy()
    if kind == "onnx":
        session = onnxruntime.InferenceSession(path / ONNX)
        return lambda inputs: session.run(["logits"], inputs)[0]
    run = Interpreter(str(path / LITERT)).get_signature_runner("serving_default")
    return lambda inputs: run(**inputs)["logits"]


def as_tensors(inputs):
    return {name: tf.constant(x) for name, x in inputs.items()}


def peak_of(kind, path, inputs):
    """What loading a form and one answer take of this process' memory at their peak, in bytes."""
    above, _ = measure.peak_memory(lambda: loaded(kind, path)(inputs))
    return above


def milliseconds_alone(kind, path, inputs, repeats):
    """The median time of a form in a process without other engines, as CLIPSeg is timed."""
    ask = loaded(kind, path)
    (row,) = measure.compare({kind: partial(ask, inputs)}, repeats)
    return 1e3 * row["seconds"]


def compare(asks, predictor, records):
    """Per form its overall IoU and how many pixels of its masks are not those of the first form."""
    answers = {name: {"scores": [], "differ": 0} for name in asks}
    for record in track(records, "asking"):
        image = predictor.preprocessor.image(read_image(record.image_path))[None]
        words = predictor.preprocessor.vocabulary.encode([record.expression])[None]
        size, reference = (record.height, record.width), None
        for name, ask in asks.items():
            logits = ask({"image": image, "words": words})[0, 0]
            mask = to_mask(logits, size, predictor.preprocessor)
            reference = mask if reference is None else reference
            answers[name]["scores"].append(score_mask(record, mask))
            answers[name]["differ"] += int(np.sum(mask != reference))
    pixels = sum(record.height * record.width for record in records)
    return {
        name: {
            "overall_iou": summarize(x["scores"])["overall_iou"],
            "pixels_that_differ": x["differ"] / pixels,
        }
        for name, x in answers.items()
    }


def paper_size(expressions):
    """A `Predictor` of the paper's sizes with random weights."""
    keras.utils.set_random_seed(0)
    vocabulary = Vocabulary.build(expressions)
    model = build_cmsa(len(vocabulary), backbone=dilated_resnet101(weights=None))
    return Predictor(model, Preprocessor(vocabulary, 320))


def data_of(options):
    """The predictor, the records to ask, and those of the calibration."""
    records = read_records(options.data_dir)
    if options.model == RANDOM:
        predictor = paper_size(record.expression for record in records["train"])
    else:
        predictor = Predictor.from_preset(options.model)
    asked = records["val"]
    asked = asked[:: max(1, len(asked) // options.samples)][: options.samples]
    return predictor, asked, records["train"]


def measure_all(options):
    """A row and a timing for each form."""
    predictor, records, calibration = data_of(options)
    names = list(options.forms)
    rng = np.random.default_rng(0)
    side, longest = predictor.preprocessor.image_size, predictor.preprocessor.vocabulary.max_words
    inputs = {
        count: {
            "image": rng.uniform(0, 255, (1, side, side, 3)).astype("float32"),
            "words": rng.integers(1, 9, (1, count, longest)).astype("int32"),
        }
        for count in (1, 1 + FURTHER)
    }
    kinds = {name: FORMS[name][0] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            name: export_form(predictor, Path(folder) / str(number), *FORMS[name], calibration)
            for number, name in enumerate(names)
        }
        asks = {name: loaded(kinds[name], path) for name, path in paths.items()}
        qualities = compare(asks, predictor, records)
        calls = {
            (name, count): partial(ask, inputs[count])
            for name, ask in asks.items()
            for count in inputs
        }
        times = measure.interleaved(calls, options.repeats)
        timings = measure.summary({name: times[name, 1] for name in names}, names[0])
        fastest = min(timings, key=lambda row: row["seconds"])["name"]
        alone = partial(
            measure.in_fresh_process, milliseconds_alone, kinds[fastest], paths[fastest]
        )
        beside = [
            (alone(inputs[1], options.repeats), clipseg_milliseconds(options))
            for _ in range(PAIRS if options.clipseg else 0)
        ]
        rows = [
            {
                "name": name,
                "bytes": size_of_folder(path),
                "peak_bytes": measure.in_fresh_process(peak_of, kinds[name], path, inputs[1])
                if options.memory
                else None,
                "further_ms": statistics.median(
                    1e3 * (many[0] - one[0]) / FURTHER
                    for one, many in zip(times[name, 1], times[name, 1 + FURTHER])
                ),
                **qualities[name],
            }
            for name, path in paths.items()
        ]
    return {"samples": len(records), "forms": rows, "timings": timings, "beside_clipseg_ms": beside}


def clipseg_milliseconds(options):
    """Those of `clipseg.py`, in a process of its own environment."""
    command = [options.clipseg, str(Path(__file__).with_name("clipseg.py")), str(options.repeats)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def targets(results):
    """Those of what was measured; IoU and absolute time are a trained model's."""
    ratios = {row["name"]: row["ratio"] for row in results["timings"]}
    ious = {row["name"]: row["overall_iou"] for row in results["forms"]}
    for name, most in (("ONNX", 0.85), ("ONNX, int8", 0.6)):
        if name in ratios:
            yield f"{name}, share of the TensorFlow graph's time", ratios[name], "<=", most
    if beside := results["beside_clipseg_ms"]:
        share = statistics.median(ours / other for ours, other in beside)
        yield "fastest form, share of CLIPSeg's time, each alone", share, "<=", 1.0
    if results["settings"]["model"] != RANDOM:
        fastest = min(1e3 * row["seconds"] for row in results["timings"])
        yield "a trained small model's fastest form, ms an image", fastest, "<=", 15.0
        if int8 := [iou for name, iou in ious.items() if "int8" in name]:
            loss = next(iter(ious.values())) - min(int8)
            yield "int8, loss of overall IoU", loss, "<=", 0.01


if __name__ == "__main__":
    cli.main(Options, measure_all, targets)
