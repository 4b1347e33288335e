"""Sentences that fit nothing: which are taken, and what stands beside the expressions of a batch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny

from keras_cmsa.data import pipeline
from keras_cmsa.data.negatives import Negatives
from keras_cmsa.data.pipeline import RecordBatches


def records(*sentences, image="a.png", number=0, **changes):
    mask = tiny.box(16, 16, 1, 1, 5, 5)
    return [
        replace(tiny.record(Path(image), mask, sentence, number + n), **changes)
        for n, sentence in enumerate(sentences)
    ]


def drawn(negatives, own, times=200):
    random = np.random.default_rng(0)
    return {sentence for _ in range(times) for sentence in negatives.draw(own, random)}


def test_a_sentence_of_another_image_brings_a_word_that_this_one_has_not():
    here = records("man on left", "red cup")
    there = records("guy on left", "dog", "cup", image="b.png", number=5)
    sentences = drawn(Negatives(here + there, 1), [0, 1])
    assert "dog" in sentences
    # Each may fit: "guy" is as good as "man", and there is a cup.
    assert not sentences & {"guy on left", "cup"}


def test_one_word_of_its_own_is_exchanged():
    here = records("red cup on the left", "small dog")
    sentences = drawn(Negatives(here, 1), [0, 1])
    assert "blue cup on the left" in sentences and "big dog" in sentences
    # Another cup may be there, which nobody has mentioned.
    assert "red cup on the right" not in sentences
    for sentence in sentences:
        words = sentence.split()
        own = next(r.expression.split() for r in here if len(r.expression.split()) == len(words))
        assert sum(a != b for a, b in zip(words, own)) == 1


def test_a_word_that_fits_something_here_makes_no_negative():
    here = records("red cup", "blue cup", "green cup")
    sentences = drawn(Negatives(here, 1), [0, 1, 2])
    assert sentences and not sentences & {"red cup", "blue cup", "green cup"}


def test_classes_of_the_data_are_exchanged_and_heeded():
    cat, dog = frozenset({"cat"}), frozenset({"dog"})
    here = records("old cat", categories=cat, image_categories=cat | dog)
    there = records("puppy", image="b.png", number=5, categories=dog, image_categories=dog)
    bird = records("parrot", image="c.png", number=9, categories=frozenset({"bird"}))
    sentences = drawn(Negatives(here + there + bird, 1), [0])
    assert "old bird" in sentences and "parrot" in sentences
    # A dog is there, though nobody speaks of it.
    assert not sentences & {"puppy", "old dog"}


def test_a_sentence_without_target_says_nothing_of_what_is_there():
    here = records("cup") + records("zebra", targets=0, number=3)
    there = records("zebra", image="b.png", number=5)
    assert "zebra" in drawn(Negatives(here + there, 1), [0, 1])


def test_an_image_may_have_none():
    here = records("thing")
    assert drawn(Negatives(here, 2), [0]) == set()
    # Of an image of which only is known what it has not, nothing is.
    nothing = records("zebra", targets=0)
    assert drawn(Negatives(nothing + records("dog", image="b.png", number=5), 2), [0]) == set()


def test_plurals_and_places_are_no_new_words():
    here = records("two dogs", "left cup")
    there = records("the dog", "cup on the right", "second cup", image="b.png", number=5)
    assert drawn(Negatives(here + there, 1), [0, 1]) == set()


def test_orange_is_a_colour_where_it_is_a_class_too():
    classes = [records("old cat", categories=frozenset({name})) for name in ("cat", "orange")]
    here = [*classes[0], *classes[1], *records("orange cat", number=3)]
    for sentence in drawn(Negatives(here, 1), [2]):
        assert sentence.split()[0] not in ("cat", "orange")


@pytest.fixture
def batches(tmp_path):
    scenes = tiny.records(tmp_path, 6)
    scenes[0] = replace(scenes[0], targets=0, segmentation=None)

    def make(**options):
        return RecordBatches(
            scenes, tiny.preprocessor(), 2, negatives=Negatives(scenes, 2), **options
        )

    return make


def test_negatives_stand_behind_the_expressions(batches):
    inputs, labels, weights = batches()[0]
    assert inputs["words"].shape == (2, 3, tiny.WORDS)
    assert labels["logits"].shape == (2, 3, 16, 16, 1) and not labels["logits"][:, 1:].any()
    np.testing.assert_array_equal(labels["exists"], [[0, 0, 0], [1, 0, 0]])
    has_words = inputs["words"].any(axis=-1)
    np.testing.assert_array_equal(weights["exists"], has_words)
    # A sentence that fits nothing teaches no mask.
    np.testing.assert_array_equal(weights["logits"], [[0, 0, 0], [1, 0, 0]])


def test_what_reads_the_same_to_the_model_is_no_negative(tmp_path):
    """A word behind the last that it reads, and words that it does not know."""
    first, second = tiny.records(tmp_path, 2)
    long = "red box on the left corner"  # the model reads five words
    one = replace(first, expression=long)
    other = replace(second, expression=long.replace("corner", "zebra"))
    batches = RecordBatches(
        [one, other], tiny.preprocessor(), 1, negatives=Negatives([one, other], 2)
    )
    for number in range(2):
        inputs, _, weights = batches[number]
        positive = inputs["words"][0, 0]
        for words, weight in zip(inputs["words"][0, 1:], weights["exists"][0, 1:]):
            assert not weight or ((words != positive).any() and 1 not in words)


def test_threads_leave_pythons_warnings_as_they_are(tmp_path, monkeypatch):
    """The filters are the whole process'; a sentence of unknown words warns of nothing."""
    scenes = [
        replace(record, expression=expression)
        for record, expression in zip(tiny.records(tmp_path, 2), ("box", "zebra"))
    ]
    with pytest.warns(UserWarning, match="have no word that the vocabulary"):
        batches = RecordBatches(scenes, tiny.preprocessor(), 1, negatives=Negatives(scenes, 2))
    monkeypatch.setattr(pipeline, "warnings", None)
    (_, _, box), (_, _, zebra) = batches
    np.testing.assert_array_equal([*box["exists"], *zebra["exists"]], [[1, 0, 0], [1, 1, 1]])


def test_no_word_is_dropped_where_nothing_fits(batches):
    with_dropout = batches(seed=0, batches=3, word_dropout=0.9)
    plain = batches(seed=0, batches=3)
    for number in range(3):
        exists, _ = plain.targets(number)
        words, fewer = plain[number][0]["words"], with_dropout[number][0]["words"]
        np.testing.assert_array_equal(words[exists == 0], fewer[exists == 0])
    assert any((plain[n][0]["words"] != with_dropout[n][0]["words"]).any() for n in range(3))


def test_a_batch_follows_from_its_number(batches):
    whole, resumed = batches(seed=3, batches=4), batches(seed=3, batches=2, first_batch=2)
    np.testing.assert_array_equal(whole[2][0]["words"], resumed[0][0]["words"])
    assert any((whole[n][0]["words"][:, 1:] != whole[0][0]["words"][:, 1:]).any() for n in (1, 2))
