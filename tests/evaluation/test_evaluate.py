"""Evaluation at the original size against masks drawn and counted by hand."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tiny
from PIL import Image
from plain_path import plain

from keras_cmsa import Predictor
from keras_cmsa.evaluation.evaluate import evaluate
from keras_cmsa.evaluation.scores import score_mask
from keras_cmsa.inference.masks import PROFILES

pytestmark = [pytest.mark.keras, pytest.mark.usefixtures("untraced")]

S = tiny.SIZE


@pytest.fixture(scope="module")
def finds_white():
    """Predictors whose mask is what is white in the image: logits of 127.5 and -127.5."""
    image = keras.Input((S, S, 3), name="image")
    words = keras.Input((None, tiny.WORDS), dtype="int32", name="words")
    red = keras.layers.Rescaling(1.0, offset=-127.5)(image)[:, None, ..., :1]
    each = keras.ops.zeros_like(words[..., :1, None, None], dtype="float32")
    return lambda resizing="pad": Predictor(
        keras.Model({"image": image, "words": words}, red + each), tiny.preprocessor(resizing)
    )


def shown(folder, name, found, true, **options):
    """A record with the mask `true` and an image that is white where `found` is."""
    path = folder / f"{name}.png"
    Image.fromarray(np.repeat(255 * found[..., None], 3, axis=2)).save(path)
    return tiny.record(path, true, "box on the left", **options)


def test_known_overlap_at_the_networks_size(finds_white, tmp_path):
    """Two squares of 64 pixels that share 32, one found and one to be found."""
    found, true = tiny.box(S, S, 4, 8, 12, 16), tiny.box(S, S, 4, 4, 12, 12)
    record = shown(tmp_path, "squares", found, true)
    for profile in PROFILES:
        (result,) = evaluate(finds_white(), [record], profile=profile)
        assert (result.intersection, result.union, result.iou) == (32, 96, 32 / 96)
        assert result.record is record


@pytest.mark.parametrize(
    ("profile", "resizing", "union"),
    [
        ("strict", "pad", 128),  # a perfect network has an IoU of 1
        ("strict", "stretch", 128),
        ("tf_phrasecut", "pad", 18 * 10),  # a border of one pixel on every side
        ("tf_phrasecut", "stretch", 18 * 8),  # the width was not resized
    ],
)
def test_known_overlap_at_twice_the_networks_size(finds_white, tmp_path, profile, resizing, union):
    """A box of 16 x 8 in an image of 32 x 16, found by the network at half the size."""
    true = tiny.box(32, 16, 8, 4, 24, 12)
    record = shown(tmp_path, "half", true, true)
    (result,) = evaluate(finds_white(resizing), [record], profile=profile)
    assert (result.intersection, result.union) == (128, union)


def test_nothing_found_is_an_iou_of_zero(finds_white, tmp_path):
    record = shown(tmp_path, "none", tiny.box(S, S, 0, 0, 0, 0), tiny.box(S, S, 4, 4, 8, 8))
    for profile in PROFILES:
        (result,) = evaluate(finds_white(), [record], profile=profile)
        assert (result.intersection, result.union) == (0, 16)


def test_every_expression_counts_once_in_order_whatever_the_batch_size(finds_white, tmp_path):
    rng = np.random.default_rng(0)
    true = tiny.box(S, S, 4, 4, 12, 12)
    found = [np.where(rng.random((S, S)) < k / 6, true, 0).astype("uint8") for k in range(1, 6)]
    records = [shown(tmp_path, f"{i}", x, true) for i, x in enumerate(found)]
    records.append(records[1])  # a second sentence about the same object
    wanted = [(x.sum(), 64) for x in [*found, found[1]]]
    predictor = finds_white()
    for predictor.batch_size in (1, 4, 8):
        scores = evaluate(predictor, records)
        assert [(s.intersection, s.union) for s in scores] == wanted
        assert [s.record for s in scores] == records


def test_sentences_of_an_image_are_scored_as_each_alone(predictor, tmp_path):
    """Wherever they stand, and whatever there is beside them: as the plain path finds them."""
    records = tiny.several_of_each(tiny.noise_records(tmp_path, 4), [3, 1, 20, 2])
    found = evaluate(predictor, records)
    assert [score.record for score in found] == records
    for score in found:
        record = score.record
        _, mask = plain(predictor.model, predictor.preprocessor, record.image(), record.expression)
        # A mask of few pixels, which other random weights have, says that nothing fits.
        assert score == score_mask(record, mask, refused=np.count_nonzero(mask) < 50)
    assert len({score.iou for score in found}) > 2


class Question:
    """One of `ask`: the first sentence about an image again, and padding."""

    def __init__(self):
        self.photos, self.answers = [], []

    def sentences(self, records, words):
        return np.array([words[0], np.zeros_like(words[0])])

    def take(self, photo, answers):
        self.photos.append(photo)
        self.answers.append(answers)


def test_what_is_asked_beside_gets_photo_and_answers(predictor, tmp_path):
    records = tiny.several_of_each(tiny.noise_records(tmp_path, 3), [2, 1, 3])
    question = Question()
    scores = evaluate(predictor, records, [question])
    assert scores == evaluate(predictor, records)
    assert sorted(i for photo in question.photos for i in photo.rows) == [*range(6)]
    for photo, (again, silent) in zip(question.photos, question.answers):
        assert [photo.records, photo.scores] == [
            [x[i] for i in photo.rows] for x in (records, scores)
        ]
        np.testing.assert_array_equal(photo.pixels, records[photo.rows[0]].image())
        (outputs,) = predictor.outputs(photo.pixels, photo.words[:1])
        np.testing.assert_allclose(again["logits"], outputs["logits"], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(again["mask"], photo.mask(again["logits"]))
        assert np.any(silent["logits"] != again["logits"])
        for ours, theirs in zip(photo.maps, predictor.maps([photo.pixels])):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_bad_arguments(finds_white, tmp_path):
    record = shown(tmp_path, "one", *2 * [tiny.box(S, S, 4, 4, 8, 8)])
    with pytest.raises(
        ValueError, match=r"\['gres', 'strict', 'tf_phrasecut'\]. Received: 'loose'"
    ):
        evaluate(finds_white(), [record], profile="loose")
    with pytest.raises(ValueError, match="the split is empty"):
        evaluate(finds_white(), [])
    other = replace(record, height=S + 1, segmentation=tiny.runs(tiny.box(S + 1, S, 0, 0, 2, 2)))
    with pytest.raises(ValueError, match=r"one\.png: wanted an image of the annotation's size"):
        evaluate(finds_white(), [other])
    record.image_path.unlink()
    with pytest.raises(FileNotFoundError, match=r"one\.png"):
        evaluate(finds_white(), [record])
