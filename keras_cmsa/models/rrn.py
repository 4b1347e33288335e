"""RRN (Li et al., CVPR 2018): a first map of image and sentence, refined by finer and finer maps.

    words -> LSTM, last state -\\
    image -> Res5 -> 1x1 --------> join, 1x1 -\\
          -> Res5 ----------------------> 1x1 -\\
          -> Res4 ----------------------> 1x1 ---> ConvLSTM, in this order -> 3x3 -> logits
          -> Res3 ----------------------> 1x1 -/
"""

import keras
from keras import layers

from keras_cmsa.layers import ConvLSTM
from keras_cmsa.models.backbones import dilated_resnet101
from keras_cmsa.models.inputs_and_outputs import (
    check_one_side,
    image_and_words_in_rows,
    mask_logits,
)
from keras_cmsa.models.lstm_cnn import first_map


def build_rrn(
    vocabulary_size,
    image_size=320,
    backbone=None,
    max_words=20,
    word_dim=1000,
    fusion_dim=500,
    name="rrn",
):
    """The recurrent refinement network.

    Args:
        vocabulary_size, image_size, backbone, max_words: as in `build_cmsa`.
        word_dim: length of a word vector, of the LSTM's state and of the reduced visual vector.
        fusion_dim: channels of the joined map, the levels and the ConvLSTM.
        name: name of the model.

    Returns:
        `keras.Model` with the inputs and the output of `build_cmsa`. 27,260,501 parameters beside
        the backbone with 10,000 words.

    Source: Li et al., "Referring Image Segmentation via Recurrent Refinement Networks", and its
    authors' code.
    """
    backbone = backbone or dilated_resnet101(image_size)
    inputs, maps, word_vectors, is_word = image_and_words_in_rows(
        vocabulary_size, image_size, backbone, max_words, word_dim
    )
    check_one_side(maps)
    sequence = [first_map(maps[-1], word_vectors, is_word, word_dim, fusion_dim)]
    for number, level in reversed(list(enumerate(maps, 1))):
        lateral = layers.Conv2D(fusion_dim, 1, activation="relu", name=f"lateral_{number}")
        sequence.append(lateral(level))
    refined = ConvLSTM(fusion_dim, name="refinement")(sequence)
    score = layers.Conv2D(1, 3, padding="same", name="score")(refined)
    return keras.Model(inputs, mask_logits(score, inputs), name=name)
