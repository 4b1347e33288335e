"""Both ends that all systems share: image and words in, logits of the mask out."""

import keras
from keras import layers, ops


def image_and_words(vocabulary_size, image_size, backbone, max_words, word_dim):
    """The inputs, what the backbone sees in the image, and a vector per word.

    Args:
        vocabulary_size: number of word ids, padding (0) and `[UNK]` (1) included.
        image_size: side S of the square input in pixels.
        backbone: model from `(B, S, S, 3)` RGB in 0..255 to a list of maps, the deepest last.
        max_words: words per expression N.
        word_dim: length of a word vector Cl.

    Returns:
        inputs: dict of the `keras.Input`s `image` `(B, S, S, 3)` and `words` `(B, N)`.
        maps: list of the backbone's maps.
        word_vectors: `(B, N, Cl)`.
        is_word: `(B, N)` bool, False at padding.

    Raises:
        ValueError: if there are no words or the backbone does not fit `image_size`.
    """
    if vocabulary_size < 3:
        raise ValueError(
            "vocabulary_size counts padding, [UNK] and at least one word, so it must be 3 or more. "
            f"Received: vocabulary_size={vocabulary_size}"
        )
    if tuple(backbone.input_shape[1:3]) != (image_size, image_size):
        raise ValueError(
            f"The backbone takes images of {backbone.input_shape[1:3]}, not of the model's "
            f"image_size. Received: image_size={image_size}"
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
    """Logits `(B, S, S, 1)` in float32: a score map `(B, H, W, 1)`, resized bilinearly."""
    scale = image_size // score.shape[1]
    return layers.UpSampling2D(scale, interpolation="bilinear", dtype="float32", name="logits")(
        score
    )
