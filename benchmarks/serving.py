"""What an exported model costs: alone, in batches, and under the load of many clients.

    python benchmarks/serving.py                                   the paper's sizes, random weights
    python benchmarks/serving.py --model runs/demo --seconds 60    a trained model, with load

Exports the model, times the SavedModel at batch 1 against the Keras model's `predict_on_batch` and
the bare backbone's, in turn in one process; then asks a server over gRPC: batches of 1, 4
and 8, and `--clients` at once for `--seconds`. The server is that of the tests
(tests/serving_server.py), which has TensorFlow Serving's interfaces and not its speed, or the one at
`--url`. benchmarks/README.md says how it is measured.
"""

import contextlib
import io
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cli
import keras
import measure
import numpy as np
import tensorflow as tf
from PIL import Image
from predictor import draw_sentences, random_predictor

from keras_cmsa.export.saved_model import export_saved_model
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.serving.client import Client

SERVER = Path(__file__).parents[1] / "tests/serving_server.py"


@cli.options
class Options:
    """What is measured; without `--model` of random weights."""

    model: cli.Model = None
    repeats: cli.Repeats = 5
    image_size: cli.ImageSize = 320
    small: cli.Small = False
    url: str | None = None
    """Address of a server that has the model as cmsa, in place of the tests' own."""
    batches: tuple[int, ...] = (1, 4, 8)
    """Batch sizes to compare."""
    clients: int = 16
    """Number of concurrent clients under load."""
    seconds: float = 0
    """Seconds of load; 0 leaves it out."""


def photo(seed=0, size=(480, 640)):
    """A JPEG of smooth noise, about as large as a photo of COCO."""
    small = np.random.default_rng(seed).integers(0, 256, (30, 40, 3)).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


def compare_latency(predictor, folder, sentence, repeats):
    """Batch 1: the SavedModel from file to mask and from tensors, the Keras model, its backbone."""
    model = predictor.model
    file = photo()
    image = predictor.preprocessor.image(read_image(file))[None]
    inputs = {"image": image, "words": predictor.preprocessor.vocabulary.encode([sentence])[None]}
    loaded = tf.saved_model.load(str(folder))
    asked = {"image_bytes": tf.constant([file]), "expression": tf.constant([sentence])}
    tensors = {name: tf.constant(x) for name, x in inputs.items()}
    (backbone,) = (layer for layer in model.layers if isinstance(layer, keras.Model))
    calls = {
        "predict_on_batch, backbone": partial(backbone.predict_on_batch, image),
        "predict_on_batch, model": partial(model.predict_on_batch, inputs),
        "SavedModel, tensors": partial(loaded.signatures["tensors"], **tensors),
        "SavedModel, file to mask": lambda: loaded.signatures["serving_default"](**asked)["score"],
    }
    return measure.compare(calls, repeats, "predict_on_batch, model")


@contextlib.contextmanager
def served(folder):
    """URL of a server in a process of its own."""
    command = [sys.executable, SERVER, folder, "cmsa"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            _, port = process.stdout.readline().split()
            yield f"grpc://127.0.0.1:{port}"
        finally:
            process.terminate()


def compare_batches(url, sizes, sentences, repeats):
    """Timings of one request of each batch size; their medians per image."""
    with Client(url, timeout=600) as client:
        calls = {
            f"batch {size}": partial(ask, client, size, (sentences * size)[:size]) for size in sizes
        }
        rows = measure.compare(calls, repeats)
    return [
        row | {"images_per_second": size / row["seconds"]}
        for row, size in zip(rows, sizes, strict=True)
    ]


def ask(client, size, sentences):
    answers = client.segment([photo(number) for number in range(size)], sentences)
    if not all(answer.valid for answer in answers):
        raise RuntimeError("the server found a row of the batch invalid")


def load(url, clients, seconds, sentences):
    """What clients that ask one request after another saw."""
    latencies, errors = [], []
    begin = time.monotonic()

    def work(number):
        with Client(url, timeout=600) as client:
            file, sentence = photo(number), sentences[number % len(sentences)]
            while time.monotonic() < begin + seconds:
                start = time.monotonic()
                try:
                    valid = client.segment(file, sentence).valid
                except Exception as error:  # whatever it is, it is counted and shown
                    errors.append(repr(error))
                else:
                    latencies.append(time.monotonic() - start)
                    if not valid:
                        errors.append("valid is false")

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, range(clients)))
    elapsed = time.monotonic() - begin
    p50, p95, p99 = np.percentile(latencies, (50, 95, 99)) if latencies else (np.nan,) * 3
    return {
        "clients": clients,
        "seconds": elapsed,
        "answers": len(latencies),
        "errors": len(errors),
        "first_errors": errors[:5],
        "p50_seconds": float(p50),
        "p95_seconds": float(p95),
        "p99_seconds": float(p99),
        "images_per_second": len(latencies) / elapsed,
    }


def measure_all(options):
    """Exports a model, times it, asks a server for masks."""
    model = options.model
    predictor = Predictor.from_preset(model) if model else random_predictor(options)
    preprocessor = predictor.preprocessor
    sentences = draw_sentences(preprocessor.vocabulary, 16, min(6, preprocessor.max_words))
    results = {
        "system": predictor.model.name,
        "image_size": preprocessor.image_size,
        "parameters": predictor.model.count_params(),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = export_saved_model(predictor, Path(folder) / "cmsa")
        results["latency"] = compare_latency(predictor, path, sentences[0], options.repeats)
        address = options.url
        with contextlib.nullcontext(address) if address else served(path) as url:
            results["batches"] = compare_batches(url, options.batches, sentences, options.repeats)
            if options.seconds:
                results["load"] = load(url, options.clients, options.seconds, sentences)
    return results


if __name__ == "__main__":
    cli.main(Options, measure_all)
