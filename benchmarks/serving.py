"""An exported model on a server: latency and images per second, and what batches gain.

Starts the server of the tests (tests/serving_server.py), which has TensorFlow Serving's interfaces
and not its speed, or takes `--url` of a real one. Prints JSON.

    python benchmarks/serving.py saved_models/cmsa/1 --clients 16 --seconds 60
    python benchmarks/serving.py saved_models/cmsa/1 --batches --latency runs/unc
"""

import argparse
import contextlib
import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

from keras_cmsa.client import Client

ROOT = Path(__file__).parents[1]


def photo(seed=0, size=(480, 640)):
    """A JPEG of smooth noise, about as large as a photo of COCO."""
    small = np.random.default_rng(seed).integers(0, 256, (30, 40, 3)).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


@contextlib.contextmanager
def served(folder):
    """URLs of both protocols of a server of its own process."""
    command = [sys.executable, ROOT / "tests/serving_server.py", folder, "cmsa"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        rest, grpc = process.stdout.readline().split()
        yield {"http": f"http://127.0.0.1:{rest}", "grpc": f"grpc://127.0.0.1:{grpc}"}
    finally:
        process.terminate()
        process.wait()


def load(url, clients, seconds, expression):
    """What `clients` that ask one after another for `seconds` saw."""
    times, errors = [], []
    end = time.monotonic() + seconds

    def ask(number):
        with Client(url, timeout=600) as client:
            file = photo(number)
            while time.monotonic() < end:
                start = time.monotonic()
                try:
                    assert client.segment(file, expression).valid
                except Exception as error:
                    errors.append(repr(error))
                else:
                    times.append(time.monotonic() - start)

    start = time.monotonic()
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - start
    p50, p95, p99 = np.percentile(times, (50, 95, 99)).round(4)
    return {
        "clients": clients,
        "seconds": round(elapsed, 1),
        "requests": len(times),
        "errors": errors,
        "p50_s": p50,
        "p95_s": p95,
        "p99_s": p99,
        "images_per_s": round(len(times) / elapsed, 2),
    }


def batching(url, sizes, repeats, expression):
    """Median seconds per image by batch size, after one call that is not counted."""
    with Client(url, timeout=600) as client:
        found = {}
        for size in sizes:
            files = [photo(number) for number in range(size)]
            found[size] = median(lambda: client.segment(files, [expression] * size), repeats) / size  # noqa: B023
    return {f"batch {size}": round(seconds, 4) for size, seconds in found.items()}


def latency(folder, run, repeats, expression):
    """Median seconds at batch 1: the SavedModel from file to mask, and the Keras model's tensors."""
    import keras
    import tensorflow as tf

    from keras_cmsa import resize_and_pad
    from keras_cmsa.predictor import Predictor

    predictor = Predictor.load(run)
    model = predictor.model
    file = photo()
    image = resize_and_pad(np.asarray(Image.open(io.BytesIO(file))), predictor.image_size)[None]
    inputs = {"image": image, "words": predictor.vocabulary.encode([expression])}
    loaded = tf.saved_model.load(str(folder))
    serve, tensors = (loaded.signatures[name] for name in ("serving_default", "tensors"))
    asked = {"image_bytes": tf.constant([file]), "expression": tf.constant([expression])}
    as_tensors = {name: tf.constant(x) for name, x in inputs.items()}
    backbones = [x for x in model.layers if isinstance(x, keras.Model)]
    calls = {
        "serving_default, file to mask": lambda: serve(**asked)["score"].numpy(),
        "tensors, of the SavedModel": lambda: tensors(**as_tensors)["logits"].numpy(),
        "predict_on_batch of the Keras model": lambda: model.predict_on_batch(inputs),
    }
    if backbones:
        calls["predict_on_batch of its backbone"] = lambda: backbones[0].predict_on_batch(image)
    return {name: round(median(call, repeats), 4) for name, call in calls.items()}


def median(call, repeats):
    call()
    times = []
    for _ in range(repeats):
        start = time.monotonic()
        call()
        times.append(time.monotonic() - start)
    return float(np.median(times))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="of the version")
    parser.add_argument("--url", help="of a server that runs already")
    parser.add_argument("--protocol", choices=("http", "grpc"), default="grpc")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=0, help="of load; 0: none")
    parser.add_argument("--batches", action="store_true", help="batches of 1, 4 and 8")
    parser.add_argument("--latency", type=Path, metavar="RUN", help="against its Keras model")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--expression", default="the red circle on the left")
    options = parser.parse_args()
    found = {}
    if options.latency:
        found["latency_s"] = latency(
            options.folder, options.latency, options.repeats, options.expression
        )
    if options.seconds or options.batches:
        given = contextlib.nullcontext({options.protocol: options.url})
        with given if options.url else served(options.folder) as urls:
            url = urls[options.protocol]
            if options.batches:
                found["s_per_image"] = batching(url, (1, 4, 8), options.repeats, options.expression)
            if options.seconds:
                found["load"] = load(url, options.clients, options.seconds, options.expression)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
