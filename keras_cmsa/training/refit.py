"""After a training: the least `exists` that means a target, learnt on held-out sentences.

A model that went on with photos whose sentences all have a target forgets to say "nothing". Its
last layer and its threshold are therefore fitted again on sentences that it has not learnt from,
some of which fit nothing. It takes seconds, since the rest of the model is asked once.
"""

from pathlib import Path

import keras
import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from keras_cmsa.evaluation.generalised import THRESHOLDS
from keras_cmsa.models.existence import FEATURE, SCORE
from keras_cmsa.models.inputs_and_outputs import split_at_maps
from keras_cmsa.presets.files import MODEL, read_config
from keras_cmsa.presets.preset import load_preset, save_model, write_config
from keras_cmsa.training.distribution import without_distribution
from keras_cmsa.training.features import FeatureBatches

ACCEPTED = 0.95  # of the held-out sentences with a target, the share that the threshold accepts
FOLDS = 5
TRAINED = "trained_existence_layer"  # in `config.json`, until the refit has ended
RIDGE = 1.0  # holds the fitted layer near the trained one, where there are few sentences


@without_distribution()
def refit(run_dir, batches, threshold=0.5):
    """Fits the last layer of `exists` and its threshold, and writes both into the preset of a run.

    The threshold accepts `ACCEPTED` of the sentences with a target, or a few more. It and the curve
    come from answers about images that a layer was not fitted on, by `FOLDS` folds; the layer that
    is kept is fitted on all. Without sentences of both kinds all stays as it is.

    Args:
        run_dir: folder of the run, with the best round as a preset.
        batches: `RecordBatches` of all held-out records, with `Negatives`.
        threshold: that of the model which training went on from, if it did.
    """
    run_dir = Path(run_dir)
    model, config = load_preset(run_dir).model, read_config(run_dir)
    features, exists, images = held_out_features(model, batches)
    layer, answers = model.get_layer(SCORE), None
    if 0 < exists.sum() < len(exists):
        # Noted while model and config are not of one another: a run that is killed in between is
        # fitted again when it is resumed, from the same layer.
        noted = np.concatenate([np.ravel(x) for x in layer.get_weights()]).tolist()
        trained = np.array(config.setdefault(TRAINED, noted))
        write_config(run_dir, config)
        answers = folded_answers(features, exists, images, trained)
        threshold = threshold_of(answers[exists])
        *kernel, bias = fitted(features, exists, trained)
        layer.set_weights([np.array(kernel)[:, None], np.array([bias])])
        save_model(model, run_dir / MODEL)
        del config[TRAINED]
    config["existence"] = facts_of(threshold, answers, exists)
    write_config(run_dir, config)


def held_out_features(model, batches):
    """The input of the last layer for every sentence of some batches.

    Returns:
        `(n, D)` float64; `(n,)` bool, whether the sentence has a target; `(n,)` integers, which image
        it is about.
    """
    part = keras.Model(model.input, {"feature": model.get_layer(FEATURE).output})
    if isinstance(batches, FeatureBatches):
        _, part = split_at_maps(part)
    features, exists, images = [], [], []
    for number in range(len(batches)):
        inputs, labels, weights = batches[number]
        kept = weights["exists"] > 0
        features.append(part.predict_on_batch(inputs)["feature"][kept.ravel()])
        exists.append(labels["exists"][kept] > 0)
        of_row = batches.order.image_of[batches.rows(number)[:, 0]]
        images.append(of_row[np.nonzero(kept)[0]])
    return (
        np.concatenate(features).astype("float64"),
        np.concatenate(exists),
        np.concatenate(images),
    )


def fitted(features, exists, trained):
    """The weights and the bias `(D + 1,)` of a logistic regression, held near trained ones.

    Both kinds of sentences weigh the same in sum, however many there are.
    """
    signs = np.where(exists, 1.0, -1.0)
    shares = np.where(exists, 0.5 / exists.sum(), 0.5 / (~exists).sum()) * len(exists)
    inputs = np.pad(features, [(0, 0), (0, 1)], constant_values=1.0)

    def loss(weights):
        margins, moved = signs * (inputs @ weights), weights - trained
        value = shares @ np.logaddexp(0, -margins) + RIDGE / 2 * moved @ moved
        slopes = -shares * signs * expit(-margins)
        return value, inputs.T @ slopes + RIDGE * moved

    return minimize(loss, trained, jac=True, method="L-BFGS-B").x


def folded_answers(features, exists, images, trained):
    """`exists` `(n,)` of each sentence by a layer that was fitted on other folds of the images."""
    shuffled = np.random.default_rng(0).permutation(images.max() + 1)
    answers, folds = np.empty(len(exists)), shuffled[images] % FOLDS
    for fold in range(FOLDS):
        inside, outside = folds == fold, folds != fold
        weights = trained
        if 0 < exists[outside].sum() < outside.sum():
            weights = fitted(features[outside], exists[outside], trained)
        answers[inside] = expit(features[inside] @ weights[:-1] + weights[-1])
    return answers


def threshold_of(present):
    """The largest answer to a sentence with a target that accepts `ACCEPTED` of these answers."""
    return float(np.sort(present)[int((1 - ACCEPTED) * len(present) + 1e-9)])


def facts_of(threshold, answers, exists):
    """What `config.json` says: the threshold, and the curve of what other thresholds would do."""
    count = {"absent": int((~exists).sum()), "present": int(exists.sum())}
    facts = {"threshold": threshold, "sentences": count, "curve": []}
    if answers is not None:
        facts["curve"] = [
            [round(float(t), 4), float((answers[~exists] < t).mean()), float((answers[exists] >= t).mean())]
            for t in sorted([*THRESHOLDS, threshold])
        ]  # fmt: skip
    return facts
