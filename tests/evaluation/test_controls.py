"""Controls against a model whose rule is known, and masks counted by hand."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tiny
from PIL import Image

from keras_cmsa import Predictor
from keras_cmsa.evaluation.controls import Controls, off_centre, others, shuffled
from keras_cmsa.evaluation.evaluate import evaluate
from keras_cmsa.preprocessing.word_pieces import WordPieces

pytestmark = [pytest.mark.keras, pytest.mark.usefixtures("untraced")]

S = tiny.SIZE
SIDES = {"left": tiny.box(S, S, 0, 0, S, S // 2), "right": tiny.box(S, S, 0, S // 2, S, S)}


@pytest.fixture
def obeys_the_first_word():
    """Its model finds the half of the image that the first word names, and else nothing."""
    image = keras.Input((S, S, 3), name="image")
    words = keras.Input((None, tiny.WORDS), dtype="int32", name="words")
    ids = tiny.vocabulary().words
    first = words[..., :1, None, None]  # (B, K, 1, 1, 1)
    found = sum(
        keras.ops.cast(keras.ops.equal(first, ids.index(side)), "float32") * mask[..., None]
        for side, mask in SIDES.items()
    )
    logits = 10 * found - 5 + 0 * keras.ops.mean(image[:, None], axis=(2, 3, 4), keepdims=True)
    return Predictor(keras.Model({"image": image, "words": words}, logits), tiny.preprocessor())


@pytest.fixture
def records(tmp_path):
    """Two objects of one image, and one of another."""
    for name in ("both", "one"):
        Image.fromarray(np.zeros((S, S, 3), "uint8")).save(tmp_path / f"{name}.png")
    both, one = tmp_path / "both.png", tmp_path / "one.png"
    return [
        tiny.record(both, SIDES["left"], "left box", 1),
        replace(tiny.record(both, SIDES["left"], "left", 1), sentence_id=2),
        tiny.record(both, SIDES["right"], "right box", 3),
        tiny.record(one, SIDES["left"], "left left", 4),
    ]


def controls_of(predictor, records):
    controls = Controls(predictor.preprocessor.vocabulary)
    assert {score.iou for score in evaluate(predictor, records, [controls])} == {1}
    return controls


def test_controls_of_a_model_that_obeys_the_first_word(obeys_the_first_word, records):
    controls = controls_of(obeys_the_first_word, records).scores
    found = {name: [(s.record, s.iou) for s in c.control] for name, c in controls.items()}
    # Two sentences have another order; "box" first finds nothing.
    assert found["shuffled words"] == [(records[0], 0), (records[2], 0)]
    # The other object's sentence finds the other object.
    assert found["another object's sentence"] == [(r, 0) for r in records[:3]]
    assert found["no words"] == [(r, 0) for r in records]
    assert found["largest object"] == [(records[0], 1), (records[1], 1), (records[2], 0)]
    for control in controls.values():
        assert [s.record for s in control.plain] == [s.record for s in control.control]
        assert {s.iou for s in control.plain} == {1}


def test_no_words_are_padding_alone():
    """The one control of a single word about a single object."""
    record = tiny.record("one.png", SIDES["left"], "left")
    words = Controls(tiny.vocabulary()).sentences([record], np.array([[7, 0, 0]], "int32"))
    np.testing.assert_array_equal(words, [[0, 0, 0]])


@pytest.mark.parametrize(
    ("refs", "targets", "wanted"),
    [((1, 1, 2), (1, 1, 1), ({3}, {3}, {1, 2})), ((1, 2, 3), (1, 0, 1), ({3}, {1, 3}, {1}))],
    ids=["never of the same", "about something"],
)
def test_the_sentence_of_another_object(refs, targets, wanted):
    records = [tiny.record("one.png", SIDES["left"], "it", ref) for ref in refs]
    records = [replace(r, targets=number) for r, number in zip(records, targets)]
    for seed in range(5):
        words = np.array([[1], [2], [3]], "int32")
        found = others(words, records, np.random.default_rng(seed)).ravel().tolist()
        assert all(x in each for x, each in zip(found, wanted))


def test_nothing_is_no_object_of_an_image(obeys_the_first_word, records):
    """It is neither the largest nor at the centre, and no control is of a sentence that fits nothing."""
    nothing = replace(records[0], ref_id=9, expression="box", segmentation=None, targets=0)
    controls = controls_of(obeys_the_first_word, [nothing, *records]).scores
    for name in ("largest object", "centre object"):
        assert [s.iou for s in controls[name].control] == [1, 1, 0]
    controls = controls_of(obeys_the_first_word, [nothing, *records[:2]]).scores
    assert not controls["largest object"].control and not controls["centre object"].control


def test_fixed_answers(obeys_the_first_word, tmp_path):
    """The largest object lies in a corner, the small one in the centre."""
    Image.fromarray(np.zeros((20, 40, 3), "uint8")).save(tmp_path / "image.png")
    large, small = tiny.box(20, 40, 0, 0, 10, 20), tiny.box(20, 40, 8, 18, 12, 24)
    assert off_centre(large) == pytest.approx(np.hypot(1 / 4, 1 / 4))
    assert off_centre(small) == pytest.approx(1 / 40)
    records = [
        tiny.record(tmp_path / "image.png", mask, "box", number)
        for number, mask in enumerate((large, small))
    ]
    controls = Controls(tiny.vocabulary())
    scores = evaluate(obeys_the_first_word, records, [controls])
    shared, union = 2 * 2, 10 * 20 + 4 * 6 - 2 * 2
    answers = controls.scores
    assert answers["largest object"].plain == scores
    assert [s.iou for s in answers["largest object"].control] == [1, shared / union]
    assert [s.iou for s in answers["centre object"].control] == [shared / union, 1]


def test_shuffled_words_are_the_same_words_in_another_order():
    words = np.array([[2, 3, 0], [2, 2, 0], [4, 0, 0], [5, 6, 7], [3, 3, 4]], "int32")
    for seed in range(5):
        found = shuffled(words, tiny.vocabulary(), np.random.default_rng(seed))
        np.testing.assert_array_equal(np.sort(found), np.sort(words))
        np.testing.assert_array_equal(found > 0, words > 0)
        changed = (found != words).any(axis=1)
        np.testing.assert_array_equal(changed, [True, False, False, True, True])


def test_pieces_stay_with_their_word():
    vocabulary = WordPieces(["the", "ze", "##bra", "##s"])  # ids from 2 on
    words = np.array([[3, 4, 5, 2, 0], [3, 4, 0, 0, 0], [3, 4, 3, 4, 0]], "int32")
    found = shuffled(words, vocabulary, np.random.default_rng(0))
    np.testing.assert_array_equal(found, [[2, 3, 4, 5, 0], *words[1:]])


def test_the_summary_has_both_numbers_and_kinds(obeys_the_first_word, records):
    records = [replace(r, kind="place") for r in records]
    summary = controls_of(obeys_the_first_word, records).summary()
    shuffled = summary["shuffled words"]
    assert shuffled["plain"]["overall_iou"] == 1 and shuffled["control"]["overall_iou"] == 0
    assert shuffled["control"]["samples"] == 2
    assert shuffled["kinds"]["place"] == {k: shuffled[k] for k in ("plain", "control")}
    alone = controls_of(obeys_the_first_word, records[3:]).summary()
    assert set(alone) == {"no words"}  # the only object of its image
