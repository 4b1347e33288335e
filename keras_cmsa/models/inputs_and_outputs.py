"""The inputs and the output that all systems share: image and words in, logits of the mask out."""

import keras
import numpy as np
from keras import layers, ops

from keras_cmsa.layers.sentence_axis import FromRows, RepeatPerSentence, as_rows
from keras_cmsa.models.channels_last import channels_last


def image_and_words(vocabulary_size, image_size, backbone, max_words, word_dim, word_encoder=None):
    """The inputs, the maps of the backbone and a vector per word.

    Args:
        vocabulary_size: number of word ids, padding (0) and `[UNK]` (1) included.
        image_size: side S of the square input in pixels.
        backbone: model from `(B, S, S, 3)` RGB in 0..255 to a list of maps, the deepest last.
        max_words: words per expression N.
        word_dim: length of a word vector Cl.
        word_encoder: layer from ids `(..., N)` to vectors `(..., N, C)`, which then have its length
            C; `None`: a table that is learnt.

    Returns:
        inputs: dict of two `keras.Input`, `image` `(B, S, S, 3)` and `words` `(B, K, N)`, K
            sentences about each image.
        maps: list of the backbone's maps.
        word_vectors: `(B, K, N, Cl)`.
        is_word: `(B, K, N)` bool, False at padding.

    Raises:
        ValueError: if the vocabulary has no word or the backbone does not fit `image_size`.
    """
    if vocabulary_size < 3:
        raise ValueError(
            "vocabulary_size counts padding, [UNK] and at least one word, so it must be 3 or more. "
            f"Received: vocabulary_size={vocabulary_size}"
        )
    if tuple(backbone.input_shape[1:3]) != (image_size, image_size):
        raise ValueError(
            "image_size must be that of the backbone, which takes images of "
            f"{backbone.input_shape[1:3]}. Received: image_size={image_size}"
        )
    image = keras.Input((image_size, image_size, 3), name="image")
    words = keras.Input((None, max_words), dtype="int32", name="words")
    word_encoder = word_encoder or layers.Embedding(
        vocabulary_size,
        word_dim,
        embeddings_initializer=keras.initializers.RandomUniform(-0.08, 0.08),
        name="word_vectors",
    )
    word_vectors = word_encoder(words)  # (B, K, N, Cl)
    is_word = ops.not_equal(words, 0)  # (B, K, N)
    # A sentence without a word, which fills up a row, reads as one: no system meets an empty one.
    is_empty = ops.logical_not(ops.any(is_word, axis=-1, keepdims=True))
    is_word = ops.logical_or(is_word, ops.logical_and(is_empty, np.arange(max_words) == 0))
    return {"image": image, "words": words}, list(backbone(image)), word_vectors, is_word


def check_one_side(maps, finer=False):
    """Raises a `ValueError` unless there are three maps of one side; `finer` allows others after them."""
    sides = [tuple(visual.shape[1:3]) for visual in maps]
    if len(maps) < 3 or len(set(sides[:3])) != 1 or (len(maps) > 3 and not finer):
        raise ValueError(
            "wanted a backbone that gives three maps of one side, as image_encoder makes. "
            f"Received: maps of {sides}"
        )


def image_and_words_in_rows(*args):
    """`image_and_words` for a system that joins image and words early.

    Returns:
        As `image_and_words`, but `maps`, `word_vectors` and `is_word` have a row for each sentence,
        B K in all, and no axis K. The backbone still runs once an image.
    """
    inputs, maps, word_vectors, is_word = image_and_words(*args)
    repeat = RepeatPerSentence(name="maps_of_sentences")
    maps = [repeat(level, inputs["words"]) for level in maps]
    return inputs, maps, as_rows(word_vectors), as_rows(is_word)


@channels_last()
def mask_logits(score, inputs, name="logits"):
    """Scores of rows `(B K, H, W, 1)`, enlarged bilinearly to logits `(B, K, S, S, 1)` float32."""
    scale = inputs["image"].shape[1] // score.shape[1]
    enlarge = layers.UpSampling2D(
        scale, interpolation="bilinear", dtype="float32", name=f"enlarged_{name}"
    )
    return FromRows(dtype="float32", name=name)(enlarge(score), inputs["words"])


