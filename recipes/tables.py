"""Tables and charts of what `ablations.py` has trained, beside the paper's numbers."""

import csv
import json
import statistics

from matplotlib.figure import Figure
from paper_tables import PAPER_UNC_VAL

from keras_cmsa.evaluation.drawing import write_figure
from keras_cmsa.evaluation.scores import THRESHOLDS
from keras_cmsa.inference.preset import CONFIG, read_config
from keras_cmsa.utils.files import replaced

SETTINGS = "settings.json"  # of all systems of a folder
ALL = "all held out"  # the splits that were not trained on, together
# Those that a table names above its rows.
NAMED = (
    "data", "validate_on", "image_size", "word_dim", "attention_dim", "fusion_dim", "backbone",
    "backbone_weights", "pretrain_steps", "batch_size", "steps", "learning_rate", "profile", "backend",
)  # fmt: skip
MEASURES = ("mean_iou", *(f"prec@{threshold:g}" for threshold in THRESHOLDS))


def write_table(folder, table, rows):
    """Writes `table_<table>.md`, `.csv` and `.png` and prints the first.

    Args:
        folder: `Path` with the settings and a folder per system, as `ablations.py` leaves it.
        table: number of the paper's table, or `"systems"`.
        rows: `{row: system}`, in order.
    """
    settings = json.loads((folder / SETTINGS).read_text())
    paper = PAPER_UNC_VAL.get(table, {})
    summaries = [
        {
            "row": row,
            "system": name,
            **summarize_runs(configs_of(folder / name), settings["validate_on"]),
            "paper_iou_unc_val": paper.get(row),
        }
        for row, name in rows.items()
    ]
    title = f"Table {table}" if table in PAPER_UNC_VAL else "Systems"
    path = folder / f"table_{table}"
    with replaced(path.with_suffix(".csv")) as file:
        columns = dict.fromkeys(key for summary in summaries for key in summary)
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(summaries)
    text = as_markdown(summaries, title, settings)
    with replaced(path.with_suffix(".md")) as file:
        file.write(text)
    write_figure(path.with_suffix(".png"), chart(summaries, title, settings))
    print(text)


def configs_of(folder):
    """The `config.json` of every run of a system that is done."""
    configs = [read_config(path.parent) for path in sorted(folder.glob(f"seed_*/{CONFIG}"))]
    return [config for config in configs if config["metrics"]]


def summarize_runs(configs, split):
    """What a row says of a system's runs: means over them; IoU and precision in %.

    Args:
        configs: list of dict, see `configs_of`.
        split: what is reported first.
    """

    def percent(kind, measure, of="splits"):
        return [100 * config["metrics"][of][kind][measure] for config in configs]

    mean = statistics.fmean
    overall = percent(split, "overall_iou")
    summary = {"seeds": len(configs), "overall_iou": mean(overall)}
    summary |= {"lowest": min(overall), "highest": max(overall)}
    summary |= {measure: mean(percent(split, measure)) for measure in MEASURES}
    metrics = configs[0]["metrics"]
    for other in metrics["splits"]:
        if other not in (split, ALL):
            summary[f"iou on {other}"] = mean(percent(other, "overall_iou"))
    for kind in metrics["kinds"][ALL]:
        ious = [100 * config["metrics"]["kinds"][ALL][kind]["overall_iou"] for config in configs]
        summary[f"iou: {kind}"] = mean(ious)
    for control in configs[0]["controls"]:
        ious = [100 * config["controls"][control]["control"]["overall_iou"] for config in configs]
        summary[f"control: {control}"] = mean(ious)
    costs = [config["costs"] for config in configs]
    summary |= {name: costs[0][name] for name in ("parameters", "multiply_adds")}
    return summary | {"milliseconds": mean(cost["milliseconds"] for cost in costs)}


def as_markdown(summaries, title, settings):
    """The table with what it means above it."""
    others = [key for key in summaries[0] if key.startswith(("iou on ", "iou: ", "control: "))]
    measures = [*MEASURES, *others]
    head = ["", "system", "overall IoU", *(m.replace("_iou", " IoU") for m in measures)]
    head += ["M parameters", "G multiply-adds", "ms per image", "paper: IoU on UNC val"]
    lines = [
        f"{title}. " + ", ".join(f"{name} {settings[name]}" for name in NAMED),
        "",
        "IoU and precision in %; with several seeds the mean, and from the lowest to the highest.",
        f"A kind's overall IoU (iou: ...) and the controls are over all held-out splits; the rest is on "
        f"{settings['validate_on']} unless another split is named.",
        "Multiply-adds, and the median time on the machine of the run, for one image.",
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
        *(f"{summary[measure]:.2f}" for measure in measures),
        f"{summary['parameters'] / 1e6:.2f}",
        f"{adds / 1e9:.2f}" if adds else "(no JAX)",
        f"{summary['milliseconds']:.1f}",
        f"{paper:.2f}" if paper else "–",
    ]


def as_line(cells):
    return f"| {' | '.join(cells)} |"


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
