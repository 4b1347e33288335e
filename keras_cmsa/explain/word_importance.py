"""The importance of each word: what changes in the answer if the word is left out."""

from typing import NamedTuple

import numpy as np

from keras_cmsa.evaluation.scores import overlap
from keras_cmsa.inference.masks import probabilities, to_mask
from keras_cmsa.preprocessing.vocabulary import JOINER


class WordImportance(NamedTuple):
    """What leaving out one word of an expression does.

    Attributes:
        word: the word, as the model saw it.
        change: 1 minus the sum over pixels of the smaller probability over the sum of the larger
            one, with and without the word: 0 where nothing changes, 1 where nothing stays. It is
            the IoU of the two answers without a threshold.
        iou: IoU of the two masks by the rule of the profile `strict`; 1 where both are empty.
    """

    word: str
    change: float
    iou: float


def explain_words(predictor, pixels, expression, ids):
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
        expression: `str`.
        ids: its word ids `(N,)` int32, as `predictor.encode` gives them.

    Returns:
        The outputs of the model for the whole expression, see `Predictor.outputs`, and a list of
        `WordImportance`, in the order of the words.
    """
    preprocessor = predictor.preprocessor
    tokens = preprocessor.vocabulary.tokens(expression)
    places = preprocessor.vocabulary.word_places(ids)
    sentences = np.stack([ids, *(without(ids, of_word) for of_word in places)])
    outputs = predictor.outputs(pixels, sentences)
    logits = [of_sentence["logits"][..., 0] for of_sentence in outputs]
    *size, _, _ = preprocessor.placement(*pixels.shape[:2])
    found = [probabilities(x, size, preprocessor) for x in logits]
    masks = [to_mask(x, size, preprocessor) for x in logits]
    importance = [
        WordImportance(
            "".join(tokens[place].removeprefix(JOINER) for place in of_word),
            1 - overlap(found[0], found[i]),
            overlap(masks[0], masks[i]),
        )
        for i, of_word in enumerate(places, 1)
    ]
    return outputs[0], importance


def without(ids, places):
    """Word ids `(N,)` without those at some places; the others move up."""
    kept = np.delete(ids, places)
    return np.pad(kept, (0, len(ids) - len(kept)))
