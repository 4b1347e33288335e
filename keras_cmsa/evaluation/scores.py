"""Scores of masks at the size of the original image, and the paper's numbers of many of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_cmsa.data.record import Record
from keras_cmsa.inference.masks import PROFILES
from keras_cmsa.utils.csv_files import write_rows
from keras_cmsa.utils.files import replaced

COLUMNS = ("image", "ref_id", "sentence_id", "expression", "kind", "iou")
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Score:
    """One expression's result, in pixels of the original image."""

    record: Record
    intersection: int
    union: int

    @property
    def iou(self):
        """1 where both masks are empty: there was nothing to find and nothing was found."""
        return self.intersection / self.union if self.union else 1.0


def overlap(one, other):
    """Sum of the smaller over sum of the larger values, the IoU of masks; 1 where all are 0."""
    union = float(np.maximum(one, other).sum())
    return float(np.minimum(one, other).sum()) / union if union else 1.0


def score_mask(record, mask, truth=None):
    """The `Score` of a mask of one record, at the size of the original image.

    Args:
        record: `Record`.
        mask: `(H, W)` bool.
        truth: `(H, W)` uint8 of 0 and 1, the record's mask; `None`: it is drawn.
    """
    truth = record.mask() if truth is None else truth
    both, either = np.count_nonzero(truth & mask), np.count_nonzero(truth | mask)
    return Score(record, int(both), int(either))


def summarize(scores, profile="strict"):
    """The paper's numbers for a list of `Score`.

    Args:
        scores: list of `Score`.
        profile: a key of `PROFILES`, which says whether prec@X counts IoU > X or >= X.

    Returns:
        Dict of `overall_iou` (sum of intersections over sum of unions), `mean_iou`, `prec@0.5` to
        `prec@0.9` (shares in 0..1) and `samples`.
    """
    ious = np.array([score.iou for score in scores])
    union = sum(score.union for score in scores)
    summary = {
        "overall_iou": sum(score.intersection for score in scores) / union if union else 1.0,
        "mean_iou": float(ious.mean()),
    }
    for threshold in THRESHOLDS:
        above = ious > threshold if PROFILES[profile].strict else ious >= threshold
        summary[f"prec@{threshold:g}"] = float(above.mean())
    return {**summary, "samples": len(scores)}


def summarize_by_kind(scores, profile="strict"):
    """`summarize` for each kind of expression, where the data set records kinds."""
    kinds = sorted({score.record.kind for score in scores} - {""})
    return {
        kind: summarize([score for score in scores if score.record.kind == kind], profile)
        for kind in kinds
    }


def metrics_of(scores, profile, weights):
    """The results of an evaluation, as they are written to JSON.

    Args:
        scores: dict from split to list of `Score`.
        profile: the profile's name.
        weights: what the model started from, in words.

    Returns:
        `{profile, weights, splits, kinds}`, the last two from split to the numbers of `summarize`
        and `summarize_by_kind`.
    """
    return {
        "profile": profile,
        "weights": weights,
        "splits": {split: summarize(x, profile) for split, x in scores.items()},
        "kinds": {split: summarize_by_kind(x, profile) for split, x in scores.items()},
    }


def write_scores(folder, scores):
    """Writes `scores_<split>.csv` with every expression's IoU.

    Args:
        folder: where to; exists.
        scores: dict from split to list of `Score`.
    """
    for split, split_scores in scores.items():
        with replaced(Path(folder) / f"scores_{split}.csv") as file:
            write_rows(file, [COLUMNS, *map(row_of, split_scores)])


def row_of(score):
    r = score.record
    iou = f"{score.iou:.6f}"
    return [r.image_path.name, r.ref_id, r.sentence_id, r.expression, r.kind, iou]
