"""A trained model as a folder, as users of KerasHub know it.

    <preset>/config.json        what it is and how it was made; the preprocessor but for its words
             model.keras        the network
             vocabulary.txt     the words, tied to config.json by a checksum
             README.md          the model card

A run folder is a preset with the records of its training beside it.
"""

import importlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_cmsa._version import __version__
from keras_cmsa.inference.exported import is_saved_model, load_onnx, load_saved_model
from keras_cmsa.inference.hub import fetch, is_hub_address
from keras_cmsa.inference.model_card import EXPORTED_AS, as_markdown
from keras_cmsa.inference.safe_loading import load_model
from keras_cmsa.models.inputs_and_outputs import check_preprocessor
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.text import Vocabulary
from keras_cmsa.utils.files import replaced

CONFIG, MODEL, VOCABULARY, CARD = "config.json", "model.keras", "vocabulary.txt", "README.md"
FORMAT = 1
UNKNOWN = "unknown"
LICENCE = (
    "The code is under Apache-2.0. Weights may be bound by the licences of the images and "
    "expressions they were trained on and of the weights they started from."
)


class Preset(NamedTuple):
    """A trained model.

    Attributes:
        model: functional `keras.Model` from `image` and `words` to logits.
        preprocessor: `Preprocessor`.
        config: the content of `config.json`, a dict; see `make_config`.
    """

    model: keras.Model
    preprocessor: Preprocessor
    config: dict[str, Any]


def load_preset(source):
    """Loads a trained model, whose files cannot run code of their author.

    An exported SavedModel is the exception: its graph is a program, so load only those you trust.

    Args:
        source: the folder of a preset; or what `export_saved_model` or `export_onnx` wrote;
            or `"hf://user/name"` or `"kaggle://user/model/keras/variation"`, which are downloaded
            once (`pip install "keras-cmsa[hub]"`).

    Returns:
        `Preset`.

    Raises:
        FileNotFoundError: if the folder or a file of it is not there.
        ModuleNotFoundError: if the source needs a library that is missing.
        OSError: if a hub cannot be reached or has no such preset.
        ValueError: if a file is damaged, refused, or does not fit the others.
    """
    folder = folder_of(source)
    config = read_config(folder)
    preprocessor = read_preprocessor(folder, config)
    form = config.get("export", {}).get(EXPORTED_AS)
    if form == "LiteRT":
        raise ValueError(
            f"{folder} is an export to LiteRT: its {CARD} shows how to run it. Wanted a preset, or an "
            "export to SavedModel or ONNX"
        )
    if is_saved_model(folder):
        model = load_saved_model(folder, config)
    elif form == "ONNX":
        model = load_onnx(folder, config)
    else:
        model = load_model(folder / MODEL)
    check_preprocessor(model, preprocessor)
    return Preset(model, preprocessor, config)


def load_preprocessor(source):
    """Loads the preprocessor of a trained model alone, for a network that runs outside of Keras.

    Args:
        source: as in `load_preset`, or the folder of any export.

    Returns:
        `Preprocessor`.

    Raises:
        FileNotFoundError, ModuleNotFoundError, OSError, ValueError: as `load_preset`.
    """
    folder = folder_of(source)
    return read_preprocessor(folder, read_config(folder))


def folder_of(source):
    """The `Path` of a preset's folder on this machine; a preset on a hub is downloaded once.

    Raises:
        FileNotFoundError, ModuleNotFoundError, OSError, ValueError: as `load_preset`.
    """
    folder = fetch(source) if is_hub_address(source) else Path(source)
    read_config(folder)
    return folder


def save_preset(folder, model, preprocessor, config=None):
    """Writes a model as a preset; files of one that is there are replaced, each whole.

    Args:
        folder: made if it is not there.
        model: functional, from `image` and `words` to logits.
        preprocessor: its `Preprocessor`.
        config: dict of what is known of it, as `make_config` gives it; `None`: nothing.

    Raises:
        ValueError: if the preprocessor does not fit the model.
    """
    check_preprocessor(model, preprocessor)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    preprocessor.vocabulary.save(folder / VOCABULARY)
    save_model(model, folder / MODEL)
    write_config(folder, make_config(model.name, preprocessor, **(config or {})))


