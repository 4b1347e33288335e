"""Results as pictures: what was asked, what was found, and which words counted."""

from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from keras_cmsa.cmsa import LEVELS, with_attention
from keras_cmsa.data.pipeline import RecordBatches, read_pixels
from keras_cmsa.evaluation import PROFILES, score

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
        tokens: the words as the model saw them.
        word_attention: `(3, len(tokens))`, each level's attention to each word.
    """

    record: object
    image: np.ndarray
    true: np.ndarray
    found: np.ndarray
    iou: float
    tokens: list
    word_attention: np.ndarray


def find_examples(model, vocabulary, records, profile="strict", fit="pad"):
    """Runs a CMSA model on a few records and keeps what there is to look at: list of `Example`."""
    size = model.input["image"].shape[1]
    inputs, _ = RecordBatches(records, vocabulary, size, len(records), fit=fit)[0]
    outputs = with_attention(model).predict_on_batch(inputs)
    examples = []
    for record, logits, attention in zip(records, outputs["logits"], outputs["word_attention"]):
        image, true = read_pixels(record)
        logits = np.asarray(logits)[..., 0]
        tokens = vocabulary.tokens(record.expression)
        examples.append(
            Example(
                record,
                image,
                true.astype(bool),
                PROFILES[profile].to_mask(logits, true.shape, fit),
                score(record, logits, profile, fit).iou,
                tokens,
                np.asarray(attention)[:, : len(tokens)],
            )
        )
    return examples


def overlay(image, mask, colour=FOUND, strength=0.6):
    """Paints a mask onto an image: `(H, W, 3)` uint8 and `(H, W)` bool to `(H, W, 3)` uint8."""
    painted = image.astype("float32")
    painted[mask] += strength * (np.array(colour, "float32") - painted[mask])
    painted[~mask] *= 1 - strength / 2
    return painted.round().astype("uint8")


def draw_examples(path, examples):
    """Writes a sheet, an expression a row: image, ground truth, prediction, word attention."""
    figure = Figure(figsize=(12, 2.9 * len(examples)), layout="constrained")
    axes = figure.subplots(len(examples), 4, squeeze=False, width_ratios=(1, 1, 1, 1.3))
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
        draw_word_attention(row[3], example.tokens, example.word_attention)
    FigureCanvasAgg(figure).print_png(path)


def draw_word_attention(axis, tokens, attention, levels=None):
    """The matrix of Fig. 4: levels down, words across, the share of attention in each cell."""
    levels = levels or [level.capitalize() for level in LEVELS]
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
