"""A trained model as a SavedModel: sentence and image file in, mask out, for TensorFlow Serving."""

import hashlib
import importlib
import json
import os
import shutil
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

from keras_cmsa.cmsa import telling_all
from keras_cmsa.encode_once import check_inputs
from keras_cmsa.evaluation import check_vocabulary
from keras_cmsa.folding import fold_batch_norms
from keras_cmsa.image import FITS, MAX_PIXELS
from keras_cmsa.model_card import as_markdown
from keras_cmsa.predictor import TEXT
from keras_cmsa.quiet import quiet
from keras_cmsa.text import UNKNOWN, WordPieces
from keras_cmsa.training import WORDS
from keras_cmsa.warmup import check_warmup, write_warmup

CARD = "model_card.json"
DTYPES = ("float32", "float16", "bfloat16")


def export_saved_model(
    model,
    vocabulary,
    folder,
    version=1,
    fit="pad",
    dtype="float32",
    fold_norms=False,
    max_pixels=MAX_PIXELS,
    card=None,
    warmup=True,
):
    """Writes `<folder>/<version>/`, whole or not at all.

    Its signatures, all with the batch in front:

    `serving_default`: `image_bytes` `(B,)` string (JPEG, PNG, BMP or a GIF's first frame) and
    `expression` `(B,)` string to

    - `probabilities` `(B, S, S)` float32 of each pixel of the fitted image, padding included
    - `mask_png_bytes` `(B,)` string, the mask at the size of the upright image
    - `score` `(B,)` and `box` `(B, 4)` float32, as shares of width and height: left, top, ...
    - `words` `(B, N)` string, the words as the model saw them, empty at padding
    - `word_attention` `(B, L, N)` float32, where the model has it
    - `valid` `(B,)` bool. An image that cannot be read, an expression without a word or of more
      than `5 N` makes it False for that row alone: score and probabilities are then 0, the mask is
      empty and `(S, S)` in size if that of the image is unknown

    `tensors`: `image` `(B, S, S, 3)` float32 and `words` `(B, N)` int32, as the model takes them,
    to `logits` `(B, S, S, 1)` and what it attended to.

    `heatmap`, where the model has it: the inputs of `serving_default` to `position_attention`
    `(B, L, S / 8, S / 8)` float32 and `valid`.

    Args:
        model: functional, from `image` and `words` to logits, as `build_cmsa` makes.
        vocabulary: the `Vocabulary` it was trained with. With `WordPieces` the SavedModel has an
            operation of tensorflow-text, which TensorFlow Serving links.
        folder: of all versions of the model; its name is the model's name for a server.
        version: positive integer.
        fit: how images were brought to the network's size in training.
        dtype: of the weights as they are stored, one of `DTYPES`; computed is in float32.
        fold_norms: fold batch normalisations into convolutions, see `fold_batch_norms`.
        max_pixels: images that declare more are not decoded.
        card: dict of what is known of the model, for its card: `data`, `weights`, `metrics`,
            `licence`.
        warmup: also write requests that a server replays before it says that it is ready. Needs
            `pip install "keras-cmsa[serve]"`.

    Returns:
        `Path` of the version.

    Raises:
        FileExistsError: if the version is there already.
        ModuleNotFoundError: if requests to warm up with need a library that is missing.
        ValueError: if the vocabulary does not fit the model, or Keras runs on another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "A SavedModel is written by TensorFlow: set KERAS_BACKEND=tensorflow, which loads "
            f"models that other backends trained. Received: {keras.backend.backend()!r}"
        )
    check_exportable(model, vocabulary)
    if fit not in FITS:
        raise ValueError(f"fit must be one of {sorted(FITS)}. Received: fit={fit!r}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}. Received: dtype={dtype!r}")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"version must be a positive integer. Received: version={version!r}")
    path = Path(folder) / str(version)
    if path.exists():
        raise FileExistsError(f"{path} is there already, and may be in service: choose a version")
    if warmup:
        check_warmup()
    # A server takes numbers for versions and passes this by.
    partial = path.with_name(f".{version}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        telling = telling_all(fold_batch_norms(model) if fold_norms else model)
        write(telling, vocabulary, partial, fit, dtype, max_pixels)
        options = {"fit": fit, "weights_dtype": dtype, "norms_folded": fold_norms}
        facts = facts_of(model, vocabulary, path) | options | {"max_pixels": max_pixels}
        facts |= card or {}
        (partial / CARD).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        (partial / "model_card.md").write_text(as_markdown(facts), encoding="utf-8")
        if warmup:
            write_warmup(partial, path.parent.name, vocabulary)
        os.rename(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return path


def check_exportable(model, vocabulary):
    """Raises a `ValueError` unless the two fit each other and the model is not exported already."""
    check_inputs(model)
    if isinstance(model.output, dict):
        raise ValueError(
            f"{model.name!r} comes from a SavedModel: copy its folder, or export the .keras file "
            "that it was made from"
        )
    check_vocabulary(model, vocabulary)


def write(telling, vocabulary, folder, fit, dtype, max_pixels):
    """Writes the SavedModel of a model that `telling_all` made."""
    import tensorflow as tf

    from keras_cmsa.in_graph.text import PieceIds, WordIds

    # The table reads the file when it is made and copies it to assets/ when it is saved.
    words = folder / WORDS
    vocabulary.save(words)
    in_graph = PieceIds if isinstance(vocabulary, WordPieces) else WordIds
    word_ids = in_graph(words, vocabulary.max_words)
    served, signatures = served_model(telling, word_ids, fit, dtype, max_pixels)
    tf.saved_model.save(served, str(folder), signatures)
    words.unlink()


def served_model(telling, word_ids, fit, dtype, max_pixels):
    """A `tf.Module` of the weights and the vocabulary, and the signatures by name."""
    import tensorflow as tf

    from keras_cmsa.in_graph.images import find_masks, read_images

    size, max_words = telling.input["image"].shape[1], word_ids.max_words
    served = tf.Module(name="keras_cmsa")
    served.word_ids = word_ids
    groups = telling.trainable_variables, telling.non_trainable_variables
    served.weights = [stored(variable, dtype) for group in groups for variable in group]

    def call(image, words):
        weights = [
            tf.cast(weight, variable.dtype)
            for weight, variable in zip(served.weights, [*groups[0], *groups[1]])
        ]
        # A batch of nothing gets a row for the while: kernels of convolutions fail without any.
        count = tf.shape(image)[0]
        extra = tf.cast(count == 0, tf.int32)
        inputs = {
            "image": tf.pad(image, [[0, extra], [0, 0], [0, 0], [0, 0]]),
            "words": tf.pad(words, [[0, extra], [0, 0]]),
        }
        split = len(groups[0])
        outputs, _ = telling.stateless_call(
            weights[:split], weights[split:], inputs, training=False
        )
        return {name: tf.cast(x, tf.float32)[:count] for name, x in outputs.items()}

    def understand(image_bytes, expression):
        """The outputs of the model, the tokens, the sizes of the images and which rows are good."""
        tf.debugging.assert_equal(
            tf.size(image_bytes),
            tf.size(expression),
            "image_bytes and expression must be as many: a pair of them is a row",
        )
        image, sizes, readable = read_images(image_bytes, size, max_pixels, fit)
        ids, tokens, counts = served.word_ids(expression)
        valid = readable & (counts > 0) & (counts <= TEXT * max_words)
        # Any one word stands for none, so that no row without words reaches the attention.
        ids = tf.where(valid[:, None], ids, tf.one_hot(0, max_words, dtype=tf.int32))
        outputs = call(image, ids)
        return {n: zero_unless(valid, x) for n, x in outputs.items()}, tokens, sizes, valid

    files = [tf.TensorSpec((None,), tf.string, name=name) for name in ("image_bytes", "expression")]

    @tf.function(input_signature=files)
    def serving_default(image_bytes, expression):
        outputs, tokens, sizes, valid = understand(image_bytes, expression)
        probabilities = zero_unless(valid, tf.sigmoid(outputs["logits"][..., 0]))
        masks, scores, boxes = find_masks(probabilities, sizes, fit)
        answer = {
            "probabilities": probabilities,
            "mask_png_bytes": masks,
            "score": scores,
            "box": boxes,
            "words": tokens,
            "valid": valid,
        }
        if "word_attention" in outputs:
            answer["word_attention"] = outputs["word_attention"]
        return answer

    @tf.function(input_signature=files)
    def heatmap(image_bytes, expression):
        outputs, _, _, valid = understand(image_bytes, expression)
        return {"position_attention": outputs["position_attention"], "valid": valid}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, size, size, 3), tf.float32, name="image"),
            tf.TensorSpec((None, max_words), tf.int32, name="words"),
        ]
    )
    def tensors(image, words):
        return call(image, words)

    signatures = {"serving_default": serving_default, "tensors": tensors}
    if "position_attention" in telling.output:
        signatures["heatmap"] = heatmap
    return served, signatures


def zero_unless(valid, rows):
    """Rows `(B, ...)` with 0 where `valid` `(B,)` is False."""
    import tensorflow as tf

    return tf.where(tf.reshape(valid, [-1] + [1] * (rows.shape.rank - 1)), rows, 0)


def stored(variable, dtype):
    import tensorflow as tf

    value = keras.ops.convert_to_numpy(variable)
    if np.issubdtype(value.dtype, np.floating) or "bfloat16" in str(value.dtype):
        value = tf.cast(value, dtype)
    return tf.Variable(value, trainable=False, name=variable.name)


def facts_of(model, vocabulary, path):
    """What a model's card says of itself."""
    words = "\n".join(vocabulary.words).encode()
    size = model.input["image"].shape[1]
    return {
        "name": path.parent.name,
        "version": int(path.name),
        "system": model.name,
        "image_size": size,
        "tokenizer": "wordpiece" if isinstance(vocabulary, WordPieces) else "words",
        "max_words": vocabulary.max_words,
        "vocabulary_size": len(vocabulary),
        "vocabulary_sha256": hashlib.sha256(words).hexdigest(),
        "unknown_word": UNKNOWN,
        "parameters": model.count_params(),
        "versions": {
            name: metadata.version(name) for name in ("keras-cmsa", "keras", "tensorflow")
        },
        "weights": "unknown",
        "data": "unknown",
        "metrics": {},
        "licence": (
            "The code is under Apache-2.0. Weights may be bound by the licences of the images and "
            "expressions they were trained on and of the weights they started from."
        ),
    }


