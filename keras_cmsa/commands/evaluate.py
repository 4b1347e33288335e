"""`keras-cmsa evaluate`: the paper's numbers of a trained model."""

import json as json_module
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from keras_cmsa.commands.backend import import_keras


def evaluate(
    data_dir: Path,
    *,
    model: Annotated[Path, Parameter(env_var="KERAS_CMSA_MODEL")],
    dataset: str = "refcoco",
    split_owner: str = "unc",
    split: tuple[str, ...] = (),
    profile: Literal["strict", "phrasecut"] = "strict",
    crf: Literal["network", "original"] | None = None,
    limit: int | None = None,
    failures: int = 8,
    output: Annotated[Path, Parameter(alias="-o")] = Path("runs/evaluation"),
    json: bool = False,
):
    """Score a model on the splits of a data set, at the size of the original images.

    Writes metrics.json, scores_<split>.csv with every expression's IoU, and the paper's figures:
    failures_<split>.png, the worst (Fig. 6), and for CMSA words_ and places_<split>.png (4 and 5).

    Parameters
    ----------
    data_dir
        REFER root: <dataset>/refs(<split owner>).p, <dataset>/instances.json, images/. Or what else
        `prepare` reads and writes, such as a table of your own (.csv, .jsonl).
    model
        A .keras file with its vocabulary.txt beside it, or the folder of both.
    dataset
        refcoco, refcoco+, refcocog or refclef in REFER's layout; refexp; referit.
    split_owner
        Whose splits: unc, google, umd or berkeley.
    split
        Splits to score, given once each; all but train if none is given.
    profile
        The rule from probabilities to masks; docs/evaluation.md. strict for your own comparisons,
        phrasecut for the tables of CMSA, RMI and RRN.
    crf
        Score a second time after DenseCRF, at the network's size (as the authors) or the original.
    limit
        Score the first so many expressions of each split only.
    failures
        How many of the worst to draw.
    output
        Folder of the results.
    json
        Print metrics.json instead of a table.
    """
    import_keras()
    from keras_cmsa.crf import evaluate_refined
    from keras_cmsa.data.sources import read_records
    from keras_cmsa.evaluation import evaluate as score
    from keras_cmsa.evaluation import write_results
    from keras_cmsa.figures import write_figures
    from keras_cmsa.predictor import Predictor

    records = read_records(data_dir, dataset, split_owner)
    splits = list(split) or [name for name in records if name != "train"]
    if missing := set(splits) - set(records):
        raise ValueError(f"{data_dir} has the splits {sorted(records)}, not {sorted(missing)}")
    predictor = Predictor.load(model)
    scores = {}
    for name in splits:
        asked = predictor.model, predictor.vocabulary, records[name][:limit], profile
        title = None if json else f"scoring {name}"
        if crf:
            scores[name], scores[f"{name}+crf"] = evaluate_refined(*asked, title=title, size=crf)
        else:
            scores[name] = score(*asked, title=title)
    output.mkdir(parents=True, exist_ok=True)
    metrics = write_results(output, profile, weights_of(model), scores)
    for name in splits:
        write_figures(output, name, predictor, scores[name], failures)
    if json:
        print(json_module.dumps(metrics))
    else:
        print_table(metrics, output)


def weights_of(model):
    """What the run of a model started from, in words, if its results say so."""
    metrics = (model if model.is_dir() else model.parent) / "metrics.json"
    if not metrics.exists():
        return "unknown"
    return json_module.loads(metrics.read_text(encoding="utf-8"))["weights"]


def print_table(metrics, folder):
    from rich.console import Console
    from rich.table import Table

    # Names short enough for a terminal of 80 columns.
    short = {"overall_iou": "overall", "mean_iou": "mean", "samples": "count"}
    table = Table(
        title=f"IoU and prec@X, profile {metrics['profile']}",
        caption=f"{folder / 'metrics.json'}; weights: {metrics['weights']}",
    )
    table.add_column("split")
    for name in next(iter(metrics["splits"].values())):
        table.add_column(short.get(name, name.replace("prec@0", "@")), justify="right")
    for name, numbers in metrics["splits"].items():
        cells = (f"{v:.3f}" if isinstance(v, float) else f"{v:,}" for v in numbers.values())
        table.add_row(name, *cells)
    Console().print(table)
