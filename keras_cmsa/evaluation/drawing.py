"""The parts of the figures: masks and maps over photos, the attention to words, files.

Colours are told apart by every kind of colour vision: masks in the orange and blue of Okabe and
Ito, maps in cividis.
"""

import textwrap

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from keras_cmsa.utils.files import replaced

FOUND, TRUE = (230, 159, 0), (0, 114, 178)
MAP_COLOURS = "cividis"
WIDTH = 36  # letters of a title over one picture


def overlay(image, mask, colour=FOUND, strength=0.6):
    """Paints a mask onto an image: `(H, W, 3)` uint8 and `(H, W)` bool to `(H, W, 3)` uint8."""
    painted = image.astype("float32")
    painted[mask] += strength * (np.array(colour, "float32") - painted[mask])
    painted[~mask] *= 1 - strength / 2
    return painted.round().astype("uint8")


def grid(rows, columns, widths, bar=False):
    """A figure of that many rows and columns of pictures, with room for a colour bar."""
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


def clipped_heat(heat):
    """A heat map with its 99th percentile at 1, since a corner often takes most of it.

    Where fewer than a hundredth of the positions have any attention that percentile is 0, and the
    largest value is 1 instead.
    """
    top = np.percentile(heat, 99) or heat.max()
    return np.clip(heat / top, 0, 1) if top > 0 else np.zeros_like(heat)


def draw_word_attention(axis, tokens, attention, levels):
    """The matrix of Fig. 4: levels down, words across, the share of attention in each cell."""
    image = axis.imshow(attention, cmap=MAP_COLOURS, vmin=0, aspect="auto")
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


def quoted(expression):
    """An expression as a title, wrapped and in quotation marks."""
    # Matplotlib's own wrapping takes no room, so the rows would overlap.
    lines = textwrap.fill(f"“{expression}”", WIDTH)
    # People write dollar signs; between two of them Matplotlib would read a formula.
    return lines.replace("$", r"\$")


def iou(found, true):
    """IoU of two masks `(H, W)` bool; 1 where both are empty."""
    union = np.sum(found | true)
    return np.sum(found & true) / union if union else 1.0


def write_figure(path, figure):
    """Writes a figure as PNG, whole or not at all."""
    with replaced(path, "wb") as file:
        FigureCanvasAgg(figure).print_png(file)
