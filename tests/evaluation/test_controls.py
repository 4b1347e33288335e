"""Controls against a model whose rule is known, and masks counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
from PIL import Image

pytestmark = pytest.mark.keras

S = tiny.SIZE
SIDES = {"left": tiny.box(S, S, 0, 0, S, S // 2), "right": tiny.box(S, S, 0, S // 2, S, S)}


@pytest.fixture
def obeys_the_first_word():
    """A model that finds the half of the image that the first word names, and else nothing."""
    import keras

    image = keras.Input((S, S, 3), name="image")
    words = keras.Input((None, tiny.WORDS), dtype="int32", name="words")
    ids = tiny.vocabulary().words
    first = words[..., :1, None, None]  # (B, K, 1, 1, 1)
    found = sum(
        keras.ops.cast(keras.ops.equal(first, ids.index(side)), "float32") * mask[..., None]
        for side, mask in SIDES.items()
    )
    logits = 10 * found - 5 + 0 * keras.ops.mean(image[:, None], axis=(2, 3, 4), keepdims=True)
    return keras.Model({"image": image, "words": words}, logits)


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


def controls_of(model, records):
    from keras_cmsa.evaluation.controls import evaluate_controls
    from keras_cmsa.evaluation.evaluate import evaluate

    preprocessor = tiny.preprocessor()
    plain = evaluate(model, preprocessor, records)
    assert {score.iou for score in plain} == {1}
    return evaluate_controls(model, preprocessor, records, plain)


def test_controls_of_a_model_that_obeys_the_first_word(obeys_the_first_word, records):
    controls = controls_of(obeys_the_first_word, records)
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


def test_fixed_answers(tmp_path):
    """The largest object lies in a corner, the small one in the centre."""
    from keras_cmsa.evaluation.controls import fixed_answers

    Image.fromarray(np.zeros((20, 40, 3), "uint8")).save(tmp_path / "image.png")
    large, small = tiny.box(20, 40, 0, 0, 10, 20), tiny.box(20, 40, 8, 18, 12, 24)
    records = [
        tiny.record(tmp_path / "image.png", mask, "it", number)
        for number, mask in enumerate((large, small))
    ]
    answers = fixed_answers(records, ["first", "second"])
    shared, union = 2 * 2, 10 * 20 + 4 * 6 - 2 * 2
    assert answers["largest object"].plain == ["first", "second"]
    assert [s.iou for s in answers["largest object"].control] == [1, shared / union]
    assert [s.iou for s in answers["centre object"].control] == [shared / union, 1]


def test_shuffled_words_are_the_same_words_in_another_order():
    from keras_cmsa.evaluation.controls import shuffled

    words = np.array([[2, 3, 0], [2, 2, 0], [4, 0, 0], [5, 6, 7], [3, 3, 4]], "int32")
    for seed in range(5):
        found = shuffled(words, tiny.vocabulary(), np.random.default_rng(seed))
        np.testing.assert_array_equal(np.sort(found), np.sort(words))
        np.testing.assert_array_equal(found > 0, words > 0)
        changed = (found != words).any(axis=1)
        np.testing.assert_array_equal(changed, [True, False, False, True, True])


def test_pieces_stay_with_their_word():
    from keras_cmsa.evaluation.controls import shuffled
    from keras_cmsa.preprocessing.word_pieces import WordPieces

    vocabulary = WordPieces(["the", "ze", "##bra", "##s"])  # ids from 2 on
    words = np.array([[3, 4, 5, 2, 0], [3, 4, 0, 0, 0], [3, 4, 3, 4, 0]], "int32")
    found = shuffled(words, vocabulary, np.random.default_rng(0))
    np.testing.assert_array_equal(found, [[2, 3, 4, 5, 0], *words[1:]])


def test_the_summary_has_both_numbers_and_kinds(obeys_the_first_word, records):
    from keras_cmsa.evaluation.controls import summarize_controls

    records = [replace(r, kind="place") for r in records]
    summary = summarize_controls(controls_of(obeys_the_first_word, records))
    shuffled = summary["shuffled words"]
    assert shuffled["plain"]["overall_iou"] == 1 and shuffled["control"]["overall_iou"] == 0
    assert shuffled["control"]["samples"] == 2
    assert shuffled["kinds"]["place"] == {k: shuffled[k] for k in ("plain", "control")}
    alone = summarize_controls(controls_of(obeys_the_first_word, records[3:]))
    assert set(alone) == {"no words"}  # the only object of its image
