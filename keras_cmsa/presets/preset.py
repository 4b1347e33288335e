"""A trained model as a folder, as users of KerasHub know it.

    <preset>/config.json        the model's facts and training; the preprocessor but for its words
             model.keras        the network
             vocabulary.txt     the words, tied to config.json by a checksum
             README.md          the model card
             reference.npz      what the network answers about a picture

A run folder is a preset with the records of its training beside it.
"""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import keras

from keras_cmsa._version import __version__
from keras_cmsa.models.inputs_and_outputs import check_preprocessor
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.presets.exported import load_export
from keras_cmsa.presets.files import (
    CARD,
    CONFIG,
    FORMAT,
    LICENCE,
    MODEL,
    UNKNOWN,
    VOCABULARY,
    network_file,
    opened,
    read_preprocessor,
)
from keras_cmsa.presets.model_card import as_markdown
from keras_cmsa.presets.reference import write_reference
from keras_cmsa.presets.safe_loading import load_keras
from keras_cmsa.utils.files import new_file, replaced


class Preset(NamedTuple):
    """A trained model with all that belongs to it.

    A `Predictor` has the same attributes and can stand in its place.

    Attributes:
        model: functional `keras.Model` from `image` and `words` to logits; of an export, to a dict
            of them and the attention.
        preprocessor: `Preprocessor`.
        config: the content of `config.json`, a dict; see `make_config`.
    """

    model: keras.Model
    preprocessor: Preprocessor
    config: Mapping[str, Any] = MappingProxyType({})


def load_preset(source):
    """Loads a trained model, whose files cannot run code of their author.

    An exported SavedModel is the exception: its graph is a program, so load only those you trust.

    Args:
        source: the folder of a preset; or one that an export wrote; or `"hf://user/name"` or
            `"kaggle://user/model/keras/variation"`, which are downloaded once
            (`pip install "keras-cmsa[hub]"`).

    Returns:
        `Preset`.

    Raises:
        FileNotFoundError: if the folder or a file of it is not there.
        ModuleNotFoundError: if the source needs a library that is missing.
        OSError: if a hub cannot be reached or has no such preset.
        ValueError: if a file is damaged, refused, or does not fit the others.
    """
    folder, config = opened(source)
    preprocessor = read_preprocessor(folder, config)
    file = network_file(folder)
    model = load_keras(file) if file.name == MODEL else load_export(file, config)
    check_preprocessor(model, preprocessor)
    return Preset(model, preprocessor, config)


def save_preset(folder, preset):
    """Writes a model as a preset, over the files of an older one, each whole.

    Args:
        folder: made if it is not there.
        preset: `Preset` or `Predictor`; its `config` may be empty.

    Raises:
        ValueError: if the preprocessor does not fit the model.
    """
    model, preprocessor = preset.model, preset.preprocessor
    check_preprocessor(model, preprocessor)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    preprocessor.vocabulary.save(folder / VOCABULARY)
    save_model(model, folder / MODEL)
    # Drop the facts of an export: they do not hold for a preset.
    facts = {name: value for name, value in preset.config.items() if name != "export"}
    write_config(folder, make_config(model.name, preprocessor, **facts))
    write_reference(folder, preset)


def save_model(model, path):
    """Writes a `.keras` file without the optimizer, whole or not at all.

    An optimizer has up to twice the size of the weights.
    """
    optimizer, compiled = getattr(model, "optimizer", None), model.compiled
    model.optimizer, model.compiled = None, False
    try:
        with new_file(path) as partial:
            model.save(partial)
    finally:
        model.optimizer, model.compiled = optimizer, compiled


def make_config(system, preprocessor, /, **facts):
    """The content of `config.json`.

    Args:
        system: name of the model, a key of `SYSTEMS` for those of this package.
        preprocessor: `Preprocessor`.
        **facts: `data` (`{"name": str, "counts": {split: {...}}}`), `starting_weights` (words),
            `training` (every setting), `metrics` (of `keras_cmsa.evaluation.scores.metrics_of`) and
            `licence` (notes). Others are kept as they are, but for the format, the system, the
            preprocessor and the versions: these always come from the model itself.

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
    model_facts = {
        "format": FORMAT,
        "system": system,
        "preprocessor": preprocessor.get_config(),
        "versions": versions(),
    }
    return {**defaults, **facts, **model_facts}


def versions():
    """The versions of this package, Keras and its backend."""
    backend = keras.backend.backend()
    # From the module: its distribution may have another name, such as tensorflow-cpu.
    backend_version = importlib.import_module(backend).__version__
    return {"keras-cmsa": __version__, "keras": keras.__version__, backend: backend_version}


def write_config(folder, config):
    """Writes `config.json` and the model card, which is for people."""
    with replaced(Path(folder) / CONFIG) as file:
        json.dump(config, file, indent=1, default=str)
        file.write("\n")
    with replaced(Path(folder) / CARD) as file:
        file.write(as_markdown(config))
