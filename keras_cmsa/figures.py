"""Figures 4, 5 and 6 of the paper: words, places, and where it fails.

Each function gives a Matplotlib figure; `write_figure` makes a PNG of it. Colours are told apart
by every kind of colour vision: masks in the orange and blue of Okabe and Ito, maps in cividis.
"""

import functools
import textwrap
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import keras
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_cmsa.data.pipeline import read_pixels
from keras_cmsa.encode_once import Stage
from keras_cmsa.evaluation import strict_mask
from keras_cmsa.files import replaced
from keras_cmsa.image import FITS, to_pixels
from keras_cmsa.layers import CrossModalSelfAttention, GatedMultiLevelFusion
from keras_cmsa.predictor import Prediction, fit_back
from keras_cmsa.visualize import FOUND, TRUE, draw_word_attention, overlay

MAP_COLOURS = "cividis"
WIDTH = 36  # letters of a title over one picture


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a model did with an expression, beyond its answer.

    Attributes:
        prediction: `Prediction`.
        levels: names of the levels of its attention, such as `"Res3"`.
        last_level: `(H, W)` bool, the mask from the last level alone.
        last_level_by: where that comes from, in words.
        strongest_channel: `(H, W)` float32 in 0..1, the fused map's channel with the highest peak.
    """

    prediction: Prediction
    levels: list
    last_level: np.ndarray
    last_level_by: str
    strongest_channel: np.ndarray


def explain(predictor, image, expressions, single_level=None):
    """Looks inside a CMSA model for Figs. 4 and 5.

    Args:
        predictor: `Predictor` of a model with self-attention at several levels and gated fusion.
        image: as `Predictor` takes it.
        expressions: list of `str`.
        single_level: `Predictor` of a model of Res5 alone (CMSA-W of Table 3) for the mask from the
            last level. `None`: the score layer on the last level's part of the fused map.

    Returns:
        List of `Explanation`.

    Raises:
        ValueError: if the model has no such parts, or as `Predictor`.
    """
    pixels = to_pixels(image)
    predictions = predictor(pixels, expressions)
    inside = inner_model(predictor.model)
    size, fit = predictor.image_size, predictor.fit
    fitted = FITS[fit][0](pixels, size)[None]
    words = predictor.encode(expressions)
    alone = single_level(pixels, expressions) if single_level else None
    explanations = []
    for i, prediction in enumerate(predictions):
        outputs = inside.predict_on_batch({"image": fitted, "words": words[i : i + 1]})
        if alone:
            last_level, by = alone[i].mask, f"the model {single_level.model.name}"
        else:
            logits = np.asarray(outputs["last_level"])[0, ..., 0]
            last_level, by = strict_mask(logits, pixels.shape[:2], fit), "its part of the fused map"
        channel = strongest_channel(np.asarray(outputs["fused"])[0].astype("float32"))
        channel = fit_back(channel, size, pixels.shape[:2], fit)
        explanations.append(Explanation(prediction, predictor.levels, last_level, by, channel))
    return explanations


@functools.lru_cache(maxsize=1)
def inner_model(model):
    """The model, sharing its weights, with outputs `fused` and `last_level`.

    `fused` is the map of Eq. 6, `(B, h, w, F)`; `last_level` the logits `(B, S, S, 1)` that the score
    layer gives for F_o of the last level alone.
    """
    fusions = [layer for layer in model.layers if isinstance(layer, GatedMultiLevelFusion)]
    after = {layer.name: layer for layer in model.layers if layer.name in ("score", "logits")}
    if not has_inside(model):
        raise ValueError(
            "Figs. 4 and 5 look into self-attention at several levels with gated fusion, as "
            f"build_cmsa makes it. Received: {model.name!r}, which has none"
        )
    # Keras takes a layer for what it gave when first called: here it gives more.
    fusion = Stage(GatedMultiLevelFusion.__call__, fusions[0])
    fused, levels = fusion(fusions[0].input, return_levels=True)
    last_level = after["logits"](after["score"](levels[-1]))
    return keras.Model(model.input, {"fused": fused, "last_level": last_level})


def has_inside(model):
    """Whether a model has what Figs. 4 and 5 show."""
    kinds = [type(layer) for layer in model.layers]
    names = {layer.name for layer in model.layers}
    return (
        CrossModalSelfAttention in kinds
        and kinds.count(GatedMultiLevelFusion) == 1
        and {"score", "logits"} <= names
    )


def strongest_channel(fused):
    """The channel of `(h, w, F)` with the highest peak, brought to 0..1: `(h, w)`."""
    channel = fused[..., np.argmax(fused.max(axis=(0, 1)))]
    low, high = channel.min(), channel.max()
    return (channel - low) / max(high - low, np.finfo("float32").tiny)


def words_figure(images, explanations, truths=None):
    """Fig. 4, an expression a row: image, attention to its words, masks, ground truth.

    Args:
        images: list of `(H, W, 3)` uint8.
        explanations: list of `Explanation`, one of each image.
        truths: list of `(H, W)` bool, or `None` where there is no ground truth.
    """
    columns = 5 if truths else 4
    figure = grid(len(explanations), columns, (1, 1.5, 1, 1, 1)[:columns])
    rows = zip(rows_of(figure, columns), images, explanations)
    for i, (row, image, explanation) in enumerate(rows):
        prediction = explanation.prediction
        show(row[0], image, quoted(prediction.expression))
        draw_word_attention(
            row[1], prediction.tokens, prediction.word_attention, explanation.levels
        )
        last = explanation.levels[-1]
        title = f"{last} only\n({explanation.last_level_by})"
        show_mask(row[2], image, explanation.last_level, title)
        found = f"score {prediction.score:.2f}" if prediction.box else "nothing found"
        title = f"all levels\n{found}"
        if truths:
            title = f"all levels\nIoU {iou(prediction.mask, truths[i]):.2f}"
            show_mask(row[4], image, truths[i], "ground truth", TRUE)
        show_mask(row[3], image, prediction.mask, title)
    return figure


def places_figure(image, explanations):
    """Fig. 5, an expression a row: what was found and two maps over positions.

    The paper's map, the strongest channel of the last fused map, and beside it the attention to
    positions, the mean of the levels. Colours run from the lowest value to the highest; those of
    the attention end at its 99th percentile, since a corner often takes most of it.

    Args:
        image: `(H, W, 3)` uint8.
        explanations: list of `Explanation` of that image.
    """
    figure = grid(len(explanations), 3, (1, 1, 1), bar=True)
    axes = rows_of(figure, 3)
    for row, explanation in zip(axes, explanations):
        prediction = explanation.prediction
        show_mask(row[0], image, prediction.mask, quoted(prediction.expression))
        show_map(row[1], image, explanation.strongest_channel, "strongest channel, fused map")
        heat = prediction.heat_map()
        heat = np.clip(heat / np.percentile(heat, 99), 0, 1)
        drawn = show_map(row[2], image, heat, "attention to positions")
    bar = figure.colorbar(drawn, ax=[row[2] for row in axes], shrink=0.6, ticks=(0, 1))
    bar.set_ticklabels(["low", "high"])
    return figure


def failures_figure(predictor, scores, count=8):
    """Fig. 6: the worst expressions of an evaluation, an expression a row, worst first.

    Of those with the same IoU the largest, where the most pixels are wrong, come first.

    Args:
        predictor: of the model that was evaluated.
        scores: list of `Score`.
        count: rows at most.
    """
    worst = sorted(scores, key=lambda score: (score.iou, -score.union))[:count]
    figure = grid(len(worst), 3, (1, 1, 1))
    for row, score in zip(rows_of(figure, 3), worst):
        image, true = read_pixels(score.record)
        found = predictor(image, score.record.expression).mask
        show(row[0], image, quoted(score.record.expression))
        show_mask(row[1], image, found, f"prediction, IoU {score.iou:.2f}")
        show_mask(row[2], image, true.astype(bool), "ground truth", TRUE)
    return figure


def write_figures(folder, name, predictor, scores, failures=8, examples=4):
    """Writes Figs. 4 to 6 of an evaluation.

    Args:
        folder: for `words_<name>.png`, `places_<name>.png` (both for CMSA only) and
            `failures_<name>.png`.
        name: of the split.
        predictor: of the model that was evaluated.
        scores: list of `Score`.
        failures: rows of Fig. 6 at most.
        examples: rows of Figs. 4 and 5 at most: expressions spread over the split, and those of
            the image with the most of them.
    """
    folder = Path(folder)
    write_figure(folder / f"failures_{name}.png", failures_figure(predictor, scores, failures))
    if not has_inside(predictor.model):
        return
    records = [score.record for score in scores]
    spread = records[:: -(-len(records) // examples)]
    images, truths = zip(*(read_pixels(record) for record in spread))
    explanations = [
        explain(predictor, image, [record.expression])[0] for image, record in zip(images, spread)
    ]
    truths = [truth.astype(bool) for truth in truths]
    write_figure(folder / f"words_{name}.png", words_figure(images, explanations, truths))
    by_image = [list(group) for _, group in groupby(records, lambda record: record.image_path)]
    most = max(by_image, key=len)[:examples]
    image, _ = read_pixels(most[0])
    explanations = explain(predictor, image, [record.expression for record in most])
    write_figure(folder / f"places_{name}.png", places_figure(image, explanations))


def write_figure(path, figure):
    """Writes a figure as PNG, beside and renamed."""
    with replaced(path, "wb") as file:
        FigureCanvasAgg(figure).print_png(file)


def grid(rows, columns, widths, bar=False):
    figure = Figure(figsize=(2.9 * sum(widths) + bar, 2.9 * rows), layout="constrained")
    figure.subplots(rows, columns, squeeze=False, width_ratios=widths)
    return figure


def rows_of(figure, columns):
    return [figure.axes[i : i + columns] for i in range(0, len(figure.axes), columns)]


def show(axis, picture, title):
    axis.imshow(picture)
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()


def show_mask(axis, image, mask, title, colour=FOUND):
    """A mask over the photo, with an outline that shows on things of the mask's own colour."""
    show(axis, overlay(image, mask, colour), title)
    if mask.any() and not mask.all():
        axis.contour(mask, levels=[0.5], colors="white", linewidths=1)


def show_map(axis, image, values, title):
    """A map of 0..1 over the photo in grey."""
    grey = np.asarray(image, "float32").mean(axis=-1)
    axis.imshow(grey, cmap="gray", vmin=0, vmax=255)
    drawn = axis.imshow(values, cmap=MAP_COLOURS, vmin=0, vmax=1, alpha=0.7)
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()
    return drawn


def quoted(expression):
    # Matplotlib's own wrapping takes no room, so the rows would overlap.
    lines = textwrap.fill(f"“{expression}”", WIDTH)
    # People write dollar signs; between two of them Matplotlib would read a formula.
    return lines.replace("$", r"\$")


def iou(found, true):
    union = np.sum(found | true)
    return np.sum(found & true) / union if union else 1.0
