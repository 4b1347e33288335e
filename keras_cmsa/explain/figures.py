"""Pictures of a model's answers, and Figs. 4 to 6 of the paper.

Each function returns a Matplotlib figure; `write_figure` makes a PNG of it. The IoU above a mask is
of that mask.
"""

from pathlib import Path

from keras_cmsa.data.record import by_image
from keras_cmsa.data.samples import read_image_and_masks
from keras_cmsa.evaluation.scores import overlap
from keras_cmsa.explain import drawing
from keras_cmsa.inference.masks import MaskRule


def explanations_figure(images, explanations, truths=None):
    """An expression a row: photo, mask, probability, the importance of each word.

    Args:
        images: list of `(H, W, 3)` uint8.
        explanations: list of `Explanation`, one of each image.
        truths: list of `(H, W)` bool, or `None` where there is no ground truth.
    """
    figure, axes = drawing.grid(len(explanations), (1, 1, 1, 1.2))
    for i, (row, image, explanation) in enumerate(zip(axes, images, explanations)):
        truth = truths[i] if truths else None
        drawing.show(row[0], image, drawing.quoted(explanation.prediction.expression))
        drawing.show_mask(row[1], image, explanation.mask, result(explanation, truth), truth)
        likely = drawing.probability_overlay(image, explanation.prediction.probabilities)
        drawing.show(row[2], likely, "probability")
        drawing.draw_importance(row[3], explanation.words)
    drawing.add_bar(figure, axes[:, 2], drawing.PROBABILITY_BAR)
    drawing.add_legend(figure, truth=bool(truths))
    return figure


def paper_figure(images, explanations, truths=None):
    """Figs. 4 and 5 of the paper, an expression a row.

    The mask; Fig. 4: the attention of each level to each word, and the mask from the last level
    alone; Fig. 5: the strongest channel of the last fused map, from its lowest value to its
    highest.

    Args:
        images, truths: as in `explanations_figure`.
        explanations: list of `Explanation` of a model that has an inside.
    """
    figure, axes = drawing.grid(len(explanations), (1, 1.5, 1, 1))
    for i, (row, image, explanation) in enumerate(zip(axes, images, explanations)):
        truth = truths[i] if truths else None
        prediction, inside = explanation.prediction, explanation.inside
        title = drawing.quoted(prediction.expression)
        drawing.show_mask(row[0], image, explanation.mask, title, truth)
        tokens, attention = prediction.tokens, prediction.word_attention
        drawing.draw_word_attention(row[1], tokens, attention, inside.levels)
        title = f"Fig. 4: {inside.levels[-1]} only\n({inside.last_level_by})"
        drawing.show_mask(row[2], image, inside.last_level, title, truth)
        drawing.show_map(row[3], image, inside.strongest_channel, "Fig. 5: strongest channel")
    drawing.add_bar(figure, axes[:, 3], drawing.MAP_COLOURS)
    drawing.add_legend(figure, truth=bool(truths))
    return figure


def result(explanation, truth):
    """The title of a mask: its IoU, or its score where there is no ground truth."""
    if truth is not None:
        return scored(explanation.mask, overlap(explanation.mask, truth))
    prediction = explanation.prediction
    return f"found, score {prediction.score:.2f}" if prediction.box else "nothing found"


def scored(mask, iou):
    """The title of a mask with its IoU."""
    return f"{'found' if mask.any() else 'nothing found'}, IoU {iou:.2f}"


def failures_figure(predictor, scores, rule=None, count=8):
    """Fig. 6: the worst expressions of an evaluation, two a row, worst first.

    Of those with the same IoU the largest, where the most pixels are wrong, come first.

    Args:
        predictor: of the model that was evaluated.
        scores: list of `Score`.
        rule: the `MaskRule` that was scored; `None`: strict.
        count: expressions at most.
    """
    rule = rule or MaskRule()
    worst = sorted(scores, key=lambda score: (score.iou_by(rule.profile), -score.union))[:count]
    figure, axes = drawing.grid(-(-len(worst) // 2), (1, 1, 1, 1))
    for axis in axes.flat:
        axis.set_axis_off()
    for (photo, answer), score in zip(axes.reshape(-1, 2), worst):
        image, (truth,) = read_image_and_masks([score.record])
        mask = predictor(image, score.record.expression).mask_by(rule, image)
        drawing.show(photo, image, drawing.quoted(score.record.expression))
        title = scored(mask, score.iou_by(rule.profile))
        drawing.show_mask(answer, image, mask, title, truth.astype(bool))
    drawing.add_legend(figure, truth=True)
    return figure


def write_figures(folder, name, predictor, explain, scores, rule=None, failures=8, examples=6):
    """Writes the pictures of an evaluation.

    Args:
        folder: for `examples_<name>.png`, `paper_<name>.png` (Figs. 4 and 5, for CMSA only) and
            `failures_<name>.png` (Fig. 6).
        name: of the split.
        predictor: of the model that was evaluated.
        explain: its `Explainer`, one for all evaluations: its first answer folds the model anew.
        scores: list of `Score`.
        rule: the `MaskRule` that was scored; `None`: strict.
        failures: expressions of Fig. 6 at most; 0 draws none.
        examples: expressions of each of the other pictures at most. They are spread over the split;
            those of Figs. 4 and 5 are about the image with the most expressions.
    """
    folder, records = Path(folder), [score.record for score in scores]
    if failures:
        figure = failures_figure(predictor, scores, rule, failures)
        drawing.write_figure(folder / f"failures_{name}.png", figure)
    spread = records[:: -(-len(records) // examples)]
    figure = explanations_figure(*explained(explain, spread, rule))
    drawing.write_figure(folder / f"examples_{name}.png", figure)
    if explain.looks_inside:
        most = [records[i] for i in max(by_image(records), key=len)[:examples]]
        figure = paper_figure(*explained(explain, most, rule))
        drawing.write_figure(folder / f"paper_{name}.png", figure)


def explained(explain, records, rule):
    """Images, explanations by a rule and ground truths of some records, for a figure."""
    pairs = (read_image_and_masks([record]) for record in records)
    images, truths = zip(*((image, truth) for image, (truth,) in pairs))
    explanations = [explain(image, [r.expression], rule)[0] for image, r in zip(images, records)]
    return images, explanations, [truth.astype(bool) for truth in truths]