def computed_in(model):
    """The coarsest dtype that a layer of a model computes in: bfloat16, float16 or float32."""
    dtypes = {layer.compute_dtype for layer in model._flatten_layers()}
    return next((x for x in ("bfloat16", "float16") if x in dtypes), "float32")


def split_at_maps(model):
    """The two parts of a model between which only the maps of the backbone pass.

    An image that is asked again can keep its maps. A model without a backbone, such as an exported
    one, has the image itself in their place.

    Returns:
        `(image_model, sentence_model)`: from the image to a list of maps, and from `{"maps": maps,
        "words": words}` to the outputs of the model. They share its weights.
    """
    image, words = model.input["image"], model.input["words"]
    maps = maps_of(model)
    image_model = keras.Model(image, maps, name=f"{model.name}_image")
    part = PartOfModel(model, {"maps": maps, "words": words}, model.output)
    inputs = {
        "maps": [keras.Input(batch_shape=x.shape, dtype=x.dtype) for x in maps],
        "words": keras.Input(batch_shape=words.shape, dtype=words.dtype, name="words"),
    }
    return image_model, keras.Model(inputs, part(inputs), name=f"{model.name}_sentences")


def maps_of(model):
    """What the backbone gives, a list of tensors of a model: of the model in it that takes the image.

    Without one it is the image.
    """
    image = model.input["image"]
    for layer in model.layers:
        for call in layer._inbound_nodes if isinstance(layer, keras.Model) else ():
            if [id(x) for x in call.input_tensors] == [id(image)]:
                return list(call.output_tensors)
    return [image]


class PartOfModel(keras.layers.Layer):
    """The part of a functional model from some of its tensors to others; it shares its weights.

    `keras.Model` does the same for tensors in the middle, but leaves a model that no longer saves.
    """

    def __init__(self, model, inputs, outputs):
        super().__init__(autocast=False)
        self.model = model  # so that its weights are those of the part
        self.function = keras.Function(inputs, outputs)

    def call(self, inputs):
        return self.function(inputs)

    @property
    def metrics(self):
        return []  # Those that the model was compiled with are not of a training of the part.

    def compute_output_spec(self, inputs):
        # Otherwise Keras traces `call`, which takes a second. The layer keeps no outputs of its own:
        # a dict that is an attribute becomes one of Keras' own, which JAX does not take.
        return self.function.compute_output_spec(inputs)


def check_words(words, max_words, vocabulary_size):
    """Raises a `ValueError` unless words are `(B, K, N)`, and as an array ids of the vocabulary."""
    if len(words.shape) != 3 or words.shape[-1] != max_words:
        raise ValueError(
            f"words: wanted (B, K, N), K sentences of N = {max_words} word ids about each of B "
            f"images; a sentence for each image is words[:, None]. Received: shape {words.shape}"
        )
    if isinstance(words, np.ndarray) and words.size:
        low, high = words.min(), words.max()
        if low < 0 or high >= vocabulary_size:
            raise ValueError(
                f"words: wanted word ids from 0 to {vocabulary_size - 1}. Received: {low} to {high}"
            )


def check_inputs(model):
    """Raises a `ValueError` unless a model takes an image and words."""
    inputs = getattr(model, "input", None)
    if not isinstance(inputs, dict) or set(inputs) != {"image", "words"}:
        raise ValueError(
            "wanted a functional model with the inputs 'image' and 'words', as build_cmsa makes. "
            f"Received: {model.name!r} with the inputs {inputs}"
        )


def check_preprocessor(model, preprocessor):
    """Raises a `ValueError` unless a model takes the inputs that a `Preprocessor` makes."""
    check_inputs(model)
    vocabulary, (_, size, _, _) = preprocessor.vocabulary, model.input["image"].shape
    longest = model.input["words"].shape[-1]
    # Checked here, since JAX looks up a word id beyond the table without an error.
    tables = [x.input_dim for x in model.layers if hasattr(x, "input_dim")]
    if preprocessor.max_words != longest or any(rows != len(vocabulary) for rows in tables):
        raise ValueError(
            f"The vocabulary does not fit the model, which takes {longest} words per expression "
            f"and has word tables of {tables} rows. Received: a vocabulary of {len(vocabulary)} "
            f"with max_words={preprocessor.max_words}"
        )
    if preprocessor.image_size != size:
        raise ValueError(
            f"The preprocessor does not fit the model, which takes images of {size} x {size}. "
            f"Received: image_size={preprocessor.image_size}"
        )
