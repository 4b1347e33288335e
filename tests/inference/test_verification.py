"""A model answers as its reference says; of one that was changed, what was changed is named."""

import shutil

import numpy as np
import pytest
import tiny
from bad_presets import configured
from image_files import encoded

from keras_cmsa import Predictor, Preset, load_preset, read_image
from keras_cmsa.inference.verification import (
    BOUNDS,
    OtherAnswers,
    asking,
    bounds_of,
    check_reference,
    verify,
)
from keras_cmsa.preprocessing.vocabulary import Vocabulary
from keras_cmsa.presets.preset import save_model
from keras_cmsa.presets.reference import read_reference, write_reference

BOUND = BOUNDS["float32"]


@pytest.fixture(scope="module")
def reference(preset):
    return read_reference(preset)


def test_a_preset_passes(predictor, preset, reference):
    found = verify(reference, asking(predictor), BOUND)
    assert found.cause == ""
    assert len(found.lines) == len(found.differences) == 6  # ids, probabilities, masks of two files
    assert "PNG masks: 0 of 9,216 differ, at most by 0" in found.lines
    check_reference(predictor, reference)


def test_the_count_of_what_differs(predictor, reference):
    """Against answers that differ in a known number of pixels by a known value."""
    ask = asking(predictor)

    def other(file, sentences):
        answers = ask(file, sentences)
        answers.masks[0, :2, :3] ^= True
        answers.probabilities[:] = np.asarray(reference.probabilities, "float32")
        answers.probabilities[1, 5, 5] += 0.25
        return answers

    found = verify(reference, other, BOUND).differences
    assert found["PNG", "masks"] == (6, 9216, 1, False)
    assert found["JPEG", "probabilities"] == (1, 768, 0.25, False)
    assert found["PNG", "ids"] == (0, 15, 0, True)


def another_order(folder):
    vocabulary = Vocabulary([*reversed(tiny.vocabulary().words[2:])], tiny.WORDS)
    vocabulary.save(folder / "vocabulary.txt")
    swapped = tiny.Preprocessor(vocabulary, tiny.SIZE).get_config()
    configured(preprocessor__vocabulary_sha256=swapped["vocabulary_sha256"])(folder)


def another_weight(folder):
    model = load_preset(folder).model
    model.get_layer("score").bias.assign_add([0.1])
    save_model(model, folder / "model.keras")


CHANGES = {
    "a resize": (configured(preprocessor__resizing="stretch"), "another resize"),
    "a weight": (another_weight, "other weights"),
    "the vocabulary's order": (another_order, "the vocabulary: words have other ids"),
}


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_is_named_on_loading(preset, tmp_path, what):
    change, cause = CHANGES[what]
    folder = shutil.copytree(preset, tmp_path / "changed")
    change(folder)
    with pytest.raises(OtherAnswers, match=f"beyond the bound.*\n.*likely cause: {cause}"):
        Predictor.from_preset(folder, verify=True)


def seen(predictor, look):
    """`asking` of a predictor that sees what `look` makes of the bytes of a file."""
    ask = asking(predictor)
    return lambda file, sentences: ask(look(file), sentences)


def exchanged(file):
    return encoded(read_image(file)[..., ::-1])


def brighter_jpeg(file):
    """As a decoder that makes the pixels of a JPEG brighter."""
    pixels = read_image(file)
    return file if file[:4] == b"\x89PNG" else encoded(np.minimum(pixels, 235) + np.uint8(20))


@pytest.mark.parametrize(
    "look, cause", [(exchanged, "the channel order"), (brighter_jpeg, "another decoder of JPEG")]
)
def test_another_way_to_see_is_named(predictor, reference, look, cause):
    assert verify(reference, seen(predictor, look), BOUND).cause.startswith(cause)


def test_small_differences_everywhere_are_named_quantised(predictor, reference):
    """And for a model that says so they are within the bound, with a few large ones."""
    ask, rng = asking(predictor), np.random.default_rng(0)
    noise = rng.uniform(-0.09, 0.09, reference.probabilities.shape)
    noise[0, 0, :3] = 0.5  # of 768

    def rounded(file, sentences):
        answers = ask(file, sentences)
        return answers._replace(probabilities=answers.probabilities + noise)

    assert verify(reference, rounded, BOUND).cause.startswith("quantised")
    assert not verify(reference, rounded, BOUNDS["int8"]).cause
    noise[0, 1, :3] = 0.5
    assert verify(reference, rounded, BOUNDS["int8"]).cause.startswith("other weights")


@pytest.mark.usefixtures("untraced")
def test_a_threshold_is_named(seeded, tmp_path):
    preprocessor = tiny.preprocessor()
    model = tiny.shaken(tiny.model(existence=True), np.random.default_rng(5))
    write_reference(tmp_path, Preset(model, preprocessor, {"existence": {"threshold": 0.0}}))
    reference = read_reference(tmp_path)
    assert reference.masks.any()
    predictor = Predictor(model, preprocessor, config={"existence": {"threshold": 0.0}})
    found = verify(reference, asking(predictor), BOUND)
    assert not found.cause and found.differences["PNG", "exists"].total == 3
    shy = Predictor(model, preprocessor, config={"existence": {"threshold": 1.0}})
    assert verify(reference, asking(shy), BOUND).cause.startswith("a threshold")


def test_the_bounds_are_those_of_the_coarsest_dtype():
    half, brief = {"Weights stored as": "float16"}, {"mixed_precision": "bfloat16"}
    assert bounds_of({}) == bounds_of({"export": {}, "training": {"mixed_precision": None}})
    assert bounds_of({"training": {"mixed_precision": []}}) == BOUNDS["float32"]  # a stranger's
    assert bounds_of({"export": half}) == BOUNDS["float16"]
    assert bounds_of({"export": half, "training": brief}) == BOUNDS["bfloat16"]
    eighth = {"Weights stored as": "int8"}
    assert bounds_of({"export": eighth, "training": brief}) == BOUNDS["int8"]


def test_the_reference_of_another_model_is_refused(predictor, reference):
    other = reference._replace(probabilities=np.zeros((3, 8, 8), "float16"))
    with pytest.raises(
        ValueError, match=r"wanted probabilities \(3, 8, 8\). Received: \(3, 16, 16\)"
    ):
        verify(other, asking(predictor), BOUND)
