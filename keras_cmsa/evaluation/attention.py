"""What the attention of a trained model does, over a whole split: spread, change, and use.

For each level, alpha (the attention over positions) and beta (over words) of Eq. 2 are measured:

- spread: their entropy as a share of the largest possible, 1 for an attention that is an average
- change: half the L1 distance of two attentions, 0 where they are equal and 1 where they share nothing
- use: what the model loses if this attention alone becomes an average
"""

import contextlib
import itertools

import keras
import numpy as np
from rich.progress import track

from keras_cmsa.data.pipeline import RecordBatches
from keras_cmsa.data.record import images_of
from keras_cmsa.evaluation.evaluate import PER_IMAGE, evaluate
from keras_cmsa.evaluation.scores import summarize
from keras_cmsa.models.cmsa import attention_layers, attention_levels
from keras_cmsa.models.inputs_and_outputs import check_preprocessor

# The parts of the attention that a mode learns; the others are fixed (Table 2).
LEARNT = {
    "none": (),
    "word": ("words",),
    "pixel": ("positions",),
    "pair": ("positions", "words"),
    "full": ("positions", "words"),
}
COLUMNS = (
    "level", "over", "entropy", "change_with_place", "change_with_sentence", "change_with_image",
    "overall_iou", "overall_iou_uniform",
)  # fmt: skip


def attention_report(model, preprocessor, records, profile="strict", title=None):
    """Measures the attention of a trained model on some records.

    Args:
        model: with `CrossModalSelfAttention` layers, as `build_cmsa` makes.
        preprocessor: the `Preprocessor` of its training.
        records: list of `Record`, such as a split.
        profile: a key of `PROFILES`, for the IoU.
        title: label of the progress bar; `None` shows none.

    Returns:
        List of a dict for each level and each attention that is learnt:

        - `level`, such as `"Res5"`; `over`, `"positions"` (alpha) or `"words"` (beta)
        - `entropy`: mean over pairs (p, n) and sentences, in 0..1; for beta of the sentences
          with two words or more
        - `change_with_place`: mean distance of the attention of a position p from the mean over p
        - `change_with_sentence`: of two sentences of one image. Of beta, between the words that
          both have
        - `change_with_image`: of one sentence on two images
        - `overall_iou`; `overall_iou_uniform`: with this attention an average

        A mean of nothing is None, such as a change with the sentence where no image has two.

    Raises:
        ValueError: if the model learns no such attention or the preprocessor does not fit it.
    """
    check_preprocessor(model, preprocessor)
    parts = learnt_attentions(model)
    if not parts:
        raise ValueError(
            "An attention report is of cross-modal self-attention that is learnt, as build_cmsa "
            f"makes it. Received: {model.name!r}, which has none"
        )
    sums = measure(model, preprocessor, records, parts, title)

    def iou(label=None):
        scores = evaluate(model, preprocessor, records, profile, title=title and label)
        return summarize(scores, profile)["overall_iou"]

    as_trained, rows = iou("as trained"), []
    for level, layer, over in parts:
        with uniform(layer, over):
            without = iou(f"{level}, {over} uniform")
        means = {name: sums.mean(layer.name, over, name) for name in COLUMNS[2:6]}
        ious = {"overall_iou": as_trained, "overall_iou_uniform": without}
        rows.append({"level": level, "over": over, **means, **ious})
    return rows


def learnt_attentions(model):
    """What `attention_report` measures of a model: list of `(level, layer, over)`."""
    return [
        (level, layer, over)
        for level, layer in zip(attention_levels(model), attention_layers(model))
        for over in LEARNT[layer.attention]
    ]


@contextlib.contextmanager
def uniform(layer, over):
    """Makes one attention of a `CrossModalSelfAttention` an average within a `with`.

    The scores of alpha (of beta) are products with the position part (the word part) of the query.
    Without that part all scores are equal.
    """
    kernel = np.asarray(keras.ops.convert_to_numpy(layer.query_kernel))
    channels = layer.input[0].shape[-1]
    without = kernel.copy()
    without[slice(channels) if over == "positions" else slice(channels, None)] = 0
    try:
        layer.query_kernel.assign(without)
        yield
    finally:
        layer.query_kernel.assign(kernel)


class Sums:
    """Running means by name."""

    def __init__(self):
        self.values = {}

    def add(self, *name, value):
        self.values.setdefault(name, []).append(float(value))

    def mean(self, *name):
        values = self.values.get(name)
        return float(np.mean(values)) if values else None


