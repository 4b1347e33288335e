"""Tables and charts of what `ablations.py` has trained, beside the paper's numbers."""

import json
import statistics

from matplotlib.figure import Figure
from paper_tables import PAPER_UNC_VAL
from run_table import ALL, COSTS, MEASURES, RUNS, as_line, read, write

from keras_cmsa.explain.drawing import write_figure
from keras_cmsa.utils.files import replaced

SETTINGS = "settings.json"  # of all systems of a folder
# Those that a table names above its rows.
NAMED = (
    "data", "validate_on", "image_size", "word_dim", "attention_dim", "fusion_dim", "backbone",
    "backbone_weights", "pretrain_steps", "batch_size", "steps", "optimizer", "learning_rate",
    "profile", "backend",
)  # fmt: skip
OVER_ALL = f"iou on {ALL}"


def write_table(folder, table, rows):
    """Writes `table_<table>.md`, `.csv` and `.png` and prints the first.

    Args:
        folder: `Path` with the settings and `runs.csv`, as `ablations.py` leaves it.
        table: number of the paper's table, or `"systems"`.
        rows: `{row: system}`, in order; the last is the one that the others are compared with.
    """
    settings = json.loads((folder / SETTINGS).read_text())
    paper = PAPER_UNC_VAL.get(table, {})
    lines = read(folder / RUNS)
    runs = {row: [run for run in lines if run["system"] == name] for row, name in rows.items()}
    summaries = [
        {
            "row": row,
            "system": rows[row],
            **summarize(runs[row]),
            "paper_iou_unc_val": paper.get(row),
        }
        for row in rows
    ]
    title = f"Table {table}" if table in PAPER_UNC_VAL else "Systems"
    path = folder / f"table_{table}"
    write(path.with_suffix(".csv"), summaries)
    text = as_markdown(summaries, title, settings)
    if len(rows) > 1:
        text += "\n" + differences_as_markdown(runs, paper, settings["validate_on"])
    with replaced(path.with_suffix(".md")) as file:
        file.write(text)
    write_figure(path.with_suffix(".png"), chart(summaries, title, settings))
    print(text)


def summarize(runs):
    """What a row says of a system's runs: means over them; IoU and precision in %."""
    overall = [run["overall_iou"] for run in runs]
    means = {
        name: rounded_mean([run[name] for run in runs])
        for name in runs[0]
        if name not in ("system", "seed", *COSTS)
    }
    spread = {"lowest": min(overall), "highest": max(overall)}
    first = {"seeds": len(runs), "overall_iou": means.pop("overall_iou"), **spread}
    return first | means | {name: runs[0][name] for name in COSTS}


def rounded_mean(numbers):
    return None if None in numbers else round(statistics.fmean(numbers), 4)


def differences_as_markdown(runs, paper, split):
    """By how much the last row is ahead of each other, seed by seed.

    Args:
        runs: `{row: [run, ...]}`, in order.
        paper: `{row: IoU}` of the paper, of those that it has.
        split: what is reported first.
    """
    *others, last = runs
    seeds = sorted({run["seed"] for row_runs in runs.values() for run in row_runs})
    names = [f"{where}, seed {seed}" for where in (split, "all") for seed in seeds]
    names = [*names[: len(seeds)], "mean", *names[len(seeds) :], "mean"]
    lines = [
        f"{last} less each of the others, in points of overall IoU. Runs of one seed have the same "
        "order of samples and the same backbone.",
        "",
        as_line(["", *names, "paper"]),
        as_line(["---", *["---:"] * (len(names) + 1)]),
    ]
    for row in others:
        cells = [row]
        for measure in ("overall_iou", OVER_ALL):
            by_seed = paired(runs[last], runs[row], measure)
            cells += [signed(by_seed.get(seed)) for seed in seeds]
            cells.append(signed(statistics.fmean(by_seed.values())) if by_seed else "–")
        both = row in paper and last in paper
        lines.append(as_line([*cells, signed(paper[last] - paper[row], 2) if both else "–"]))
    return "\n".join([*lines, ""])


def paired(runs, others, measure):
    """`{seed: difference}` of the seeds that both sides have."""
    before = {run["seed"]: run[measure] for run in others}
    return {
        run["seed"]: run[measure] - before[run["seed"]] for run in runs if run["seed"] in before
    }


def signed(number, digits=1):
    return "–" if number is None else f"{number:+.{digits}f}".replace("-", "−")


def as_markdown(summaries, title, settings):
    """The table with what it means above it."""
    others = [key for key in summaries[0] if key.startswith(("iou on ", "iou: ", "control: "))]
    measures = [*MEASURES, *others]
    head = ["", "system", "overall IoU", *(m.replace("_iou", " IoU") for m in measures)]
    head += ["M parameters", "G multiply-adds", "paper: IoU on UNC val"]
    lines = [
        f"{title}. " + ", ".join(f"{name} {settings[name]}" for name in NAMED),
        "",
        "IoU and precision in %; with several seeds the mean, and from the lowest to the highest.",
        f"A kind's overall IoU (iou: ...) and the controls are over all held-out splits; the rest is on "
        f"{settings['validate_on']} unless another split is named.",
        "Multiply-adds are for one image and one expression.",
        "The paper's numbers are of other data, sizes and starting weights, and with DenseCRF.",
        "",
        as_line(head),
        as_line(["---", "---", *["---:"] * (len(head) - 2)]),
        *(as_line(cells_of(summary, measures)) for summary in summaries),
    ]
    return "\n".join([*lines, ""])


def cells_of(summary, measures):
    """A row's cells."""
    overall = f"{summary['overall_iou']:.2f}"
    if summary["seeds"] > 1:
        spread = f"{summary['lowest']:.2f}–{summary['highest']:.2f}"
        overall += f" ({spread}, {summary['seeds']} seeds)"
    adds, paper = summary["multiply_adds"], summary["paper_iou_unc_val"]
    return [
        summary["row"],
        summary["system"],
        overall,
        *("–" if summary[x] is None else f"{summary[x]:.2f}" for x in measures),
        f"{summary['parameters'] / 1e6:.2f}",
        f"{adds / 1e9:.2f}" if adds else "(no JAX)",
        f"{paper:.2f}" if paper else "–",
    ]


def chart(summaries, title, settings):
    """Overall IoU, from the lowest to the highest seed; beside it, apart, the paper's."""
    figure = Figure(figsize=(9, 1 + 0.4 * len(summaries)), layout="constrained")
    ours, papers = figure.subplots(1, 2, sharey=True)
    places = range(len(summaries), 0, -1)
    values = [row["overall_iou"] for row in summaries]
    below = [row["overall_iou"] - row["lowest"] for row in summaries]
    above = [row["highest"] - row["overall_iou"] for row in summaries]
    ours.errorbar(values, places, xerr=[below, above], fmt="o", color="#0072b2", capsize=3)
    ours.set_title(f"{settings['data']}, {settings['validate_on']}", fontsize=10)
    published = [
        (row["paper_iou_unc_val"], place)
        for row, place in zip(summaries, places)
        if row["paper_iou_unc_val"]
    ]
    if published:
        papers.plot(*zip(*published), "D", color="#e69f00", fillstyle="none")
    papers.set_title("the paper, UNC val", fontsize=10)
    ours.set_yticks(list(places), [row["row"] for row in summaries], fontsize=9)
    for axis in (ours, papers):
        axis.set_xlabel("overall IoU, %")
        axis.grid(axis="x", alpha=0.3)
    figure.suptitle(title, fontsize=11)
    return figure
