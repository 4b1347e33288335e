"""`keras-cmsa info`: what is installed, and what a model is."""

import json as json_module
from importlib import metadata
from pathlib import Path

from keras_cmsa.commands.backend import import_keras

# Name of a distribution -> the extra of ours that brings it; "" for what is always there.
PARTS = {
    "keras": "",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "torch": "",
    "pydensecrf2": "crf",
    "gradio": "demo",
}


def info(model: Path | None = None, *, json: bool = False):
    """Say which versions are installed, on what Keras computes, and what a model is.

    Parameters
    ----------
    model
        A .keras file with its vocabulary.txt beside it, or the folder of both.
    json
        Print as JSON.
    """
    facts = {"keras-cmsa": metadata.version("keras-cmsa"), **installed(), **machine()}
    if model:
        facts |= describe(model)
    if json:
        print(json_module.dumps(facts))
        return
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:{width}}  {fact}")


def installed():
    versions = {}
    for name, extra in PARTS.items():
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            hint = f'pip install "keras-cmsa[{extra}]"' if extra else ""
            versions[name] = f"not installed{f': {hint}' if hint else ''}"
    return versions


def machine():
    keras = import_keras()
    devices = [str(device) for device in keras.distribution.list_devices()]
    return {"backend": keras.backend.backend(), "devices": ", ".join(devices) or "unknown"}


def describe(path):
    from keras_cmsa.predictor import Predictor

    predictor = Predictor.load(path)
    model = predictor.model
    facts = {
        "model": model.name,
        "image size": predictor.image_size,
        "words per expression": predictor.vocabulary.max_words,
        "vocabulary": len(predictor.vocabulary),
        "parameters": model.count_params(),
        "precision": str(model.get_layer(model.layers[-1].name).dtype_policy.name),
        "attention": ", ".join(predictor.levels) or "none",
    }
    metrics = (path if path.is_dir() else path.parent) / "metrics.json"
    if metrics.exists():
        results = json_module.loads(metrics.read_text(encoding="utf-8"))
        for split, numbers in results["splits"].items():
            facts[f"overall IoU on {split}"] = round(numbers["overall_iou"], 4)
        facts["profile"] = results["profile"]
        facts["started from"] = results["weights"]
    return facts
