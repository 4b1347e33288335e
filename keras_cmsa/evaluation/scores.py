"""Scores of masks at the size of the original image, and the paper's numbers of many of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_cmsa.data.record import Record
from keras_cmsa.evaluation import generalised
from keras_cmsa.inference.masks import PROFILES
from keras_cmsa.utils.csv_files import write_rows
from keras_cmsa.utils.files import replaced

COLUMNS = (
    "image", "ref_id", "sentence_id", "expression", "kind", "targets", "iou", "existence", "refused",
)  # fmt: skip
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Score:
    """One expression's result, in pixels of the original image.

    Attributes:
        record: its `Record`.
        intersection: pixels of both masks, the model's and the true one.
        union: pixels of either.
        true: pixels of the true one.
        existence: how sure the model is that anything fits, in 0..1; `None` if it does not say.
        refused: whether the model says that nothing fits. The mask is scored as if it did not.
    """

    record: Record
    intersection: int
    union: int
    true: int = 0
    existence: float | None = None
    refused: bool = False

    @property
    def iou(self):
        """1 where both masks are empty: there was nothing to find and nothing was found."""
        return self.intersection / self.union if self.union else 1.0

    def iou_by(self, profile):
        """The IoU that a profile counts: in a generalised one that of a refused answer is another."""
        return generalised.iou_of(self, self.refused) if PROFILES[profile].generalised else self.iou


def overlap(one, other):
    """Sum of the smaller over sum of the larger values, the IoU of masks; 1 where all are 0."""
    union = float(np.maximum(one, other).sum())
    return float(np.minimum(one, other).sum()) / union if union else 1.0


def score_mask(record, mask, truth=None, **existence):
    """The `Score` of a mask of one record, at the size of the original image.

    Args:
        record: `Record`.
        mask: `(H, W)` bool.
        truth: `(H, W)` uint8 of 0 and 1, the record's mask; `None`: it is drawn.
        **existence: `existence` and `refused` of the score.
    """
    truth = record.mask() if truth is None else truth
    both, predicted, true = (int(np.count_nonzero(x)) for x in (truth & mask, mask, truth))
    return Score(record, both, predicted + true - both, true, **existence)


def summarize(scores, profile="strict"):
    """The paper's numbers for a list of `Score`.

    Args:
        scores: list of `Score`.
        profile: a key of `PROFILES`, which says whether prec@X counts IoU > X or >= X.

    Returns:
        Dict of `overall_iou` (sum of intersections over sum of unions), `mean_iou`, `prec@0.5` to
        `prec@0.9` (shares in 0..1) and `samples`; of a generalised profile those of
        `keras_cmsa.evaluation.generalised.summarize`.
    """
    if PROFILES[profile].generalised:
        return generalised.summarize(scores)
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
    """`summarize` for each kind of expression, where the data set records kinds.

    In a generalised profile the number of targets is a kind too: none, one, several.
    """
    groups = {}
    for score in scores:
        kinds = [score.record.kind] if score.record.kind else []
        if PROFILES[profile].generalised:
            kinds.append(generalised.TARGETS[min(score.record.targets, 2)])
        for kind in kinds:
            groups.setdefault(kind, []).append(score)
    return {kind: summarize(groups[kind], profile) for kind in sorted(groups)}


def metrics_of(scores, profile, weights):
    """The results of an evaluation, as they are written to JSON.

    Args:
        scores: dict from split to list of `Score`.
        profile: the profile's name.
        weights: what the model started from, in words.

    Returns:
        `{profile, weights, splits, kinds}`, the last two from split to the numbers of `summarize`
        and `summarize_by_kind`; of a generalised profile also `curves`, from split to `curve` of
        `keras_cmsa.evaluation.generalised`, if the model says whether anything fits.
    """
    metrics = {
        "profile": profile,
        "weights": weights,
        "splits": {split: summarize(x, profile) for split, x in scores.items()},
        "kinds": {split: summarize_by_kind(x, profile) for split, x in scores.items()},
    }
    known = all(score.existence is not None for split in scores.values() for score in split)
    if PROFILES[profile].generalised and known:
        metrics["curves"] = {split: generalised.curve(x) for split, x in scores.items()}
    return metrics


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
    existence = "" if score.existence is None else f"{score.existence:.6f}"
    numbers = r.targets, f"{score.iou:.6f}", existence, str(score.refused).lower()
    return [r.image_path.name, r.ref_id, r.sentence_id, r.expression, r.kind, *numbers]