def load_saved_model(path):
    """What `export_saved_model` wrote, as a Keras model for the `Predictor`.

    Args:
        path: of a version's folder.

    Returns:
        model: `keras.Model` from `image` and `words` to a dict with `logits` and the attentions,
            for inference alone.
        facts: its card, a dict.

    Raises:
        ModuleNotFoundError: if its words are pieces and tensorflow-text is missing.
        ValueError: if it is no SavedModel of this package, or Keras runs on another backend.
    """
    path = Path(path)
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"{path} is a SavedModel, which runs under KERAS_BACKEND=tensorflow alone")
    import tensorflow as tf

    try:
        facts = json.loads((path / CARD).read_text(encoding="utf-8"))
        if facts.get("tokenizer") == "wordpiece":
            importlib.import_module("tensorflow_text")  # registers its operations
        with quiet():
            loaded = tf.saved_model.load(str(path))
        tensors = loaded.signatures["tensors"]
        size, max_words = facts["image_size"], facts["max_words"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{path} cannot be loaded: it is damaged, or a SavedModel of another package "
            f"({type(error).__name__}: {reason[:200]})"
        ) from error
    inputs = {
        "image": keras.Input((size, size, 3), name="image"),
        "words": keras.Input((max_words,), dtype="int32", name="words"),
    }
    model = keras.Model(inputs, Signature(tensors, loaded)(inputs), name=facts["system"])
    return model, facts


class Signature(keras.layers.Layer):
    """A signature of a loaded SavedModel as a layer of a dict."""

    def __init__(self, signature, owner, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.signature = signature
        self.owner = owner  # frees its weights when it goes

    def call(self, inputs):
        return self.signature(**inputs)

    def compute_output_spec(self, inputs):
        return {
            name: keras.KerasTensor((None, *spec.shape[1:]), "float32")
            for name, spec in self.signature.structured_outputs.items()
        }
