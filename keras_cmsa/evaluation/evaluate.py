"""Asks a model about every record of a split and scores its answers, image by image.

An image is opened and encoded once and the mask of each object drawn once, whatever is asked about
it: further questions are further sentences of the same pass.
"""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from rich.progress import track

from keras_cmsa.data.record import Record, by_image
from keras_cmsa.data.samples import read_image_and_masks
from keras_cmsa.evaluation.generalised import refuses
from keras_cmsa.evaluation.scores import score_mask
from keras_cmsa.inference.masks import check_profile, to_mask
from keras_cmsa.inference.predictor import Predictor

IMAGES_AHEAD = 8  # images that are opened before they are needed
THREADS = max(2, min(IMAGES_AHEAD, os.cpu_count() or 2))  # that open them


@dataclass(frozen=True, eq=False)
class Photo:
    """One image, what is known of it, and the model's answers to its own sentences.

    An answer is a dict of what the model gives for a sentence, see `Predictor.outputs`, and of
    `mask`, `(H, W)` bool by the rule of the profile.

    Attributes:
        predictor: the `Predictor` that is evaluated.
        profile: a key of `PROFILES`.
        rows: the places of its K records in the evaluation.
        records: list of K `Record`.
        pixels: `(H, W, 3)` uint8.
        masks: the ground truth, list of K `(H, W)` uint8 of 0 and 1; sentences about one object
            share theirs.
        maps: the backbone's maps of the image, list of `(1, H, W, C)`.
        words: `(K, N)` int32, the word ids of the sentences.
        answers: list of K answers to the sentences.
    """

    predictor: Predictor
    profile: str
    rows: list[int]
    records: list[Record]
    pixels: np.ndarray
    masks: list[np.ndarray]
    maps: list[np.ndarray]
    words: np.ndarray
    answers: list[dict]

    @cached_property
    def scores(self):
        """List of K `Score`."""
        return [self.score(k, answer["mask"], answer) for k, answer in enumerate(self.answers)]

    def score(self, k, mask, answer=None):
        """The `Score` of a mask `(H, W)`, bool or of 0 and 1, for the k-th record.

        Args:
            k: place of the record.
            mask: what is scored.
            answer: that of the model which the mask was made of, if it was.
        """
        existence = float(answer["exists"]) if answer and "exists" in answer else None
        refused = answer is not None and refuses(mask, existence, self.predictor.threshold)
        return score_mask(
            self.records[k], mask, self.masks[k], existence=existence, refused=refused
        )

    def mask(self, logits):
        """The mask `(H, W)` bool of logits `(S, S, 1)`."""
        return mask_of(logits, self.pixels, self.predictor, self.profile)


def mask_of(logits, pixels, predictor, profile):
    return to_mask(logits, pixels.shape[:2], predictor.preprocessor, profile)


def evaluate(predictor, records, ask=(), profile="strict", title=None):
    """Scores a model on every record, each expression counted once.

    Args:
        predictor: `Predictor` of the model.
        records: list of `Record`.
        ask: what else is asked about the images, such as a `Controls`. Each is an object with

            - `sentences(records, words)`: from the K records of an image and the word ids `(K, N)`
              of their sentences to those of k more, `(k, N)` int32; k may be 0
            - `take(photo, answers)`: gets the `Photo` and the k answers, in the order of the images

            and has its own results afterwards.
        profile: a key of `PROFILES`.
        title: label of the progress bar; `None` shows none.

    Returns:
        List of `Score`, one per record, in order. `summarize` makes the paper's numbers of it.

    Raises:
        ValueError: if there are no records, the profile is unknown, an expression has no word, or
            an image or mask cannot be read.
    """
    check_profile(profile)
    if not records:
        raise ValueError("wanted records to evaluate. Received: none, the split is empty")
    words = predictor.preprocessor.vocabulary.encode([record.expression for record in records])
    images, scores = by_image(records), [None] * len(records)
    opened = read_ahead([[records[i] for i in rows] for rows in images])
    starts = range(0, len(images), predictor.batch_size)
    for start in track(starts, title) if title else starts:
        batch = images[start : start + predictor.batch_size]
        files = [next(opened) for _ in batch]
        sentences = [
            [words[rows], *(question.sentences(file[0], words[rows]) for question in ask)]
            for rows, file in zip(batch, files)
        ]
        pixels = [image for _, image, _ in files]
        maps = predictor.maps(pixels)
        answers = answer_each(predictor, profile, pixels, maps, sentences)
        for b, (rows, file, (own, *others)) in enumerate(zip(batch, files, answers)):
            image_maps = [x[b : b + 1] for x in maps]
            photo = Photo(predictor, profile, rows, *file, image_maps, words[rows], own)
            for question, further in zip(ask, others):
                question.take(photo, further)
            for i, score in zip(rows, photo.scores):
                scores[i] = score
    return scores


def answer_each(predictor, profile, pixels, maps, sentences):
    """Yields for each image the answers to its lists of sentences, a list for each of them.

    Args:
        predictor, profile: as in `evaluate`.
        pixels: list of B `(H, W, 3)` uint8.
        maps: the backbone's maps of the B images.
        sentences: list of B lists of word ids `(k, N)`. A sentence that occurs again is asked once.
    """
    unique = [np.unique(np.concatenate(lists), axis=0, return_inverse=True) for lists in sentences]
    outputs = predictor.decode(maps, [words for words, _ in unique])
    for lists, (_, places), image, answers in zip(sentences, unique, pixels, outputs):
        for answer in answers:
            answer["mask"] = mask_of(answer["logits"], image, predictor, profile)
        places = iter(places.ravel())
        yield [[answers[next(places)] for _ in words] for words in lists]


def read_ahead(images):
    """Yields `(records, pixels, masks)` of each image; threads read the next ones meanwhile.

    Args:
        images: list of lists of `Record`, those of one image each.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        pending, later = deque(), iter(images)
        for records in images:
            while len(pending) < IMAGES_AHEAD and (following := next(later, None)):
                pending.append(pool.submit(read_image_and_masks, following))
            yield records, *pending.popleft().result()
