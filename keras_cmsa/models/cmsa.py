"""CMSA: an image and words to the mask of what they refer to; the method on one page (Fig. 2)."""

import keras
from keras import layers, ops

from keras_cmsa.layers.cross_modal_self_attention import CrossModalSelfAttention
from keras_cmsa.layers.multimodal_feature import MultimodalFeature
from keras_cmsa.layers.sentence_axis import FromRows, as_rows
from keras_cmsa.layers.word_positions import WordPositions
from keras_cmsa.models.backbones import dilated_resnet101
from keras_cmsa.models.channels_last import channels_last
from keras_cmsa.models.existence import with_existence
from keras_cmsa.models.fusions import FUSIONS
from keras_cmsa.models.inputs_and_outputs import (
    check_one_side,
    check_words,
    image_and_words,
    mask_logits,
)

LEVELS = ("res3", "res4", "res5")
PARTS = ("backbone", "fusion", "word_encoder")  # arguments that are not numbers, names or switches


@channels_last()
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
    fusion="gated_multi_level",
    word_encoder=None,
    existence=False,
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
        fusion: a key of `keras_cmsa.models.fusions.FUSIONS` (Table 3), or a function from the list
            of maps X^i, `(B K, H, W, F)` each, to one map. A model with a function of one's own
            can be saved if that is registered with Keras.
        word_encoder: layer from ids `(..., N)` to vectors `(..., N, C)`, as those of
            `keras_cmsa.models.word_encoder`; C then takes the place of `word_dim`. `None`: a table
            that is learnt.
        existence: also say whether anything in the image fits the sentence. The paper does not.
        name: name of the model.

    Returns:
        `Cmsa`, a functional `keras.Model`. Inputs: `image` `(B, S, S, 3)` float32 RGB in 0..255 and
        `words` `(B, K, N)` int32, 0 at padding, K sentences about each image. Output: logits
        `(B, K, S, S, 1)` float32; their sigmoid is the probability of Eq. 6. With `existence` it is
        a dict of these `logits` and `exists` `(B, K)` float32 in 0..1, see `with_existence`. A
        sentence gets what it gets alone, and K may differ from call to call.

    Raises:
        ValueError: if a size is not possible, the backbone does not fit `image_size` or there is no
            such level, attention or fusion.

    Source: Ye et al., CVPR 2019.
    """
    if not levels or not set(levels) <= set(LEVELS):
        raise ValueError(f"levels must be one or more of {LEVELS}. Received: levels={levels}")
    if not callable(fusion) and fusion not in FUSIONS:
        raise ValueError(
            f"fusion must be a function or one of {sorted(FUSIONS)}. Received: fusion={fusion!r}"
        )
    arguments = {**locals(), "levels": tuple(levels)}
    backbone = backbone or dilated_resnet101(image_size)
    inputs, maps, word_vectors, is_word = image_and_words(
        vocabulary_size, image_size, backbone, max_words, word_dim, word_encoder
    )
    check_one_side(maps)
    word_encoder = word_vectors._keras_history.operation
    if word_positions:
        word_vectors = WordPositions(name="word_positions")(word_vectors)
    if sentence_vector:
        sentence = layers.LSTM(word_dim, name="sentence")(
            as_rows(word_vectors), mask=as_rows(is_word)
        )  # (B K, Cl)
        sentence = FromRows(name="sentences")(sentence, inputs["words"])
        word_vectors, is_word = sentence[:, :, None], is_word[..., :1]  # (B, K, 1, Cl)

    attention_layers, attended = [], []
    for level, visual in zip(LEVELS, maps, strict=True):
        if level not in levels:
            continue
        feature = MultimodalFeature(name=f"feature_{level}")(visual, word_vectors)
        attend = CrossModalSelfAttention(
            attention_dim, fusion_dim, attention, query_chunk, name=f"attention_{level}"
        )
        # The attention maps are only computed when `with_attention` makes them outputs.
        level_map, _, _ = attend(*feature, is_word, return_attention=True)  # (B, K, H, W, F)
        attention_layers.append(attend)
        attended.append(as_rows(level_map))
    fused = FUSIONS.get(fusion, fusion)(attended)  # (B K, H, W, F)
    score = layers.Conv2D(1, 3, padding="same", name="score")
    scores = score(fused)
    outputs = mask_logits(scores, inputs)
    if existence:
        rows = as_rows(word_vectors), as_rows(is_word)
        outputs = with_existence(outputs, fused, scores, *rows, inputs)
    model = Cmsa(inputs, outputs, arguments)
    model.image_encoder, model.word_encoder = backbone, word_encoder
    model.attention_layers, model.score = attention_layers, score
    model.fusion = fused._keras_history.operation
    return model


@keras.saving.register_keras_serializable(package="keras_cmsa")
class Cmsa(keras.Model):
    """The functional model that `build_cmsa` makes; its parts and its arguments are attributes.

    Attributes:
        image_encoder: the backbone, from the image to its maps.
        word_encoder: the layer of the words, an `Embedding` in the paper's network.
        attention_layers: a `CrossModalSelfAttention` for each level, the deepest last.
        fusion: the layer that gives the fused map, `GatedMultiLevelFusion` in the paper's network.
        score: the convolution of the fused map to one channel.
        vocabulary_size, image_size, ...: the other arguments of `build_cmsa`.
    """

    def __init__(self, inputs, outputs, arguments):
        super().__init__(inputs, outputs, name=arguments["name"])
        self._sizes = [x for x in arguments if x not in ("name", *PARTS)]
        for size in self._sizes:
            setattr(self, size, arguments[size])
        self._parts = {part: arguments[part] for part in PARTS[1:]}

    def call(self, inputs, training=None, mask=None):
        check_words(inputs["words"], self.max_words, self.vocabulary_size)
        return super().call(inputs, training, mask)

    def get_config(self):
        # Not the parent's: a functional model's is that of all its layers.
        return {
            **{size: getattr(self, size) for size in self._sizes},
            "backbone": keras.saving.serialize_keras_object(self.image_encoder),
            **{k: keras.saving.serialize_keras_object(v) for k, v in self._parts.items()},
            "name": self.name,
            "trainable": self.trainable,
            "dtype": self.dtype_policy.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        arguments = {**config}
        for part in PARTS:
            arguments[part] = keras.saving.deserialize_keras_object(config[part], custom_objects)
        if not isinstance(arguments["backbone"], keras.Model):  # None would be downloaded
            raise ValueError(
                f"backbone: wanted a Keras model. Received: {arguments['backbone']!r:.100}"
            )
        trainable, before = arguments.pop("trainable"), keras.config.dtype_policy()
        keras.config.set_dtype_policy(arguments.pop("dtype"))
        try:
            model = build_cmsa(**arguments)
        finally:
            keras.config.set_dtype_policy(before)
        if not trainable:
            model.trainable = False
        return model


def attention_levels(model):
    """Names of the levels that a model attends to, such as `"Res3"`; empty without attention."""
    return [level.capitalize() for level in model.levels] if isinstance(model, Cmsa) else []


def with_attention(model):
    """A model with the same weights that also outputs its attention.

    Args:
        model: `Cmsa`, as `build_cmsa` or `keras.saving.load_model` returns it.

    Returns:
        `keras.Model` with outputs `{"logits": (B, K, S, S, 1), "word_attention": (B, K, L, N),
        "position_attention": (B, K, L, H, W)}` for the L attention layers in the model's order, and
        `exists` where the model has it. The word attention is the matrix of Fig. 4;
        `CrossModalSelfAttention` defines both.

    Raises:
        ValueError: if the model is another system.
    """
    if not isinstance(model, Cmsa):
        raise ValueError(
            "with_attention needs a model of build_cmsa, such as cmsa and cmsa_ordered. "
            f"Received: {model.name!r}, another system"
        )
    attention = [layer.output for layer in model.attention_layers]
    outputs = {
        **named_outputs(model),
        "word_attention": ops.stack([by_word for _, by_word, _ in attention], axis=2),
        "position_attention": ops.stack([by_position for *_, by_position in attention], axis=2),
    }
    return keras.Model(model.input, outputs, name=f"{model.name}_with_attention")


def with_all_outputs(model):
    """`with_attention(model)`, or another system with its outputs in a dict."""
    if isinstance(model, Cmsa):
        return with_attention(model)
    if isinstance(model.output, dict):
        return model
    return keras.Model(model.input, named_outputs(model), name=model.name)


def named_outputs(model):
    """The outputs of a model by name; logits alone have none of their own."""
    return model.output if isinstance(model.output, dict) else {"logits": model.output}
