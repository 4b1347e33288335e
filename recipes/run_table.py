"""What runs found, in the two files that tables are made of.

`runs.csv` has a line per system and seed, `attention.csv` one per attention of them. A system and seed
that `runs.csv` has is done, whether or not its folder is still there: with the files of docs/ablations
in --run-dir, `ablations.py` adds to what docs/results.md reports.
"""

import csv

from keras_cmsa.evaluation.scores import THRESHOLDS

RUNS = "runs.csv"
ATTENTION = "attention.csv"
ALL = "all held out"  # the splits that were not trained on, together
MEASURES = ("mean_iou", *(f"prec@{threshold:g}" for threshold in THRESHOLDS))
COSTS = ("parameters", "multiply_adds")  # the same for every seed
TEXTS = ("system", "level", "over")


def is_done(folder, system, seed):
    return any((run["system"], run["seed"]) == (system, seed) for run in read(folder / RUNS))


def add(folder, system, seed, config, split):
    """Adds a run to both files.

    Args:
        folder: `Path` of both.
        system: its name.
        seed: of the run.
        config: the run's `config.json`, with its metrics, controls and costs.
        split: what is reported first.
    """
    name = {"system": system, "seed": seed}
    append(folder / ATTENTION, [{**name, **rounded(x)} for x in config.get("attention", ())])
    append(folder / RUNS, [{**name, **rounded(measured(config, split))}])  # last: the run is done


def measured(config, split):
    """The numbers of a run: IoU and precision in %."""
    metrics = config["metrics"]
    found = {name: 100 * metrics["splits"][split][name] for name in ("overall_iou", *MEASURES)}
    for other, numbers in metrics["splits"].items():
        if other != split:
            found[f"iou on {other}"] = 100 * numbers["overall_iou"]
    for kind, numbers in metrics["kinds"][ALL].items():
        found[f"iou: {kind}"] = 100 * numbers["overall_iou"]
    for control, numbers in config["controls"].items():
        found[f"control: {control}"] = 100 * numbers["control"]["overall_iou"]
    return found | config["costs"]


def rounded(numbers):
    return {k: round(x, 4) if isinstance(x, float) else x for k, x in numbers.items()}


def append(path, rows):
    """Adds lines in one write, so that processes that share a folder do not mix them."""
    if not rows:
        return
    with open(path, "a+", newline="", encoding="utf-8") as file:
        file.seek(0)
        head = next(csv.reader(file), None)
        writer = csv.DictWriter(file, head or list(rows[0]))  # raises if a column is not there
        if not head:
            writer.writeheader()
        writer.writerows(rows)


def read(path):
    """The lines of one of the files: list of dict; an empty cell is None."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{k: value(k, x) for k, x in row.items()} for row in csv.DictReader(file)]


def value(name, cell):
    if name in TEXTS:
        return cell
    if not cell:
        return None
    return int(cell) if name in ("seed", *COSTS) else float(cell)
