"""The tables: the paper's rows, and what runs have left beside them."""

import json
import re
from pathlib import Path

import pytest
from command import read_rows
from PIL import Image

from keras_cmsa.models.systems import SYSTEMS

NUMBERS = {f"prec@0.{n}": 0.9 - n / 10 for n in range(5, 10)} | {"mean_iou": 0.4, "samples": 3}
REPORTED = Path(__file__).parents[2] / "docs/ablations"  # what docs/results.md reports


@pytest.fixture
def tables(recipes):
    import tables

    return tables


@pytest.fixture
def runs(recipes):
    import run_table

    return run_table


def config(overall, **others):
    """What a run's `config.json` has of its results."""
    numbers = {"overall_iou": overall, **NUMBERS}
    return {
        "metrics": {
            "splits": {
                "val": numbers,
                "testA": {**numbers, "overall_iou": overall / 2},
                "all held out": {**numbers, "overall_iou": overall / 3},
            },
            "kinds": {"all held out": {"order": {**numbers, "overall_iou": overall / 4}}},
        },
        "controls": {
            "no words": {"control": {**numbers, "overall_iou": overall / 5}},
            "shuffled words": {
                "control": {**numbers, "overall_iou": overall / 8},
                "kinds": {"order": {"control": {**numbers, "overall_iou": overall / 10}}},
            },
        },
        "costs": {"parameters": 2_500_000, "multiply_adds": None},
        **others,
    }


def cells_of(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_table_has_the_means_of_the_runs_beside_the_papers_numbers(
    runs, tables, tmp_path, capsys
):
    for system, seed, overall in (
        ("rmi", 0, 0.5), ("kwa", 0, 0.2), ("cmsa", 1, 0.63), ("rmi", 1, 0.6), ("rmi", 2, 0.4),
        ("cmsa", 0, 0.56),
    ):  # fmt: skip
        runs.add(tmp_path, system, seed, config(overall), "val")
    settings = dict.fromkeys(tables.NAMED, 1) | {"data": "scenes", "validate_on": "val"}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    tables.write_table(tmp_path, 1, {"RMI": "rmi", "KWA": "kwa", "CMSA": "cmsa"})

    rmi, kwa, cmsa = read_rows(tmp_path / "table_1.csv")
    assert [row["row"] for row in (rmi, kwa, cmsa)] == ["RMI", "KWA", "CMSA"]
    assert (rmi["system"], rmi["seeds"], kwa["seeds"]) == ("rmi", "3", "1")
    found = [float(rmi[key]) for key in ("overall_iou", "lowest", "highest")]
    assert found == pytest.approx([50, 40, 60])
    found = [float(rmi[key]) for key in ("iou on testA", "iou: order", "prec@0.7", "mean_iou")]
    assert found == pytest.approx([25, 12.5, 20, 40])
    assert float(rmi["control: no words"]) == pytest.approx(10)
    assert float(rmi["control: shuffled words: order"]) == pytest.approx(5)
    assert (rmi["paper_iou_unc_val"], kwa["paper_iou_unc_val"]) == ("45.18", "")
    text = (tmp_path / "table_1.md").read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    assert text.startswith("Table 1. data scenes, validate_on val")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    systems, differences = lines[:5], lines[5:]
    assert len({line.count("|") for line in systems}) == 1
    assert systems[2].startswith("| RMI | rmi | 50.00 (40.00–60.00, 3 seeds) | 40.00 |")
    assert systems[3].endswith("| 2.50 | (no JAX) | – |")
    # CMSA less RMI: 56 - 50 and 63 - 60; a third of it over all; a seed that one side lacks is out.
    assert cells_of(differences[2]) == [
        "RMI", "+6.0", "+3.0", "–", "+4.5", "+2.0", "+1.0", "–", "+1.5", "+13.14",
    ]  # fmt: skip
    assert cells_of(differences[3]) == [
        "KWA", "+36.0", "–", "–", "+36.0", "+12.0", "–", "–", "+12.0", "–",
    ]  # fmt: skip
    with Image.open(tmp_path / "table_1.png") as chart:
        assert len(chart.convert("RGB").getcolors(2**24)) > 50


def test_a_run_is_done_when_its_line_is_there(runs, tmp_path):
    attention = [
        {"level": "Res3", "over": "words", "entropy": 0.123456, "change_with_sentence": None},
        {"level": "Res5", "over": "positions", "entropy": 0.5, "change_with_sentence": 0.25},
    ]
    assert not runs.is_done(tmp_path, "cmsa", 0)
    runs.add(tmp_path, "cmsa", 0, config(0.5, attention=attention), "val")
    runs.add(tmp_path, "rrn", 1, config(0.5), "val")
    assert runs.is_done(tmp_path, "cmsa", 0) and runs.is_done(tmp_path, "rrn", 1)
    assert not runs.is_done(tmp_path, "cmsa", 1)
    name = {"system": "cmsa", "seed": 0}
    wanted = [name | attention[0] | {"entropy": 0.1235}, name | attention[1]]
    assert runs.read(tmp_path / runs.ATTENTION) == wanted
    # A kill between the two files leaves no line twice.
    (tmp_path / runs.RUNS).unlink()
    runs.add(tmp_path, "cmsa", 0, config(0.5, attention=attention), "val")
    assert runs.read(tmp_path / runs.ATTENTION) == wanted
    # Where no sentence has two words that differ, none can be shuffled.
    short = config(0.5)
    del short["controls"]["shuffled words"]
    (tmp_path / "short").mkdir()
    runs.add(tmp_path / "short", "cmsa", 0, short, "val")
    assert runs.is_done(tmp_path / "short", "cmsa", 0)
    other = config(0.5)
    other["metrics"]["splits"]["testC"] = other["metrics"]["splits"]["val"]
    with pytest.raises(ValueError, match="iou on testC"):
        runs.add(tmp_path, "rrn", 2, other, "val")
    assert not runs.is_done(tmp_path, "rrn", 2)


def test_the_reported_tables_are_those_of_the_reported_runs(recipes, tables, tmp_path):
    """docs/ablations is a run folder: its tables follow from its runs."""
    from paper_tables import TABLES

    for name in ("runs.csv", "settings.json"):
        (tmp_path / name).write_bytes((REPORTED / name).read_bytes())
    there = {row["system"] for row in read_rows(tmp_path / "runs.csv")}
    for table, rows in TABLES.items():
        rows = {row: name for row, name in rows.items() if name in there}
        tables.write_table(tmp_path, table, rows)
        name = f"table_{table}.csv"
        assert (tmp_path / name).read_text() == (REPORTED / name).read_text()


def test_every_row_is_a_system(recipes):
    from paper_tables import TABLES

    named = set().union(*(rows.values() for rows in TABLES.values()))
    assert named == set(SYSTEMS) - {
        "lstm_cnn_deeplab", "cmsa_ordered", "cmsa_refined", "cmsa_released",
    }  # fmt: skip


def test_every_number_is_in_the_paper(recipes, samples):
    from paper_tables import PAPER_UNC_VAL

    text = (samples.parent / "paper/cmsa_cvpr2019.txt").read_text()
    numbers = {f"{iou:.2f}" for rows in PAPER_UNC_VAL.values() for iou in rows.values()}
    assert numbers <= set(re.findall(r"\d\d\.\d\d", text))
