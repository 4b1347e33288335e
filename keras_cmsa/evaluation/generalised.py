"""Numbers of generalised referring segmentation, where a sentence may fit nothing or several things.

As the evaluation of Liu et al., "GRES: Generalized Referring Expression Segmentation", CVPR 2023,
defines them: https://github.com/henghuiding/ReLA. The mask of a refused sentence is empty here, as the
answer's is, so that the union of a target that is refused is its own area; ReLA's code keeps the
pixels of the mask in it.
"""

import numpy as np

from keras_cmsa.presets.files import fits

TARGETS = ("none", "one", "several")
FEWEST_PIXELS = 50  # of a model without `exists`, a smaller mask says that nothing fits
PRECISIONS = (0.7, 0.8, 0.9)
THRESHOLDS = np.linspace(0, 1, 21).round(2).tolist()  # of the curve


def refuses(mask, existence, threshold):
    """Whether an answer says that nothing fits.

    Args:
        mask: `(H, W)` bool.
        existence: in 0..1, or `None` for a model that does not say.
        threshold: the least `existence` that means a target.
    """
    if existence is None:
        return bool(np.count_nonzero(mask) < FEWEST_PIXELS)
    return not fits(existence, threshold)


def summarize(scores, threshold=None):
    """The numbers of a list of `Score`.

    Args:
        scores: list of `Score`.
        threshold: refuse by `existence` below it; `None`: as the scores say.

    Returns:
        Dict of, all in 0..1,

        - `giou`: mean of `iou_of`
        - `ciou`: sum of intersections over sum of unions
        - `n_acc`, `t_acc`: of the sentences without a target the share that is refused, of the
          others the share that is not; 1 where there are none
        - `prec@0.7` to `prec@0.9`: of the sentences with a target, the share of IoU >= X

        and the counts `without_target` and `samples`.
    """
    has_target = np.array([score.record.targets > 0 for score in scores])
    refused = np.array(
        [s.refused if threshold is None else not fits(s.existence, threshold) for s in scores], bool
    )
    ious = np.array([iou_of(*pair) for pair in zip(scores, refused)])
    both = np.where(refused, 0, [score.intersection for score in scores])
    union = np.where(refused, [s.true for s in scores], [s.union for s in scores]).sum()
    return {
        "giou": float(ious.mean()),
        "ciou": float(both.sum() / union) if union else 1.0,
        "n_acc": share(refused[~has_target]),
        "t_acc": share(~refused[has_target]),
        **{f"prec@{x:g}": share(ious[has_target] >= x) for x in PRECISIONS},
        "without_target": int((~has_target).sum()),
        "samples": len(scores),
    }


def iou_of(score, refused):
    """The IoU of a `Score`, whose mask is empty if it is `refused`; that of nothing is 1 or 0."""
    if not score.record.targets:
        return float(refused)
    return 0.0 if refused else score.iou


def share(values):
    """The share of true values; 1 of none."""
    return float(np.mean(values)) if len(values) else 1.0


def curve(scores):
    """What each threshold would do: list of dicts of `threshold`, `giou`, `ciou`, `n_acc`, `t_acc`."""
    names = "threshold", "giou", "ciou", "n_acc", "t_acc"
    lines = ({"threshold": x, **summarize(scores, x)} for x in THRESHOLDS)
    return [{name: line[name] for name in names} for line in lines]
