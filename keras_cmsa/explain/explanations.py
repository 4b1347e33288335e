"""What a model did with an expression, beyond its answer: word by word, and in Figs. 4 and 5."""

from dataclasses import dataclass

import keras
import numpy as np

from keras_cmsa.explain.word_importance import WordImportance, explain_words
from keras_cmsa.inference.masks import MaskRule
from keras_cmsa.inference.prediction import Prediction, as_heat
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.layers import FromRows, GatedMultiLevelFusion
from keras_cmsa.models.cmsa import Cmsa, with_attention
from keras_cmsa.models.inputs_and_outputs import mask_logits
from keras_cmsa.preprocessing.reading import to_pixels


@dataclass(frozen=True, eq=False)
class Inside:
    """What Figs. 4 and 5 show of a CMSA network and one expression.

    Attributes:
        levels: names of the levels of its attention, such as `"Res3"`.
        last_level: `(H, W)` bool, the mask from the last level alone, under the rule asked for.
        last_level_by: where that comes from, in words.
        strongest_channel: `(H, W)` float32 in 0..1, the fused map's channel with the highest peak.
    """

    levels: list
    last_level: np.ndarray
    last_level_by: str
    strongest_channel: np.ndarray


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a model did with one expression.

    Attributes:
        prediction: `Prediction`.
        mask: `(H, W)` bool, the mask under the rule asked for.
        words: list of `WordImportance`, in the order of the words.
        inside: `Inside`, or `None` for a system without its parts.
    """

    prediction: Prediction
    mask: np.ndarray
    words: list[WordImportance]
    inside: Inside | None


class Explainer:
    """Explains a model's answers.

    Args:
        predictor: its `Predictor`.
        single_level: `Predictor` of a model of Res5 alone (CMSA-W of Table 3) for the mask from the
            last level. `None`: the score layer on the last level's part of the fused map.

    Raises:
        ValueError: if `single_level` is given and the model has no levels.
    """

    def __init__(self, predictor, single_level=None):
        self.single_level = single_level
        self.looks_inside = single_level is not None or can_look_inside(predictor.model)
        self.predictor, self.levels = predictor, predictor.levels
        if self.looks_inside:
            inner = inner_model(predictor.model)
            self.predictor = Predictor(inner, predictor.preprocessor, config=predictor.config)

    def __call__(self, image, expressions, rule=None):
        """List of `Explanation` for an image, as `Predictor` takes it, and a list of `str`.

        `rule` is the `MaskRule` of the masks; `None`: the answer's own.
        """
        pixels, sentences = to_pixels(image), self.predictor.read(expressions)
        pairs = zip(expressions, sentences, strict=True)
        return [self._explain(pixels, *pair, rule) for pair in pairs]

    def _explain(self, pixels, expression, words, rule):
        outputs, importance = explain_words(self.predictor, pixels, words)
        prediction = self.predictor.prediction(expression, words, pixels.shape[:2], outputs)
        mask = prediction.mask_by(rule, pixels)
        inside = self._inside(pixels, prediction, outputs, rule) if self.looks_inside else None
        return Explanation(prediction, mask, importance, inside)

    def _inside(self, pixels, prediction, outputs, rule):
        preprocessor = prediction.preprocessor
        logits, by = outputs["last_level"][..., 0], "its part of the fusion"
        if self.single_level:
            alone = self.single_level(pixels, prediction.expression)
            logits, by = alone.logits, f"the model {self.single_level.model.name}"
            preprocessor = alone.preprocessor
        channel = strongest_channel(outputs["fused"].astype("float32"))
        return Inside(
            self.levels,
            (rule or MaskRule())(pixels, logits, preprocessor),
            by,
            as_heat(prediction.preprocessor.undo(channel, pixels.shape[:2])),
        )


def inner_model(model):
    """`with_attention(model)` with further outputs, `fused` and `last_level`.

    `fused` is the map of Eq. 6, `(B, K, h, w, F)`; `last_level` the logits `(B, K, S, S, 1)` that
    the score layer gives for F_o of the last level alone.
    """
    if not can_look_inside(model):
        raise ValueError(
            "Figs. 4 and 5 look into build_cmsa's self-attention at several levels with gated "
            f"fusion, as cmsa and cmsa_ordered have. Received: {model.name!r}, another system"
        )
    fused, *levels = model.fusion.output
    outputs = {
        **with_attention(model).output,
        "fused": FromRows(name="fused")(fused, model.input["words"]),
        "last_level": mask_logits(model.score(levels[-1]), model.input, "last_level"),
    }
    return keras.Model(model.input, outputs, name=model.name)


def can_look_inside(model):
    """Whether a model has what Figs. 4 and 5 show."""
    return isinstance(model, Cmsa) and isinstance(model.fusion, GatedMultiLevelFusion)


def strongest_channel(fused):
    """The channel of `(h, w, F)` with the highest peak, brought to 0..1: `(h, w)`."""
    channel = fused[..., np.argmax(fused.max(axis=(0, 1)))]
    low, high = channel.min(), channel.max()
    return (channel - low) / max(high - low, np.finfo("float32").tiny)
