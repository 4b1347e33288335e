"""CMSA with what the paper leaves out: word order, a second look, and a decoder to finer maps."""

from keras import Model, layers, ops

from keras_cmsa.layers.append_coordinates import AppendCoordinates
from keras_cmsa.layers.cross_modal_self_attention import CrossModalSelfAttention
from keras_cmsa.layers.gated_multi_level_fusion import GatedMultiLevelFusion
from keras_cmsa.layers.multimodal_feature import MultimodalFeature
from keras_cmsa.layers.ops import word_shares
from keras_cmsa.layers.sentence_axis import RepeatPerSentence, as_rows
from keras_cmsa.layers.word_positions import WordPositions
from keras_cmsa.models.backbones import dilated_resnet101
from keras_cmsa.models.channels_last import channels_last
from keras_cmsa.models.cmsa import LEVELS
from keras_cmsa.models.existence import with_existence
from keras_cmsa.models.inputs_and_outputs import check_one_side, image_and_words, mask_logits


@channels_last()
def build_cmsa_refined(
    vocabulary_size,
    image_size=320,
    backbone=None,
    max_words=20,
    word_dim=96,
    attention_dim=96,
    fusion_dim=96,
    decoder_dim=16,
    rounds=2,
    word_encoder=None,
    existence=False,
    name="cmsa_refined",
):
    """A system of our own around the paper's attention, which stays exact.

        1. words e_n with their places; CMSA on three maps, fused by the paper's gates and
           normalised: X
        2. a round: a 3x3 convolution of X whose channels get a gain and a shift from the mean of
           e_n, then ReLU: Z; CMSA of the pairs of Z at each position and each word, with scaled
           scores; X gets the result and Z, normalised, with a gain that starts at 0. What the first
           round finds attends to the rest, so "left of the dog" can follow the dog.
        3. X reduced to a few channels; for each finer map of the backbone it is enlarged, the map is
           added, and a residual 3x3 convolution follows; a 3x3 convolution gives the score

    Args:
        vocabulary_size, image_size, max_words: as in `build_cmsa`.
        backbone: model from `(B, S, S, 3)` RGB in 0..255 to three maps of one side, then any finer
            maps from coarse to fine, as `image_encoder(..., finer=(8, 4))` gives. `None`:
            `dilated_resnet101(image_size)`, with ImageNet weights and no finer map.
        word_dim: length of a word vector in the attention.
        attention_dim: width of query, key and value.
        fusion_dim: channels of X.
        decoder_dim: channels of the decoder.
        rounds: how often pairs attend, the first time included.
        word_encoder: layer from ids `(..., N)` to vectors `(..., N, C)`, as
            `keras_cmsa.models.word_encoder` gives; `None`: a table that is learnt.
        existence: as in `build_cmsa`.
        name: name of the model.

    Returns:
        Functional `keras.Model` with the inputs and the outputs of `build_cmsa`. 3,066,410
        parameters beside `dilated_resnet101` with 10,000 words.

    Raises:
        ValueError: if a size is not possible or the backbone does not fit.
    """
    backbone = backbone or dilated_resnet101(image_size)
    inputs, maps, words, is_word = image_and_words(
        vocabulary_size, image_size, backbone, max_words, word_dim, word_encoder
    )
    check_one_side(maps, finer=True)
    maps, finer = maps[: len(LEVELS)], maps[len(LEVELS) :]
    if word_encoder is not None:
        words = layers.Dense(word_dim, name="reduced_words")(words)
    words = WordPositions(name="word_positions")(words)

    attended = []
    for level, visual in zip(LEVELS, maps, strict=True):
        feature = MultimodalFeature(name=f"feature_{level}")(visual, words)
        attend = CrossModalSelfAttention(attention_dim, fusion_dim, name=f"attention_{level}")
        attended.append(as_rows(attend(*feature, is_word)))
    fused = GatedMultiLevelFusion(name="fusion")(attended)  # (B K, H, W, F)
    fused = layers.LayerNormalization(name="fused_norm")(fused)

    words, is_word = as_rows(words), as_rows(is_word)  # (B K, N, Cl), (B K, N)
    sentence = ops.einsum("bn,bnc->bc", word_shares(words, is_word), words)
    for number in range(2, rounds + 1):
        seen = conditioned(fused, sentence, number)
        attend = CrossModalSelfAttention(
            attention_dim, fusion_dim, scaled=True, name=f"attention_round_{number}"
        )
        result = attend(
            AppendCoordinates(name=f"seen_places_{number}")(seen),
            layers.LayerNormalization(name=f"words_norm_{number}")(words),
            is_word,
        )
        result = layers.Add(name=f"result_{number}")([result, seen])
        # A gain that starts at zero: training begins with what one round finds.
        result = layers.LayerNormalization(gamma_initializer="zeros", name=f"gain_{number}")(result)
        fused = layers.Add(name=f"fused_{number}")([fused, result])

    x = layers.ReLU(name="fused_relu")(fused)
    x = layers.Conv2D(decoder_dim, 3, padding="same", name="reduced")(x)
    repeat = RepeatPerSentence(name="finer_of_sentences")
    for number, visual in enumerate(finer, 1):
        # Its channels first, so that each sentence repeats a few.
        visual = layers.Conv2D(decoder_dim, 1, name=f"finer_{number}")(visual)
        x = enlarged(x, visual.shape[1], f"to_finer_{number}")
        x = layers.Add(name=f"with_finer_{number}")([x, repeat(visual, inputs["words"])])
        x = layers.LayerNormalization(name=f"finer_norm_{number}")(x)
        x = layers.ReLU(name=f"finer_relu_{number}")(x)
        refined = layers.Conv2D(
            decoder_dim, 3, padding="same", activation="relu", name=f"refinement_{number}"
        )(x)
        x = layers.Add(name=f"refined_{number}")([x, refined])
    score = layers.Conv2D(1, 3, padding="same", name="score")(x)
    outputs = mask_logits(score, inputs)
    if existence:
        outputs = with_existence(outputs, fused, score, words, is_word, inputs)
    return Model(inputs, outputs, name=name)


def conditioned(fused, sentence, number):
    """The step of a round before its attention: what the sentence makes of the fused map.

    A residual block with the gain and shift of each channel from the sentence (Perez et al.,
    "FiLM", AAAI 2018, Sec. 2).
    """
    channels = fused.shape[-1]
    x = layers.LayerNormalization(name=f"fused_norm_{number}")(fused)
    x = layers.Conv2D(channels, 1, activation="relu", name=f"reduced_{number}")(x)
    x = AppendCoordinates(name=f"fused_places_{number}")(x)
    x = layers.Conv2D(channels, 3, padding="same", name=f"around_{number}")(x)
    x = layers.LayerNormalization(name=f"around_norm_{number}")(x)
    gain = layers.Dense(channels, name=f"sentence_gain_{number}")(sentence)[:, None, None]
    shift = layers.Dense(channels, name=f"sentence_shift_{number}")(sentence)[:, None, None]
    return layers.ReLU(name=f"seen_{number}")(x * (1 + gain) + shift)


def enlarged(visual, side, name):
    """A map enlarged bilinearly to a side that is a multiple of its own."""
    own = visual.shape[1]
    if side % own:
        raise ValueError(
            "wanted finer maps whose sides are multiples of those before. "
            f"Received: sides {own} and {side}"
        )
    return layers.UpSampling2D(side // own, interpolation="bilinear", name=name)(visual)
