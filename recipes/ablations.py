"""The paper's tables, each system trained alike: same data, sizes, schedule, budget and seeds.

    python recipes/ablations.py --table 2                       attention, on RefShapes, for two cores
    python recipes/ablations.py --table 3                       words, and fusion of levels
    python recipes/ablations.py --table 1                       the compared systems
    python recipes/ablations.py --systems cmsa cmsa_ordered     any systems of keras_cmsa.systems
    python recipes/ablations.py --table 1 --data-dir REFER_ROOT --paper-size          for a GPU

A system that an earlier call has trained is not trained again, and one under way goes on where it
was, so the tables share their systems and a kill costs a round. Per table, table_<n>.md, .csv and
.png in the run directory. The paper's numbers (UNC val, COCO-trained DeepLab weights, DenseCRF)
stand in a column of their own: they are of other data.
"""

import csv
import json
import statistics
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
import keras
from costs import measure_costs
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from train_unc import ref_shapes, small_start

from keras_cmsa.backbones import dilated_resnet101, pyramid_resnet101, small_resnet, vgg16
from keras_cmsa.data.objects import read_objects
from keras_cmsa.data.sources import read_records
from keras_cmsa.evaluation import THRESHOLDS, evaluate, write_results
from keras_cmsa.files import replaced
from keras_cmsa.pretraining import pretrain
from keras_cmsa.systems import PAPER_UNC_VAL, SYSTEMS, TABLES, build_system
from keras_cmsa.text import MAX_WORDS, Vocabulary, split_words
from keras_cmsa.training import compile_model, train

# The small comparison, for two CPU cores. One backbone for all, as the paper's systems share one: it
# learns the classes of the training images' objects first and then stays as it is.
SMALL_WIDTH = 64  # word, attention and fusion channels
SMALL_IMAGE_SIZE, SMALL_BATCH_SIZE, SMALL_STEPS, SMALL_STEPS_PER_ROUND = 112, 8, 2400, 1200
SMALL_PRETRAIN_STEPS = 1000  # batches of 16, on RefShapes
SMALL_LEARNING_RATE = 3e-3
SMALL_DICE_WEIGHT = 1.0  # random weights and little data: see MaskLoss

# The paper's sizes and schedule; every system with the backbone that it was published on.
IMAGE_SIZE, BATCH_SIZE, STEPS, STEPS_PER_ROUND = 320, 8, 100_000, 2000
LEARNING_RATE = 2.5e-4
BACKBONES = {"lstm_cnn": vgg16, "dmn": pyramid_resnet101}  # the others: dilated_resnet101

PROFILE = "strict"
BACKBONE = "backbone.keras"
TRAINED_ON = {"train", "trainval"}
ALL = "all held out"  # the splits that were not trained on, together


