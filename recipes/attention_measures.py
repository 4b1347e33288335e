"""Alpha and beta (Eq. 2) of a trained model, and what can be said of them in numbers."""

import collections
import itertools
import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_cmsa.evaluation.scores import summarize
from keras_cmsa.inference.predictor import EXPRESSIONS_AT_ONCE, filled_up
from keras_cmsa.models.cmsa import Cmsa, attention_levels
from keras_cmsa.models.inputs_and_outputs import PartOfModel, maps_of

# The parts of the attention that a mode learns; the others are fixed (Table 2).
LEARNT = {
    "none": (),
    "word": ("words",),
    "pixel": ("positions",),
    "pair": ("positions", "words"),
    "full": ("positions", "words"),
}
MEASURES = ("entropy", "change_with_place", "change_with_sentence", "change_with_image")


class AttentionReport:
    """Measures the attention of a trained model; one of `ask` of `evaluate`.

        report = AttentionReport(predictor)
        scores = evaluate(predictor, records, ask=[report])
        report.rows()

    Args:
        predictor: of a model with `CrossModalSelfAttention` layers, as `build_cmsa` makes.

    Raises:
        ValueError: if the model learns no such attention.
    """

    def __init__(self, predictor):
        if not learnt_attentions(predictor.model):
            raise ValueError(
                "An attention report is of cross-modal self-attention that is learnt, as "
                f"build_cmsa makes it. Received: {predictor.model.name!r}, which has none"
            )
        self.parts = learnt_attentions(predictor.model, predictor.network)
        self.layers = {layer.name: layer for _, layer, _ in self.parts}
        self.inside = inner_model(predictor, self.parts)
        self.measured = collections.defaultdict(list)
        self.scores = []  # as trained
        self.uniform_scores = [[] for _ in self.parts]
        # Of the first sentence about the last image: query and key of its words, its attention.
        self.words_before, self.attention_before = {}, {}

    def sentences(self, records, words):
        """Nothing else is asked of the model as it is."""
        return words[:0]

    def take(self, photo, answers):
        """Looks inside the model for one image, on the maps that it has."""
        words = {name: [] for name in self.layers}  # query and key of the words of each sentence
        for start in range(0, len(photo.words), EXPRESSIONS_AT_ONCE):
            piece = photo.words[start : start + EXPRESSIONS_AT_ONCE]
            inputs = {"maps": photo.maps, "words": filled_up(piece)[None]}
            inside = self.inside.predict_on_batch(inputs)
            for k in range(len(piece)):
                for name, (queries, keys, is_word) in inside["words"].items():
                    words[name].append(np.stack([queries, keys])[:, 0, k, is_word[0, k]])
                for scores, logits in zip(self.uniform_scores, inside["uniform"]):
                    scores.append(photo.score(start + k, photo.mask(logits[k])))
        positions = {name: np.concatenate(x) for name, x in inside["positions"].items()}
        self.measure(photo.words, positions, words)
        self.scores += photo.scores

    def measure(self, words, positions, sentences):
        """Adds the measures of the attention to K sentences about one image.

        Args:
            words: their word ids `(K, N)`.
            positions: `{layer: array}`, query and key of the positions, `(2, P, d)`.
            sentences: `{layer: list of K arrays}`, those of the words of each, `(2, n, d)`.
        """
        # The first sentence about the last image is asked about this one too.
        before = self.words_before
        attention = {
            name: attentions(
                layer.attention, positions[name], sentences[name] + before.get(name, [])
            )
            for name, layer in self.layers.items()
        }
        ids, firsts = [row[row > 0] for row in words], {}
        for _, layer, over in self.parts:
            each = [sentence[over] for sentence in attention[layer.name]]
            own = each[: len(words)]
            lists = {name: self.measured[layer.name, over, name] for name in MEASURES}
            for one in own:
                if one.has_choice:
                    lists["entropy"].append(one.entropy)
                    lists["change_with_place"].append(distance(one.mean, one.mean.mean(axis=0)))
            lists["change_with_sentence"] += changes_with_sentence(ids, own, over)
            if before and each[-1].has_choice:
                change = distance(each[-1].mean, self.attention_before[layer.name, over])
                lists["change_with_image"].append(change)
            firsts[layer.name, over] = own[0].mean
        self.words_before = {name: each[:1] for name, each in sentences.items()}
        self.attention_before = firsts

    def rows(self, profile="strict"):
        """List of a dict for each level and each attention that is learnt.

        - `level`, such as `"Res5"`; `over`, `"positions"` (alpha) or `"words"` (beta)
        - `entropy`: mean over pairs (p, n) and sentences, in 0..1, where there is a choice: beta
          needs two words, and in the mode `"pair"`, which never takes itself, three
        - `change_with_place`: mean distance of the attention of a position p from the mean over p
        - `change_with_sentence`: of two sentences of one image. Of beta, between the words that
          both have
        - `change_with_image`: of one sentence on two images
        - `overall_iou`; `overall_iou_uniform`: with this attention an average

        A mean of nothing is None, such as a change with the sentence where no image has two.
        """
        as_trained = summarize(self.scores, profile)["overall_iou"]
        rows = []
        for (level, layer, over), scores in zip(self.parts, self.uniform_scores):
            values = {name: self.measured[layer.name, over, name] for name in MEASURES}
            means = {name: float(sum(x) / len(x)) if x else None for name, x in values.items()}
            without = summarize(scores, profile)["overall_iou"]
            ious = {"overall_iou": as_trained, "overall_iou_uniform": without}
            rows.append({"level": level, "over": over, **means, **ious})
        return rows


