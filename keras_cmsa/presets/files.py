"""The files beside the network of a preset or an export; reading them needs no Keras."""

import hashlib
import json
from pathlib import Path

from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.vocabulary_files import load_vocabulary
from keras_cmsa.presets.config_types import check_config
from keras_cmsa.presets.hub import PHOTOS, fetch, is_hub_address

CONFIG, MODEL, VOCABULARY, CARD = "config.json", "model.keras", "vocabulary.txt", "README.md"
FORMAT = 1
UNKNOWN = "unknown"
LICENCE = (
    "The code is under Apache-2.0. Weights may be bound by the licences of the images and "
    "expressions they were trained on and of the weights they started from."
)
# Of exports: what a predictor runs; from pixels to masks, where that is another file; weights beside it.
GRAPH, ONNX, LITERT = "saved_model.pb", "network.onnx", "model.tflite"
ONNX_PHOTO, ONNX_WEIGHTS = "model.onnx", "weights.bin"
# The file that says which weights a network has, where it is another; TensorFlow writes the first.
WEIGHTS = {GRAPH: "fingerprint.pb", ONNX: ONNX_WEIGHTS}


def is_saved_model(folder):
    """Whether a folder is a version of a SavedModel."""
    return (Path(folder) / GRAPH).is_file()


def network_file(folder):
    """The `Path` of the network in a preset or an export that a predictor runs.

    Raises:
        FileNotFoundError: if there is none.
    """
    for name in (MODEL, GRAPH, ONNX, LITERT):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"{folder} has no network that a predictor runs: wanted {MODEL}, {GRAPH}, {ONNX} or {LITERT}"
    )


def digest_of(model):
    """The checksum of a model.

    Args:
        model: `Path` of the folder of a preset or an export.

    Returns:
        `(path, sha256)` of the file with its weights.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = network_file(model)
    if (weights := path.with_name(WEIGHTS.get(path.name, path.name))).is_file():
        path = weights
    with open(path, "rb") as file:
        return path, hashlib.file_digest(file, "sha256").hexdigest()


def name_of(model):
    """What other tools call a model, such as `"cmsa-1f3a9c0d"`: other weights have another name.

    Args, raises: as `digest_of`.
    """
    return f"cmsa-{digest_of(model)[1][:8]}"


def load_preprocessor(source):
    """Loads the preprocessor of a trained model alone, for a network that runs outside of Keras.

    Args:
        source: as in `load_preset`, or the folder of any export.

    Returns:
        `Preprocessor`.

    Raises:
        FileNotFoundError, ModuleNotFoundError, OSError, ValueError: as `load_preset`.
    """
    return read_preprocessor(*opened(source))


def opened(source):
    """The `Path` of a preset's folder on this machine, and its `config.json`.

    A preset on a hub is downloaded once. `PHOTOS` is that of the package, unless a folder here has
    this name.

    Raises:
        FileNotFoundError, ModuleNotFoundError, OSError, ValueError: as `load_preset`.
    """
    folder = fetch(source) if is_hub_address(source) else Path(source)
    if str(source) == PHOTOS and not folder.exists():
        folder = Path(__file__).with_name(PHOTOS)
    return folder, read_config(folder)


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
            f"and {VOCABULARY}, as training leaves it, or what keras-cmsa export wrote"
        )
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not whole JSON: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ValueError(f"{path} is not the {CONFIG} of a preset in format {FORMAT}")
    check_config(config, path)
    return {"starting_weights": UNKNOWN, "training": {}, "licence": LICENCE, **config}


def threshold_in(config):
    """The least `exists` that means a target, by the `config.json` of a model."""
    return config.get("existence", {}).get("threshold", 0.5)


def fits(existence, threshold):
    """Whether something in the image fits: numbers, arrays or tensors of `exists` to bool."""
    return existence >= threshold


def read_preprocessor(folder, config):
    """The `Preprocessor` of a preset or an export, whose `config.json` has been read.

    Raises:
        FileNotFoundError: if the vocabulary is not there.
        ValueError: if it is not the vocabulary of the configuration.
    """
    words = folder / "assets" / VOCABULARY if is_saved_model(folder) else folder / VOCABULARY
    if not words.is_file():
        raise FileNotFoundError(f"{words} is missing: a model needs the vocabulary of its training")
    settings = config["preprocessor"]
    vocabulary = load_vocabulary(words, settings["max_words"])
    preprocessor = Preprocessor(vocabulary, settings["image_size"], settings["resizing"])
    if preprocessor.get_config()["vocabulary_sha256"] != settings["vocabulary_sha256"]:
        raise ValueError(
            f"{words} is not the vocabulary that the model was trained with: it has "
            f"{len(vocabulary)} entries, {CONFIG} is of "
            f"{settings.get('vocabulary_size')} with another checksum. Fetch all files anew"
        )
    return preprocessor
