"""The importance of each word: what changes in the answer if the word is left out."""

from typing import NamedTuple

import numpy as np

from keras_cmsa.evaluation.scores import overlap
from keras_cmsa.preprocessing.preprocessor import INSIDE
from keras_cmsa.preprocessing.vocabulary import JOINER
from keras_cmsa.presets.files import fits


class WordImportance(NamedTuple):
    """What leaving out one word of an expression does.

    Attributes:
        word: the word, as the model saw it.
        change: 1 minus the sum over pixels of the smaller probability over the sum of the larger
            one, with and without the word: 0 where nothing changes, 1 where nothing stays. It is
            the IoU of the two answers without a threshold.
        iou: IoU of the two masks by the rule of the profile `strict`; 1 where both are empty.
        existence: how sure the model is that something fits without the word, in 0..1; `None` if it
            does not say.
    """

    word: str
    change: float
    iou: float
    existence: float | None = None


def explain_words(predictor, pixels, words):
    """The answer to an expression and the importance of each of its words.

    All sentences, the whole one and one without each word, go through the model together. The
    answers are compared at the network's size. They are the model's own, so a word that has no
    importance here has none for the model, in any system. Without its only word an expression is
    padding alone, which a network reads as one word that it never learned.

    A model that never met a part of an expression may find nothing for "the red", and the noun then
    seems to matter most. Training with `word_dropout` shows it such parts.

    Args:
        predictor: `Predictor`.
        pixels: `(H, W, 3)` uint8.
        words: `Words` of the expression, as `predictor.read` gives them.

    Returns:
        The outputs of the model for the whole expression, see `Predictor.outputs`, and a list of
        `WordImportance`, in the order of the words.
    """
    preprocessor = predictor.preprocessor
    places = preprocessor.vocabulary.word_places(words.ids)
    sentences = np.stack([words.ids, *(without(words.ids, word) for word in places)])
    outputs = predictor.outputs(pixels, sentences)
    *size, _, _ = preprocessor.placement(*pixels.shape[:2])
    likely = [preprocessor.probabilities(x["logits"][..., 0], size) for x in outputs]
    importance = [
        WordImportance(
            text_of(words, word),
            1 - overlap(likely[0], likely[i]),
            overlap(likely[0] >= INSIDE, likely[i] >= INSIDE),
            float(outputs[i]["exists"]) if "exists" in outputs[i] else None,
        )
        for i, word in enumerate(places, 1)
    ]
    return outputs[0], importance


def excluding_words(importance, threshold):
    """The words of a sentence that fits nothing without which something would, the surest first.

    Args:
        importance: list of `WordImportance`. A sentence of one word has no such word.
        threshold: from which `existence` on something fits.
    """
    if len(importance) < 2:
        return []
    surest_first = sorted(importance, key=lambda word: -word.existence)
    return [word.word for word in surest_first if fits(word.existence, threshold)]


def text_of(words, places):
    """A word of `Words`, which stands at some places; it has several if it is cut into pieces."""
    return "".join(words.tokens[place].removeprefix(JOINER) for place in places)


def without(ids, places):
    """Word ids `(N,)` without those at some places; the others move up."""
    kept = np.delete(ids, places)
    return np.pad(kept, (0, len(ids) - len(kept)))