def save_model(model, path):
    """Writes a `.keras` file, whole or not at all."""
    # Keras wants the ending, so the file beside it cannot be that of `replaced`.
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        model.save(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def make_config(system, preprocessor, /, **known):
    """What `config.json` holds.

    Args:
        system: name of the model, a key of `SYSTEMS` for those of this package.
        preprocessor: `Preprocessor`.
        **known: `data` (`{"name": str, "counts": {split: {...}}}`), `starting_weights` (words),
            `training` (every setting), `metrics` (of `keras_cmsa.evaluation.scores.metrics_of`) and
            `licence` (notes). Others are kept as they are; what another `config.json` says of the
            model itself is not taken over.

    Returns:
        Dict.
    """
    defaults = {
        "data": {"name": UNKNOWN, "counts": {}},
        "starting_weights": UNKNOWN,
        "training": {},
        "metrics": {},
        "licence": LICENCE,
    }
    # What is said of the model itself always comes from the model itself.
    itself = {
        "format": FORMAT,
        "system": system,
        "preprocessor": preprocessor.get_config(),
        "versions": versions(),
    }
    return {**defaults, **known, **itself}


def versions():
    """The versions that a model is made with."""
    backend = keras.backend.backend()
    # The module says it, since its distribution may have another name, such as tensorflow-cpu.
    backend_version = importlib.import_module(backend).__version__
    return {"keras-cmsa": __version__, "keras": keras.__version__, backend: backend_version}


def write_config(folder, config):
    """Writes `config.json` and the model card that says the same to people."""
    with replaced(Path(folder) / CONFIG) as file:
        json.dump(config, file, indent=1, default=str)
        file.write("\n")
    with replaced(Path(folder) / CARD) as file:
        file.write(as_markdown(config))


def read_config(folder):
    """The `config.json` of a preset or of an exported version.

    Raises:
        FileNotFoundError: if the folder or the file is not there.
        ValueError: if it is not such a file.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is no preset: {CONFIG} is not there. Wanted a folder with {CONFIG}, {MODEL} "
            f"and {VOCABULARY}, as training leaves it, or a version that keras-cmsa export wrote"
        )
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not whole JSON: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ValueError(f"{path} is not the {CONFIG} of a preset in format {FORMAT}")
    for key, kind in (("system", str), ("preprocessor", dict), ("metrics", dict), ("data", dict)):
        if not isinstance(config.get(key), kind):
            raise ValueError(f"{path}: wanted {key!r} of type {kind.__name__}")
    if not isinstance(config.get("export", {}), dict):
        raise ValueError(f"{path}: wanted 'export' of type dict")
    if not isinstance(config["data"].get("name"), str):
        raise ValueError(f"{path}: wanted the 'name' of the data")
    check_metrics(config["metrics"], path)
    return {"starting_weights": UNKNOWN, "training": {}, "licence": LICENCE, **config}


def check_metrics(metrics, path):
    """Raises a `ValueError` unless these are the numbers of an evaluation, or none."""
    splits = metrics.get("splits")
    is_table = isinstance(splits, dict) and all(isinstance(x, dict) for x in splits.values())
    if metrics and not (is_table and splits and isinstance(metrics.get("profile"), str)):
        raise ValueError(
            f"{path}: wanted metrics with a profile and the numbers of each split. Received: "
            f"{sorted(metrics)}"
        )


def read_preprocessor(folder, config):
    """The `Preprocessor` of a preset or an export, whose `config.json` has been read.

    Raises:
        FileNotFoundError: if the vocabulary is not there.
        ValueError: if it is another than the configuration was written with.
    """
    words = folder / "assets" / VOCABULARY if is_saved_model(folder) else folder / VOCABULARY
    if not words.is_file():
        raise FileNotFoundError(f"{words} is missing: a model needs the vocabulary of its training")
    settings = config["preprocessor"]
    try:
        max_words, image_size = int(settings["max_words"]), int(settings["image_size"])
        resizing, checksum = settings["resizing"], settings["vocabulary_sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"The preprocessor in {CONFIG} beside {words} is incomplete: {error}"
        ) from error
    preprocessor = Preprocessor(Vocabulary.load(words, max_words), image_size, resizing)
    if preprocessor.get_config()["vocabulary_sha256"] != checksum:
        raise ValueError(
            f"{words} is not the vocabulary that the model was trained with: it has "
            f"{len(preprocessor.vocabulary)} entries, {CONFIG} is of "
            f"{settings.get('vocabulary_size')} with another checksum. Fetch all files anew"
        )
    return preprocessor