def learnt_attentions(model, network=None):
    """What is measured of a model: list of `(level, layer, over)`.

    Args:
        model: `keras.Model`.
        network: its folded copy, to give the layers of; `None`: those of the model.
    """
    layers = model.attention_layers if isinstance(model, Cmsa) else ()
    return [
        (level, (network or model).get_layer(layer.name), over)
        for level, layer in zip(attention_levels(model), layers)
        for over in learnt(layer)
    ]


def learnt(layer):
    """What a `CrossModalSelfAttention` learns: some of `"positions"` and `"words"`."""
    has_words = layer.input[1].shape[2] != 1  # CMSA-S has one vector for all words
    return [over for over in LEARNT[layer.attention] if over == "positions" or has_words]


def inner_model(predictor, parts):
    """A predictor's network from `{"maps": maps, "words": words}` to what a report measures.

    Args:
        predictor: `Predictor`.
        parts: the attentions of its network, as `learnt_attentions` lists them.

    Returns:
        `keras.Model` of one image and its K sentences to a dict of

        - `positions`: `{layer: [query, key]}` of the positions, `(1, P, d)`
        - `words`: `{layer: [query, key, is_word]}` of the words, `(1, K, N, d)` and `(1, K, N)` bool
        - `uniform`: for each of the parts the logits with it an average, `(parts, K, S, S, 1)`
    """
    network, given = predictor.network, predictor.sentence_model.input
    layers = {layer.name: layer for _, layer, _ in parts}
    start = {"maps": maps_of(network), "words": network.input["words"]}
    features = {name: layer.input for name, layer in layers.items()}
    inside = PartOfModel(network, start, features)(given)
    outputs, attended = {"positions": {}, "words": {}}, {}
    for name, (positions, vectors, is_word) in inside.items():
        flat = ops.reshape(positions, (-1, math.prod(positions.shape[1:3]), positions.shape[-1]))
        pairs = layers[name].queries_and_keys(flat, vectors)
        by_part = [[ops.cast(x, "float32") for x in part] for part in zip(*pairs)]
        outputs["positions"][name], outputs["words"][name] = by_part[0], [*by_part[1], is_word]
        # The level's map as it is and with each of its own parts an average.
        changes = [None, *(over for _, layer, over in parts if layer.name == name)]
        copies = [ops.repeat(x, len(changes), axis=0) for x in (positions, vectors, is_word)]
        maps = averaged(layers[name], changes)(*copies)
        rows = [changes.index(over) if layer.name == name else 0 for _, layer, over in parts]
        attended[name] = ops.take(maps, rows, axis=0)
    levels = {name: layer.output[0] for name, layer in layers.items()}
    words = {"words": network.input["words"]}
    rest = PartOfModel(network, words | levels, network.output["logits"])
    copies = {"words": ops.repeat(given["words"], len(parts), axis=0)}
    return keras.Model(given, outputs | {"uniform": rest(copies | attended)})


def averaged(layer, changes):
    """A copy of a layer that makes one attention an average, or none, for each image of a batch.

    With a query of zeros all scores of an attention are equal.

    Args:
        layer: `CrossModalSelfAttention`.
        changes: list of `"positions"`, `"words"` or `None`, one for each image.
    """

    class Averaged(type(layer)):
        def queries_and_keys(self, positions, words):
            query, key = super().queries_and_keys(positions, words)
            kept = [[over != part for over in changes] for part in ("positions", "words")]
            return [zeroed(x, rows) for x, rows in zip(query, kept)], key

    def zeroed(part, kept):
        return part * ops.reshape(ops.cast(kept, part.dtype), (-1,) + (1,) * (len(part.shape) - 1))

    copy = Averaged.from_config({**layer.get_config(), "name": f"averaged_{layer.name}"})
    copy.build(*(x.shape for x in layer.input[:2]))
    copy.set_weights(layer.get_weights())
    return copy


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


