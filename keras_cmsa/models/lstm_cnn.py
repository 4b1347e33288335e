"""LSTM-CNN (Hu et al., ECCV 2016): image features and a sentence vector, joined at each position.

                 VGG-16 or ResNet-101 -> features \\
                                                    join, 1x1, 1x1 -> upsampling -> logits
    words -> word vectors -> LSTM, last state    /
"""

import keras
from keras import layers, ops

from keras_cmsa.layers import BilinearFilter, FromRows, MultimodalFeature
from keras_cmsa.models.backbones import dilated_resnet101, vgg16
from keras_cmsa.models.inputs_and_outputs import image_and_words_in_rows, mask_logits


def build_lstm_cnn(
    vocabulary_size,
    image_size=512,
    backbone=None,
    max_words=20,
    word_dim=1000,
    fusion_dim=500,
    name="lstm_cnn",
):
    """LSTM-CNN as published, with VGG-16 and a learned upsampling.

    Args:
        vocabulary_size, image_size, max_words: as in `build_cmsa`.
        backbone: model from an image to a list of maps, of which the last is used. `None`:
            `vgg16(image_size)`, whose map is 16 x 16 x 1000 at 512 pixels.
        word_dim: length of a word vector and of the LSTM's state.
        fusion_dim: channels of the joined map.
        name: name of the model.

    Returns:
        `keras.Model` with the inputs and the output of `build_cmsa`. 19,013,097 parameters beside
        the backbone with 10,000 words.

    Left open or changed: the LSTM skips padding, which the authors' LSTM reads; its initial weights
    are Keras' defaults. The authors train in three stages, starting with a classifier of boxes;
    here all systems are trained in the same way and end to end, with the layers of `backbone` that
    are trainable.

    Source: Hu et al., "Segmentation from Natural Language Expressions", and its authors' code.
    """
    backbone = backbone or vgg16(image_size)
    inputs, maps, word_vectors, is_word = image_and_words_in_rows(
        vocabulary_size, image_size, backbone, max_words, word_dim
    )
    fused = joined_map(maps[-1], word_vectors, is_word, word_dim, fusion_dim)
    score = layers.Conv2D(1, 1, name="score")(fused)
    stride = image_size // score.shape[1]
    logits = layers.Conv2DTranspose(
        1,
        2 * stride,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer=BilinearFilter(),
        dtype="float32",
        name="enlarge",
    )(score)
    logits = FromRows(dtype="float32", name="logits")(logits, inputs["words"])
    return keras.Model(inputs, logits, name=name)


def build_lstm_cnn_deeplab(
    vocabulary_size,
    image_size=320,
    backbone=None,
    max_words=20,
    word_dim=1000,
    fusion_dim=500,
    score_kernel=1,
    name="lstm_cnn_deeplab",
):
    """LSTM-CNN on the backbone of the later systems, as RMI's authors ran it.

    The arguments are those of `build_lstm_cnn`, with `dilated_resnet101(image_size)` as the default
    backbone; `word_dim` is also the length of the reduced visual vector. With a `score_kernel` of
    3, that of RRN, this is RRN without its refinement: "RRN-CNN" in Table 3, which leaves it open.

    Returns:
        `keras.Model` with the inputs and the output of `build_cmsa`. 21,058,001 parameters beside
        the backbone with 10,000 words.

    Source: Liu et al., "Recurrent Multimodal Interaction for Referring Image Segmentation", ICCV
    2017, and its authors' code.
    """
    backbone = backbone or dilated_resnet101(image_size)
    inputs, maps, word_vectors, is_word = image_and_words_in_rows(
        vocabulary_size, image_size, backbone, max_words, word_dim
    )
    fused = first_map(maps[-1], word_vectors, is_word, word_dim, fusion_dim)
    score = layers.Conv2D(1, score_kernel, padding="same", name="score")(fused)
    return keras.Model(inputs, mask_logits(score, inputs), name=name)


def first_map(deepest, word_vectors, is_word, word_dim, fusion_dim):
    """`joined_map` of Res5, reduced to the length of a word vector; RRN refines it."""
    visual = layers.Conv2D(word_dim, 1, name="visual")(deepest)
    return joined_map(visual, word_vectors, is_word, word_dim, fusion_dim)


def joined_map(visual, word_vectors, is_word, word_dim, fusion_dim):
    """Image and sentence vector joined at each position: `(B, H, W, fusion_dim)`."""
    sentence = layers.LSTM(word_dim, name="sentence")(word_vectors, mask=is_word)  # (B, Cl)
    # Eq. 1 with one vector for the whole expression.
    positions, sentence = MultimodalFeature(name="feature")(visual, sentence[:, None])
    sentence = sentence[:, None] + ops.zeros_like(positions[..., :1])  # (B, H, W, Cl)
    feature = layers.Concatenate(name="joined")([positions, sentence])  # (B, H, W, Cv + 8 + Cl)
    return layers.Conv2D(fusion_dim, 1, activation="relu", name="fusion")(feature)
