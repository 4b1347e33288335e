"""DMN (Margffoy-Tuay et al., ECCV 2018): each word gives filters that respond to it in the image.

    words -> word vectors -> SRU -> word and state -> filters -> responses -\\
    image -> pyramid of maps --> deepest, with coordinates -------------------> join, 1x1
                          \\                                                       |
                            -> finer and finer, joined on the way up       SRU over the words
                                       |                                          |
                            logits <- 1x1 <- upsampling, stage by stage <----------
"""

import keras
from keras import layers, ops

from keras_cmsa.layers import AppendCoordinates, SimpleRecurrentUnit
from keras_cmsa.layers.word_scan import last_word
from keras_cmsa.models.backbones import pyramid_resnet101
from keras_cmsa.models.inputs_and_outputs import image_and_words_in_rows, mask_logits

FILTERS, SRU_LAYERS = 10, 3


def build_dmn(
    vocabulary_size,
    image_size=512,
    backbone=None,
    max_words=20,
    word_dim=1000,
    fusion_dim=512,
    name="dmn",
):
    """The dynamic multimodal network, in its high-resolution form.

    Args:
        vocabulary_size, max_words: as in `build_cmsa`.
        image_size: side S of the square input in pixels.
        backbone: model from an image to a list of maps, the deepest last, each as large as the next
            or twice as large. `None`: `pyramid_resnet101(image_size)`.
        word_dim: length of a word vector, of the SRU's state and channels of the joined map.
        fusion_dim: channels of the first stage of the upsampling; each further stage has half.
        name: name of the model.

    Returns:
        `keras.Model` with the inputs and the output of `build_cmsa`. 93,050,717 parameters beside
        the backbone with 10,000 words.

    Left open or changed: the backbone is ResNet-101, since Keras has no weights of the published
    DPN-92. Images are square and padded; words are at most `max_words`. The second SRU reads the
    words at each position, as the paper says; the released code reads all positions one after the
    other, like one sentence. Its state has `word_dim` + 5 channels, as the released code has 1005.
    The SRU is that of the first version of its paper.

    Source: Margffoy-Tuay et al., "Dynamic Multimodal Instance Segmentation Guided by Natural
    Language Queries", and its authors' code.
    """
    backbone = backbone or pyramid_resnet101(image_size)
    inputs, maps, word_vectors, is_word = image_and_words_in_rows(
        vocabulary_size, image_size, backbone, max_words, word_dim
    )
    hidden = word_vectors
    for number in range(1, SRU_LAYERS + 1):
        hidden = SimpleRecurrentUnit(word_dim, name=f"sentence_{number}")(hidden, is_word)
    words = layers.Concatenate(name="words_in_context")([word_vectors, hidden])  # (B, N, 2 Cl)

    positions = AppendCoordinates(name="positions")(maps[-1])  # (B, H, W, C), C = Cv + 8
    channels = positions.shape[-1]
    filters = layers.Dense(FILTERS * channels, activation="sigmoid", name="filters")(words)
    filters = layers.Reshape((max_words, FILTERS, channels), name="filter_bank")(filters)
    responses = ops.einsum("bhwc,bnkc->bnhwk", positions, filters)  # (B, N, H, W, K)
    joined = join(positions, words, responses, word_dim)  # (B, N, H, W, Cl)
    for number in range(1, SRU_LAYERS + 1):
        joined = SimpleRecurrentUnit(word_dim + 5, name=f"fusion_{number}")(joined, is_word)
    fused = last_word(joined, is_word)  # (B, H, W, Cl + 5)

    refined = upsample(fused, maps, fusion_dim)
    score = layers.Conv2D(1, 1, name="score")(refined)
    return keras.Model(inputs, mask_logits(score, inputs), name=name)


def join(positions, words, responses, channels):
    """A 1x1 convolution of positions, words and responses side by side, per word and position.

    It is computed as a sum of three convolutions, so that no input is repeated over words or
    positions.

    Args:
        positions: `(B, H, W, C)`.
        words: `(B, N, Cw)`.
        responses: `(B, N, H, W, K)`.
        channels: channels of the result.

    Returns:
        `(B, N, H, W, channels)`.
    """
    position_term = layers.Dense(channels, name="join_positions")(positions)
    word_term = layers.Dense(channels, use_bias=False, name="join_words")(words)
    response_term = layers.Dense(channels, use_bias=False, name="join_responses")(responses)
    return position_term[:, None] + word_term[:, :, None, None] + response_term


def upsample(x, maps, fusion_dim):
    """Joins `x` with the maps from coarse to fine.

    Each stage joins `x` with the map of its size, enlarges it to the size of the next map and
    convolves it. The result has twice the side of the finest map: the image's size, if that map has
    stride 2.
    """
    sides = [level.shape[1] for level in maps]
    next_sides = [2 * sides[0], *sides[:-1]]
    for number, (level, side) in enumerate(zip(reversed(maps), reversed(next_sides)), 1):
        x = layers.Concatenate(name=f"pyramid_{number}")([x, level])
        x = layers.UpSampling2D(
            side // level.shape[1], interpolation="bilinear", name=f"upsampling_{number}"
        )(x)
        x = layers.Conv2D(
            max(1, fusion_dim // 2 ** (number - 1)), 3, padding="same", name=f"stage_{number}"
        )(x)
    return x
