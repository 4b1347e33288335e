"""What runs found, in the two files that tables are made of.

`runs.csv` has a line per system and seed, `attention.csv` one per attention of them. A system and seed
that `runs.csv` has is done, whether or not its folder is still there: with the files of docs/ablations
in --run-dir, `ablations.py` adds to what docs/results.md reports.
"""

import statistics

from keras_cmsa.evaluation.controls import SHUFFLED
from keras_cmsa.evaluation.scores import THRESHOLDS
from keras_cmsa.utils.csv_files import read_rows, write_rows
from keras_cmsa.utils.files import replaced

RUNS = "runs.csv"
ATTENTION = "attention.csv"
ALL = "all held out"  # the splits that were not trained on, together
MEASURES = ("mean_iou", *(f"prec@{threshold:g}" for threshold in THRESHOLDS))
COSTS = ("parameters", "multiply_adds")  # the same for every seed
KEYS = ("system", "seed")
TEXTS = ("system", "level", "over")


def is_done(folder, system, seed):
    return any(is_of(run, system, seed) for run in read(folder / RUNS))


def is_of(line, system, seed):
    return (line["system"], line["seed"]) == (system, seed)


def fill(folder, rows, seeds, measure):
    """Measures the rows that `runs.csv` lacks, seed by seed, and prints its table.

    Args:
        folder: `Path` of the file.
        rows: `{row: settings}`; `{seed}` in a text stands for that of the run.
        seeds: how often to measure each row, with the seeds 0, 1, ...
        measure: function of a row and its settings, with `seed` and `run_dir`, to a dict of numbers.
    """
    for seed in range(seeds):
        for row, given in rows.items():
            if is_done(folder, row, seed):
                continue
            given = {k: x.format(seed=seed) if isinstance(x, str) else x for k, x in given.items()}
            given |= {"seed": seed, "run_dir": str(folder / row / f"seed_{seed}")}
            line = {"system": row, "seed": seed, **measure(row, given)}
            # Read again: another process may have added rows meanwhile.
            write(folder / RUNS, [*read(folder / RUNS), line])
    print(as_markdown(read(folder / RUNS)))


def in_percent(numbers):
    return {name: round(100 * value, 2) for name, value in numbers.items()}


def as_markdown(lines):
    """The table: means over seeds with the lowest and the highest; an en dash where none has one."""
    columns = [name for name in lines[0] if name not in KEYS]
    table = [as_line(["row", "seeds", *columns]), as_line(["---", *["---:"] * (len(columns) + 1)])]
    for row in dict.fromkeys(line["system"] for line in lines):
        runs = [line for line in lines if line["system"] == row]
        values = [[run[name] for run in runs if run[name] is not None] for name in columns]
        cells = [
            f"{statistics.mean(x):.1f} ({min(x):.1f} to {max(x):.1f})" if x else "–" for x in values
        ]
        table.append(as_line([row, str(len(runs)), *cells]))
    return "\n".join(table)


def as_line(cells):
    return f"| {' | '.join(cells)} |"


def add(folder, system, seed, config, split):
    """Adds a run to both files.

    Args:
        folder: `Path` of both.
        system: its name.
        seed: of the run.
        config: the run's `config.json`, with its metrics, controls and costs.
        split: what is reported first.

    Raises:
        ValueError: if its numbers are not those of the other runs.
    """
    # A run is done with its line in the second; what a kill has left of it in the first goes.
    for name, rows in (
        (ATTENTION, config.get("attention", [])),
        (RUNS, [measured(config, split)]),
    ):
        lines = [line for line in read(folder / name) if not is_of(line, system, seed)]
        lines += [{"system": system, "seed": seed, **rounded(x)} for x in rows]
        write(folder / name, lines)


def measured(config, split):
    """The numbers of a run: IoU and precision in %."""
    metrics = config["metrics"]
    line = {name: 100 * metrics["splits"][split][name] for name in ("overall_iou", *MEASURES)}
    for other, numbers in metrics["splits"].items():
        if other != split:
            line[f"iou on {other}"] = 100 * numbers["overall_iou"]
    for kind, numbers in metrics["kinds"][ALL].items():
        line[f"iou: {kind}"] = 100 * numbers["overall_iou"]
    for control, numbers in config["controls"].items():
        line[f"control: {control}"] = 100 * numbers["control"]["overall_iou"]
    # Kind by kind, since it tells who reads the order of words.
    for kind, numbers in config["controls"].get(SHUFFLED, {}).get("kinds", {}).items():
        line[f"control: {SHUFFLED}: {kind}"] = 100 * numbers["control"]["overall_iou"]
    return line | config["costs"]


def rounded(numbers):
    return {k: round(x, 4) if isinstance(x, float) else x for k, x in numbers.items()}


def write(path, lines):
    """Writes one of the files, whole or not at all."""
    if not lines:
        return
    columns = list(lines[0])
    for line in lines:
        if other := set(line) ^ set(columns):
            raise ValueError(f"{path}: not every run has {', '.join(sorted(other))}")
    with replaced(path) as file:
        cells = [["" if line[name] is None else line[name] for name in columns] for line in lines]
        write_rows(file, [columns, *cells])


def read(path):
    """The lines of one of the files: list of dict; an empty cell is None."""
    if not path.exists():
        return []
    return [{k: value(k, x) for k, x in row.items()} for _, row in read_rows(path, KEYS)]


def value(name, cell):
    if name in TEXTS:
        return cell
    if not cell:
        return None
    return int(cell) if name in ("seed", *COSTS) else float(cell)
