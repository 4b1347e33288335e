"""LSTM-CNN (Hu et al., ECCV 2016): a sentence vector and image features, joined at each position.

                 VGG-16 or ResNet-101 -> features \\
                                                    join, 1x1, 1x1 -> upsampling -> logits
    words -> word vectors -> LSTM, last state    /
"""

import keras
from keras import layers

from keras_cmsa.backbones import dilated_resnet101, vgg16
from keras_cmsa.ends import image_and_words, mask_logits
from keras_cmsa.layers import BilinearFilter, SentenceFeature


def build_lstm_cnn(
    vocabulary_size,
    image_size=512,
    backbone=None,
    max_words=20,
    word_dim=1000,
    fusion_dim=500,
    name="lstm_cnn",
):
    """LSTM-CNN as published: VGG-16 and a learned upsampling.

    Args:
        vocabulary_size, image_size, max_words: as in `build_cmsa`.
        backbone: model from image to a list of maps; the last one counts. `None`:
            `vgg16(image_size)`, 16 x 16 x 1000 at 512.
        word_dim: length of a word vector and of the LSTM's state.
        fusion_dim: channels of the joined map.
        name: of the model.

    Returns:
        `keras.Model`, inputs and output as those of `build_cmsa`. 19,013,097 parameters beside the
        backbone with 10,000 words.

    Left open or changed: padding is skipped, where the authors run the LSTM over it; the LSTM's
    starting weights are Keras'. The authors train in three stages, a classifier of boxes first; all
    systems here are trained alike and end to end, with whatever `backbone` leaves trainable.

    Source: Hu et al., "Segmentation from Natural Language Expressions", and its authors' code.
    """
    backbone = backbone or vgg16(image_size)
    inputs, maps, word_vectors, is_word = image_and_words(
        vocabulary_size, image_size, backbone, max_words, word_dim
    )
    score = score_of_sentence(maps[-1], word_vectors, is_word, word_dim, fusion_dim)
    stride = image_size // score.shape[1]
    logits = layers.Conv2DTranspose(
        1,
        2 * stride,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer=BilinearFilter(),
        dtype="float32",
        name="logits",
    )(score)
    return keras.Model(inputs, logits, name=name)


def build_lstm_cnn_deeplab(
    vocabulary_size,
    image_size=320,
    backbone=None,
    max_words=20,
    word_dim=1000,
    fusion_dim=500,
    name="lstm_cnn_deeplab",
):
    """LSTM-CNN on the backbone of the later systems, as RMI's authors ran it.

    Args:
        vocabulary_size, image_size, backbone, max_words: as in `build_cmsa`.
        word_dim: length of a word vector, of the LSTM's state and of the reduced visual vector.
        fusion_dim: channels of the joined map.
        name: of the model.

    Returns:
        `keras.Model`, inputs and output as those of `build_cmsa`. 21,058,001 parameters beside the
        backbone with 10,000 words.

    Source: Liu et al., "Recurrent Multimodal Interaction for Referring Image Segmentation", ICCV
    2017, and its authors' code.
    """
    backbone = backbone or dilated_resnet101(image_size)
    inputs, maps, word_vectors, is_word = image_and_words(
        vocabulary_size, image_size, backbone, max_words, word_dim
    )
    visual = layers.Conv2D(word_dim, 1, name="visual")(maps[-1])
    score = score_of_sentence(visual, word_vectors, is_word, word_dim, fusion_dim)
    return keras.Model(inputs, mask_logits(score, image_size), name=name)


def score_of_sentence(visual, word_vectors, is_word, word_dim, fusion_dim):
    sentence = layers.LSTM(word_dim, name="sentence")(word_vectors, mask=is_word)  # (B, Cl)
    feature = SentenceFeature(name="feature")(visual, sentence)  # (B, H, W, Cv + 8 + Cl)
    fused = layers.Conv2D(fusion_dim, 1, activation="relu", name="fusion")(feature)
    return layers.Conv2D(1, 1, name="score")(fused)  # (B, H, W, 1)
