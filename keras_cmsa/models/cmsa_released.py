"""CMSA as its authors' released code has it, which is not what the paper's equations say.

`build_cmsa` follows the paper. This network is for the weights that the authors trained with their
code; `keras_cmsa.convert` reads them. docs/pretrained.md lists the differences.
"""

import keras
from keras import layers

from keras_cmsa.layers import (
    ChannelGatedFusion,
    CornerUpsampling2D,
    FromRows,
    MultimodalFeature,
    PooledSelfAttention,
)
from keras_cmsa.models.backbones import deeplab_resnet101
from keras_cmsa.models.channels_last import channels_last
from keras_cmsa.models.cmsa import LEVELS
from keras_cmsa.models.inputs_and_outputs import check_one_side, image_and_words_in_rows


@channels_last()
def build_cmsa_released(
    vocabulary_size,
    image_size=320,
    backbone=None,
    max_words=20,
    word_dim=1000,
    attention_dim=512,
    fusion_dim=500,
    name="cmsa_released",
):
    """The network of the authors' code, in its sizes by default.

    Args:
        vocabulary_size: number of word ids, padding (0) included. Authors: 12,112 for UNC, UNC+ and
            G-Ref, 8,803 for ReferIt.
        image_size: side S of the square input in pixels, a multiple of 8.
        backbone: model from `(B, S, S, 3)` RGB in 0..255 to the maps of Res3, Res4 and Res5.
            `None`: `deeplab_resnet101(image_size)`, with random weights.
        max_words: words per expression N.
        word_dim: length of a word vector and channels to which Res5 is reduced.
        attention_dim: width of query, key and value at Res5. Res4 has a quarter of it, and a joint
            map of half of it; Res3 an eighth, and a quarter.
        fusion_dim: channels of the maps that are fused.
        name: name of the model.

    Returns:
        `keras.Model` with the inputs and the output of `build_cmsa`. Words are taken in pairs, the
        first with the second, the third with the fourth, so their order matters a little.
        38,501,368 parameters beside the backbone with 10,000 words.

    Raises:
        ValueError: if a size is not possible or the backbone does not fit `image_size`.

    Source: https://github.com/lwye/CMSA-Net.
    """
    backbone = backbone or deeplab_resnet101(image_size)
    inputs, maps, word_vectors, is_word = image_and_words_in_rows(
        vocabulary_size, image_size, backbone, max_words, word_dim
    )
    check_one_side(maps)
    res3, res4, res5 = maps
    res5 = layers.Conv2D(word_dim, 1, name="reduction_res5")(res5)
    fused = []
    for level, visual, width, joint_dim in (
        (LEVELS[0], res3, max(1, attention_dim // 8), max(1, attention_dim // 4)),
        (LEVELS[1], res4, max(1, attention_dim // 4), max(1, attention_dim // 2)),
        (LEVELS[2], res5, attention_dim, None),
    ):
        feature = MultimodalFeature(name=f"feature_{level}")(visual, word_vectors)
        attention = PooledSelfAttention(width, joint_dim, name=f"attention_{level}")
        attended = attention(*feature, is_word)  # (B K, H, W, C)
        reduce = layers.Conv2D(fusion_dim, 1, activation="relu", name=f"level_{level}")
        fused.append(reduce(attended))  # (B K, H, W, F)
    fused = ChannelGatedFusion(name="fusion")(fused)
    score = layers.Conv2D(1, 3, padding="same", name="score")(fused)  # (B K, H, W, 1)
    enlarge = CornerUpsampling2D(image_size // score.shape[1], dtype="float32", name="enlarge")
    logits = FromRows(dtype="float32", name="logits")(enlarge(score), inputs["words"])
    return keras.Model(inputs, logits, name=name)
