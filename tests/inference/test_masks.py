"""From logits to masks: both profiles against their definitions, written out."""

import cases
import numpy as np
import pytest
import tiny

from keras_cmsa.inference.masks import PROFILES, to_mask
from keras_cmsa.preprocessing.preprocessor import Preprocessor

S = tiny.SIZE
TWO = "strict", "tf_phrasecut"  # gres has the masks of strict


def preprocessor_of(size, resizing="pad"):
    return Preprocessor(tiny.vocabulary(), size, resizing)


@pytest.mark.parametrize("profile", TWO)
@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_masks_follow_their_definitions(case, profile):
    preprocessor = preprocessor_of(case.size, case.resizing)
    size = case.height, case.width
    mask = to_mask(case.logits(), size, preprocessor, profile)
    wanted, sure = case.mask(profile)
    assert mask.dtype == bool and mask.shape == size
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(mask[sure], wanted[sure])
    with_channel = case.logits()[..., None]
    np.testing.assert_array_equal(mask, to_mask(with_channel, size, preprocessor, profile))


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_probabilities_follow_their_definition(case):
    size = case.height, case.width
    found = preprocessor_of(case.size, case.resizing).probabilities(case.logits(), size)
    assert found.dtype == np.float32 and found.shape == size
    np.testing.assert_allclose(found, case.probabilities(), atol=1e-4)


def test_the_profiles_differ():
    """tf_phrasecut widens a box that strict gives back as it was."""
    for resizing in ("pad", "stretch"):
        preprocessor = preprocessor_of(S, resizing)
        logits = 30 * (preprocessor.mask(tiny.box(32, 16, 8, 4, 24, 12))[..., 0] - 0.5)
        strict, wide = (to_mask(logits, (32, 16), preprocessor, name) for name in TWO)
        assert strict.sum() == 16 * 8
        assert wide.sum() == {"pad": 18 * 10, "stretch": 18 * 8}[resizing]
        assert np.all(wide[strict])


def test_what_is_found_in_the_padding_does_not_count():
    logits = np.full((S, S), 5.0)
    logits[:, 4:12] = -5.0  # the image, 32 x 16, between its padding
    logits[4:8, 6:10] = 5.0
    strict, wide = (to_mask(logits, (32, 16), preprocessor_of(S), name) for name in TWO)
    np.testing.assert_array_equal(strict, tiny.box(32, 16, 8, 4, 16, 12) > 0)
    # The authors' rule lets the padding's edge in: a column of one pixel on either side.
    assert wide.sum() == 10 * 10 + 2 * 32


def test_thresholds_of_the_profiles():
    """strict: probability 0.5 and more; tf_phrasecut: logit 1e-9 and more."""
    logits, preprocessor = np.array([[-1e-3, 0.0], [1e-10, 2e-9]]), preprocessor_of(2)
    strict = to_mask(logits, (2, 2), preprocessor)
    assert strict.tolist() == [[False, True], [True, True]]
    wide = to_mask(logits, (2, 2), preprocessor, "tf_phrasecut")
    assert wide.tolist() == [[False, False], [False, True]]


def test_logits_of_any_size_make_masks():
    logits = np.array([[-1e30, 1e30], [-np.inf, np.inf]], "float32")
    for profile in PROFILES:
        mask = to_mask(logits, (2, 2), preprocessor_of(2), profile)
        assert mask.tolist() == [[False, True]] * 2
    found = preprocessor_of(2).probabilities(logits, (2, 2))
    np.testing.assert_allclose(found, [[0, 1]] * 2, atol=1e-6)


def test_an_unknown_profile():
    match = r"one of \['gres', 'strict', 'tf_phrasecut'\]. Received: 'loose'"
    with pytest.raises(ValueError, match=match):
        to_mask(np.zeros((2, 2)), (2, 2), preprocessor_of(2), "loose")
