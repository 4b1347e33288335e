"""Results as pictures: what was asked, what was found, and which words counted."""

from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from keras_cmsa.data.pipeline import read_pixels
from keras_cmsa.evaluation import PROFILES, score
from keras_cmsa.predictor import Prediction

# Orange and blue of Okabe and Ito, told apart by every kind of colour vision.
FOUND, TRUE = (230, 159, 0), (0, 114, 178)


@dataclass(frozen=True)
class Example:
    """One expression with its result, at the size of the original image.

    Attributes:
        record: `Record`.
        image: `(H, W, 3)` uint8.
        true: ground truth, `(H, W)` bool.
        found: prediction, `(H, W)` bool.
        iou: of the two.
        prediction: `Prediction`, which also has the words and the attention to them.
        levels: names of the levels of its attention, such as `"Res3"`; empty for a system without.
    """

    record: object
    image: np.ndarray
    true: np.ndarray
    found: np.ndarray
    iou: float
    prediction: Prediction
    levels: list


def find_examples(predictor, records, profile="strict"):
    """Asks a `Predictor` a few records and keeps what there is to look at: list of `Example`."""
    examples = []
    for record in records:
        image, true = read_pixels(record)
        prediction = predictor(image, record.expression)
        found = PROFILES[profile].to_mask(prediction.logits, true.shape, predictor.fit)
        iou = score(record, prediction.logits, profile, predictor.fit).iou
        examples.append(
            Example(record, image, true.astype(bool), found, iou, prediction, predictor.levels)
        )
    return examples


def overlay(image, mask, colour=FOUND, strength=0.6):
    """Paints a mask onto an image: `(H, W, 3)` uint8 and `(H, W)` bool to `(H, W, 3)` uint8."""
    painted = image.astype("float32")
    painted[mask] += strength * (np.array(colour, "float32") - painted[mask])
    painted[~mask] *= 1 - strength / 2
    return painted.round().astype("uint8")


def draw_examples(path, examples):
    """Writes a sheet, an expression a row: image, ground truth, prediction, word attention.

    The last is left out for a system without one.
    """
    widths = (1, 1, 1, 1.3) if examples[0].levels else (1, 1, 1)
    figure = Figure(figsize=(2.8 * sum(widths), 2.9 * len(examples)), layout="constrained")
    axes = figure.subplots(len(examples), len(widths), squeeze=False, width_ratios=widths)
    for row, example in zip(axes, examples):
        pictures = [example.image, overlay(example.image, example.true, TRUE)]
        pictures.append(overlay(example.image, example.found, FOUND))
        titles = ["", "ground truth", f"prediction, IoU {example.iou:.2f}"]
        for axis, picture, title in zip(row, pictures, titles):
            axis.imshow(picture)
            axis.set_title(title, fontsize=10)
            axis.set_axis_off()
        # People write dollar signs; between two of them Matplotlib would read a formula.
        expression = example.record.expression.replace("$", r"\$")
        row[0].set_title(f"“{expression}”", fontsize=11, loc="left", wrap=True)
        if example.levels:
            prediction = example.prediction
            draw_word_attention(
                row[3], prediction.tokens, prediction.word_attention, example.levels
            )
    FigureCanvasAgg(figure).print_png(path)


def draw_word_attention(axis, tokens, attention, levels):
    """The matrix of Fig. 4: levels down, words across, the share of attention in each cell."""
    image = axis.imshow(attention, cmap="cividis", vmin=0, aspect="auto")
    axis.set_yticks(range(len(levels)), levels, fontsize=9)
    axis.set_xticks(range(len(tokens)), tokens, rotation=40, ha="right", fontsize=9)
    axis.set_title("word attention", fontsize=10)
    if len(tokens) <= 10:
        for (level, word), share in np.ndenumerate(attention):
            dark = share < 0.6 * attention.max()
            axis.text(
                word,
                level,
                f"{100 * share:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "black",
            )
    axis.figure.colorbar(image, ax=axis, shrink=0.8, format=PercentFormatter(1, 0))
