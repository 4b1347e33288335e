"""Figures 4, 5 and 6 of the paper, and a sheet of examples.

Each function gives a Matplotlib figure; `write_figure` makes a PNG of it. What is drawn as found is
the mask whose IoU stands above it.
"""

from itertools import groupby
from pathlib import Path

from keras_cmsa.data.samples import read_pixels
from keras_cmsa.evaluation.crf import MaskRule
from keras_cmsa.evaluation.drawing import (
    TRUE,
    clipped_heat,
    draw_word_attention,
    grid,
    iou,
    quoted,
    rows_of,
    show,
    show_map,
    show_mask,
    write_figure,
)
from keras_cmsa.evaluation.explanations import Explainer, can_explain


def examples_figure(predictor, records, rule=None):
    """An expression a row: image, ground truth, what was found, attention to its words.

    The last is left out for a system without word attention.

    Args:
        predictor: `Predictor`.
        records: list of `Record`.
        rule: `MaskRule`; `None`: strict.
    """
    rule = rule or MaskRule()
    widths = (1, 1, 1, 1.3) if predictor.levels else (1, 1, 1)
    figure = grid(len(records), len(widths), widths)
    for row, record in zip(rows_of(figure, len(widths)), records):
        image, true = read_pixels(record)
        true = true.astype(bool)
        prediction = predictor(image, record.expression)
        found = rule(image, prediction.logits, predictor.preprocessor)
        show(row[0], image, quoted(record.expression))
        show_mask(row[1], image, true, "ground truth", TRUE)
        show_mask(row[2], image, found, f"prediction, IoU {iou(found, true):.2f}")
        if predictor.levels:
            words, tokens = prediction.word_attention, prediction.tokens
            draw_word_attention(row[3], tokens, words, predictor.levels)
    return figure


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
            title = f"all levels\nIoU {iou(explanation.found, truths[i]):.2f}"
            show_mask(row[4], image, truths[i], "ground truth", TRUE)
        show_mask(row[3], image, explanation.found, title)
    return figure


def places_figure(image, explanations):
    """Fig. 5, an expression a row: what was found and two maps over positions.

    The paper's map, the strongest channel of the last fused map, and beside it the attention to
    positions, the mean of the levels. Colours run from the lowest value to the highest.

    Args:
        image: `(H, W, 3)` uint8.
        explanations: list of `Explanation` of that image.
    """
    figure = grid(len(explanations), 3, (1, 1, 1), bar=True)
    axes = rows_of(figure, 3)
    for row, explanation in zip(axes, explanations):
        prediction = explanation.prediction
        show_mask(row[0], image, explanation.found, quoted(prediction.expression))
        show_map(row[1], image, explanation.strongest_channel, "strongest channel, fused map")
        heat = clipped_heat(prediction.heat_map())
        drawn = show_map(row[2], image, heat, "attention to positions")
    bar = figure.colorbar(drawn, ax=[row[2] for row in axes], shrink=0.6, ticks=(0, 1))
    bar.set_ticklabels(["low", "high"])
    return figure


def failures_figure(predictor, scores, rule=None, count=8):
    """Fig. 6: the worst expressions of an evaluation, an expression a row, worst first.

    Of those with the same IoU the largest, where the most pixels are wrong, come first.

    Args:
        predictor: of the model that was evaluated.
        scores: list of `Score`.
        rule: the `MaskRule` that was scored; `None`: strict.
        count: rows at most.
    """
    rule = rule or MaskRule()
    worst = sorted(scores, key=lambda score: (score.iou, -score.union))[:count]
    figure = grid(len(worst), 3, (1, 1, 1))
    for row, score in zip(rows_of(figure, 3), worst):
        image, true = read_pixels(score.record)
        logits = predictor(image, score.record.expression).logits
        found = rule(image, logits, predictor.preprocessor)
        show(row[0], image, quoted(score.record.expression))
        show_mask(row[1], image, found, f"prediction, IoU {score.iou:.2f}")
        show_mask(row[2], image, true.astype(bool), "ground truth", TRUE)
    return figure


def write_figures(folder, name, predictor, scores, rule=None, failures=8, examples=4):
    """Writes Figs. 4 to 6 of an evaluation.

    Args:
        folder: for `words_<name>.png`, `places_<name>.png` (both for CMSA only) and
            `failures_<name>.png`.
        name: of the split.
        predictor: of the model that was evaluated.
        scores: list of `Score`.
        rule: the `MaskRule` that was scored; `None`: strict.
        failures: rows of Fig. 6 at most; 0 draws none.
        examples: rows of Figs. 4 and 5 at most: expressions spread over the split, and those of
            the image with the most of them.
    """
    folder = Path(folder)
    if failures:
        figure = failures_figure(predictor, scores, rule, failures)
        write_figure(folder / f"failures_{name}.png", figure)
    if not can_explain(predictor.model):
        return
    explain = Explainer(predictor, rule=rule)
    records = [score.record for score in scores]
    spread = records[:: -(-len(records) // examples)]
    images, truths = zip(*(read_pixels(record) for record in spread))
    explanations = [explain(image, [record.expression])[0] for image, record in zip(images, spread)]
    truths = [truth.astype(bool) for truth in truths]
    write_figure(folder / f"words_{name}.png", words_figure(images, explanations, truths))
    by_image = [list(group) for _, group in groupby(records, lambda record: record.image_path)]
    most = max(by_image, key=len)[:examples]
    image, _ = read_pixels(most[0])
    explanations = explain(image, [record.expression for record in most])
    write_figure(folder / f"places_{name}.png", places_figure(image, explanations))