def main(
    *,
    table: Literal[1, 2, 3] | None = None,
    systems: Annotated[list[str] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    data_dir: Path | None = None,
    dataset: str = "refcoco",
    split_owner: str = "unc",
    flavour: Literal["unc", "unc+", "gref", "referit"] = "unc",
    split: str = "val",
    paper_size: bool = False,
    backbone_weights: Literal["imagenet", "none"] = "imagenet",
    image_size: int | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    steps_per_round: int | None = None,
    width: int = SMALL_WIDTH,
    pretrain_steps: int | None = None,
    seeds: int = 1,
    run_dir: Path = Path("runs/ablations"),
):
    """Train systems under one budget, evaluate them, and write tables and charts.

    Parameters
    ----------
    table
        Train what this table of the paper has and write it. Without, and without systems: all.
    systems
        Names of systems to train instead; with a table, only these rows of it.
    data_dir
        REFER root, or another source of recipes/README.md. Without it, RefShapes is written to
        data/.
    dataset
        refcoco, refcoco+, refcocog or refclef in REFER's layout; refexp; referit.
    split_owner
        Whose splits: unc, google, umd or berkeley.
    flavour
        Which RefShapes, where there is no data_dir.
    split
        Picks the best round, and is what the tables report first.
    paper_size
        The published sizes and backbones instead of small ones on one small backbone.
    backbone_weights
        Of the published backbones.
    image_size
        Side of the square input in pixels.
    batch_size
        Expressions per batch.
    steps
        Batches to train each system on.
    steps_per_round
        Batches between validations; a kill costs that many at most.
    width
        Channels of words, attention and fusion in the small sizes.
    pretrain_steps
        Batches on which the small backbone first learns the classes of the objects in the training
        images; it then stays as it is. Default: 1000 on RefShapes, none on other data.
    seeds
        Train each system this often, with seeds 0, 1, ...
    run_dir
        Where the runs and tables go.
    """
    tables = [table] if table else [] if systems else list(TABLES)
    names = systems or list(dict.fromkeys(name for t in tables for name in TABLES[t].values()))
    unknown = set(names) - set(SYSTEMS)
    if unknown:
        raise ValueError(f"systems must be among {sorted(SYSTEMS)}. Received: {sorted(unknown)}")
    if pretrain_steps is None:
        pretrain_steps = 0 if data_dir or paper_size else SMALL_PRETRAIN_STEPS
    if data_dir is None:
        data_dir, dataset, split_owner = ref_shapes(flavour)
    settings = {
        "data": f"{dataset} ({split_owner}) in {data_dir.name}",
        "split": split,
        "width": None if paper_size else width,
        "backbone_weights": backbone_weights if paper_size else "none",
        "pretrain_steps": pretrain_steps,
        "image_size": image_size or (IMAGE_SIZE if paper_size else SMALL_IMAGE_SIZE),
        "batch_size": batch_size or (BATCH_SIZE if paper_size else SMALL_BATCH_SIZE),
        "steps": steps or (STEPS if paper_size else SMALL_STEPS),
        "steps_per_round": steps_per_round
        or (STEPS_PER_ROUND if paper_size else SMALL_STEPS_PER_ROUND),
        "profile": PROFILE,
        "backend": keras.backend.backend(),
    }
    keep_settings(run_dir, settings)

    records = read_records(data_dir, dataset, split_owner)
    expressions = [record.expression for record in records["train"]]
    longest = max(len(split_words(expression)) for expression in expressions)
    vocabulary = Vocabulary.build(expressions, max_words=min(longest, MAX_WORDS))
    if pretrain_steps and not (run_dir / BACKBONE).exists():
        keras.utils.set_random_seed(0)
        backbone = small_resnet(settings["image_size"])
        pretrain(backbone, *read_objects(data_dir, dataset, records["train"]), pretrain_steps)
        backbone.save(run_dir / f"partial-{BACKBONE}")
        (run_dir / f"partial-{BACKBONE}").rename(run_dir / BACKBONE)
    # Seed by seed, so that a comparison cut short has every system in it.
    for seed in range(seeds):
        for name in names:
            run(name, seed, vocabulary, records, settings, run_dir / name / f"seed_{seed}")
    if not tables:
        write_table(run_dir, "systems", {name: name for name in names}, {}, settings)
    for number in tables:
        rows = {row: name for row, name in TABLES[number].items() if name in names}
        write_table(run_dir, number, rows, PAPER_UNC_VAL[number], settings)


def keep_settings(run_dir, settings):
    """One run directory has one budget: what stands in a table was trained alike."""
    path = run_dir / "settings.json"
    if path.exists() and json.loads(path.read_text()) != settings:
        raise ValueError(
            f"The systems in {run_dir} were trained with {json.loads(path.read_text())}: give "
            f"another --run-dir. Received: {settings}"
        )
    run_dir.mkdir(parents=True, exist_ok=True)
    with replaced(path) as file:
        json.dump(settings, file, indent=1)


def run(name, seed, vocabulary, records, settings, run_dir):
    """Trains and evaluates one system, or what of that is still to be done."""
    if (run_dir / "costs.json").exists():
        return
    print(f"{name}, seed {seed}")
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    trained = run_dir.parents[1] / BACKBONE if settings["pretrain_steps"] else None
    model = build(name, len(vocabulary), vocabulary.max_words, settings, trained)
    small = settings["width"] is not None
    compile_model(
        model,
        settings["steps"],
        SMALL_LEARNING_RATE if small else LEARNING_RATE,
        dice_weight=SMALL_DICE_WEIGHT if small else 0.0,
    )
    best = train(
        model,
        vocabulary,
        records["train"],
        records[settings["split"]],
        run_dir,
        settings["steps"],
        settings["batch_size"],
        settings["steps_per_round"],
        seed,
        resume=True,
        verbose=2,
    )
    model = keras.saving.load_model(best)
    scores = {
        split: evaluate(model, vocabulary, of, PROFILE)
        for split, of in records.items()
        if of and split not in TRAINED_ON
    }
    scores[ALL] = [score for of in scores.values() for score in of]
    if small:
        start = small_start(settings["pretrain_steps"], seed)
    else:
        start = f"backbone {settings['backbone_weights']}, the rest random (seed {seed})"
    write_results(run_dir, PROFILE, start, scores)
    with replaced(run_dir / "costs.json") as file:  # last: it says that all is done
        json.dump(measure_costs(model, best), file, indent=1)


def build(name, vocabulary_size, max_words, settings, trained=None):
    """A system in the sizes of the settings; `trained` is the file of a backbone to keep as it is."""
    size = settings["image_size"]
    if width := settings["width"]:
        backbone = keras.saving.load_model(trained) if trained else small_resnet(size)
        backbone.trainable = trained is None
        return build_system(
            name,
            vocabulary_size,
            image_size=size,
            backbone=backbone,
            max_words=max_words,
            word_dim=width,
            attention_dim=width,
            fusion_dim=width,
        )
    weights = None if settings["backbone_weights"] == "none" else settings["backbone_weights"]
    backbone = BACKBONES.get(name, dilated_resnet101)(size, weights)
    return build_system(name, vocabulary_size, image_size=size, backbone=backbone)


def write_table(run_dir, table, rows, paper, settings):
    """Writes table_<table>.md, .csv and .png from what the runs have left."""
    kept = [summarize_row(run_dir, row, name, paper.get(row), settings["split"])
            for row, name in rows.items()]  # fmt: skip
    path = run_dir / f"table_{table}"
    with replaced(path.with_suffix(".csv")) as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in kept for key in row)))
        writer.writeheader()
        writer.writerows(kept)
    with replaced(path.with_suffix(".md")) as file:
        file.write(as_markdown(kept, table, settings))
    draw_chart(path.with_suffix(".png"), kept, table, settings)
    print(path.with_suffix(".md").read_text())


