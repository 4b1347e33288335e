"""The numbers of an evaluation as a table in the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

# Names short enough for a terminal of 80 columns.
SHORT = {
    "overall_iou": "overall", "mean_iou": "mean", "samples": "count", "giou": "gIoU",
    "ciou": "cIoU", "n_acc": "N-acc", "t_acc": "T-acc", "without_target": "none",
}  # fmt: skip


def print_metrics(metrics, where):
    """A row per split, a column per measure.

    Args:
        metrics: as `keras_cmsa.evaluation.scores.metrics_of` gives them.
        where: path of the file that holds them.
    """
    table = Table(
        "split",
        title=f"IoU and prec@X, profile {metrics['profile']}",
        caption=escape(f"{where}; starting weights: {metrics['weights']}"),
    )
    for name in next(iter(metrics["splits"].values())):
        table.add_column(SHORT.get(name, name.replace("prec@0", "@")), justify="right")
    for name, numbers in metrics["splits"].items():
        cells = (f"{v:.3f}" if isinstance(v, float) else f"{v:,}" for v in numbers.values())
        table.add_row(name, *cells)
    Console().print(table)


def print_controls(controls):
    """A row per split and control: the IoU with the sentences as they are, and under the control.

    Args:
        controls: `{split: numbers}`, as `Controls.summary` gives them.
    """
    title = "Controls: overall IoU, or cIoU, without the sentence's help"
    table = Table("split", "control", title=title)
    for name in ("count", "as it is", "under it", "difference"):
        table.add_column(name, justify="right")
    for split, numbers_by_control in controls.items():
        for name, numbers in numbers_by_control.items():
            measure = "overall_iou" if "overall_iou" in numbers["plain"] else "ciou"
            plain, control = (numbers[which][measure] for which in ("plain", "control"))
            cells = f"{plain:.3f}", f"{control:.3f}", f"{control - plain:+.3f}"
            table.add_row(split, name, f"{numbers['plain']['samples']:,}", *cells)
    Console().print(table)
