"""What the attention of a trained model does, over whole splits: spread, change, and use.

    python recipes/attention_report.py data/ref_shapes --model runs/demo --split val
    python recipes/attention_report.py data/ref_shapes --model runs/demo --split val --controls

For each level, alpha (the attention over positions) and beta (over words) of Eq. 2 are measured:

- spread: their entropy as a share of the largest possible, 1 for an attention that is an average
- change: half the L1 distance of two attentions, 0 where they are equal and 1 where they share nothing
- use: what the model loses if this attention alone becomes an average

Writes metrics.json with the scores, the controls if they are wanted and the attention of each split,
in one pass over its images.
"""

import collections
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

# NumPy's products are small here: threads of its own would only wait for those of the model.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cyclopts
from cyclopts import Parameter

from keras_cmsa.cli import command_line
from keras_cmsa.cli.options import DataDir, Dataset, Model, SplitOwner
from keras_cmsa.utils.files import check_folder, replaced
from keras_cmsa.utils.silence import import_keras

# The parts of the attention that a mode learns; the others are fixed (Table 2).
LEARNT = {
    "none": (),
    "word": ("words",),
    "pixel": ("positions",),
    "pair": ("positions", "words"),
    "full": ("positions", "words"),
}
AT_ONCE = 32  # sentences about one image that go through a part of the network together
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
        self.inside, self.rest = inner_models(predictor, self.parts)
        self.measured = collections.defaultdict(list)
        self.scores = []  # as trained
        self.uniform_scores = [[] for _ in self.parts]
        self.first_before = None  # the first sentence about the last image, and its attention

    def sentences(self, records, words):
        """Nothing else is asked of the model as it is."""
        return words[:0]

    def take(self, photo, answers):
        """Looks inside the model for one image, on the maps that it has."""
        import numpy as np
        from attention_measures import attentions

        # The first sentence about the last image is asked about this one too.
        before = [self.first_before[0]] if self.first_before else []
        sentences = np.concatenate([photo.words, *before])
        inside = in_pieces(self.inside, {"words": sentences}, maps=photo.maps)
        attention = {}
        for name, layer in self.layers.items():
            query, key, _ = (x[0] for x in inside[name]["positions"])
            words = zip(*inside[name]["words"], inside[name]["is_word"])
            parts = [np.stack([q[there], k[there]]) for q, k, _, there in words]
            attention[name] = attentions(
                layer.attention, np.stack([query, key]), parts[: len(sentences)]
            )
        self.measure(photo.words, attention)
        self.ask_with_uniform(photo, inside, attention)

    def ask_with_uniform(self, photo, inside, attention):
        """Scores the answers with one attention an average, for each attention that is learnt."""
        import numpy as np

        count, maps = len(photo.words), {name: [] for name in self.layers}
        trained = {name: summands(inside[name], attention[name][:count]) for name in self.layers}
        for _, layer, over in self.parts:
            average = with_uniform(layer.attention, over, inside[layer.name], count)
            changed = {**trained, layer.name: {**trained[layer.name], over: average}}
            for name, parts in changed.items():
                maps[name].append(sum(parts.values()))
        shapes = {name: (-1, *layer.output[0].shape[2:]) for name, layer in self.layers.items()}
        sentences = {
            "attended": {name: np.concatenate(x).reshape(shapes[name]) for name, x in maps.items()},
            "words": np.tile(photo.words, [len(self.parts), 1]),
        }
        logits = in_pieces(self.rest, sentences)["logits"]
        for i, scores in enumerate(self.uniform_scores):
            scores += [
                photo.score(k, photo.mask(x)) for k, x in enumerate(logits[i * count :][:count])
            ]
        self.scores += photo.scores

    def measure(self, words, attention):
        """Adds the measures of the attention of the sentences `(K, N)` about one image."""
        from attention_measures import changes_with_sentence, distance

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
            if self.first_before and each[-1].has_choice:
                change = distance(each[-1].mean, self.first_before[1][layer.name, over])
                lists["change_with_image"].append(change)
            firsts[layer.name, over] = own[0].mean
        self.first_before = words[:1], firsts

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
        from keras_cmsa.evaluation.scores import summarize

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
    from keras_cmsa.models.cmsa import Cmsa, attention_levels

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


def inner_models(predictor, parts):
    """The sentence half of a predictor's network in two, cut at its attention.

    Returns:
        The first, from `{"maps": maps, "words": words}` to a dict for each attention layer, by its
        name, of

        - `positions`: query, key and value of the positions, `(B, 1, P, d)` and `(B, 1, P, F)`
        - `words`: those of the words, `(B, K, N, d)` and `(B, K, N, F)`
        - `is_word`: `(B, K, N)` bool
        - `residual`: `(B, K, P, F)`, what the layer adds the attended values to

        and the rest, from `{"attended": {name: map}, "words": words}` to `{"logits": logits}`, with
        each layer's map `(B, K, H, W, F)`.
    """
    import keras
    from keras import ops

    from keras_cmsa.layers.ops import word_shares

    network, layers = predictor.network, {layer.name: layer for _, layer, _ in parts}
    words, maps = network.input["words"], predictor.image_model.outputs
    attended = {name: layer.output[0] for name, layer in layers.items()}
    inputs = {name: layer.input for name, layer in layers.items()}
    features = keras.Function({"maps": maps, "words": words}, inputs)
    rest = keras.Function({"attended": attended, "words": words}, network.output["logits"])

    class Part(keras.Model):
        """A part of the network, which has all its weights."""

        def __init__(self):
            super().__init__(dtype="float32")
            self.network = network
            self.built = True

    class Inside(Part):
        def call(self, sentences):
            outputs = {}
            for name, (positions, vectors, is_word) in features(sentences).items():
                layer, flat = layers[name], ops.reshape(positions, (1, -1, positions.shape[-1]))
                pairs = [*layer.queries_and_keys(flat, vectors), layer.values(flat, vectors)]
                residual = layer.residual(flat, vectors, word_shares(vectors, is_word))
                outputs[name] = {
                    "positions": [ops.cast(pair[0][:, None], "float32") for pair in pairs],
                    "words": [ops.cast(pair[1], "float32") for pair in pairs],
                    "is_word": is_word,
                    "residual": ops.cast(residual, "float32"),
                }
            return outputs

    class Rest(Part):
        def call(self, sentences):
            return {"logits": rest(sentences)}

    return Inside(), Rest()


