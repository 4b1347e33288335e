"""Controls: what a score would be without understanding the sentence.

A model is asked again with its words in another order, with the sentence of another object of the
image, and with no words; and the best answers that no sentence is needed for are scored beside it.
A number is evidence of language only as far as it lies above these.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

from keras_cmsa.evaluation.scores import summarize, summarize_by_kind

SHUFFLED, OTHER, SILENT = "shuffled words", "another object's sentence", "no words"
LARGEST, CENTRE = "largest object", "centre object"


class Control(NamedTuple):
    """One control on the records that it applies to.

    Attributes:
        plain: list of `Score` with the sentences as they are.
        control: list of `Score` of the same records under the control.
    """

    plain: list
    control: list


class Controls:
    """Scores the controls of one split; one of `ask` of `evaluate`.

        controls = Controls(predictor.preprocessor.vocabulary)
        scores = evaluate(predictor, records, ask=[controls])
        controls.scores["no words"].control  # list of Score

    The controls are, by name:

    - shuffled words: a random order that is another, for sentences that have one
    - another object's sentence: a random sentence about another object of the image, where there
      is one
    - no words: padding alone, which a network reads as one word that it never learned
    - largest object, centre object: the ground truth of that object among those of the image which
      the records refer to, whatever was asked, where there are two or more. The centre object is
      the one whose centre is nearest to the image's.

    Args:
        vocabulary: the model's `Vocabulary`.
        seed: of the order of shuffled words and the choice of other sentences.

    Attributes:
        scores: dict from each name to its `Control`.
    """

    def __init__(self, vocabulary, seed=0):
        self.vocabulary = vocabulary
        self.shuffling, self.choice = np.random.default_rng(seed), np.random.default_rng(seed)
        names = SHUFFLED, OTHER, SILENT, LARGEST, CENTRE
        self.scores = {name: Control([], []) for name in names}
        self.pending = deque()  # control and record of each sentence about the images to come

    def sentences(self, records, words):
        """Word ids `(k, N)` of the controls that apply to the K records of an image.

        None apply to a record without a target.
        """
        ids = {
            SHUFFLED: shuffled(words, self.vocabulary, self.shuffling),
            OTHER: others(words, records, self.choice),
            SILENT: np.zeros_like(words),
        }
        places = [
            (name, k)
            for name, rows in ids.items()
            for k in np.flatnonzero((rows != words).any(1))
            if records[k].targets
        ]
        self.pending.append(places)
        return np.array([ids[name][k] for name, k in places], "int32")

    def take(self, photo, answers):
        """Scores the answers to the sentences, and the answers that need none."""
        for (name, k), answer in zip(self.pending.popleft(), answers):
            self.add(name, photo, k, answer["mask"], answer)
        targets = ((r, mask) for r, mask in zip(photo.records, photo.masks) if r.targets)
        objects = {r.ref_id: mask for r, mask in targets}.values()
        if len(objects) < 2:
            return
        fixed = {LARGEST: max(objects, key=np.sum), CENTRE: min(objects, key=off_centre)}
        for name, mask in fixed.items():
            for k, record in enumerate(photo.records):
                if record.targets:
                    self.add(name, photo, k, mask)

    def add(self, name, photo, k, mask, answer=None):
        self.scores[name].plain.append(photo.scores[k])
        self.scores[name].control.append(photo.score(k, mask, answer))

    def summary(self, profile="strict"):
        """The numbers of each control, as they are written to JSON.

        Args:
            profile: the profile's name.

        Returns:
            `{name: {"plain": numbers, "control": numbers, "kinds": {kind: {"plain": numbers,
            "control": numbers}}}}` with the numbers of `summarize`; a control that no record allows
            is left out.
        """
        summaries = {}
        for name, control in self.scores.items():
            if not control.control:
                continue
            numbers = {key: summarize(x, profile) for key, x in control._asdict().items()}
            kinds = {key: summarize_by_kind(x, profile) for key, x in control._asdict().items()}
            by_kind = {kind: {key: kinds[key][kind] for key in kinds} for kind in kinds["plain"]}
            summaries[name] = {**numbers, "kinds": by_kind}
        return summaries


def shuffled(words, vocabulary, random):
    """Word ids `(n, N)` with the words of each sentence in another order, if it has one.

    Args:
        words: `(n, N)` int32, 0 at padding.
        vocabulary: its `Vocabulary`, which knows the pieces of a word.
        random: NumPy `Generator`.
    """
    result = words.copy()
    for row, before in zip(result, words):
        groups = [before[places] for places in vocabulary.word_places(before)]
        if len({tuple(group) for group in groups}) < 2:
            continue
        while np.array_equal(row, before):
            order = random.permutation(len(groups))
            row[before > 0] = np.concatenate([groups[k] for k in order])
    return result


def others(words, records, random):
    """The word ids `(K, N)` of a sentence about another object of the image for each record of it.

    Where no other object is among the records, a record keeps its own sentence.
    """
    result = words.copy()
    for k, record in enumerate(records):
        refs = [j for j, r in enumerate(records) if r.targets and r.ref_id != record.ref_id]
        if refs:
            result[k] = words[random.choice(refs)]
    return result


def off_centre(mask):
    """The distance of the centre of a mask, which covers a pixel, from the image's, in sides."""
    shares = (mask.sum(axis=axis) / mask.sum() for axis in (1, 0))  # of rows, of columns
    centre = [(np.arange(len(share)) + 0.5) @ share / len(share) for share in shares]
    return np.hypot(*np.subtract(centre, 0.5))
