"""DenseCRF: the authors' parameters, and the rule that says which mask is scored and drawn."""

import importlib.util
import sys

import numpy as np
import pytest
import tiny

from keras_cmsa.evaluation.crf import refine
from keras_cmsa.inference.masks import PROFILES, MaskRule, to_mask

needs_crf = pytest.mark.skipif(
    not importlib.util.find_spec("pydensecrf"),
    reason='pydensecrf is not installed: pip install "keras-cmsa[crf]"',
)


def half_red(size=40):
    """An image red on its left half and blue on its right, with logits that follow it roughly."""
    image = np.zeros((size, size, 3), "uint8")
    image[:, : size // 2] = (200, 30, 30)
    image[:, size // 2 :] = (30, 30, 200)
    rng = np.random.default_rng(0)
    logits = np.where(np.arange(size) < size // 2 + 3, 1.0, -1.0) + rng.normal(size=(size, size))
    return image, logits.astype("float32")


@needs_crf
def test_the_mask_follows_the_colours():
    image, logits = half_red()
    true = image[..., 0] > 100
    refined = refine(image, logits)
    assert refined.shape == logits.shape and refined.dtype == np.float32
    assert np.mean((logits >= 0) == true) < 0.85
    assert np.mean((refined >= 0) == true) > 0.99


@needs_crf
def test_the_parameters_are_the_authors():
    """Their calls, written out, on the library itself; colours lie a few levels apart."""
    import pydensecrf.densecrf as densecrf

    _, logits = half_red(24)
    image = np.random.default_rng(1).integers(100, 110, (24, 24, 3)).astype("uint8")
    sigmoid = 1 / (1 + np.exp(-logits))
    field = densecrf.DenseCRF2D(24, 24, 2)
    unary = np.stack([-np.log(1 - sigmoid), -np.log(sigmoid)]).reshape(2, -1)
    field.setUnaryEnergy(np.ascontiguousarray(unary, "float32"))
    field.addPairwiseGaussian(sxy=3, compat=3)
    field.addPairwiseBilateral(sxy=20, srgb=3, rgbim=image, compat=10)
    outside, inside = np.log(np.array(field.inference(5))).reshape(2, 24, 24)
    np.testing.assert_allclose(refine(image, logits), inside - outside, rtol=1e-4, atol=1e-4)


# --- The rule of a mask


def noisy_photo():
    """A photo of 20 x 30 pixels, half red, and logits for it on the square."""
    image, logits = half_red(tiny.SIZE)
    return np.asarray(tiny.preprocessor("stretch").undo(image, (20, 30)).round(), "uint8"), logits


def test_without_crf_the_rule_is_the_profile():
    photo, logits = noisy_photo()
    masks = []
    for profile in PROFILES:
        for resizing in ("pad", "stretch"):
            preprocessor = tiny.preprocessor(resizing)
            found = MaskRule(profile)(photo, logits, preprocessor)
            wanted = to_mask(logits, (20, 30), preprocessor, profile)
            np.testing.assert_array_equal(found, wanted)
            masks.append(found)
    assert len({mask.tobytes() for mask in masks}) == 4


def test_what_is_refined_at_the_original_size_begins_at_0():
    photo, logits = noisy_photo()
    found = MaskRule("strict", lambda _, x: x, "original")(photo, logits, tiny.preprocessor())
    np.testing.assert_array_equal(found, tiny.preprocessor().undo(logits, (20, 30)) >= 0)


@needs_crf
@pytest.mark.parametrize("resizing", ["pad", "stretch"])
def test_crf_at_the_networks_size_and_at_the_original(resizing):
    photo, logits = noisy_photo()
    preprocessor = tiny.preprocessor(resizing)
    refined = refine(np.rint(preprocessor.image(photo)), logits)
    for profile in PROFILES:
        at_network = MaskRule(profile, refine, "network")(photo, logits, preprocessor)
        wanted = to_mask(refined, (20, 30), preprocessor, profile)
        np.testing.assert_array_equal(at_network, wanted)
        original = MaskRule(profile, refine, "original")(photo, logits, preprocessor)
        wanted = refine(photo, preprocessor.undo(logits, (20, 30))) >= 0
        np.testing.assert_array_equal(original, wanted)
        plain = MaskRule(profile)(photo, logits, preprocessor)
        assert np.any(plain != at_network) and np.any(plain != original)


# --- What is refused


def test_without_pydensecrf(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    image, logits = half_red(8)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-cmsa\[crf\]"'):
        refine(image, logits)


@needs_crf
def test_bad_arguments():
    image, logits = half_red(8)
    with pytest.raises(ValueError, match=r"logits \(7, 8\) and 3 channels. Received: \(8, 8, 3\)"):
        refine(image, logits[:7])
    with pytest.raises(ValueError, match=r"\('network', 'original'\). Received: 'big'"):
        MaskRule("strict", refine, "big")
    with pytest.raises(ValueError, match="profile must be one of"):
        MaskRule("loose")
