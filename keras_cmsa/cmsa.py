"""CMSA: image and words to the mask of what they speak of. The method on one page (Fig. 2)."""

import keras
from keras import layers, ops

from keras_cmsa.backbones import dilated_resnet101
from keras_cmsa.layers import (
    CrossModalSelfAttention,
    GatedMultiLevelFusion,
    MultimodalFeature,
    WordPositions,
)

LEVELS = ("res3", "res4", "res5")


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

    Returns:
        A functional `keras.Model` named "cmsa". Inputs: `image` `(B, S, S, 3)` float32 RGB in
        0..255 and `words` `(B, N)` int32, 0 at padding. Output: logits `(B, S, S, 1)` float32;
        their sigmoid is the probability of Eq. 6.

    Raises:
        ValueError: if a size is not possible or the backbone does not fit `image_size`.

    Source: Ye et al., CVPR 2019.
    """
    if vocabulary_size < 3:
        raise ValueError(
            "vocabulary_size counts padding, [UNK] and at least one word, so it must be 3 or more. "
            f"Received: vocabulary_size={vocabulary_size}"
        )
    if backbone is None:
        backbone = dilated_resnet101(image_size)
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
    if word_positions:
        word_vectors = WordPositions(name="word_positions")(word_vectors)
    is_word = ops.not_equal(words, 0)  # (B, N)

    attended = []
    for level, visual in zip(LEVELS, backbone(image), strict=True):
        feature = MultimodalFeature(name=f"feature_{level}")(visual, word_vectors)
        # The attention itself is an output of the graph, for `with_attention`; unasked for, it is
        # never computed.
        level_map, _, _ = CrossModalSelfAttention(
            attention_dim, attention, query_chunk, name=f"attention_{level}"
        )(*feature, is_word, return_attention=True)
        attended.append(level_map)  # (B, H, W, Cv + 8 + Cl)
    fused = GatedMultiLevelFusion(fusion_dim, name="fusion")(attended)  # (B, H, W, fusion_dim)
    score = layers.Conv2D(1, 3, padding="same", name="score")(fused)  # (B, H, W, 1)
    scale = image_size // score.shape[1]
    logits = layers.UpSampling2D(scale, interpolation="bilinear", dtype="float32", name="logits")(
        score
    )
    return keras.Model({"image": image, "words": words}, logits, name="cmsa")


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
    attention = [layer for layer in model.layers if isinstance(layer, CrossModalSelfAttention)]
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
