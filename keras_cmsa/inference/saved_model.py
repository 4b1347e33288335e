"""Exported versions as Keras models, for the predictor."""

import contextlib
from pathlib import Path

import keras

from keras_cmsa.utils.extras import require
from keras_cmsa.utils.silence import silenced

GRAPH = "saved_model.pb"


def is_saved_model(folder):
    """Whether a folder is a version of a SavedModel."""
    return (Path(folder) / GRAPH).is_file()


def load_saved_model(path, config):
    """A version that `export_saved_model` wrote, as a Keras model.

    A SavedModel is a program: TensorFlow runs its graph. Load only those you trust.

    Args:
        path: of a version's folder.
        config: its `config.json`, a dict.

    Returns:
        `keras.Model` from `image` and `words` to a dict with `logits` and the attention maps, for
        inference alone.

    Raises:
        ModuleNotFoundError: if its words are pieces and tensorflow-text is missing.
        ValueError: if it is no SavedModel of this package, or Keras runs on another backend.
    """
    path = Path(path)
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"{path} is a SavedModel, which needs KERAS_BACKEND=tensorflow")
    settings = config["preprocessor"]
    loaded = load_graph(path, config)
    with _loading(path):
        tensors = loaded.signatures["tensors"]
        size, max_words = settings["image_size"], settings["max_words"]
        inputs = {
            "image": keras.Input((size, size, 3), name="image"),
            "words": keras.Input((None, max_words), dtype="int32", name="words"),
        }
        return keras.Model(inputs, Signature(tensors, loaded)(inputs), name=config["system"])


def load_graph(path, config):
    """A version as TensorFlow loads it, whatever backend Keras has: its `signatures` need no Keras.

    Args, raises: as in `load_saved_model`.
    """
    import tensorflow as tf

    if config["preprocessor"].get("tokenizer") == "wordpiece":
        # Registers its operations.
        require("tensorflow_text", "wordpiece", "A SavedModel of word pieces")
    with _loading(path), silenced():
        return tf.saved_model.load(str(path))


@contextlib.contextmanager
def _loading(path):
    """Makes a `ValueError` that names the folder of any error of TensorFlow."""
    try:
        yield
    # TensorFlow's errors of a damaged file have no common base below Exception.
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{path} cannot be loaded: it is damaged, or a SavedModel of another package "
            f"({type(error).__name__}: {reason[:200]})"
        ) from error


class Signature(keras.layers.Layer):
    """A signature of a loaded SavedModel as a layer whose output is a dict."""

    def __init__(self, signature, owner, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.signature = signature
        self.owner = owner  # keeps its weights alive

    def call(self, inputs):
        return self.signature(**inputs)

    def compute_output_spec(self, inputs):
        return {
            name: keras.KerasTensor((None, None, *spec.shape[2:]), "float32")
            for name, spec in self.signature.structured_outputs.items()
        }
