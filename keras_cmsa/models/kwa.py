"""KWA (Shi et al., ECCV 2018): each region of the image weighs the words; its key words add the
other regions that they refer to.

    words -> LSTM, all its states --\\
    image -> Res5 -> 3x3 -> 1x1 -> regions -> weight of each word for each region
                        |                          |                 |
                        |                    weighted words    key words -> means of their regions
                        |                          |                 |
                        ------------------------> join <--------------
                                                   |
                                            1x1, 1x1 -> logits
"""

import keras
from keras import layers, ops

from keras_cmsa.layers import MultimodalFeature
from keras_cmsa.layers.ops import MASKED, softmax, unit_length, word_shares
from keras_cmsa.models.backbones import batch_norm, dilated_resnet101
from keras_cmsa.models.inputs_and_outputs import image_and_words_in_rows, mask_logits

REGIONS = 6  # per side
# A key word's weight may fall short of the mean by this share of it. Without a margin rounding
# decides where weights equal the mean: with one word, or with words alike.
MARGIN = 1e-3


def build_kwa(
    vocabulary_size,
    image_size=480,
    backbone=None,
    max_words=20,
    word_dim=1000,
    fusion_dim=500,
    name="kwa",
):
    """The key-word-aware network.

    Args:
        vocabulary_size, image_size, backbone, max_words: as in `build_cmsa`. At 480 pixels Res5 has
            the 60 x 60 positions that the published network has at 473.
        word_dim: length of a word vector, of the LSTM's state, of a visual vector and of the
            context.
        fusion_dim: channels of the joined map and of the hidden layer that weighs words.
        name: name of the model.

    Returns:
        `keras.Model` with the inputs and the output of `build_cmsa`. 31,467,233 parameters beside
        the backbone with 10,000 words.

    Left open or changed: a key word of a region is one whose weight is at least the mean over the
    words of the expression, but for a margin of 0.1 % (the threshold is not published); padding has
    no weight (it has some in the published network); the backbone is `dilated_resnet101`, without the three 3x3 convolutions
    at the start of the published one; loss and training are those of all systems here (the
    published ones are unknown).

    Source: Shi et al., "Key-Word-Aware Network for Referring Expression Image Segmentation", and
    the authors' network definition.
    """
    backbone = backbone or dilated_resnet101(image_size)
    inputs, maps, word_vectors, is_word = image_and_words_in_rows(
        vocabulary_size, image_size, backbone, max_words, word_dim
    )
    hidden = layers.LSTM(word_dim, return_sequences=True, name="sentence")(
        word_vectors, mask=is_word
    )  # (B, N, Cl)
    visual_dim = max(1, 512 * word_dim // 1000)  # 512 in the published network
    visual = layers.Conv2D(visual_dim, 3, padding="same", use_bias=False, name="visual_1")(maps[-1])
    visual = batch_norm(visual, "visual_1_norm")
    visual = layers.Conv2D(word_dim, 1, name="visual_2")(ops.relu(visual))
    positions, _ = MultimodalFeature(name="feature")(visual, hidden)  # (B, H, W, Cv + 8)

    appearance = regions_of(visual, "appearance")  # (B, R, Cv)
    coordinates = regions_of(positions[..., -8:], "coordinates")  # (B, R, 8)
    weights = word_weights(appearance, hidden, is_word, fusion_dim)  # (B, R, N)
    language = ops.matmul(weights, hidden)  # (B, R, Cl)
    context = key_word_context(appearance, coordinates, weights, is_word)  # (B, R, Cv + 8)

    joined = [positions, spread(language, visual), spread(context, visual)]
    joined = layers.Concatenate(name="join")(joined)
    fused = layers.Conv2D(fusion_dim, 1, activation="relu", name="fusion")(joined)
    score = layers.Conv2D(1, 1, name="score")(fused)
    return keras.Model(inputs, mask_logits(score, inputs), name=name)


def regions_of(maps, name):
    """The mean of a map over each region: `(B, R, C)` with R = 36."""
    means = layers.AdaptiveAveragePooling2D(REGIONS, name=name)(maps)
    return layers.Reshape((REGIONS**2, maps.shape[-1]), name=f"{name}_of_regions")(means)


def word_weights(appearance, hidden, is_word, fusion_dim):
    """The attention of each region to each word: `(B, R, N)`, a softmax over the words."""
    # The 1x1 convolution of a region and a word side by side is a sum of one of each.
    region_term = layers.Dense(fusion_dim, name="weigh_regions")(unit_length(appearance))
    word_term = layers.Dense(fusion_dim, use_bias=False, name="weigh_words")(unit_length(hidden))
    both = ops.relu(region_term[:, :, None] + word_term[:, None])  # (B, R, N, C)
    # No bias, since it would not change the softmax.
    score = layers.Dense(1, use_bias=False, name="weigh")(both)[..., 0]
    score = ops.where(is_word[:, None], ops.cast(score, "float32"), MASKED)
    return ops.cast(softmax(score), hidden.dtype)


def key_word_context(appearance, coordinates, weights, is_word):
    """The appearance and relative place that the key words of each region refer to.

    With R_n the regions that have n as a key word, v the appearance and s the coordinates, the
    context of region r is a sum over its key words n of two vectors side by side,
    ReLU(W mean over R_n of v)  and  s_r - mean over R_n of s.

    Args:
        appearance: v, `(B, R, Cv)`.
        coordinates: s, `(B, R, 8)`.
        weights: `(B, R, N)`, see `word_weights`.
        is_word: `(B, N)` bool, False at padding.

    Returns:
        `(B, R, Cv + 8)`.
    """
    share = ops.cast(word_shares(weights, is_word), weights.dtype)[:, None]  # (B, 1, N)
    is_key = ops.logical_and(weights >= (1 - MARGIN) * share, is_word[:, None])
    # The choice of key words has no gradient.
    key = ops.stop_gradient(ops.cast(is_key, weights.dtype))  # (B, R, N)
    count = ops.maximum(ops.sum(key, axis=1), 1)[..., None]  # (B, N, 1), size of R_n
    by_word = ops.swapaxes(key, 1, 2)  # (B, N, R)
    referred_to = layers.Dense(appearance.shape[-1], activation="relu", name="context")(
        ops.matmul(by_word, appearance) / count
    )  # (B, N, Cv)
    place = ops.matmul(by_word, coordinates) / count  # (B, N, 8)
    offset = ops.sum(key, axis=2)[..., None] * coordinates - ops.matmul(key, place)
    return ops.concatenate([ops.matmul(key, referred_to), offset], axis=-1)


def spread(regions, like):
    """Region vectors `(B, R, C)`, enlarged bilinearly to the height and width of the map `like`.

    Each position of the result has length 1.
    """
    grid = ops.reshape(regions, (-1, REGIONS, REGIONS, regions.shape[-1]))
    resized = ops.image.resize(
        grid, like.shape[1:3], interpolation="bilinear", data_format="channels_last"
    )
    return unit_length(resized)
