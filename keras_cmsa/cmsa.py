"""CMSA: image and words to the mask of what they speak of. The method on one page (Fig. 2)."""

import keras
from keras import layers, ops

from keras_cmsa.backbones import dilated_resnet101
from keras_cmsa.ends import image_and_words, mask_logits
from keras_cmsa.layers import (
    CrossModalSelfAttention,
    GatedMultiLevelFusion,
    MultimodalFeature,
    WordPositions,
)

LEVELS = ("res3", "res4", "res5")


def gated_multi_level(levels, fusion_dim):
    """Eq. 5 and the sum of Eq. 6: `(B, H, W, C_i)` maps to one `(B, H, W, fusion_dim)`."""
    return GatedMultiLevelFusion(fusion_dim, name="fusion")(levels)


def build_cmsa(
    vocabulary_size,
    image_size=320,
    backbone=None,
    max_words=20,
    word_dim=1000,
    attention_dim=512,
    fusion_dim=500,
    attention="full",
    word_positions=False,
    query_chunk=None,
    sentence_vector=False,
    levels=LEVELS,
    fusion=gated_multi_level,
    name="cmsa",
):
    """The cross-modal self-attention network, in the paper's sizes by default.

    Args:
        vocabulary_size: number of word ids, padding (0) and `[UNK]` (1) included.
        image_size: side S of the square input in pixels, a multiple of 8.
        backbone: model from `(B, S, S, 3)` RGB in 0..255 to the maps of Res3, Res4 and Res5.
            `None`: `dilated_resnet101(image_size)`, with ImageNet weights.
        max_words: words per expression N.
        word_dim: length of a word vector.
        attention_dim: width of query, key and value.
        fusion_dim: channels of the fused map.
        attention: `"none"`, `"word"`, `"pixel"`, `"pair"` or `"full"` (Table 2).
        word_positions: add a learned vector per place in the sentence to each word. Eq. 1 has none
            and cannot tell "circle left of the square" from "square left of the circle".
        query_chunk: see `CrossModalSelfAttention`; for image sizes whose attention fills memory.
        sentence_vector: let the state of an LSTM after the last word stand for all words (CMSA-S).
        levels: which of `LEVELS` are attended and fused.
        fusion: function of the list of attended maps and `fusion_dim` that makes one map of them;
            `keras_cmsa.layers.fusion_alternatives` has those of Table 3.
        name: of the model.

    Returns:
        A functional `keras.Model`. Inputs: `image` `(B, S, S, 3)` float32 RGB in 0..255 and
        `words` `(B, N)` int32, 0 at padding. Output: logits `(B, S, S, 1)` float32; their sigmoid
        is the probability of Eq. 6.

    Raises:
        ValueError: if a size is not possible or the backbone does not fit `image_size`.

    Source: Ye et al., CVPR 2019.
    """
    if not levels or not set(levels) <= set(LEVELS):
        raise ValueError(f"levels must be one or more of {LEVELS}. Received: levels={levels}")
    backbone = backbone or dilated_resnet101(image_size)
    inputs, maps, word_vectors, is_word = image_and_words(
        vocabulary_size, image_size, backbone, max_words, word_dim
    )
    if word_positions:
        word_vectors = WordPositions(name="word_positions")(word_vectors)
    if sentence_vector:
        sentence = layers.LSTM(word_dim, name="sentence")(word_vectors, mask=is_word)
        word_vectors, is_word = sentence[:, None], is_word[:, :1]  # (B, 1, Cl), (B, 1)

    attended = []
    for level, visual in zip(LEVELS, maps, strict=True):
        if level not in levels:
            continue
        feature = MultimodalFeature(name=f"feature_{level}")(visual, word_vectors)
        # The attention itself is an output of the graph, for `with_attention`; unasked for, it is
        # never computed.
        level_map, _, _ = CrossModalSelfAttention(
            attention_dim, attention, query_chunk, name=f"attention_{level}"
        )(*feature, is_word, return_attention=True)
        attended.append(level_map)  # (B, H, W, Cv + 8 + Cl)
    fused = fusion(attended, fusion_dim)  # (B, H, W, fusion_dim)
    score = layers.Conv2D(1, 3, padding="same", name="score")(fused)  # (B, H, W, 1)
    return keras.Model(inputs, mask_logits(score, image_size), name=name)


def attention_layers(model):
    """The `CrossModalSelfAttention` layers of a model, in its order."""
    return [layer for layer in model.layers if isinstance(layer, CrossModalSelfAttention)]


def with_attention(model):
    """The same model, sharing its weights, that also tells what it attended to.

    Args:
        model: a model with `CrossModalSelfAttention` layers, such as `build_cmsa` or
            `keras.saving.load_model` returns.

    Returns:
        `keras.Model` with outputs `{"logits": (B, S, S, 1), "word_attention": (B, L, N),
        "position_attention": (B, L, H, W)}` for the L attention layers in the model's order. The
        word attention is the matrix of Fig. 4; see `CrossModalSelfAttention` for both.

    Raises:
        ValueError: if the model has no such layer.
    """
    attention = attention_layers(model)
    if not attention:
        raise ValueError(
            f"with_attention needs a model with CrossModalSelfAttention layers. Received: "
            f"{model.name!r}, which has none"
        )
    outputs = {
        "logits": model.output,
        "word_attention": ops.stack([layer.output[1] for layer in attention], axis=1),
        "position_attention": ops.stack([layer.output[2] for layer in attention], axis=1),
    }
    return keras.Model(model.input, outputs, name=f"{model.name}_with_attention")


def telling_all(model):
    """`with_attention(model)`, or for a system without such an attention `{"logits": ...}` alone."""
    if isinstance(model.output, dict):
        return model  # from a SavedModel, which tells all
    if attention_layers(model):
        return with_attention(model)
    return keras.Model(model.input, {"logits": model.output}, name=model.name)
