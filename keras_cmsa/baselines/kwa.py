"""KWA (Shi et al., ECCV 2018): each region of the image weighs the words, and key words bring in
what else in the image they speak of.

    words -> LSTM, all its states --\\
    image -> Res5 -> 3x3 -> 1x1 -> regions -> weight of each word for each region
                        |                          |                 |
                        |                    words, weighed    key words -> their regions' means
                        |                          |                 |
                        ------------------------> join <--------------
                                                   |
                                            1x1, 1x1 -> logits
"""

import keras
from keras import layers, ops

from keras_cmsa.backbones import batch_norm, dilated_resnet101
from keras_cmsa.ends import image_and_words, mask_logits
from keras_cmsa.layers import MultimodalFeature, RegionMeans
from keras_cmsa.layers.cross_modal_self_attention import MASKED, softmax, word_shares
from keras_cmsa.layers.multimodal_feature import unit_length

REGIONS = 6  # per side


def build_kwa(
    vocabulary_size,
    image_size=480,
    backbone=None,
    max_words=20,
    word_dim=1000,
    fusion_dim=500,
    visual_dim=None,
    name="kwa",
):
    """The key-word-aware network.

    Args:
        vocabulary_size, image_size, backbone, max_words: as in `build_cmsa`. At 480 pixels Res5 has
            the 60 x 60 positions that the published network has at 473.
        word_dim: length of a word vector, of the LSTM's state, of a visual vector and of the
            context.
        fusion_dim: channels of the joined map and of the hidden layer that weighs words.
        visual_dim: channels of the 3x3 convolution after Res5. `None`: 512 at a `word_dim` of 1000
            and as much less.
        name: of the model.

    Returns:
        `keras.Model`, inputs and output as those of `build_cmsa`. 31,467,233 parameters beside the
        backbone with 10,000 words.

    Left open or changed: a key word of a region is one whose weight is no less than the mean over
    the expression's words (the threshold is not published); padding has no weight (it has some in
    the published network); the backbone is ours, without the three 3x3 convolutions that the
    published one begins with; loss and training, unpublished, are those of all systems here.

    Source: Shi et al., "Key-Word-Aware Network for Referring Expression Image Segmentation", and
    its authors' network definition.
    """
    backbone = backbone or dilated_resnet101(image_size)
    inputs, maps, word_vectors, is_word = image_and_words(
        vocabulary_size, image_size, backbone, max_words, word_dim
    )
    hidden = layers.LSTM(word_dim, return_sequences=True, name="sentence")(
        word_vectors, mask=is_word
    )  # (B, N, Cl)
    visual = layers.Conv2D(
        visual_dim or max(1, 512 * word_dim // 1000),
        3,
        padding="same",
        use_bias=False,
        name="visual_1",
    )(maps[-1])
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
    return keras.Model(inputs, mask_logits(score, image_size), name=name)


def regions_of(maps, name):
    """The means over the regions, `(B, R, C)`, R = 36."""
    means = RegionMeans(REGIONS, name=name)(maps)
    return layers.Reshape((REGIONS**2, maps.shape[-1]), name=f"{name}_of_regions")(means)


def word_weights(appearance, hidden, is_word, fusion_dim):
    """How much each region attends to each word: `(B, R, N)`, a softmax over the words."""
    # The 1x1 convolution of a region and a word side by side, as the sum of one of each.
    of_regions = layers.Dense(fusion_dim, name="weigh_regions")(unit_length(appearance))
    of_words = layers.Dense(fusion_dim, use_bias=False, name="weigh_words")(unit_length(hidden))
    both = ops.relu(of_regions[:, :, None] + of_words[:, None])  # (B, R, N, C)
    # No bias: a softmax does not see one.
    score = layers.Dense(1, use_bias=False, name="weigh")(both)[..., 0]
    score = ops.where(is_word[:, None], ops.cast(score, "float32"), MASKED)
    return ops.cast(softmax(score), hidden.dtype)


def key_word_context(appearance, coordinates, weights, is_word):
    """What the key words of each region speak of, and where that is from here: `(B, R, Cv + 8)`.

    With the regions R_n that have n as a key word, the sum over the key words n of region r of
    ReLU(W mean over R_n of v) and, for its place, of s_r - mean over R_n of s.
    """
    share = ops.cast(word_shares(weights, is_word), weights.dtype)[:, None]  # (B, 1, N)
    is_key = ops.logical_and(weights >= share, is_word[:, None])
    # No gradient passes through the choice of key words.
    key = ops.stop_gradient(ops.cast(is_key, weights.dtype))  # (B, R, N)
    count = ops.maximum(ops.sum(key, axis=1), 1)[..., None]  # (B, N, 1), regions of a key word
    by_word = ops.swapaxes(key, 1, 2)  # (B, N, R)
    spoken_of = layers.Dense(appearance.shape[-1], activation="relu", name="context")(
        ops.matmul(by_word, appearance) / count
    )  # (B, N, Cv)
    place = ops.matmul(by_word, coordinates) / count  # (B, N, 8)
    away = ops.sum(key, axis=2)[..., None] * coordinates - ops.matmul(key, place)
    return ops.concatenate([ops.matmul(key, spoken_of), away], axis=-1)


def spread(of_regions, like):
    """Region vectors as a map of the size of `like`, bilinearly, each position of length 1."""
    grid = ops.reshape(of_regions, (-1, REGIONS, REGIONS, of_regions.shape[-1]))
    return unit_length(ops.image.resize(grid, like.shape[1:3], interpolation="bilinear"))
