"""The importance of words, against sentences that really lack them."""

import numpy as np
import pytest
import tiny

from keras_cmsa.evaluation.scores import overlap
from keras_cmsa.explain.word_importance import explain_words, without
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.word_pieces import WordPieces

SIZE = (2 * tiny.SIZE, tiny.SIZE)  # on the square it is half as wide as high


@pytest.fixture
def photo():
    return np.random.default_rng(3).integers(0, 256, (*SIZE, 3)).astype("uint8")


def explained(predictor, photo, expression):
    (words,) = predictor.read([expression])
    return explain_words(predictor, photo, words)


def test_a_word_left_out_is_a_sentence_without_it(predictor, photo):
    def inside(expression):
        """The probabilities where the image lies on the square."""
        logits = predictor(photo, expression).logits
        return 1 / (1 + np.exp(-logits[:, 4:12].astype("float64")))

    words = ["red", "box", "on", "the", "left"]
    outputs, importance = explained(predictor, photo, " ".join(words))
    logits = predictor(photo, " ".join(words)).logits
    np.testing.assert_allclose(outputs["logits"][..., 0], logits, atol=1e-5)
    whole = inside(" ".join(words))
    assert [word.word for word in importance] == words
    for i, word in enumerate(importance):
        found = inside(" ".join(words[:i] + words[i + 1 :]))
        change = 1 - np.minimum(whole, found).sum() / np.maximum(whole, found).sum()
        assert word.change == pytest.approx(change, abs=1e-5)
        one, other = whole >= 0.5, found >= 0.5
        assert word.iou == pytest.approx((one & other).sum() / (one | other).sum(), abs=0.02)
    assert len({round(word.change, 6) for word in importance}) > 1


def test_one_word_is_compared_with_none(predictor, photo):
    _, (word,) = explained(predictor, photo, "left")
    assert word.word == "left" and 0 < word.change <= 1


def test_the_pieces_of_a_word_are_left_out_together(seeded, photo):
    vocabulary = WordPieces(["the", "ze", "##bra", "##s", "on"], max_words=tiny.WORDS)
    predictor = Predictor(tiny.model(len(vocabulary)), Preprocessor(vocabulary, tiny.SIZE))
    (ids,) = vocabulary.encode(["the zebras on"])
    assert [places.tolist() for places in vocabulary.word_places(ids)] == [[0], [1, 2, 3], [4]]
    np.testing.assert_array_equal(without(ids, [1, 2, 3]), [2, 6, 0, 0, 0])
    _, importance = explained(predictor, photo, "the zebras on")
    assert [word.word for word in importance] == ["the", "zebras", "on"]


def test_overlap():
    assert overlap(np.array([1.0, 0.5]), np.array([0.5, 0.5])) == pytest.approx(1 / 1.5)
    assert overlap(np.zeros(3), np.zeros(3)) == 1
    one, other = np.array([1, 1, 1, 0]) > 0, np.array([0, 1, 1, 1]) > 0
    assert overlap(one, other) == 2 / 4
