"""What a model looked at, against its own layers called by hand."""

import keras
import numpy as np
import pytest
import tiny

from keras_cmsa.explain.explanations import Explainer, strongest_channel
from keras_cmsa.inference.masks import MaskRule, to_mask
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.models.systems import build_system

pytestmark = pytest.mark.usefixtures("untraced")

SENTENCES = ["red box on the left", "a box that costs $5 to $9"]
SIZE = (24, 32)


@pytest.fixture
def photo():
    return np.random.default_rng(3).integers(0, 256, (*SIZE, 3)).astype("uint8")


def explained(predictor, photo, single_level=None, rule=None):
    with pytest.warns(UserWarning, match="takes 5 words"):
        return Explainer(predictor, single_level)(photo, SENTENCES, rule)


def level_logits(predictor, photo, sentence):
    """The fused map `(h, w, F)` and the logits `(S, S)` of the last level alone."""
    model, preprocessor = predictor.model, predictor.preprocessor
    up_to_fusion = keras.Model(model.input, model.get_layer("fusion").input)
    levels = up_to_fusion(preprocessor([photo], [sentence]), training=False)
    fused, parts = model.get_layer("fusion")(levels, return_levels=True)
    logits = model.get_layer("enlarged_logits")(model.get_layer("score")(parts[2]))
    return tiny.to_numpy(fused)[0], tiny.to_numpy(logits)[0, ..., 0]


@pytest.mark.parametrize("profile", ["strict", "tf_phrasecut"])
def test_the_last_level_alone_and_the_strongest_channel(predictor, photo, profile):
    preprocessor = predictor.preprocessor
    explanations = explained(predictor, photo, rule=MaskRule(profile))
    for explanation, sentence in zip(explanations, SENTENCES, strict=True):
        fused, logits = level_logits(predictor, photo, sentence)
        last_level = to_mask(logits, SIZE, preprocessor, profile)
        np.testing.assert_array_equal(explanation.inside.last_level, last_level)
        found = to_mask(explanation.prediction.logits, SIZE, preprocessor, profile)
        np.testing.assert_array_equal(explanation.mask, found)
        assert explanation.inside.levels == ["Res3", "Res4", "Res5"]
        peaks = fused.reshape(-1, fused.shape[-1]).max(axis=0)
        strongest = fused[..., np.argmax(peaks)]
        heat = explanation.inside.strongest_channel
        assert heat.shape == SIZE and heat.max() == 1
        top, left = np.unravel_index(np.argmax(heat), heat.shape)
        # The image fills rows 2 to 14 of the 16; each of the 2 x 2 cells covers 8.
        highest = strongest[int((top * 0.5 + 2) // 8), int(left * 0.5 // 8)]
        assert highest == pytest.approx(strongest.max(), abs=1e-5)


def test_the_last_level_from_a_model_of_its_own(predictor, photo):
    for explanation in explained(predictor, photo, single_level=predictor):
        np.testing.assert_array_equal(explanation.inside.last_level, explanation.prediction.mask)
        assert explanation.inside.last_level_by == "the model cmsa"


@pytest.mark.parametrize("system", ["cmsa_w", "cmsa_refined"])
def test_a_system_without_such_parts(system, seeded, photo):
    """It has an answer and words; there is nothing to compare a model of Res5 with."""
    sizes = {"max_words": tiny.WORDS, "word_dim": 5, "attention_dim": 4, "fusion_dim": 4}
    words = len(tiny.vocabulary())
    model = build_system(system, words, image_size=tiny.SIZE, backbone=tiny.backbone(), **sizes)
    predictor = Predictor(model, tiny.preprocessor())
    (explanation,) = Explainer(predictor)(photo, ["red box"])
    assert explanation.inside is None and [w.word for w in explanation.words] == ["red", "box"]
    with pytest.raises(ValueError, match=f"as cmsa and cmsa_ordered have. Received: '{system}'"):
        Explainer(predictor, single_level=predictor)


def test_the_strongest_channel_of_a_known_map():
    fused = np.zeros((2, 2, 3), "float32")
    fused[..., 0] = 3
    fused[..., 1] = [[-4, 0], [2, 4]]
    fused[..., 2] = -9
    np.testing.assert_allclose(strongest_channel(fused), [[0, 0.5], [0.75, 1]])
