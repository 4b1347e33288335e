"""The graph of a SavedModel, from the bytes of a request to its answer."""

import keras
import numpy as np
import tensorflow as tf

from keras_cmsa.export.graph.images import read_images
from keras_cmsa.export.graph.masks import find_masks
from keras_cmsa.preprocessing.text import MAX_WORDS_FACTOR


def served_model(model, word_ids, resizing, options):
    """Builds the module and the signatures that `tf.saved_model.save` takes.

    Args:
        model: model that `with_all_outputs` returns.
        word_ids: `WordIds` or `PieceIds`.
        resizing: how images fill the square.
        options: `ExportOptions`.

    Returns:
        `ServedModel`, and a dict of its signatures by name.
    """
    served = ServedModel(model, word_ids, resizing, options)
    size, max_words = served.size, word_ids.max_words
    files = [tf.TensorSpec((None,), tf.string, name=name) for name in ("image_bytes", "expression")]
    tensors = [
        tf.TensorSpec((None, size, size, 3), tf.float32, name="image"),
        tf.TensorSpec((None, max_words), tf.int32, name="words"),
    ]
    signatures = {
        "serving_default": tf.function(served.answer, input_signature=files),
        "tensors": tf.function(served.run, input_signature=tensors),
    }
    if "position_attention" in model.output:
        signatures["heatmap"] = tf.function(served.heatmap, input_signature=files)
    return served, signatures


class ServedModel(tf.Module):
    """The weights, the vocabulary and a method per signature; arguments as in `served_model`."""

    def __init__(self, model, word_ids, resizing, options):
        super().__init__(name="keras_cmsa")
        self.network = Network(model)
        self.options = options
        self.size = model.input["image"].shape[1]
        self.resizing = resizing
        self.word_ids = word_ids
        self.weights = [stored(variable, options.dtype) for variable in self.network.variables]

    def run(self, image, words):
        """The signature `tensors`: the model's outputs, in float32."""
        # An empty batch gets one row for the computation: convolutions fail without a row.
        count = tf.shape(image)[0]
        extra = tf.cast(count == 0, tf.int32)
        inputs = {
            "image": tf.pad(image, [[0, extra], [0, 0], [0, 0], [0, 0]]),
            "words": tf.pad(words, [[0, extra], [0, 0]]),
        }
        outputs = self.network(self.weights, inputs)
        return {name: tf.cast(x, tf.float32)[:count] for name, x in outputs.items()}

    def answer(self, image_bytes, expression):
        """The signature `serving_default`."""
        outputs, tokens, sizes, valid = self.read_and_run(image_bytes, expression)
        logits = outputs["logits"][..., 0]
        # These logits give an invalid row an empty mask.
        logits = tf.where(valid[:, None, None], logits, -np.inf)
        masks, scores, boxes = find_masks(logits, sizes, self.resizing, self.options.profile)
        answer = {
            "probabilities": tf.sigmoid(logits),
            "mask_png_bytes": masks,
            "score": scores,
            "box": boxes,
            "words": tokens,
            "valid": valid,
        }
        if "word_attention" in outputs:
            answer["word_attention"] = outputs["word_attention"]
        return answer

    def heatmap(self, image_bytes, expression):
        """The signature `heatmap`."""
        outputs, _, _, valid = self.read_and_run(image_bytes, expression)
        return {"position_attention": outputs["position_attention"], "valid": valid}

    def read_and_run(self, image_bytes, expression):
        """The model's outputs, the tokens `(B, N)`, the image sizes `(B, 2)` and `valid` `(B,)`."""
        tf.debugging.assert_equal(
            tf.size(image_bytes),
            tf.size(expression),
            "image_bytes and expression must have the same length: each pair is a row",
        )
        max_pixels, max_words = self.options.max_pixels, self.word_ids.max_words
        image, sizes, readable = read_images(image_bytes, self.size, max_pixels, self.resizing)
        ids, tokens, counts = self.word_ids(expression)
        valid = readable & (counts > 0) & (counts <= MAX_WORDS_FACTOR * max_words)
        # An invalid row gets the id of one word, so that the attention never sees a row without
        # words.
        ids = tf.where(valid[:, None], ids, tf.one_hot(0, max_words, dtype=tf.int32))
        outputs = self.run(image, ids)
        return {n: zero_unless(valid, x) for n, x in outputs.items()}, tokens, sizes, valid


class Network:
    """A Keras model that is called with weights from outside.

    It is not a `tf.Module`: TensorFlow saves the weights in the attributes of a module, and a
    SavedModel must hold the stored weights only.
    """

    def __init__(self, model):
        self.model = model
        self.variables = [*model.trainable_variables, *model.non_trainable_variables]

    def __call__(self, weights, inputs):
        """The outputs by name; the weights are cast to the dtypes of the model's variables."""
        weights = [tf.cast(w, variable.dtype) for w, variable in zip(weights, self.variables)]
        split = len(self.model.trainable_variables)
        outputs, _ = self.model.stateless_call(
            weights[:split], weights[split:], inputs, training=False
        )
        return outputs


def zero_unless(valid, rows):
    """Rows `(B, ...)` with 0 where `valid` `(B,)` is False."""
    return tf.where(tf.reshape(valid, [-1] + [1] * (rows.shape.rank - 1)), rows, 0)


def stored(variable, dtype):
    """A variable of the SavedModel with the value of a Keras variable; floats become `dtype`."""
    value = keras.ops.convert_to_numpy(variable)
    if np.issubdtype(value.dtype, np.floating) or "bfloat16" in str(value.dtype):
        value = tf.cast(value, dtype)
    return tf.Variable(value, trainable=False, name=variable.name)
