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

import json
import os
from pathlib import Path
from typing import Annotated, Literal

# NumPy's products are small here: threads of its own would only wait for those of the model.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from cyclopts import Parameter

from keras_cmsa.cli.command_line import run_script
from keras_cmsa.cli.evaluate import score
from keras_cmsa.cli.options import DataDir, Dataset, Model, SplitOwner
from keras_cmsa.utils.files import check_folder, replaced
from keras_cmsa.utils.messages import check_at_least
from keras_cmsa.utils.silence import import_keras


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
    check_at_least(1, limit=limit)
    check_folder(output)
    import_keras()
    from attention_measures import AttentionReport

    from keras_cmsa.data.sources import read_records
    from keras_cmsa.evaluation.report import print_controls, print_metrics
    from keras_cmsa.evaluation.scores import metrics_of
    from keras_cmsa.inference.predictor import Predictor

    records = read_records(data_dir, dataset, split_owner, split)
    records = {name: records[name][:limit] for name in split}
    predictor = Predictor.from_preset(model)
    reports = {name: AttentionReport(predictor) for name in split}
    scores, summaries = score(predictor, records, profile, None, controls, reports, progress=True)
    attention = {name: report.rows(profile) for name, report in reports.items()}
    metrics = metrics_of(scores, profile, predictor.config["starting_weights"])
    metrics |= {"attention": attention, **({"controls": summaries} if controls else {})}
    output.mkdir(parents=True, exist_ok=True)
    with replaced(output / "metrics.json") as file:
        json.dump(metrics, file, indent=1)
    print_metrics(metrics, output / "metrics.json")
    if controls:
        print_controls(summaries)
    print_attention(attention)


if __name__ == "__main__":
    run_script(main)
