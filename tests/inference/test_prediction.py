"""What is read off a prediction: score, box, run lengths and heat map of known answers."""

import numpy as np
import pytest
import tiny

from keras_cmsa.inference.masks import MaskRule, to_mask
from keras_cmsa.inference.prediction import Prediction, as_heat
from keras_cmsa.preprocessing.fitting import to_square
from keras_cmsa.preprocessing.preprocessor import Preprocessor


def prediction_of(logits, size, position_attention=None):
    logits = np.asarray(logits, "float32")
    preprocessor = Preprocessor(tiny.vocabulary(), len(logits))
    return Prediction("it", ["it"], logits, size, None, position_attention, preprocessor)


def test_score_and_box_of_a_known_answer():
    logits = np.full((8, 8), -20.0)
    logits[2:5, 1:7] = np.log(3)  # probability 3/4 at 18 places
    logits[2, 1:7] = np.log(9)  # and 9/10 at 6 of them
    prediction = prediction_of(logits, (8, 8))
    assert prediction.box == (1, 2, 7, 5)
    assert prediction.score == pytest.approx((12 * 0.75 + 6 * 0.9) / 18)
    assert prediction.probabilities[3, 3] == pytest.approx(0.75)
    assert prediction.probabilities[0, 0] == pytest.approx(0, abs=1e-6)
    nothing = prediction_of(np.full((8, 8), -20.0), (8, 8))
    assert nothing.box is None and nothing.score == 0


def test_it_is_undone_to_the_image_once(spied):
    logits, size = np.random.default_rng(0).normal(size=(8, 8)), (13, 21)
    prediction, undone = prediction_of(logits, size), spied(Preprocessor, "undo")
    pixels = np.zeros((*size, 3), "uint8")
    assert prediction.score > 0.5 and prediction.box and prediction.probabilities.shape == size
    assert prediction.mask_by(MaskRule(), pixels) is prediction.mask and len(undone) == 1
    np.testing.assert_array_equal(prediction.mask, to_mask(logits, size, prediction.preprocessor))
    other = prediction.mask_by(MaskRule("tf_phrasecut"), pixels)
    wanted = to_mask(logits, size, prediction.preprocessor, "tf_phrasecut")
    np.testing.assert_array_equal(other, wanted)
    assert np.any(other != prediction.mask)


def test_run_lengths_are_cocos():
    from pycocotools import mask as coco_mask

    rng = np.random.default_rng(0)
    prediction = prediction_of(rng.normal(size=(8, 8)), (13, 21))
    assert 0 < prediction.mask.mean() < 1
    np.testing.assert_array_equal(coco_mask.decode(prediction.run_lengths), prediction.mask)


@pytest.mark.parametrize("size", [(40, 80), (80, 40), (80, 80)])
def test_the_heat_map_lies_over_the_image(size):
    """Attention to one cell of the square lands where that cell shows the image."""
    marked = np.zeros(size, "float32")
    marked[10:20, 10:20] = 1
    attention = to_square(marked, 80).reshape(8, 10, 8, 10).mean(axis=(1, 3))[None]
    prediction = prediction_of(np.zeros((80, 80)), size, attention)
    heat = prediction.heat_map()
    assert heat.shape == size and heat.max() == 1 and heat.min() >= 0
    rows, columns = np.nonzero(heat == heat.max())
    assert 10 <= rows.mean() <= 20 and 10 <= columns.mean() <= 20
    assert heat[30:, 30:].max() < 0.01
    np.testing.assert_array_equal(prediction.heat_map(0), heat)


def test_the_heat_map_of_one_level_and_of_all():
    rng = np.random.default_rng(1)
    attention = rng.random((3, 2, 2)).astype("float32")
    prediction = prediction_of(np.zeros((16, 16)), (16, 16), attention)
    for level, wanted in ((0, attention[0]), (2, attention[2]), (None, attention.mean(axis=0))):
        alone = prediction_of(np.zeros((16, 16)), (16, 16), wanted[None])
        np.testing.assert_allclose(prediction.heat_map(level), alone.heat_map(), rtol=1e-6)


def test_no_heat_map_without_attention():
    with pytest.raises(ValueError, match="no position attention"):
        prediction_of(np.zeros((8, 8)), (8, 8)).heat_map()


def test_a_map_of_zeros_stays_one():
    np.testing.assert_array_equal(as_heat(np.zeros((2, 2), "float32")), np.zeros((2, 2)))
    np.testing.assert_array_equal(as_heat(np.float32([[1, 2], [4, 0]])), [[0.25, 0.5], [1, 0]])
