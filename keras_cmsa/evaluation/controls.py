"""Controls: what a score would be without understanding the sentence.

A model is asked again with its words in another order, with the sentence of another object of the
image, and with no words; and the best answers that no sentence is needed for are scored beside it.
A number is evidence of language only as far as it lies above these.
"""

from typing import NamedTuple

import numpy as np

from keras_cmsa.data.record import images_of
from keras_cmsa.evaluation.evaluate import evaluate
from keras_cmsa.evaluation.scores import score_mask, summarize, summarize_by_kind

SHUFFLED, OTHER, SILENT = "shuffled words", "another object's sentence", "no words"
LARGEST, CENTRE = "largest object", "centre object"
CONTROLS = (SHUFFLED, OTHER, SILENT, LARGEST, CENTRE)


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
        `{name: Control}`, the names being `CONTROLS`:

        - shuffled words: a random order that is another, for sentences that have one
        - another object's sentence: a random sentence about another object of the image, where
          there is one
        - no words: padding alone
        - largest object, centre object: the ground truth of that object among those of the image
          which the records refer to, whatever was asked. The centre object is the one whose centre
          is nearest to the image's.

    Raises:
        ValueError: as `evaluate`.
    """
    words = preprocessor.vocabulary.encode([record.expression for record in records])
    asked = {
        SHUFFLED: shuffled(words, np.random.default_rng(seed)),
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
    for name, scores in fixed_answers(records).items():
        controls[name] = Control(plain, scores)
    return controls


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


def shuffled(words, random):
    """Word ids `(n, N)` with those of each sentence in another order, if it has one."""
    result = words.copy()
    for row in result:
        places = np.flatnonzero(row)
        before = row[places]
        while len(np.unique(before)) > 1 and np.array_equal(row[places], before):
            row[places] = random.permutation(before)
    return result


def others(words, records, random):
    """The word ids `(n, N)` of a sentence about another object of each record's image.

    Where the image has no other object in the records, the record keeps its own sentence.
    """
    by_image = {}
    for i, image in enumerate(images_of(records)):
        by_image.setdefault(image, []).append(i)
    result = words.copy()
    for of_image in by_image.values():
        for i in of_image:
            refs = [j for j in of_image if records[j].ref_id != records[i].ref_id]
            if refs:
                result[i] = words[random.choice(refs)]
    return result


def fixed_answers(records):
    """The scores of the largest and of the centre object: `{name: [Score, ...]}`."""
    masks, by_image = {}, {}
    for image, record in zip(images_of(records), records):
        if (image, record.ref_id) not in masks:
            masks[image, record.ref_id] = record.mask().astype(bool)
            by_image.setdefault(image, []).append(masks[image, record.ref_id])
    largest = {image: max(found, key=np.sum) for image, found in by_image.items()}
    centre = {image: min(found, key=off_centre) for image, found in by_image.items()}
    return {
        name: [
            score_mask(record, answers[image]) for image, record in zip(images_of(records), records)
        ]
        for name, answers in ((LARGEST, largest), (CENTRE, centre))
    }


def off_centre(mask):
    """The distance of a mask's centre from the image's, in image sides."""
    centre = np.argwhere(mask).mean(axis=0) + 0.5
    return np.hypot(*(centre / mask.shape - 0.5))
