"""DenseCRF: the authors' parameters, side by side with no refinement, in parallel."""

import builtins
import importlib.util

import numpy as np
import pytest
import tiny

from keras_cmsa.crf import Crf, evaluate_refined, refine

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
def test_the_defaults_are_the_authors():
    """Their calls, written out, on the library itself."""
    import pydensecrf.densecrf as densecrf

    image, logits = half_red(24)
    sigmoid = 1 / (1 + np.exp(-logits))
    field = densecrf.DenseCRF2D(24, 24, 2)
    unary = np.stack([-np.log(1 - sigmoid), -np.log(sigmoid)]).reshape(2, -1)
    field.setUnaryEnergy(np.ascontiguousarray(unary, "float32"))
    field.addPairwiseGaussian(sxy=3, compat=3)
    field.addPairwiseBilateral(sxy=20, srgb=3, rgbim=image, compat=10)
    expected = np.argmax(np.array(field.inference(5)), axis=0).reshape(24, 24)
    np.testing.assert_array_equal(refine(image, logits) >= 0, expected.astype(bool))


@needs_crf
def test_without_pairs_and_steps_nothing_changes():
    image, logits = half_red(24)
    alone = Crf(smooth_weight=0, colour_weight=0)
    np.testing.assert_allclose(refine(image, logits, alone), logits, atol=1e-3)


@needs_crf
@pytest.mark.parametrize("size", ["network", "original"])
def test_side_by_side_is_one_by_one(seeded, tmp_path, size):
    from keras_cmsa.data.pipeline import read_pixels
    from keras_cmsa.evaluation import evaluate, logits_of, score
    from keras_cmsa.image import undo_resize_and_pad

    model, vocabulary = tiny.model(), tiny.vocabulary()
    records = tiny.records(tmp_path, 5)
    plain, refined = evaluate_refined(model, vocabulary, records, size=size, processes=2)
    assert plain == evaluate(model, vocabulary, records)
    assert [s.record for s in refined] == records
    for found, (record, image, logits) in zip(refined, logits_of(model, vocabulary, records)):
        if size == "network":
            assert found == score(record, refine(np.rint(image), logits))
        else:
            pixels, true = read_pixels(record)
            mask = refine(pixels, undo_resize_and_pad(logits, true.shape)) >= 0
            assert found.intersection == np.sum(mask & (true > 0))
            assert found.union == np.sum(mask | (true > 0))


def test_without_pydensecrf(monkeypatch):
    real = builtins.__import__

    def hidden(name, *arguments, **keywords):
        if name.startswith("pydensecrf"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", hidden)
    image, logits = half_red(8)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-cmsa\[crf\]"'):
        refine(image, logits)


@needs_crf
def test_bad_arguments(tmp_path):
    image, logits = half_red(8)
    with pytest.raises(ValueError, match=r"got \(8, 8, 3\) for \(7, 8\)"):
        refine(image, logits[:7])
    with pytest.raises(ValueError, match='"network" or "original"'):
        evaluate_refined(None, None, [], size="big")
