"""Masks, scores and boxes in a graph: as in NumPy, for every case of the table and both profiles."""

import cases
import numpy as np
import pytest
import tiny
from image_files import mask_of

from keras_cmsa.inference.masks import PROFILES, to_mask
from keras_cmsa.preprocessing.preprocessor import Preprocessor

pytest.importorskip("tensorflow")

import tensorflow as tf

from keras_cmsa.export.graph.masks import MASKS, find_masks

TWO = "strict", "tf_phrasecut"  # gres has the masks of strict


def found_in_graph(logits, size, resizing, profile):
    """Mask, score and box of one image."""
    answer = find_masks(tf.constant(logits[None]), tf.constant([size]), resizing, profile)
    pngs, scores, boxes = (x.numpy()[0] for x in answer)
    return mask_of(pngs), scores, boxes


def test_both_twins_know_the_same_profiles():
    assert set(MASKS) == set(PROFILES) and MASKS["gres"] is MASKS["strict"]


@pytest.mark.parametrize("profile", TWO)
@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_masks_scores_and_boxes(case, profile):
    logits, size = case.logits(), (case.height, case.width)
    preprocessor = Preprocessor(tiny.vocabulary(), case.size, case.resizing)
    mask, score, box = found_in_graph(logits, size, case.resizing, profile)
    in_numpy = to_mask(logits, size, preprocessor, profile)
    by_definition, sure = case.mask(profile)
    np.testing.assert_array_equal(mask[sure], by_definition[sure])
    np.testing.assert_array_equal(mask[sure], in_numpy[sure])
    assert np.mean(mask != in_numpy) < 2e-4
    over_image = preprocessor.probabilities(logits, size)
    wanted = over_image[mask].mean() if mask.any() else 0
    assert score == pytest.approx(wanted, abs=1e-5)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    edges = [0] * 4
    if mask.any():
        edges = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose(box, np.array(edges) / (*size[::-1], *size[::-1]), atol=1e-6)


@pytest.mark.parametrize("profile", TWO)
def test_nothing_found(profile):
    """Logits of minus infinity, as rows that cannot be answered have them."""
    logits = np.full((8, 8), -np.inf, "float32")
    mask, score, box = found_in_graph(logits, (5, 7), "pad", profile)
    assert mask.shape == (5, 7) and not mask.any()
    assert score == 0 and not box.any()
