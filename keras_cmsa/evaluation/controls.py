"""Controls: what a score would be without understanding the sentence.

A model is asked again with its words in another order, with the sentence of another object of the
image, and with no words; and the best answers that no sentence is needed for are scored beside it.
A number is evidence of language only as far as it lies above these.
"""

from typing import NamedTuple

import numpy as np

from keras_cmsa.data.record import by_image
from keras_cmsa.evaluation.evaluate import evaluate
from keras_cmsa.evaluation.scores import score_mask, summarize, summarize_by_kind

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


def evaluate_controls(model, preprocessor, records, plain, profile="strict", seed=0, title=None):
    """Scores the controls of one split.

    Args:
        model, preprocessor, records, profile, title: as in `evaluate`.
        plain: the list of `Score` that `evaluate` gave for them.
        seed: of the order of shuffled words.

    Returns:
        `{name: Control}`, by these names:

        - shuffled words: a random order that is another, for sentences that have one
        - another object's sentence: a random sentence about another object of the image, where
          there is one
        - no words: padding alone, which a network reads as one word that it never learned
        - largest object, centre object: the ground truth of that object among those of the image
          which the records refer to, whatever was asked, where there are two or more. The centre
          object is the one whose centre is nearest to the image's.

    Raises:
        ValueError: as `evaluate`.
    """
    words = preprocessor.vocabulary.encode([record.expression for record in records])
    asked = {
        SHUFFLED: shuffled(words, preprocessor.vocabulary, np.random.default_rng(seed)),
        OTHER: others(words, records, np.random.default_rng(seed)),
        SILENT: np.zeros_like(words),
    }
    controls = {}
    for name, of_records in asked.items():
        applies = np.flatnonzero((of_records != words).any(axis=1))
        found = [records[i] for i in applies]
        label = title and f"{title}, {name}"
        scores = (
            evaluate(model, preprocessor, found, profile, title=label, words=of_records[applies])
            if found
            else []
        )
        controls[name] = Control([plain[i] for i in applies], scores)
    return controls | fixed_answers(records, plain)


def summarize_controls(controls, profile="strict"):
    """The numbers of each control, as they are written to JSON.

    Args:
        controls: dict from name to `Control`.
        profile: the profile's name.

    Returns:
        `{name: {"plain": numbers, "control": numbers, "kinds": {kind: {"plain": numbers, "control":
        numbers}}}}` with the numbers of `summarize`; a control that no record allows is left out.
    """
    summaries = {}
    for name, of_control in controls.items():
        if of_control.control:
            by_kind = [summarize_by_kind(scores, profile) for scores in of_control]
            summaries[name] = {
                "plain": summarize(of_control.plain, profile),
                "control": summarize(of_control.control, profile),
                "kinds": {
                    kind: {"plain": by_kind[0][kind], "control": by_kind[1][kind]}
                    for kind in by_kind[0]
                },
            }
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
    """The word ids `(n, N)` of a sentence about another object of each record's image.

    Where the image has no other object in the records, the record keeps its own sentence.
    """
    result = words.copy()
    for of_image in by_image(records):
        for i in of_image:
            refs = [j for j in of_image if records[j].ref_id != records[i].ref_id]
            if refs:
                result[i] = words[random.choice(refs)]
    return result


def fixed_answers(records, plain):
    """The largest and the centre object: `{name: Control}`."""
    found = {LARGEST: {}, CENTRE: {}}
    for of_image in by_image(records):
        # The masks of one image at a time: those of a split would fill the memory.
        refs = {records[i].ref_id: records[i] for i in of_image}
        if len(refs) < 2:
            continue
        masks = [record.mask().astype(bool) for record in refs.values()]
        answers = {LARGEST: max(masks, key=np.sum), CENTRE: min(masks, key=off_centre)}
        for name, answer in answers.items():
            found[name] |= {i: score_mask(records[i], answer) for i in of_image}
    return {
        name: Control([plain[i] for i in sorted(scores)], [scores[i] for i in sorted(scores)])
        for name, scores in found.items()
    }


def off_centre(mask):
    """The distance of a mask's centre from the image's, in image sides."""
    centre = np.argwhere(mask).mean(axis=0) + 0.5
    return np.hypot(*(centre / mask.shape - 0.5))
