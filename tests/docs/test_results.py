"""The tables of docs/results.md are those of docs/ablations (short training) and docs/muon (long)."""

import csv
import re
from pathlib import Path
from statistics import fmean

import pytest

DOCS = Path(__file__).parents[2] / "docs"
# Columns of the page and of runs.csv. A control by kind has only the seeds that were kept.
COLUMNS = {
    "all": "iou on all held out",
    "as it is": "iou on all held out",
    "attributes": "iou: attribute",
    "locations": "iou: location",
    "order": "iou: order",
    "relations": "iou: relation",
    "ordinals": "iou: ordinal",
    "prec@0.5": "prec@0.5",
    "prec@0.9": "prec@0.9",
    "shuffled words": "control: shuffled words",
    "all, shuffled": "control: shuffled words",
    "another object's sentence": "control: another object's sentence",
    "no words": "control: no words",
    "order, shuffled": "control: shuffled words: order",
    "relations, shuffled": "control: shuffled words: relation",
}
SYSTEMS = {
    "CMSA": "cmsa", "CMSA with word order": "cmsa_ordered", "CMSA+GF": "cmsa",
    "LSTM-CNN": "lstm_cnn", "RMI": "rmi", "RMI-LSTM": "rmi", "DMN": "dmn", "KWA": "kwa", "RRN": "rrn",
    "none": "cmsa_w_none", "word attention": "cmsa_w_word", "pixel attention": "cmsa_w_pixel",
    "pair attention": "cmsa_w_pair", "full attention": "cmsa_w", "RRN-CNN": "rrn_cnn",
    "CMSA-S": "cmsa_s", "CMSA-W": "cmsa_w", "PPM": "cmsa_ppm", "Deconv": "cmsa_deconv",
    "ConvLSTM": "cmsa_convlstm", "Gated": "cmsa_gated",
}  # fmt: skip


@pytest.fixture(scope="module", params=("ablations", "muon"))
def runs(request):
    """`{system: [{column: number}, ...]}` in the order of the seeds, and the tables of this training."""
    runs = {}
    with open(DOCS / request.param / "runs.csv", newline="") as file:
        for row in sorted(csv.DictReader(file), key=lambda row: row["seed"]):
            numbers = {key: float(cell) for key, cell in row.items() if key != "system" and cell}
            runs.setdefault(row["system"], []).append(numbers)
    return runs, tables_of(request.param)


def tables_of(training):
    """The tables about a training, each a list of rows of cells."""
    page = (DOCS / "results.md").read_text("utf-8").replace("−", "-")
    short, long = page.split("## The long training\n")
    text = short if training == "ablations" else long.split("## Several sentences")[0]
    return [
        [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in block.splitlines()]
        for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    ]


def test_the_rows_of_systems(runs):
    runs, tables = runs
    compared = 0
    for head, _, *rows in tables:
        for row in rows:
            cells = dict(zip(head, row))
            name = next((cell.strip("`") for cell in row[:2] if cell.strip("`") in runs), None)
            if name is None or "level" in cells:
                continue
            if "val" in cells:
                ious = [run["overall_iou"] for run in runs[name]]
                parts = [fmean(ious), min(ious), max(ious)] if len(ious) > 1 else ious
                near(cells["val"], parts)
            for column in COLUMNS.keys() & cells.keys():
                near(
                    cells[column], [fmean(x[c] for x in runs[name] if (c := COLUMNS[column]) in x)]
                )
                compared += 1
    assert compared > 50


def test_the_differences(runs):
    runs, tables = runs
    (rows,) = [rows for head, _, *rows in tables if "val: seed 0" in head]
    for name, *cells in rows:
        sides = re.sub(r",.*| \(.*\)", "", name).split(" over ")
        first, second = (runs[SYSTEMS[side]] for side in sides)
        for group, column in ((cells[:4], "overall_iou"), (cells[4:8], COLUMNS["all"])):
            other = {run["seed"]: run[column] for run in second}
            seeds = [run[column] - other[run["seed"]] for run in first if run["seed"] in other]
            near(" ".join(group[: len(seeds)] + group[3:]), [*seeds, fmean(seeds)])


def test_the_attention():
    (rows,) = [rows for head, _, *rows in tables_of("ablations") if "entropy" in head]
    with open(DOCS / "ablations/attention.csv", newline="") as file:
        lines = sorted(csv.DictReader(file), key=lambda line: line["seed"])
    for name, level, over, count, *means, costs in rows:
        here = [
            x
            for x in lines
            if f"`{x['system']}`" == name and (x["level"], x["over"]) == (level, over)
        ]
        assert len(here) == int(count)
        columns = "entropy change_with_place change_with_sentence change_with_image".split()
        expected = [fmean(float(line[column]) for line in here) for column in columns]
        assert [float(cell) for cell in means] == pytest.approx(expected, abs=0.00501)
        near(
            costs, [100 * (float(x["overall_iou_uniform"]) - float(x["overall_iou"])) for x in here]
        )


def near(text, numbers):
    """The numbers of a cell are these, to 0.1 in all: the files have some to 0.1 only."""
    written = [float(number) for number in re.findall(r"(?<!\d)[+-]?\d+\.\d", text)]
    assert written == pytest.approx(numbers, abs=0.0501), text
