"""DMN (Margffoy-Tuay et al., ECCV 2018): every word makes filters that look for it in the image.

    words -> word vectors -> SRU -> word and state -> filters -> responses -\\
    image -> pyramid of maps --> deepest, with coordinates -------------------> join, 1x1
                          \\                                                       |
                            -> finer and finer, joined on the way up       SRU over the words
                                       |                                          |
                            logits <- 1x1 <- upsampling, stage by stage <----------
"""

import keras
from keras import layers, ops

from keras_cmsa.backbones import pyramid_resnet101
from keras_cmsa.ends import image_and_words, mask_logits
from keras_cmsa.layers import AppendCoordinates, SimpleRecurrentUnit
from keras_cmsa.layers.word_scan import last_word

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
    """The dynamic multimodal network, at its high resolution.

    Args:
        vocabulary_size, max_words: as in `build_cmsa`.
        image_size: side S of the square input in pixels.
        backbone: model from image to a list of maps, the deepest last, each as large as the next or
            twice as large. `None`: `pyramid_resnet101(image_size)`.
        word_dim: length of a word vector, of the SRU's state and of the joined map.
        fusion_dim: channels of the first stage of the upsampling; each further one has half.
        name: of the model.

    Returns:
        `keras.Model`, inputs and output as those of `build_cmsa`. 93,050,717 parameters beside the
        backbone with 10,000 words.

    Left open or changed: the backbone is ResNet-101, since DPN-92, the published one, has no
    weights in Keras. Images are square and padded, words at most `max_words`. The second SRU reads
    the words at each position, as the paper says; the released code runs through all positions one
    after the other as if they were one sentence. Its state has `word_dim` + 5 channels, after the
    released 1005. The SRU is that of its paper's first version.

    Source: Margffoy-Tuay et al., "Dynamic Multimodal Instance Segmentation Guided by Natural
    Language Queries", and its authors' code.
    """
    backbone = backbone or pyramid_resnet101(image_size)
    inputs, maps, word_vectors, is_word = image_and_words(
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
    return keras.Model(inputs, mask_logits(score, image_size), name=name)


def join(positions, words, responses, channels):
    """A 1x1 convolution of positions, words and responses side by side, at each word.

    It is a sum of one of each, so that nothing is repeated over words or positions.
    """
    of_positions = layers.Dense(channels, name="join_positions")(positions)
    of_words = layers.Dense(channels, use_bias=False, name="join_words")(words)
    of_responses = layers.Dense(channels, use_bias=False, name="join_responses")(responses)
    return of_positions[:, None] + of_words[:, :, None, None] + of_responses


def upsample(x, maps, fusion_dim):
    """Stage by stage: joined with the map of its size, brought to the next one's, convolved."""
    sides = [level.shape[1] for level in maps]
    # The last stage goes beyond the finest map, to the image's own size where that has half of it.
    wanted = [2 * sides[0], *sides[:-1]]
    for number, (level, side) in enumerate(zip(reversed(maps), reversed(wanted)), 1):
        x = layers.Concatenate(name=f"pyramid_{number}")([x, level])
        x = layers.UpSampling2D(
            side // level.shape[1], interpolation="bilinear", name=f"upsampling_{number}"
        )(x)
        x = layers.Conv2D(
            max(1, fusion_dim // 2 ** (number - 1)), 3, padding="same", name=f"stage_{number}"
        )(x)
    return x
