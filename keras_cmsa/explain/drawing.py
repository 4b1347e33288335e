"""Drawing helpers: overlays, word charts, PNG files.

The mask of a model is orange everywhere, with an outline that shows on any photo; the ground truth
is a dashed line. So they differ in more than colour. Other maps are in cividis, which every kind of
colour vision reads alike.
"""

import textwrap

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import PercentFormatter
from scipy.ndimage import maximum_filter, minimum_filter

from keras_cmsa.utils.files import replaced

MASK_COLOUR = (230, 159, 0)  # the orange of Okabe and Ito
MAP_COLOURS = "cividis"
WIDTH = 36  # letters of a title over one picture
ORANGE = np.array(MASK_COLOUR) / 255
# Probability 0 shows the photo, 1 the colour of the mask.
PROBABILITY = LinearSegmentedColormap.from_list("probability", [(*ORANGE, 0.0), (*ORANGE, 0.9)])
PROBABILITY_BAR = LinearSegmentedColormap.from_list("probability_bar", [(0.6, 0.6, 0.6), ORANGE])
FEWEST_BARS = 6  # a chart has room for at least these
BORDER = [Stroke(linewidth=3, foreground="black"), Normal()]
TRUTH_LINE = {"colors": "white", "linewidths": 1.5, "linestyles": "dashed"}


def overlay(image, mask):
    """Paints a mask onto an image: `(H, W, 3)` uint8 and `(H, W)` bool to `(H, W, 3)` uint8.

    The rest of the image becomes slightly darker.
    """
    painted = image.astype("float32")
    painted[mask] += 0.5 * (np.array(MASK_COLOUR, "float32") - painted[mask])
    painted[~mask] *= 0.85
    return painted.round().astype("uint8")


def outlined_overlay(image, mask):
    """`overlay` with the outline drawn in pixels, for a picture without axes."""
    painted = overlay(image, mask)
    width = 2 * max(1, min(mask.shape) // 250) + 1
    painted[maximum_filter(mask, width) & ~mask] = 0
    painted[mask & ~minimum_filter(mask, width)] = 255
    return painted


def probability_overlay(image, probabilities):
    """Paints probabilities `(H, W)` of 0..1 onto the grey image: `(H, W, 3)` uint8."""
    coloured = PROBABILITY(probabilities)
    alpha = coloured[..., 3:]
    painted = alpha * 255 * coloured[..., :3] + (1 - alpha) * as_grey(image)[..., None]
    return painted.round().astype("uint8")


def as_grey(image):
    return np.asarray(image, "float32").mean(axis=-1)


def grid(rows, widths):
    """A figure of rows of pictures of these relative widths, and its axes, an array of rows."""
    figure = Figure(figsize=(2.9 * sum(widths), 2.9 * rows + 0.3), layout="constrained")
    return figure, figure.subplots(rows, len(widths), squeeze=False, width_ratios=widths)


def show(axis, picture, title, **style):
    axis.imshow(picture, **style)
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()


def show_mask(axis, image, mask, title, truth=None):
    """A mask over the photo, with its outline and that of the ground truth."""
    show(axis, overlay(image, mask), title)
    outline(axis, mask, colors=[ORANGE], linewidths=1.5)
    if truth is not None:
        outline(axis, truth, **TRUTH_LINE)


def outline(axis, mask, **style):
    if mask.any() and not mask.all():
        axis.contour(mask, levels=[0.5], **style).set_path_effects(BORDER)


def show_map(axis, image, values, title):
    """A map of 0..1 over the photo in grey."""
    show(axis, as_grey(image), title, cmap="gray", vmin=0, vmax=255)
    axis.imshow(values, cmap=MAP_COLOURS, vmin=0, vmax=1, alpha=0.7)


def add_legend(figure, truth=False):
    """The one legend of a figure, below it."""
    entries = [Patch(facecolor=ORANGE, edgecolor="black", label="found")]
    if truth:
        line = Line2D([], [], color="white", linestyle="dashed", linewidth=1.5)
        line.set(path_effects=BORDER, label="ground truth")
        entries.append(line)
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), frameon=False)


def add_bar(figure, axes, colours):
    """A colour bar from 0 to 1, as high as a picture, beside a column of them."""
    figure.colorbar(ScalarMappable(cmap=colours), ax=axes, shrink=0.7 / len(axes), ticks=(0, 1))


def draw_importance(axis, words):
    """A bar per word, from the first at the top: how much the answer changes without it.

    The number behind a bar is the IoU of the masks with and without the word.

    Args:
        axis: Matplotlib's axes.
        words: list of `WordImportance`.
    """
    places, names = range(len(words)), [plain(word.word) for word in words]
    bars = axis.barh(places, [word.change for word in words], color=ORANGE, edgecolor="black")
    axis.bar_label(bars, [f"IoU {word.iou:.2f}" for word in words], padding=3, fontsize=7)
    axis.set_yticks(places, names, fontsize=9 if len(words) < 12 else 7)
    axis.set_ylim(max(len(words), FEWEST_BARS) - 0.5, -0.5)
    axis.set_xlim(0, 1.2)  # with room for the number behind the longest bar
    axis.set_xticks((0, 0.5, 1))
    axis.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axis.set_title("change of the answer\nwithout the word", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


def draw_word_attention(axis, tokens, attention, levels):
    """The matrix of Fig. 4: levels down, words across, the share of attention in each cell."""
    image = axis.imshow(attention, cmap=MAP_COLOURS, vmin=0, aspect="auto")
    axis.set_yticks(range(len(levels)), levels, fontsize=9)
    labels = [plain(token) for token in tokens]
    axis.set_xticks(range(len(tokens)), labels, rotation=40, ha="right", fontsize=9)
    axis.set_title("Fig. 4: word attention", fontsize=10)
    if len(tokens) <= 10:
        for (level, word), share in np.ndenumerate(attention):
            colour = "white" if share < 0.6 * attention.max() else "black"
            style = {"ha": "center", "va": "center", "fontsize": 8, "color": colour}
            axis.text(word, level, f"{100 * share:.0f}", **style)
    axis.figure.colorbar(image, ax=axis, shrink=0.8, format=PercentFormatter(1, 0))


def quoted(expression):
    """An expression as a title, wrapped and in quotation marks."""
    # Matplotlib's own wrapping reserves no room, so the rows would overlap.
    return plain(textwrap.fill(f"“{expression}”", WIDTH))


def plain(text):
    """A text that Matplotlib shows as it is."""
    # People write dollar signs; between two of them Matplotlib would read a formula.
    return text.replace("$", r"\$")


def write_figure(path, figure):
    """Writes a figure as PNG, whole or not at all."""
    with replaced(path, "wb") as file:
        FigureCanvasAgg(figure).print_png(file)
