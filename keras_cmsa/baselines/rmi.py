"""RMI (Liu et al., ICCV 2017): at each position an LSTM sees every word beside the image.

    image -> Res5 -> 1x1 ----------------------------\\
                                                       multimodal LSTM -> ReLU, 1x1 -> logits
    words -> word vectors -> LSTM, all its states ----/
"""

import keras
from keras import layers, ops

from keras_cmsa.backbones import dilated_resnet101
from keras_cmsa.ends import image_and_words, mask_logits
from keras_cmsa.layers import MultimodalFeature, MultimodalLSTM


def build_rmi(
    vocabulary_size,
    image_size=320,
    backbone=None,
    max_words=20,
    word_dim=1000,
    fusion_dim=500,
    name="rmi",
):
    """Recurrent multimodal interaction, on Res5 of the DeepLab backbone.

    Args:
        vocabulary_size, image_size, backbone, max_words: as in `build_cmsa`.
        word_dim: length of a word vector, of the LSTM's state and of the reduced visual vector.
        fusion_dim: channels of the multimodal LSTM.
        name: of the model.

    Returns:
        `keras.Model`, inputs and output as those of `build_cmsa`. 27,071,501 parameters beside the
        backbone with 10,000 words.

    Changed: the authors' loss is taken on the map of stride 8 and a resized soft mask; all systems
    here are trained on logits at image size. They also keep the whole backbone frozen.

    Source: Liu et al., "Recurrent Multimodal Interaction for Referring Image Segmentation", and its
    authors' code.
    """
    backbone = backbone or dilated_resnet101(image_size)
    inputs, maps, word_vectors, is_word = image_and_words(
        vocabulary_size, image_size, backbone, max_words, word_dim
    )
    hidden = layers.LSTM(word_dim, return_sequences=True, name="sentence")(
        word_vectors, mask=is_word
    )  # (B, N, Cl)
    visual = layers.Conv2D(word_dim, 1, name="visual")(maps[-1])
    positions, hidden = MultimodalFeature(name="feature")(visual, hidden)
    words = layers.Concatenate(name="words_in_context")([word_vectors, hidden])  # (B, N, 2 Cl)
    state = MultimodalLSTM(fusion_dim, name="fusion")(positions, words, is_word)  # (B, H, W, C)
    score = layers.Conv2D(1, 1, name="score")(ops.relu(undo_tanh(state)))
    return keras.Model(inputs, mask_logits(score, image_size), name=name)


def undo_tanh(state):
    """Takes the tanh off an LSTM's output, in float32 and short of infinity at -1 and 1."""
    state = ops.cast(state, "float32")
    return 0.5 * (ops.log(1.001 + state) - ops.log(1.001 - state))