def in_pieces(model, sentences, **shared):
    """What a model gives for any number K of sentences about one image, `AT_ONCE` at a time.

    Args:
        model: its input is a dict.
        sentences: the inputs that differ from sentence to sentence, arrays `(K, ...)`.
        **shared: the others, with the axis of images.

    Returns:
        The outputs, `(K, ...)`, perhaps with some of padding behind them.
    """
    import keras
    import numpy as np

    from keras_cmsa.inference.predictor import filled_up

    outputs = []
    for start in range(0, len(sentences["words"]), AT_ONCE):
        piece = keras.tree.map_structure(
            lambda x, start=start: filled_up(x[start : start + AT_ONCE])[None], sentences
        )
        outputs.append(model.predict_on_batch({**piece, **shared}))
    return keras.tree.map_structure(lambda *x: np.concatenate(x, axis=1)[0], *outputs)


def summands(inside, attention):
    """What the map of an attention layer for K sentences is the sum of, by its attention.

    Args:
        inside: of the layer, see `inner_models`.
        attention: list of K dicts, see `attentions`.

    Returns:
        Dict of `residual`, `positions` and `words`, `(K, P, F)` each.
    """
    attended = {over: attend(over, inside, attention) for over in ("positions", "words")}
    return {"residual": inside["residual"][: len(attention)], **attended}


def attend(over, inside, attention):
    """The values by the mean over n of the attention to each (Eqs. 2-4): `(K, P, F)`."""
    import numpy as np

    values, means = inside[over][2], [sentence[over].mean for sentence in attention]
    if over == "positions":
        return np.stack(means) @ values[0]
    there = inside["is_word"]
    return np.stack([mean @ values[k][there[k]] for k, mean in enumerate(means)])


def with_uniform(mode, over, inside, count):
    """`attend` of the first so many sentences if the attention is an average."""
    from attention_measures import uniform

    positions, words = inside["residual"].shape[1], inside["is_word"].sum(axis=1)[:count]
    return attend(over, inside, [uniform(mode, positions, int(n)) for n in words])


def print_attention(attention):
    """A table per split, a row per level and attention: `{split: rows}`."""
    from rich.console import Console
    from rich.table import Table

    for split, rows in attention.items():
        table = Table(
            title=f"Attention, {split}: entropy and change in 0..1; overall IoU, and if uniform"
        )
        for name in ("level", "over"):
            table.add_column(name)
        for name in ("entropy", "place", "sentence", "image", "IoU", "uniform"):
            table.add_column(name, justify="right")
        for row in rows:
            level, over, *values = row.values()
            cells = ("-" if value is None else f"{value:.3f}" for value in values)
            table.add_row(level, over, *cells)
        Console().print(table)


def main(
    data_dir: DataDir,
    *,
    model: Model,
    dataset: Dataset = "refcoco",
    split_owner: SplitOwner = "unc",
    split: tuple[str, ...] = ("val",),
    profile: Literal["strict", "tf_phrasecut"] = "strict",
    limit: int | None = None,
    controls: bool = False,
    output: Annotated[Path, Parameter(alias="-o")] = Path("runs/attention"),
):
    """Measure what the attention of a CMSA network does.

    Parameters
    ----------
    split
        Splits to measure, given once each.
    profile
        The rule from logits to masks, for the IoU; docs/evaluation.md.
    limit
        Only so many expressions of each split, from the first on.
    controls
        Also score what needs no sentence, as keras-cmsa evaluate does.
    output
        Folder of the results.
    """
    check_folder(output)
    import_keras()
    from keras_cmsa.data.sources import read_records
    from keras_cmsa.evaluation.controls import Controls
    from keras_cmsa.evaluation.evaluate import evaluate
    from keras_cmsa.evaluation.report import print_controls, print_metrics
    from keras_cmsa.evaluation.scores import metrics_of
    from keras_cmsa.inference.predictor import Predictor

    records = read_records(data_dir, dataset, split_owner, split)
    predictor = Predictor.from_preset(model)
    scores, attention, controlled = {}, {}, {}
    for name in split:
        report = AttentionReport(predictor)
        ask = [report] + [Controls(predictor.preprocessor.vocabulary)] * controls
        scores[name] = evaluate(predictor, records[name][:limit], ask, profile, f"measuring {name}")
        attention[name] = report.rows(profile)
        if controls:
            controlled[name] = ask[1].summary(profile)
    metrics = metrics_of(scores, profile, predictor.config["starting_weights"])
    metrics |= {"attention": attention, **({"controls": controlled} if controls else {})}
    output.mkdir(parents=True, exist_ok=True)
    with replaced(output / "metrics.json") as file:
        json.dump(metrics, file, indent=1)
    print_metrics(metrics, output / "metrics.json")
    print_controls(controlled)
    print_attention(attention)


if __name__ == "__main__":
    app = cyclopts.App()
    app.default(main)
    command_line.run(app, sys.argv[1:], sys.argv[0])
