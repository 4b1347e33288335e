"""The graph of a SavedModel, from the bytes of a request to its answer."""

from functools import partial

import keras
import numpy as np
import tensorflow as tf

from keras_cmsa.export.graph.images import read_images
from keras_cmsa.export.graph.masks import find_masks
from keras_cmsa.preprocessing.vocabulary import MAX_WORDS_FACTOR
from keras_cmsa.presets.files import fits

# The expressions of a request about an image; each costs a pass of the model's half for sentences.
MAX_EXPRESSIONS = 256
# The masks of a request about an image have the pixels of at most so many of the largest images.
MAX_LARGEST_MASKS = 16
# No condition in these methods is of a tensor, and AutoGraph takes a quarter of an export.
function = partial(tf.function, autograph=False)


class ServedModel(tf.Module):
    """The weights, the vocabulary and a method per signature.

    Args:
        model: model that `with_all_outputs` returns.
        word_ids: a `WordIds` of `keras_cmsa.export.graph.text`.
        resizing: how images fill the square.
        options: `ExportOptions`.
        threshold: the least `exists` of the network that means a target.
    """

    def __init__(self, model, word_ids, resizing, options, threshold=0.5):
        super().__init__(name="keras_cmsa")
        self.call, variables = stateless(model)
        self.has_heatmap = "position_attention" in model.output
        self.options = options
        self.threshold = threshold
        self.size = size = model.input["image"].shape[1]
        self.resizing = resizing
        self.word_ids = word_ids
        self.weights = [stored(variable, options.dtype) for variable in variables]
        many = [
            tf.TensorSpec((None,), tf.string, name="image_bytes"),
            tf.TensorSpec((None, None), tf.string, name="expressions"),
        ]
        tensors = [
            tf.TensorSpec((None, size, size, 3), tf.float32, name="image"),
            tf.TensorSpec((None, None, word_ids.max_words), tf.int32, name="words"),
        ]
        # What several signatures share is one function of the graph, traced and stored once.
        self.run = function(self.run, input_signature=tensors)
        self.read_and_run = function(self.read_and_run, input_signature=many)
        self.answer_many = function(self.answer_many, input_signature=many)

    def signatures(self):
        """The functions that a server answers by, by name, as `tf.saved_model.save` takes them."""
        names = "image_bytes", "expression"
        files = [tf.TensorSpec((None,), tf.string, name=name) for name in names]
        signatures = {
            "serving_default": function(self.answer, input_signature=files),
            "segment_many": self.answer_many,
            "tensors": self.run,
        }
        if self.has_heatmap:
            signatures["heatmap"] = function(self.heatmap, input_signature=files)
        return signatures

    def run(self, image, words):
        """The signature `tensors`: the model's outputs, in float32."""
        # An empty batch gets one row and one sentence for the computation: convolutions fail
        # without.
        images, sentences = tf.shape(words)[0], tf.shape(words)[1]
        extra, more = tf.cast(images == 0, tf.int32), tf.cast(sentences == 0, tf.int32)
        inputs = {
            "image": tf.pad(image, [[0, extra], [0, 0], [0, 0], [0, 0]]),
            "words": tf.pad(words, [[0, extra], [0, more], [0, 0]]),
        }
        outputs = self.call(self.weights, inputs)
        return {n: tf.cast(x, tf.float32)[:images, :sentences] for n, x in outputs.items()}

    def answer(self, image_bytes, expression):
        """The signature `serving_default`."""
        return first_sentence(self.answer_many(image_bytes, expression[:, None]))

    def answer_many(self, image_bytes, expressions):
        """The signature `segment_many`."""
        outputs, tokens, sizes, valid = self.read_and_run(image_bytes, expressions)
        logits = outputs["logits"][..., 0]
        exists = valid
        if "exists" in outputs:
            exists = valid & fits(outputs["exists"], self.threshold)
        # These logits give an invalid sentence an empty mask.
        logits = tf.where(valid[..., None, None], logits, -np.inf)
        shape = tf.shape(valid)
        masks, scores, boxes = find_masks(
            tf.reshape(
                tf.where(exists[..., None, None], logits, -np.inf), (-1, self.size, self.size)
            ),
            tf.repeat(sizes, shape[1], axis=0),
            self.resizing,
            self.options.profile,
        )
        answer = {
            "probabilities": tf.sigmoid(logits),
            "mask_png_bytes": tf.reshape(masks, shape),
            "score": tf.reshape(scores, shape),
            "box": tf.reshape(boxes, (shape[0], shape[1], 4)),
            "words": tokens,
            "exists": exists,
            "valid": valid,
        }
        if "exists" in outputs:
            answer["existence"] = outputs["exists"]
        if "word_attention" in outputs:
            answer["word_attention"] = outputs["word_attention"]
        return answer

    def heatmap(self, image_bytes, expression):
        """The signature `heatmap`."""
        outputs, _, _, valid = self.read_and_run(image_bytes, expression[:, None])
        return first_sentence({"position_attention": outputs["position_attention"], "valid": valid})

    def read_and_run(self, image_bytes, expressions):
        """The model's outputs for expressions `(B, K)` about images `(B,)`.

        Returns:
            The outputs; the tokens `(B, K, N)`; the image sizes `(B, 2)`; `valid` `(B, K)`.
        """
        shape, max_words = tf.shape(expressions), self.word_ids.max_words
        tf.debugging.assert_equal(
            tf.size(image_bytes),
            shape[0],
            "there must be as many rows of expressions as of image_bytes: each pair is a row",
        )
        tf.debugging.assert_less_equal(
            shape[1],
            MAX_EXPRESSIONS,
            f"an image takes at most {MAX_EXPRESSIONS} expressions: ask in several requests",
        )
        count = tf.cast(tf.maximum(shape[1], 1), tf.int64)
        share = MAX_LARGEST_MASKS * self.options.max_pixels // count
        max_pixels = tf.minimum(share, self.options.max_pixels)
        image, sizes, readable = read_images(image_bytes, self.size, max_pixels, self.resizing)
        ids, tokens, counts = self.word_ids(tf.reshape(expressions, [-1]))
        counts = tf.reshape(counts, shape)
        is_expression = (counts > 0) & (counts <= MAX_WORDS_FACTOR * max_words)
        valid = readable[:, None] & is_expression
        ids, tokens = (tf.reshape(x, [*tf.unstack(shape), max_words]) for x in (ids, tokens))
        outputs = self.run(image, tf.where(valid[..., None], ids, 0))
        return {n: zero_unless(valid, x) for n, x in outputs.items()}, tokens, sizes, valid