def attentions(mode, positions, sentences):
    """Alpha and beta of sentences about one image.

    Args:
        mode: of `CrossModalSelfAttention`: in `"pair"` a position and a word never attend to
            themselves; alpha is fixed in `"word"`, beta in `"pixel"`.
        positions: query and key of the positions, `(2, P, d)`.
        sentences: list of query and key of the words of each, `(2, n, d)`, without padding.

    Returns:
        List of `{"positions": alpha, "words": beta}`, an `Attention` each.
    """
    is_pair, results, (query, key) = mode == "pair", [], positions
    by_position = exponentials(scores_of(query, key, is_pair))
    count = len(query)
    for query_words, key_words in sentences:
        words = len(query_words)
        if is_pair and min(count, words) < 2:
            alpha, beta = (fixed(np.zeros((count, choices))) for choices in (count, words))
        else:
            by_word = exponentials(scores_of(query_words, key_words, is_pair))
            alpha = attention(by_position, exponentials(key_words @ query.T), is_pair)
            beta = attention(exponentials(key @ query_words.T), by_word, is_pair)
        if mode == "word":
            alpha = fixed(np.eye(count))
        if mode == "pixel":
            beta = fixed(np.full((count, words), 1 / words))
        results.append({"positions": alpha, "words": beta})
    return results


def fixed(mean):
    """An `Attention` that nothing can choose."""
    return Attention(mean.astype("float32"), 0.0, False)


def scores_of(query, key, is_pair):
    """Scores of keys by queries, with -inf on the diagonal where none attends to itself."""
    scores = key @ query.T
    return np.where(np.eye(len(scores)) > 0, -np.inf, scores) if is_pair else scores


def attention(by_position, by_word, leaves_one_out=False):
    """The `Attention` of the scores by_position[p, c] + by_word[n, c] of each p and n.

    Args:
        by_position: `exponentials` of `(P, C)`.
        by_word: `exponentials` of `(n, C)`.
        leaves_one_out: whether each p and n leaves out one c; its score is -inf in either.
    """
    # exp of a sum is a product, so all sums over c are matrix products.
    (rows, row_scores), (words, word_scores) = by_position, by_word
    choices = rows.shape[1] - leaves_one_out
    sums = np.maximum(rows @ words.T, np.finfo("float64").tiny)  # (P, n)
    mean = (rows * ((1 / sums) @ words) / len(words)).astype("float32")
    scores = row_scores @ words.T + rows @ word_scores.T
    entropy = np.log(sums) - scores / sums
    share = float(entropy.mean() / np.log(choices)) if choices > 1 else 0.0
    return Attention(mean, share, choices > 1)


def exponentials(scores):
    """exp(s) and s exp(s), in float64, of scores s less their largest in a row; -inf gives 0, 0."""
    scores = scores.astype("float64")
    scores -= scores.max(axis=-1, keepdims=True)
    exp = np.exp(scores)
    return exp, np.where(exp > 0, scores, 0) * exp


def distance(one, other):
    """The mean total variation distance of distributions over the last axis: 0..1."""
    return 0.5 * np.abs(one - other).sum(axis=-1).mean()


def changes_with_sentence(ids, sentences, over):
    """Yields the distance of the attentions of each two sentences that follow each other.

    Args:
        ids: list of word ids `(n,)`, one of each sentence.
        sentences: list of `Attention`.
        over: `"positions"`, or `"words"`: these are compared over the words that both have.
    """
    pairs = zip(itertools.pairwise(ids), itertools.pairwise(sentences))
    for (own_ids, other_ids), (own, other) in pairs:
        if not (own.has_choice and other.has_choice):
            continue
        if over == "positions":
            yield distance(own.mean, other.mean)
        elif len(np.intersect1d(own_ids, other_ids)) > 1:
            yield distance(*among_shared(own_ids, own.mean, other_ids, other.mean))


def among_shared(own_ids, own, other_ids, other):
    """Two attentions over words, as shares over the words that both sentences have."""
    shared = np.intersect1d(own_ids, other_ids)
    both = [
        np.stack([attention[:, ids == word].sum(axis=-1) for word in shared], axis=-1)
        for ids, attention in ((own_ids, own), (other_ids, other))
    ]
    return [x / np.maximum(x.sum(axis=-1, keepdims=True), 1e-30) for x in both]