def measure(model, preprocessor, records, parts, title):
    """The `Sums` of entropies and changes, by layer, part and measure."""
    batches = RecordBatches(records, preprocessor, 1, PER_IMAGE)
    layers = list({layer.name: layer for _, layer, _ in parts}.values())
    features = keras.Model(model.input, {layer.name: layer.input for layer in layers})
    keys, sums, before = images_of(records), Sums(), None
    numbers = range(len(batches))
    for number in track(numbers, "measuring the attention") if title else numbers:
        (row,), image = batches.rows(number), batches[number][0]["image"]
        words = batches.words[[i for i in row if i < len(records)]]  # (K, N)
        # The first sentence of another image is asked about this one too.
        other = before if before and before["image"] != keys[row[0]] else None
        asked = np.concatenate([words, other["words"]]) if other else words
        inputs = features.predict_on_batch({"image": image, "words": asked[None]})
        firsts = {}
        for layer in layers:
            sentences = list(attentions(layer, inputs[layer.name], asked))
            for over in LEARNT[layer.attention]:
                found = [(ids, parts_of[over]) for ids, parts_of in sentences]
                there = other and (other["words"][0], other["firsts"][layer.name, over])
                collect(sums, (layer.name, over), found, there)
                firsts[layer.name, over] = found[0][1].mean(axis=0)
        before = {"image": keys[row[0]], "words": words[:1], "firsts": firsts}
    return sums


def collect(sums, name, sentences, there):
    """Adds the measures of the sentences about one image.

    Args:
        sums: `Sums`.
        name: the layer and the part.
        sentences: list of word ids `(n,)` and attention `(n, P, ...)`. The last is that of another
            image if `there` is given.
        there: what that one is on its own image: word ids, and its mean over n.
    """
    over = name[1]
    *own, last = sentences if there else [*sentences, None]
    for _, attention in own:
        mean = attention.mean(axis=0)  # over n
        if attention.shape[-1] > 1:
            sums.add(*name, "entropy", value=entropy(attention).mean())
            sums.add(*name, "change_with_place", value=distance(mean, mean.mean(axis=0)))
    for (ids, one), (other_ids, other) in itertools.pairwise(own):
        one, other = one.mean(axis=0), other.mean(axis=0)
        if over == "words":
            one, other = among_shared(ids, one, other_ids, other)
        if one is not None:
            sums.add(*name, "change_with_sentence", value=distance(one, other))
    if there and (over == "positions" or last[1].shape[-1] > 1):
        sums.add(*name, "change_with_image", value=distance(last[1].mean(axis=0), there[1]))


def attentions(layer, inputs, words):
    """Alpha and beta of a layer, sentence by sentence.

    Args:
        layer: `CrossModalSelfAttention`.
        inputs: of the layer for one image: positions `(1, H, W, Cp)`, words `(1, K, N, Cl)` and
            which are words, `(1, K, N)`.
        words: `(K, N)` word ids.

    Yields:
        Word ids `(n,)` without padding, and `{"positions": alpha (n, P, P), "words": beta (n, P,
        n)}` float32; the last axis is the one that is attended to.
    """
    positions, vectors, is_word = map(np.asarray, inputs)
    flat = positions.reshape(1, -1, positions.shape[-1])
    query, key = [
        [keras.ops.convert_to_numpy(part)[0].astype("float32") for part in pair]
        for pair in layer.queries_and_keys(flat, vectors)
    ]
    over_positions = key[0] @ query[0].T  # (P, P)
    is_pair = layer.attention == "pair"
    for k, there in enumerate(is_word[0]):
        key_words, query_words = key[1][k, there], query[1][k, there]  # (n, d)
        alpha = over_positions + (key_words @ query[0].T)[:, None]
        beta = key[0] @ query_words.T + (key_words @ query_words.T)[:, None]
        if is_pair:
            alpha[:, np.eye(alpha.shape[-1], dtype=bool)] = -np.inf
            if beta.shape[-1] > 1:
                beta[np.arange(len(beta)), :, np.arange(len(beta))] = -np.inf
        yield (words[k, : len(there)][there], {"positions": softmax(alpha), "words": softmax(beta)})


def softmax(scores):
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return scores / scores.sum(axis=-1, keepdims=True)


def entropy(shares):
    """The entropy over the last axis as a share of the largest possible: 0..1."""
    logs = np.log(np.maximum(shares, np.finfo("float32").tiny))
    return -(shares * logs).sum(axis=-1) / np.log(shares.shape[-1])


def distance(one, other):
    """The mean total variation distance of distributions over the last axis: 0..1."""
    return 0.5 * np.abs(one - other).sum(axis=-1).mean()


def among_shared(ids, one, other_ids, other):
    """Two attentions over words, over those that both sentences have; None with fewer than two."""
    shared = np.intersect1d(ids, other_ids)
    if len(shared) < 2:
        return None, None
    both = [
        np.stack([attention[:, of == word].sum(axis=-1) for word in shared], axis=-1)
        for of, attention in ((ids, one), (other_ids, other))
    ]
    return [x / np.maximum(x.sum(axis=-1, keepdims=True), 1e-30) for x in both]
