"""`keras-cmsa info`: what is installed, and what a model is."""

import json as json_module
from importlib import metadata

from keras_cmsa.presets.model_card import STORED_AS
from keras_cmsa.utils.silence import import_keras

# Name of a distribution -> the extra of ours that brings it.
PARTS = {
    "tensorflow": "tensorflow",
    "jax": "jax",
    "torch": "torch",
    "pydensecrf2": "crf",
    "gradio": "demo",
    "huggingface-hub": "hub",
}

MEASURES = {"overall_iou": "overall IoU", "ciou": "cIoU", "n_acc": "N-acc", "t_acc": "T-acc"}


def info(model: str | None = None, *, json: bool = False):
    """Say which versions are installed, on what Keras computes, and what a model is.

    Parameters
    ----------
    model
        A trained model: the folder of a preset, a version, an ONNX or a LiteRT folder that export
        wrote, hf://user/name or kaggle://user/model/keras/variation.
    json
        Print as JSON.
    """
    facts = {name: metadata.version(name) for name in ("keras-cmsa", "keras")}
    facts |= {**installed(), **machine()}
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
            versions[name] = f'not installed: pip install "keras-cmsa[{extra}]"'
    return versions


def machine():
    keras = import_keras()
    devices = [str(device) for device in keras.distribution.list_devices()]
    return {"backend": keras.backend.backend(), "devices": ", ".join(devices) or "unknown"}


def describe(source):
    from keras_cmsa.inference.predictor import Predictor

    predictor = Predictor.from_preset(source)
    config, preprocessor = predictor.config, predictor.preprocessor
    facts = {
        "model": config["system"],
        "trained on": config["data"]["name"],
        "started from": config["starting_weights"],
        "image size": preprocessor.image_size,
        "resizing": preprocessor.resizing,
        "words per expression": preprocessor.max_words,
        "vocabulary": len(preprocessor.vocabulary),
        "parameters": config.get("parameters") or predictor.model.count_params(),
        "precision": precision(config),
        "attention": ", ".join(predictor.levels) or "none",
    }
    if "existence" in config:
        facts["threshold of exists"] = round(predictor.threshold, 4)
    metrics = config["metrics"]
    for split, numbers in metrics.get("splits", {}).items():
        for measure, name in MEASURES.items():
            if measure in numbers:
                facts[f"{name} on {split}"] = round(numbers[measure], 4)
    if metrics:
        facts["profile"] = metrics["profile"]
    return facts


def precision(config):
    """What the weights are stored as, and what is computed in."""
    stored = config.get("export", {}).get(STORED_AS, "float32")
    computed = config["training"].get("mixed_precision")
    return f"{stored}, computed in {computed}" if computed else stored