def summarize_row(run_dir, row, name, paper, split):
    """A row of numbers, means over the seeds; IoU and precision in %."""
    runs = sorted((run_dir / name).glob("seed_*/costs.json"))
    metrics = [json.loads(run.with_name("metrics.json").read_text()) for run in runs]
    costs = [json.loads(run.read_text()) for run in runs]
    overall = [100 * m["splits"][split]["overall_iou"] for m in metrics]
    summary = {"row": row, "system": name, "seeds": len(runs), "overall_iou": mean(overall)}
    summary.update(lowest=min(overall), highest=max(overall))
    for measure in ("mean_iou", *(f"prec@{x:g}" for x in THRESHOLDS)):
        summary[measure] = mean(100 * m["splits"][split][measure] for m in metrics)
    for other in (s for s in metrics[0]["splits"] if s not in (split, ALL)):
        summary[f"iou on {other}"] = mean(100 * m["splits"][other]["overall_iou"] for m in metrics)
    for kind in metrics[0]["kinds"][ALL]:
        summary[f"iou: {kind}"] = mean(100 * m["kinds"][ALL][kind]["overall_iou"] for m in metrics)
    summary["parameters"] = costs[0]["parameters"]
    summary["multiply_adds"] = costs[0]["multiply_adds"]
    summary["milliseconds"] = mean(cost["milliseconds"] for cost in costs)
    summary["paper_iou_unc_val"] = paper
    return summary


