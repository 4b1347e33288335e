"""The inputs and the output that all systems share: image and words in, logits of the mask out."""

import keras
from keras import layers, ops


def image_and_words(vocabulary_size, image_size, backbone, max_words, word_dim):
    """The inputs, the maps of the backbone and a vector per word.

    Args:
        vocabulary_size: number of word ids, padding (0) and `[UNK]` (1) included.
        image_size: side S of the square input in pixels.
        backbone: model from `(B, S, S, 3)` RGB in 0..255 to a list of maps, the deepest last.
        max_words: words per expression N.
        word_dim: length of a word vector Cl.

    Returns:
        inputs: dict of two `keras.Input`, `image` `(B, S, S, 3)` and `words` `(B, N)`.
        maps: list of the backbone's maps.
        word_vectors: `(B, N, Cl)`.
        is_word: `(B, N)` bool, False at padding.

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
    words = keras.Input((max_words,), dtype="int32", name="words")
    word_vectors = layers.Embedding(
        vocabulary_size,
        word_dim,
        embeddings_initializer=keras.initializers.RandomUniform(-0.08, 0.08),
        name="word_vectors",
    )(words)  # (B, N, Cl)
    is_word = ops.not_equal(words, 0)  # (B, N)
    return {"image": image, "words": words}, backbone(image), word_vectors, is_word


def mask_logits(score, image_size):
    """A score map `(B, H, W, 1)` enlarged bilinearly to logits `(B, S, S, 1)` float32."""
    scale = image_size // score.shape[1]
    return layers.UpSampling2D(scale, interpolation="bilinear", dtype="float32", name="logits")(
        score
    )


def check_inputs(model):
    """Checks that a model takes an image and words.

    Raises:
        ValueError: if it does not.
    """
    inputs = getattr(model, "input", None)
    if not isinstance(inputs, dict) or set(inputs) != {"image", "words"}:
        raise ValueError(
            "wanted a functional model with the inputs 'image' and 'words', as build_cmsa makes. "
            f"Received: {model.name!r} with the inputs {inputs}"
        )


def check_preprocessor(model, preprocessor):
    """Checks that a model takes the inputs that a `Preprocessor` makes.

    Raises:
        ValueError: if the inputs, the image side, the words per expression or the vocabulary size
            differ.
    """
    check_inputs(model)
    vocabulary, (_, size, _, _) = preprocessor.vocabulary, model.input["image"].shape
    longest = model.input["words"].shape[1]
    # Checked here, since JAX looks up a word id beyond the table without an error.
    tables = [x.input_dim for x in model.layers if isinstance(x, layers.Embedding)]
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
