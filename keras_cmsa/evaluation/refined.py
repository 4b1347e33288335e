"""Scores without and with DenseCRF, in one pass of the model and on all cores."""

import multiprocessing
import os
from collections import deque
from concurrent.futures import ProcessPoolExecutor

from keras_cmsa.evaluation.crf import as_levels, refine, require_pydensecrf
from keras_cmsa.evaluation.evaluate import logits_of, score
from keras_cmsa.evaluation.scores import score_mask
from keras_cmsa.inference.masks import check_profile, check_size

PENDING_PER_PROCESS = 8  # images that wait to be refined; they take memory


def evaluate_refined(
    model, preprocessor, records, profile="strict", size="network", crf=None, title=None
):
    """`evaluate` without and with refinement.

    Args:
        model, preprocessor, records, profile, title: as in `evaluate`.
        size: refine at the `"network"`'s size, as the authors do, or at the `"original"` one.
        crf: `Crf`; `None`: the authors' parameters.

    Returns:
        Two lists of `Score`, without and with, in the order of the records.

    Raises:
        ModuleNotFoundError: if the extra `crf` is not installed.
        ValueError: as `evaluate`, or if the size is unknown.
    """
    require_pydensecrf()
    check_profile(profile)
    check_size(size)
    plain, refined, pending = {}, {}, deque()

    def collect():
        i, future = pending.popleft()
        if size == "network":
            refined[i] = score(records[i], future.result(), preprocessor, profile)
        else:
            refined[i] = score_mask(records[i], future.result() >= 0)

    processes = len(os.sched_getaffinity(0))
    # Spawned and not forked: a fork would copy the model's threads in whatever state they are.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for i, image, logits in logits_of(model, preprocessor, records, title=title):
            plain[i] = score(records[i], logits, preprocessor, profile)
            if size == "original":
                image = records[i].image()
                logits = preprocessor.undo(logits, image.shape[:2])
            pending.append((i, pool.submit(refine, as_levels(image), logits, crf)))
            if len(pending) > PENDING_PER_PROCESS * processes:
                collect()
        while pending:
            collect()
    return tuple([scores[i] for i in range(len(records))] for scores in (plain, refined))