def stateless(model):
    """A model as a function of its weights and inputs to the outputs by name; and its variables.

    The module has the function, not the model: TensorFlow saves the weights of what a module holds,
    and a SavedModel must hold the stored weights only.
    """
    split = len(model.trainable_variables)
    variables = [*model.trainable_variables, *model.non_trainable_variables]

    def call(weights, inputs):
        weights = [tf.cast(w, variable.dtype) for w, variable in zip(weights, variables)]
        return model.stateless_call(weights[:split], weights[split:], inputs, training=False)[0]

    return call, variables


def first_sentence(answer):
    """An answer without its axis of sentences, of which it has one."""
    return {name: x[:, 0] for name, x in answer.items()}


def zero_unless(valid, rows):
    """Rows `(B, K, ...)` with 0 where `valid` `(B, K)` is False."""
    return tf.where(valid[(..., *[None] * (rows.shape.rank - 2))], rows, 0)


def stored(variable, dtype):
    """A variable of the SavedModel with the value of a Keras variable; floats become `dtype`."""
    value = keras.ops.convert_to_numpy(variable)
    if np.issubdtype(value.dtype, np.floating) or "bfloat16" in str(value.dtype):
        value = tf.cast(value, dtype)
    return tf.Variable(value, trainable=False, name=variable.name)
