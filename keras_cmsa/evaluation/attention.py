"""What the attention of a trained model does, over a whole split: spread, change, and use.

For each level, alpha (the attention over positions) and beta (over words) of Eq. 2 are measured:

- spread: their entropy as a share of the largest possible, 1 for an attention that is an average
- change: half the L1 distance of two attentions, 0 where they are equal and 1 where they share nothing
- use: what the model loses if this attention alone becomes an average
"""

import collections
import contextlib
import itertools
from typing import NamedTuple

import keras
import numpy as np
from rich.progress import track

from keras_cmsa.data.pipeline import RecordBatches
from keras_cmsa.data.record import images_of
from keras_cmsa.evaluation.evaluate import PER_IMAGE, evaluate
from keras_cmsa.evaluation.scores import summarize
from keras_cmsa.models.cmsa import Cmsa, attention_levels
from keras_cmsa.models.inputs_and_outputs import check_preprocessor

# The parts of the attention that a mode learns; the others are fixed (Table 2).
LEARNT = {
    "none": (),
    "word": ("words",),
    "pixel": ("positions",),
    "pair": ("positions", "words"),
    "full": ("positions", "words"),
}
MEASURES = ("entropy", "change_with_place", "change_with_sentence", "change_with_image")


def attention_report(model, preprocessor, records, profile="strict", plain=None, title=None):
    """Measures the attention of a trained model on some records.

    Args:
        model: with `CrossModalSelfAttention` layers, as `build_cmsa` makes.
        preprocessor: the `Preprocessor` of its training.
        records: list of `Record`, such as a split.
        profile: a key of `PROFILES`, for the IoU.
        plain: the list of `Score` that `evaluate` gave for them; `None`: it is asked.
        title: label of the progress bar; `None` shows none.

    Returns:
        List of a dict for each level and each attention that is learnt:

        - `level`, such as `"Res5"`; `over`, `"positions"` (alpha) or `"words"` (beta)
        - `entropy`: mean over pairs (p, n) and sentences, in 0..1, where there is a choice: beta
          needs two words, and in the mode `"pair"`, which never takes itself, three
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
    measured = measure(model, preprocessor, records, parts, title)

    def iou(scores):
        return summarize(scores, profile)["overall_iou"]

    def ask(label):
        return evaluate(model, preprocessor, records, profile, title=title and label)

    as_trained, rows = iou(plain or ask("as trained")), []
    for level, layer, over in parts:
        with uniform(layer, over):
            without = iou(ask(f"{level}, {over} uniform"))
        found = {name: measured[layer.name, over, name] for name in MEASURES}
        means = {name: float(np.mean(x)) if x else None for name, x in found.items()}
        ious = {"overall_iou": as_trained, "overall_iou_uniform": without}
        rows.append({"level": level, "over": over, **means, **ious})
    return rows


def learnt_attentions(model):
    """What `attention_report` measures of a model: list of `(level, layer, over)`."""
    return [
        (level, layer, over)
        for level, layer in zip(
            attention_levels(model), model.attention_layers if isinstance(model, Cmsa) else ()
        )
        for over in learnt(layer)
    ]


def learnt(layer):
    """What a `CrossModalSelfAttention` learns: some of `"positions"` and `"words"`."""
    has_words = layer.input[1].shape[2] != 1  # CMSA-S has one vector for all words
    return [over for over in LEARNT[layer.attention] if over == "positions" or has_words]


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


def measure(model, preprocessor, records, parts, title):
    """Lists of entropies and changes by layer, part and measure, a `defaultdict`."""
    batches = RecordBatches(records, preprocessor, 1, PER_IMAGE)
    layers = list({layer.name: layer for _, layer, _ in parts}.values())
    features = keras.Model(model.input, {layer.name: layer.input for layer in layers})
    keys, measured, before = images_of(records), collections.defaultdict(list), None
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
            for over in learnt(layer):
                name, found = (layer.name, over), [(ids, of[over]) for ids, of in sentences]
                if other:
                    elsewhere = found.pop()[1]
                    if elsewhere.has_choice:
                        change = distance(elsewhere.mean, other["firsts"][name])
                        measured[*name, "change_with_image"].append(change)
                collect(measured, name, found)
                firsts[name] = found[0][1].mean
        before = {"image": keys[row[0]], "words": words[:1], "firsts": firsts}
    return measured


def collect(measured, name, sentences):
    """Adds the measures of the sentences about one image.

    Args:
        measured: as `measure` returns it.
        name: the layer and the part.
        sentences: list of word ids `(n,)` and `Attention`.
    """
    for _, attention in sentences:
        if attention.has_choice:
            measured[*name, "entropy"].append(attention.entropy)
            change = distance(attention.mean, attention.mean.mean(axis=0))
            measured[*name, "change_with_place"].append(change)
    for (ids, one), (other_ids, other) in itertools.pairwise(sentences):
        if not (one.has_choice and other.has_choice):
            continue
        one, other = one.mean, other.mean
        if name[1] == "words":
            one, other = among_shared(ids, one, other_ids, other)
        if one is not None:
            measured[*name, "change_with_sentence"].append(distance(one, other))


class Attention(NamedTuple):
    """One attention of one sentence.

    Attributes:
        mean: `(P, C)`, the mean over n of what each position attends to.
        entropy: the mean over p and n of the entropy, as a share of the largest possible.
        has_choice: whether there are two things or more to attend to.
    """

    mean: np.ndarray
    entropy: float
    has_choice: bool


NOTHING = Attention(np.zeros((1, 1), "float32"), 0.0, False)  # of a pair attention with one word


def attentions(layer, inputs, words):
    """Alpha and beta of a layer, sentence by sentence.

    Args:
        layer: `CrossModalSelfAttention`.
        inputs: of the layer for one image: positions `(1, H, W, Cp)`, words `(1, K, N, Cl)` and
            which are words, `(1, K, N)`.
        words: `(K, N)` word ids.

    Yields:
        Word ids `(n,)` without padding, and `{"positions": alpha, "words": beta}`, an `Attention`
        each.
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
        over_words = key[0] @ query_words.T  # (P, n)
        alpha = (over_positions + of_word @ query[0].T for of_word in key_words)
        beta = (over_words + of_word @ query_words.T for of_word in key_words)
        # In the mode "pair", a position and a word never attend to themselves.
        itself = (np.eye(flat.shape[1]) > 0)[None] if is_pair else None  # (1, P, P)
        own_word = (np.eye(len(key_words)) > 0)[:, None] if is_pair else None  # (n, 1, n)
        yield (
            words[k, : len(there)][there],
            {"positions": averaged(alpha, itself), "words": averaged(beta, own_word)}
            if not is_pair or len(key_words) > 1
            else dict.fromkeys(("positions", "words"), NOTHING),
        )


def averaged(scores, left_out=None):
    """The `Attention` of scores `(P, C)`, one for each n.

    Args:
        scores: iterable over n, so that one of them is held at a time.
        left_out: `(n, P, C)` bool, or with 1 in the place of n or P: one entry of each row that is
            not attended to; `None`: none.
    """
    total, choices, entropies = 0.0, 0, []
    for n, of_n in enumerate(scores):
        choices = of_n.shape[-1]
        if left_out is not None:
            of_n = np.where(left_out[n % len(left_out)], -np.inf, of_n)
            choices -= 1
        shares = softmax(of_n)
        total = total + shares
        if choices > 1:
            entropies.append(entropy(shares, choices).mean())
    mean = total / (n + 1)
    return Attention(mean, float(np.mean(entropies)) if entropies else 0.0, choices > 1)


def softmax(scores):
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return scores / scores.sum(axis=-1, keepdims=True)


def entropy(shares, choices):
    """The entropy over the last axis as a share of the largest among that many choices: 0..1."""
    logs = np.log(np.maximum(shares, np.finfo("float32").tiny))
    return -(shares * logs).sum(axis=-1) / np.log(choices)


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
