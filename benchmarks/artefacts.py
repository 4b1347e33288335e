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
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cli
import keras
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
from keras_cmsa.models.backbones import dilated_resnet101
from keras_cmsa.models.cmsa import build_cmsa
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.preprocessing.vocabulary import Vocabulary
from keras_cmsa.presets.files import LITERT, ONNX
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
TARGETS = {
    "ONNX, share of the TensorFlow graph's time": ("<=", 0.85),
    "ONNX int8, share of the TensorFlow graph's time": ("<=", 0.6),
    "fastest form, share of CLIPSeg's time, each alone": ("<=", 1.0),
    "a trained small model's fastest form, ms an image": ("<=", 15.0),
    "int8, loss of overall IoU": ("<=", 0.01),
}


@cli.options
class Options:
    """What is measured.

    Parameters
    ----------
    model
        A trained model, as --model of keras-cmsa takes it; "none": the paper's sizes, random weights.
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
    clipseg
        The Python of an environment with PyTorch and transformers, to time CLIPSeg beside.
    """

    model: str = "runs/demo"
    data_dir: Path = Path("data/ref_shapes")
    dataset: str = "refcoco"
    split_owner: str = "unc"
    split: str = "val"
    forms: tuple[str, ...] = tuple(FORMS)
    samples: int = 400
    repeats: cli.Repeats = 15
    memory: cli.Memory = True
    clipseg: str | None = None


@dataclass
class Form:
    """An exported form: its path, and a function from a dict of arrays to logits."""

    kind: str
    path: Path
    ask: object

    @property
    def bytes(self):
        return self.path.stat().st_size if self.path.is_file() else size_of_folder(self.path)


def export_form(predictor, folder, kind, options, calibration):
    if kind == "keras":
        folder.mkdir()
        predictor.network.save(folder / "model.keras")
        return folder / "model.keras"
    if kind == "saved_model":
        return export_saved_model(predictor, folder, options=ExportOptions(warmup=False, **options))
    write = {"onnx": export_onnx, "litert": export_litert}[kind]
    return write(predictor, folder, calibration if options.get("int8") else None)


def loaded(kind, path):
    """A function from a dict of arrays to logits; each engine with its own number of threads."""
    if kind == "keras":
        network = keras.saving.load_model(path, compile=False)
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
    times = [wall for wall, _ in measure.interleaved({kind: partial(ask, inputs)}, repeats)[kind]]
    return 1e3 * statistics.median(times)


def compare(forms, predictor, records):
    """Per form its overall IoU and how many pixels of its masks are not those of the first form."""
    found = {name: {"scores": [], "differ": 0} for name in forms}
    for record in track(records, "asking"):
        image = predictor.preprocessor.image(read_image(record.image_path))[None]
        words = predictor.preprocessor.vocabulary.encode([record.expression])[None]
        size, reference = (record.height, record.width), None
        for name, form in forms.items():
            logits = form.ask({"image": image, "words": words})[0, 0]
            mask = to_mask(logits, size, predictor.preprocessor)
            reference = mask if reference is None else reference
            found[name]["scores"].append(score_mask(record, mask))
            found[name]["differ"] += int(np.sum(mask != reference))
    pixels = sum(record.height * record.width for record in records)
    return {
        name: {
            "overall_iou": summarize(x["scores"])["overall_iou"],
            "pixels_that_differ": x["differ"] / pixels,
        }
        for name, x in found.items()
    }


def paper_size(expressions):
    """A `Predictor` of the paper's sizes with random weights."""
    keras.utils.set_random_seed(0)
    vocabulary = Vocabulary.build(expressions)
    model = build_cmsa(len(vocabulary), backbone=dilated_resnet101(weights=None))
    return Predictor(model, Preprocessor(vocabulary, 320))


