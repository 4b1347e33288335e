"""CMSA: an image and words to the mask of what they refer to; the method on one page (Fig. 2)."""

import keras
from keras import layers, ops

from keras_cmsa.layers import (
    CrossModalSelfAttention,
    FromRows,
    GatedMultiLevelFusion,
    MultimodalFeature,
    WordPositions,
)
from keras_cmsa.layers.sentence_axis import as_rows
from keras_cmsa.models.backbones import dilated_resnet101
from keras_cmsa.models.inputs_and_outputs import image_and_words, mask_logits

LEVELS = ("res3", "res4", "res5")


def gated_multi_level(levels):
    """Eq. 5 and the sum of Eq. 6: `(B, H, W, F)` maps X^i to one."""
    return GatedMultiLevelFusion(name="fusion")(levels)


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
    query_chunk="auto",
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
        fusion_dim: channels F of the reduced maps X^i and of the fused map.
        attention: `"none"`, `"word"`, `"pixel"`, `"pair"` or `"full"` (Table 2).
        word_positions: add to each word a learned vector of its place in the expression. Eq. 1 does
            not, so it cannot tell "circle left of the square" from "square left of the circle".
        query_chunk: see `CrossModalSelfAttention`; `"auto"` bounds the memory of large images.
        sentence_vector: replace all words by one vector, the state of an LSTM after the last word
            (CMSA-S).
        levels: the levels to attend and fuse, a subset of `LEVELS`.
        fusion: function from the list of maps X^i, `(B K, H, W, F)` each, to one map;
            `keras_cmsa.models.fusions` has those of Table 3.
        name: name of the model.

    Returns:
        A functional `keras.Model`. Inputs: `image` `(B, S, S, 3)` float32 RGB in 0..255 and
        `words` `(B, K, N)` int32, 0 at padding, K sentences about each image. Output: logits
        `(B, K, S, S, 1)` float32; their sigmoid is the probability of Eq. 6. A sentence gets what
        it gets alone, and K may differ from call to call.

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
        sentence = layers.LSTM(word_dim, name="sentence")(
            as_rows(word_vectors), mask=as_rows(is_word)
        )  # (B K, Cl)
        sentence = FromRows(name="sentences")(sentence, inputs["words"])
        word_vectors, is_word = sentence[:, :, None], is_word[..., :1]  # (B, K, 1, Cl), (B, K, 1)

    attended = []
    for level, visual in zip(LEVELS, maps, strict=True):
        if level not in levels:
            continue
        feature = MultimodalFeature(name=f"feature_{level}")(visual, word_vectors)
        # The attention maps are only computed when `with_attention` makes them outputs.
        level_map, _, _ = CrossModalSelfAttention(
            attention_dim, fusion_dim, attention, query_chunk, name=f"attention_{level}"
        )(*feature, is_word, return_attention=True)  # (B, K, H, W, F)
        attended.append(as_rows(level_map))
    fused = fusion(attended)  # (B K, H, W, F)
    score = layers.Conv2D(1, 3, padding="same", name="score")(fused)  # (B K, H, W, 1)
    return keras.Model(inputs, mask_logits(score, inputs), name=name)


def attention_layers(model):
    """The `CrossModalSelfAttention` layers of a model, in the model's order."""
    return [layer for layer in model.layers if isinstance(layer, CrossModalSelfAttention)]


def attention_levels(model):
    """Names of the levels that a model attends to, such as `"Res3"`; empty without attention."""
    names = [layer.name for layer in attention_layers(model)]
    return [name.removeprefix("attention_").capitalize() for name in names]


def with_attention(model):
    """A model with the same weights that also outputs its attention.

    Args:
        model: model with `CrossModalSelfAttention` layers, as `build_cmsa` or
            `keras.saving.load_model` returns it.

    Returns:
        `keras.Model` with outputs `{"logits": (B, K, S, S, 1), "word_attention": (B, K, L, N),
        "position_attention": (B, K, L, H, W)}` for the L attention layers in the model's order. The
        word attention is the matrix of Fig. 4; `CrossModalSelfAttention` defines both.

    Raises:
        ValueError: if the model has no such layer.
    """
    attention = attention_layers(model)
    if not attention:
        raise ValueError(
            "with_attention needs a model with CrossModalSelfAttention layers. "
            f"Received: {model.name!r}, which has none"
        )
    outputs = {
        "logits": model.output,
        "word_attention": ops.stack([layer.output[1] for layer in attention], axis=2),
        "position_attention": ops.stack([layer.output[2] for layer in attention], axis=2),
    }
    return keras.Model(model.input, outputs, name=f"{model.name}_with_attention")


def with_all_outputs(model):
    """`with_attention(model)`, or the outputs `{"logits": ...}` if the model has no such layer."""
    if has_all_outputs(model):
        return model
    if attention_layers(model):
        return with_attention(model)
    return keras.Model(model.input, {"logits": model.output}, name=model.name)


def has_all_outputs(model):
    """Whether a model gives a dict, as exports and what `with_all_outputs` returns do."""
    return isinstance(model.output, dict)
