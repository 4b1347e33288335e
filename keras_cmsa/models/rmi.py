"""RMI (Liu et al., ICCV 2017): at each position an LSTM reads the words beside the image.

    image -> Res5 -> 1x1 ----------------------------\\
                                                       multimodal LSTM -> ReLU, 1x1 -> logits
    words -> word vectors -> LSTM, all its states ----/
"""

import keras
from keras import layers, ops

from keras_cmsa.layers import MultimodalFeature, MultimodalLSTM
from keras_cmsa.models.backbones import dilated_resnet101
from keras_cmsa.models.inputs_and_outputs import image_and_words_in_rows, mask_logits


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
        name: name of the model.

    Returns:
        `keras.Model` with the inputs and the output of `build_cmsa`. 27,071,501 parameters beside
        the backbone with 10,000 words.

    Changed: the authors compute the loss on the map of stride 8 against a resized soft mask; here
    all systems are trained on logits at image size. The authors also freeze the whole backbone.

    Source: Liu et al., "Recurrent Multimodal Interaction for Referring Image Segmentation", and its
    authors' code.
    """
    backbone = backbone or dilated_resnet101(image_size)
    inputs, maps, word_vectors, is_word = image_and_words_in_rows(
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
    return keras.Model(inputs, mask_logits(score, inputs), name=name)


def undo_tanh(state):
    """The inverse tanh of an LSTM's output, in float32 and finite at -1 and 1."""
    state = ops.cast(state, "float32")
    return 0.5 * (ops.log(1.001 + state) - ops.log(1.001 - state))