def mean(values):
    return statistics.fmean(values)


def as_markdown(rows, table, settings):
    others = [key for key in rows[0] if key.startswith(("iou on ", "iou: "))]
    measures = ["mean_iou", *(f"prec@{x:g}" for x in THRESHOLDS), *others]
    head = ["", "system", "overall IoU", *(m.replace("_iou", " IoU") for m in measures)]
    head += ["M parameters", "G multiply-adds", "ms per image", "paper: IoU on UNC val"]
    lines = [
        f"Table {table}. " + ", ".join(f"{k} {v}" for k, v in settings.items()),
        "",
        "IoU and precision in %; with several seeds the mean, and from the lowest to the highest.",
        f"A kind's overall IoU (iou: ...) is over all held-out splits; the rest is on "
        f"{settings['split']} unless another split is named.",
        "Multiply-adds, and the median time on the machine of the run, for one image.",
        "The paper's numbers are of other data, sizes and starting weights, and with DenseCRF.",
        "",
        as_line(head),
        as_line(["---", "---", *["---:"] * (len(head) - 2)]),
    ]
    for row in rows:
        overall = f"{row['overall_iou']:.2f}"
        if row["seeds"] > 1:
            overall += f" ({row['lowest']:.2f}–{row['highest']:.2f}, {row['seeds']} seeds)"
        adds, paper = row["multiply_adds"], row["paper_iou_unc_val"]
        cells = [row["row"], row["system"], overall, *(f"{row[m]:.2f}" for m in measures)]
        cells += [f"{row['parameters'] / 1e6:.2f}", f"{adds / 1e9:.2f}" if adds else "(no JAX)"]
        cells += [f"{row['milliseconds']:.1f}", f"{paper:.2f}" if paper else "–"]
        lines.append(as_line(cells))
    return "\n".join([*lines, ""])


def as_line(cells):
    return f"| {' | '.join(cells)} |"


def draw_chart(path, rows, table, settings):
    """Overall IoU, from the lowest to the highest seed; beside it, apart, the paper's."""
    figure = Figure(figsize=(9, 1 + 0.4 * len(rows)), layout="constrained")
    ours, papers = figure.subplots(1, 2, sharey=True)
    places = range(len(rows), 0, -1)
    values = [row["overall_iou"] for row in rows]
    spread = [[row["overall_iou"] - row["lowest"] for row in rows],
              [row["highest"] - row["overall_iou"] for row in rows]]  # fmt: skip
    ours.errorbar(values, places, xerr=spread, fmt="o", color="#0072b2", capsize=3)
    ours.set_title(f"{settings['data']}, {settings['split']}", fontsize=10)
    published = [
        (r["paper_iou_unc_val"], p) for r, p in zip(rows, places) if r["paper_iou_unc_val"]
    ]
    if published:
        papers.plot(*zip(*published), "D", color="#e69f00", fillstyle="none")
    papers.set_title("the paper, UNC val", fontsize=10)
    ours.set_yticks(list(places), [row["row"] for row in rows], fontsize=9)
    for axis in (ours, papers):
        axis.set_xlabel("overall IoU, %")
        axis.grid(axis="x", alpha=0.3)
    figure.suptitle(f"Table {table}" if table in TABLES else "Systems", fontsize=11)
    FigureCanvasAgg(figure).print_png(path)


if __name__ == "__main__":
    cyclopts.run(main)