def data_of(options):
    """The predictor, the records to ask, and those of the calibration."""
    records = read_records(options.data_dir, options.dataset, options.split_owner)
    if options.model == RANDOM:
        predictor = paper_size(record.expression for record in records["train"])
    else:
        predictor = Predictor.from_preset(options.model)
    asked = records[options.split]
    asked = asked[:: max(1, len(asked) // options.samples)][: options.samples]
    return predictor, asked, records["train"]


def measure_all(options):
    """A row and a timing for each form."""
    if unknown := set(options.forms) - set(FORMS):
        raise ValueError(f"--forms must be among {sorted(FORMS)}. Received: {sorted(unknown)}")
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
    with tempfile.TemporaryDirectory() as folder:
        forms = {}
        for number, name in enumerate(names):
            kind, given = FORMS[name]
            path = export_form(predictor, Path(folder) / str(number), kind, given, calibration)
            forms[name] = Form(kind, path, loaded(kind, path))
        found = compare(forms, predictor, records)
        calls = {
            (name, count): partial(form.ask, inputs[count])
            for name, form in forms.items()
            for count in inputs
        }
        times = measure.interleaved(calls, options.repeats)
        timings = measure.summary({name: times[name, 1] for name in names}, names[0])
        fastest = forms[min(timings, key=lambda row: row["seconds"])["name"]]
        alone = partial(
            measure.in_fresh_process,
            *(milliseconds_alone, fastest.kind, fastest.path, inputs[1], options.repeats),
        )
        beside = [
            (alone(), clipseg_milliseconds(options)) for _ in range(PAIRS if options.clipseg else 0)
        ]
        peaks = {
            name: measure.in_fresh_process(peak_of, form.kind, form.path, inputs[1])
            for name, form in forms.items()
            if options.memory
        }
        sizes = {name: form.bytes for name, form in forms.items()}
    further = {
        name: statistics.median(
            1e3 * (many[0] - one[0]) / FURTHER
            for one, many in zip(times[name, 1], times[name, 1 + FURTHER])
        )
        for name in names
    }
    rows = [
        {
            "name": name,
            "bytes": sizes[name],
            "peak_bytes": peaks.get(name),
            "further_ms": further[name],
            **found[name],
        }
        for name in names
    ]
    return {
        "samples": len(records),
        "forms": rows,
        "timings": timings,
        "beside_clipseg_ms": beside,
    }


def clipseg_milliseconds(options):
    """Those of `clipseg.py`, in a process of its own environment."""
    command = [options.clipseg, str(Path(__file__).with_name("clipseg.py")), str(options.repeats)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def target_values(results):
    ratios = {row["name"]: row["ratio"] for row in results["timings"]}
    rows = {row["name"]: row for row in results["forms"]}
    values = {
        "ONNX, share of the TensorFlow graph's time": ratios.get("ONNX"),
        "ONNX int8, share of the TensorFlow graph's time": ratios.get("ONNX, int8"),
    }
    if results["beside_clipseg_ms"]:
        share = statistics.median(ours / other for ours, other in results["beside_clipseg_ms"])
        values["fastest form, share of CLIPSeg's time, each alone"] = share
    if results["settings"]["model"] != RANDOM:
        fastest = min(1e3 * row["seconds"] for row in results["timings"])
        values["a trained small model's fastest form, ms an image"] = fastest
    int8 = [row["overall_iou"] for name, row in rows.items() if "int8" in name]
    if int8 and results["settings"]["model"] != RANDOM:
        whole = results["forms"][0]["overall_iou"]
        values["int8, loss of overall IoU"] = whole - min(int8)
    return {name: value for name, value in values.items() if value is not None}


def show(results, console):
    title = f"{results['samples']} expressions"
    columns = ("MB", "peak MB", "ms an image", "of the first", "ms a sentence more")
    table = Table("", *columns, "overall IoU", "pixels that differ", title=title)
    for row, time in zip(results["forms"], results["timings"]):
        peak = f"{row['peak_bytes'] / 1e6:.0f}" if row["peak_bytes"] else ""
        cells = [f"{row['bytes'] / 1e6:.2f}", peak, f"{1e3 * time['seconds']:.1f}"]
        cells += [f"{time['ratio']:.2f}", f"{row['further_ms']:.1f}"]
        cells += [f"{row['overall_iou']:.4f}", f"{row['pixels_that_differ']:.2e}"]
        table.add_row(row["name"], *cells)
    console.print(table)
    if results["beside_clipseg_ms"]:
        pairs = ", ".join(
            f"{ours:.1f} and {other:.1f}" for ours, other in results["beside_clipseg_ms"]
        )
        console.print(
            "ms of the fastest form and of CLIPSeg (PyTorch, random weights, 352 pixels), each alone in "
            f"a process, in turn: {pairs}"
        )


BENCHMARK = cli.Benchmark("artefacts", Options, measure_all, show, TARGETS, target_values)

if __name__ == "__main__":
    BENCHMARK.main()
