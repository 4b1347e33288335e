"""Scores after DenseCRF, on all cores, beside the model's own in one evaluation."""

import multiprocessing
import os
from collections import deque
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from keras_cmsa.evaluation.crf import refine, require_pydensecrf
from keras_cmsa.inference.masks import MaskRule, check_size

PENDING_PER_PROCESS = 2  # images that wait to be refined; they take memory


class Refined:
    """Refines and scores the answers of an evaluation; one of `ask` of `evaluate`.

        with Refined("network") as refined:
            plain = evaluate(predictor, records, ask=[refined])
        refined.scores  # list of Score, one per record, in order

    Args:
        size: refine at the `"network"`'s size, as the authors do, or at the `"original"` one.

    Raises:
        ModuleNotFoundError: if the extra `crf` is not installed.
        ValueError: if the size is unknown.
    """

    def __init__(self, size="network"):
        require_pydensecrf()
        check_size(size)
        self.size = size
        self.processes = (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        )
        self.pending, self.by_row = deque(), {}

    def __enter__(self):
        # Spawned and not forked: a fork would copy the model's threads in whatever state they are.
        self.pool = ProcessPoolExecutor(self.processes, multiprocessing.get_context("spawn"))
        return self

    def __exit__(self, error, *_):
        while self.pending and not error:
            self.collect()
        self.pool.shutdown(cancel_futures=True)

    @property
    def scores(self):
        """List of `Score`, one per record, in order."""
        return [self.by_row[row] for row in sorted(self.by_row)]

    def sentences(self, records, words):
        """Nothing else is asked: the answers to the records' own sentences are refined."""
        return words[:0]

    def take(self, photo, answers):
        logits = np.array([answer["logits"][..., 0] for answer in photo.answers])
        rule = MaskRule(photo.profile, refine, self.size)
        preprocessor = photo.predictor.preprocessor
        future = self.pool.submit(masks_by, rule, photo.pixels, logits, preprocessor)
        self.pending.append((photo, future))
        if len(self.pending) > PENDING_PER_PROCESS * self.processes:
            self.collect()

    def collect(self):
        photo, future = self.pending.popleft()
        for k, mask in enumerate(future.result()):
            self.by_row[photo.rows[k]] = photo.score(k, mask, photo.answers[k])


def masks_by(rule, pixels, logits, preprocessor):
    """The masks `(K, H, W)` by a rule, of an image and logits `(K, S, S)`; runs in a process."""
    return np.array([rule(pixels, each, preprocessor) for each in logits])
