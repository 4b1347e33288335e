"""Measuring at the size of the original image, under a rule with a name.

Papers differ in how they get from logits to a mask of the original size, and so in their numbers;
docs say how. A profile fixes the rule, and every result carries its profile's name.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from rich.progress import track

from keras_cmsa.data.pipeline import RecordBatches
from keras_cmsa.files import replaced
from keras_cmsa.image import FITS, resize_bilinear

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


def probabilities(logits, original_size, fit):
    """Sigmoid of logits `(S, S)`, undone to the original size: `(H, W)` float32 in 0..1."""
    probability = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
    return FITS[fit][1](probability, original_size)


def strict_mask(logits, original_size, fit):
    """Probabilities undone to the original size; foreground from 0.5 up. `(H, W)` bool."""
    return probabilities(logits, original_size, fit) >= 0.5


def phrasecut_mask(logits, original_size, fit):
    """The rule of the code that CMSA, RMI and RRN share. `(H, W)` bool.

    Logits of 1e-9 and more are foreground at the network's size; that map of 0 and 1 is resized to
    cover the image and its centre cut out; what is not exactly 0 afterwards is foreground, which
    widens every object.
    """
    found = (logits >= 1e-9).astype("float32")
    height, width = original_size
    if fit == "pad":
        scale = max(height / found.shape[0], width / found.shape[1])
        cover = resize_bilinear(
            found, (round(found.shape[0] * scale), round(found.shape[1] * scale))
        )
        top, left = (cover.shape[0] - height) // 2, (cover.shape[1] - width) // 2
        return cover[top : top + height, left : left + width] > 0
    return resize_bilinear(found, original_size) > 0


@dataclass(frozen=True)
class Profile:
    """How logits become a mask of the original size, and whether prec@X counts IoU > X or >= X."""

    to_mask: callable
    strict: bool


PROFILES = {
    "strict": Profile(strict_mask, strict=True),
    "phrasecut": Profile(phrasecut_mask, strict=False),
}


@dataclass(frozen=True)
class Score:
    """One expression's result, in pixels of the original image."""

    record: object
    intersection: int
    union: int

    @property
    def iou(self):
        """1 where both masks are empty: there was nothing to find and nothing was found."""
        return self.intersection / self.union if self.union else 1.0


def evaluate(model, vocabulary, records, profile="strict", batch_size=8, fit="pad", title=None):
    """Scores a model on every record, each expression counted once.

    Args:
        model: from `image` and `words` to logits, as `build_cmsa` makes.
        vocabulary: the one the model was trained with.
        records: list of `Record`.
        profile: a key of `PROFILES`.
        batch_size: expressions per forward pass.
        fit: how images are brought to the network's size; the same as in training.
        title: label of the progress bar; `None` shows none.

    Returns:
        List of `Score`, one per record, in order. `summarize` makes the paper's numbers of it.

    Raises:
        ValueError: if the profile is unknown, the vocabulary does not fit the model, or an image
            or mask cannot be read.
    """
    check_profile(profile)
    return [
        score(record, logits, profile, fit)
        for record, _, logits in logits_of(model, vocabulary, records, batch_size, fit, title)
    ]


def logits_of(model, vocabulary, records, batch_size=8, fit="pad", title=None):
    """Runs a model on every record; arguments and errors as in `evaluate`.

    Yields:
        `(record, image, logits)`: the fitted image `(S, S, 3)` float32 in 0..255 and the logits
        `(S, S)`, in the order of the records.
    """
    check_vocabulary(model, vocabulary)
    image_size = model.input["image"].shape[1]
    batches = RecordBatches(records, vocabulary, image_size, batch_size, fit=fit)
    numbers = range(len(batches))
    for number in track(numbers, title) if title else numbers:
        inputs, _ = batches[number]
        logits = np.asarray(model.predict_on_batch(inputs))[..., 0]
        for i, image, logit in zip(batches.samples(number), inputs["image"], logits, strict=True):
            yield records[i], image, logit


def check_profile(profile):
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {sorted(PROFILES)}. Received: {profile!r}")


def check_vocabulary(model, vocabulary):
    # Left alone, JAX looks up words that a table does not have without a complaint.
    longest = model.input["words"].shape[1]
    tables = [x.input_dim for x in model.layers if isinstance(x, keras.layers.Embedding)]
    if vocabulary.max_words != longest or any(rows != len(vocabulary) for rows in tables):
        raise ValueError(
            f"The vocabulary does not fit the model, which takes {longest} words per expression "
            f"and has word tables of {tables} rows. Received: a vocabulary of {len(vocabulary)} "
            f"with max_words={vocabulary.max_words}"
        )


def score(record, logits, profile="strict", fit="pad"):
    """The `Score` of one record's logits `(S, S)`."""
    size = record.height, record.width
    return score_mask(record, PROFILES[profile].to_mask(logits, size, fit))


def score_mask(record, found):
    """The `Score` of one record's mask `(H, W)` bool, at the size of the original image."""
    true = record.mask().astype(bool)
    return Score(record, int(np.sum(true & found)), int(np.sum(true | found)))


def summarize(scores, profile="strict"):
    """The paper's numbers of a list of `Score`.

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


def write_results(folder, profile, weights, scores):
    """Writes `metrics.json` and, per split, `scores_<split>.csv` with every expression's IoU.

    Args:
        folder: where to; exists.
        profile: the profile's name.
        weights: what the model started from, in words.
        scores: dict from split to list of `Score`.

    Returns:
        What was written as `metrics.json`: `{profile, weights, splits, kinds}`, the last two from
        split to the numbers of `summarize` and `summarize_by_kind`.
    """
    metrics = {
        "profile": profile,
        "weights": weights,
        "splits": {split: summarize(of, profile) for split, of in scores.items()},
        "kinds": {split: summarize_by_kind(of, profile) for split, of in scores.items()},
    }
    folder = Path(folder)
    for split, of in scores.items():
        with replaced(folder / f"scores_{split}.csv") as file:
            rows = csv.writer(file)
            rows.writerow(["image", "ref_id", "sentence_id", "expression", "kind", "iou"])
            for s in of:
                r = s.record
                name = r.image_path.name
                rows.writerow([name, r.ref_id, r.sentence_id, r.expression, r.kind, f"{s.iou:.6f}"])
    with replaced(folder / "metrics.json") as file:
        json.dump(metrics, file, indent=1)
    return metrics
