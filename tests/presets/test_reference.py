"""The reference of a preset: drawn, small, the model's own answers, and safe to read."""

import numpy as np
import pytest
from image_files import encoded

from keras_cmsa import read_image
from keras_cmsa.data.masks import run_lengths
from keras_cmsa.presets import reference as references
from keras_cmsa.presets.reference import draw_picture, in_square, read_reference, sentences_of


@pytest.fixture(scope="module")
def reference(preset):
    return read_reference(preset)


def test_both_files_hold_the_same_picture_of_another_size(reference):
    pixels = read_image(reference.png)
    np.testing.assert_array_equal(pixels, read_image(reference.jpeg))
    assert pixels.shape == (48, 64, 3) and len(np.unique(pixels)) > 20
    assert (reference.png, reference.jpeg) == draw_picture(16)
    assert read_image(draw_picture(320)[0]).shape == (300, 400, 3)
    assert sum(map(len, draw_picture(320))) < 40_000


def test_the_sentences_are_the_vocabularys_words(reference, predictor):
    assert reference.sentences == ["red", "green blue box", "on the left right red"]
    assert sentences_of(predictor.preprocessor.vocabulary) == reference.sentences


def test_a_square_is_cut_or_repeated():
    pixels = np.arange(12).reshape(2, 2, 3)
    np.testing.assert_array_equal(in_square(pixels, 1), pixels[:1, :1])
    np.testing.assert_array_equal(in_square(pixels, 4), np.tile(pixels, (2, 2, 1)))


LARGE = np.frombuffer(encoded(np.zeros((2000, 2001, 3), "uint8"), "PNG"), "uint8")


def rewritten(preset, folder, **arrays):
    with np.load(preset / "reference.npz") as file:
        np.savez(folder / "reference.npz", **{**file, **arrays})


def test_an_empty_mask_is_a_mask(preset, tmp_path):
    empty, whole = (run_lengths(np.full((48, 64), x))["counts"] for x in (False, True))
    rewritten(preset, tmp_path, masks=np.array([empty, whole, empty]))
    assert read_reference(tmp_path).masks.mean((1, 2)).tolist() == [0, 1, 0]


BAD = {
    "objects": ({"ids": np.array([{}], object)}, "Object arrays cannot be loaded"),
    "no picture": ({"png": np.zeros(9, "uint8")}, "cannot be loaded"),
    "other sentences": ({"sentences": np.array(["red"])}, "wanted 3 sentences"),
    "another square": (
        {"square": np.zeros((1, 8, 8), "float16")},
        r"wanted probabilities \(3, 8, 8\)",
    ),
    "an array too many": ({"more": np.zeros(1)}, "cannot be loaded"),
    "a large picture": ({"png": LARGE}, "1 to 4,000,000 pixels. Received: 2001 x 2000"),
    "bad masks": ({"masks": np.array(["9" * 9] * 3)}, "bad run lengths"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_refused_in_one_line(preset, tmp_path, what):
    arrays, wanted = BAD[what]
    rewritten(preset, tmp_path, **arrays)
    with pytest.raises(ValueError, match=wanted) as error:
        read_reference(tmp_path)
    assert "reference.npz" in str(error.value) and "\n" not in str(error.value)


def test_its_size_is_bounded(preset, monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"reference\.npz is not there"):
        read_reference(tmp_path)
    monkeypatch.setattr(references, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="it unpacks to .* bytes; wanted at most 1,000"):
        read_reference(preset)
