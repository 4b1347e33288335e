"""What a CMSA model did with an expression, beyond its answer: the material of Figs. 4 and 5."""

from dataclasses import dataclass

import keras
import numpy as np

from keras_cmsa.evaluation.crf import MaskRule
from keras_cmsa.inference.prediction import Prediction, as_heat
from keras_cmsa.layers import CrossModalSelfAttention, GatedMultiLevelFusion
from keras_cmsa.models.inputs_and_outputs import mask_logits
from keras_cmsa.preprocessing.reading import to_pixels


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a model did with one expression.

    Attributes:
        prediction: `Prediction`.
        found: `(H, W)` bool, the mask under the rule of the explainer.
        levels: names of the levels of its attention, such as `"Res3"`.
        last_level: `(H, W)` bool, the mask from the last level alone, under the same rule.
        last_level_by: where that comes from, in words.
        strongest_channel: `(H, W)` float32 in 0..1, the fused map's channel with the highest peak.
    """

    prediction: Prediction
    found: np.ndarray
    levels: list
    last_level: np.ndarray
    last_level_by: str
    strongest_channel: np.ndarray


class Explainer:
    """Looks inside a model with self-attention at several levels and gated fusion.

    Args:
        predictor: its `Predictor`.
        single_level: `Predictor` of a model of Res5 alone (CMSA-W of Table 3) for the mask from the
            last level. `None`: the score layer on the last level's part of the fused map.
        rule: `MaskRule` of the masks; `None`: strict.

    Raises:
        ValueError: if the model has no such parts.
    """

    def __init__(self, predictor, single_level=None, rule=None):
        self.predictor = predictor
        self.single_level = single_level
        self.rule = rule or MaskRule()
        self.inner = inner_model(predictor.model)

    def __call__(self, image, expressions):
        """List of `Explanation` for an image, as `Predictor` takes it, and a list of `str`."""
        pixels, predictor = to_pixels(image), self.predictor
        preprocessor, size = predictor.preprocessor, pixels.shape[:2]
        predictions = predictor(pixels, expressions)
        alone = self.single_level(pixels, expressions) if self.single_level else None
        square, words = preprocessor.image(pixels)[None], predictor.encode(expressions)
        explanations = []
        for i, prediction in enumerate(predictions):
            # One by one, since the fused maps of many sentences are large.
            outputs = self.inner.predict_on_batch(
                {"image": square, "words": words[None, i : i + 1]}
            )
            if alone:
                logits, by = alone[i].logits, f"the model {self.single_level.model.name}"
                last_level = self.rule(pixels, logits, alone[i].preprocessor)
            else:
                logits, by = (
                    np.asarray(outputs["last_level"])[0, 0, ..., 0],
                    "its part of the fusion",
                )
                last_level = self.rule(pixels, logits, preprocessor)
            channel = strongest_channel(np.asarray(outputs["fused"])[0].astype("float32"))
            explanation = Explanation(
                prediction,
                self.rule(pixels, prediction.logits, preprocessor),
                predictor.levels,
                last_level,
                by,
                as_heat(preprocessor.undo(channel, size)),
            )
            explanations.append(explanation)
        return explanations


def inner_model(model):
    """The model, sharing its weights, with outputs `fused` and `last_level`.

    `fused` is the map of Eq. 6, `(B K, h, w, F)`; `last_level` the logits `(B, K, S, S, 1)` that
    the score layer gives for F_o of the last level alone.
    """
    if not can_explain(model):
        raise ValueError(
            "Figs. 4 and 5 look into self-attention at several levels with gated fusion, as "
            f"build_cmsa makes it. Received: {model.name!r}, which has none"
        )
    (fusion,) = (layer for layer in model.layers if isinstance(layer, GatedMultiLevelFusion))
    fused, levels = WithLevels(fusion)(fusion.input)
    last_level = mask_logits(model.get_layer("score")(levels[-1]), model.input)
    return keras.Model(model.input, {"fused": fused, "last_level": last_level})


class WithLevels(keras.layers.Layer):
    """A fusion whose outputs are also those of its levels.

    Keras knows a layer by the outputs of its first call, and the fusion had fewer there.
    """

    def __init__(self, fusion):
        super().__init__(autocast=False)
        self.fusion = fusion

    def call(self, levels):
        return self.fusion(levels, return_levels=True)


def can_explain(model):
    """Whether a model has what Figs. 4 and 5 show."""
    kinds = [type(layer) for layer in model.layers]
    names = {layer.name for layer in model.layers}
    return (
        CrossModalSelfAttention in kinds
        and kinds.count(GatedMultiLevelFusion) == 1
        and {"score", "logits"} <= names
    )


def strongest_channel(fused):
    """The channel of `(h, w, F)` with the highest peak, brought to 0..1: `(h, w)`."""
    channel = fused[..., np.argmax(fused.max(axis=(0, 1)))]
    low, high = channel.min(), channel.max()
    return (channel - low) / max(high - low, np.finfo("float32").tiny)
