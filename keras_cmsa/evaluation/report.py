"""The numbers of an evaluation as a table in the terminal."""

from rich.console import Console
from rich.table import Table

# Names short enough for a terminal of 80 columns.
SHORT = {"overall_iou": "overall", "mean_iou": "mean", "samples": "count"}


def print_metrics(metrics, where):
    """A row per split, a column per measure.

    Args:
        metrics: as `keras_cmsa.evaluation.scores.metrics_of` gives them.
        where: path of the file that holds them.
    """
    table = Table(
        title=f"IoU and prec@X, profile {metrics['profile']}",
        caption=f"{where}; starting weights: {metrics['weights']}",
    )
    table.add_column("split")
    for name in next(iter(metrics["splits"].values())):
        table.add_column(SHORT.get(name, name.replace("prec@0", "@")), justify="right")
    for name, numbers in metrics["splits"].items():
        cells = (f"{v:.3f}" if isinstance(v, float) else f"{v:,}" for v in numbers.values())
        table.add_row(name, *cells)
    Console().print(table)
