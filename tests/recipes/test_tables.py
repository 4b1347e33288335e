"""The tables: the paper's rows, and what runs have left beside them."""

import csv
import json
import re

import pytest
from PIL import Image

NUMBERS = {f"prec@0.{n}": 0.9 - n / 10 for n in range(5, 10)} | {"mean_iou": 0.4, "samples": 3}


@pytest.fixture
def tables(recipes):
    import tables

    return tables


def write_run(folder, overall, milliseconds):
    """What a table reads of a run that is done."""
    numbers = {"overall_iou": overall, **NUMBERS}
    config = {
        "format": 1,
        "system": "x",
        "preprocessor": {},
        "data": {"name": "scenes"},
        "metrics": {
            "profile": "strict",
            "splits": {
                "val": numbers,
                "testA": {**numbers, "overall_iou": overall / 2},
                "all held out": numbers,
            },
            "kinds": {"all held out": {"order": {**numbers, "overall_iou": overall / 4}}},
        },
        "controls": {"no words": {"control": {**numbers, "overall_iou": overall / 5}}},
        "costs": {"parameters": 2_500_000, "multiply_adds": None, "milliseconds": milliseconds},
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))


def test_a_table_has_the_means_of_the_runs_beside_the_papers_numbers(tables, tmp_path, capsys):
    write_run(tmp_path / "rmi/seed_0", 0.5, 3)
    write_run(tmp_path / "rmi/seed_1", 0.6, 5)
    write_run(tmp_path / "kwa/seed_0", 0.2, 7)
    unfinished = tmp_path / "kwa/seed_1"
    write_run(unfinished, 0.9, 1)
    config = json.loads((unfinished / "config.json").read_text())
    (unfinished / "config.json").write_text(json.dumps(config | {"metrics": {}}))
    settings = dict.fromkeys(tables.NAMED, 1) | {"data": "scenes", "validate_on": "val"}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    tables.write_table(tmp_path, 1, {"RMI": "rmi", "KWA": "kwa"})

    with open(tmp_path / "table_1.csv", newline="", encoding="utf-8") as file:
        rmi, kwa = csv.DictReader(file)
    assert (rmi["row"], rmi["system"], rmi["seeds"], kwa["seeds"]) == ("RMI", "rmi", "2", "1")
    found = [float(rmi[key]) for key in ("overall_iou", "lowest", "highest", "milliseconds")]
    assert found == pytest.approx([55, 50, 60, 4])
    found = [float(rmi[key]) for key in ("iou on testA", "iou: order", "prec@0.7", "mean_iou")]
    assert float(rmi["control: no words"]) == pytest.approx(11)
    assert found == pytest.approx([27.5, 13.75, 20, 40])
    assert (rmi["paper_iou_unc_val"], kwa["paper_iou_unc_val"]) == ("45.18", "")
    text = (tmp_path / "table_1.md").read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    assert text.startswith("Table 1. data scenes, validate_on val")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| RMI | rmi | 55.00 (50.00–60.00, 2 seeds) | 40.00 |")
    assert lines[3].endswith("| 2.50 | (no JAX) | 7.0 | – |")
    with Image.open(tmp_path / "table_1.png") as chart:
        assert len(chart.convert("RGB").getcolors(2**24)) > 50


def test_every_row_is_a_system(recipes):
    from paper_tables import PAPER_UNC_VAL, TABLES

    from keras_cmsa.models.systems import SYSTEMS

    for table, rows in TABLES.items():
        assert set(PAPER_UNC_VAL[table]) <= set(rows)
    named = set().union(*(rows.values() for rows in TABLES.values()))
    assert named == set(SYSTEMS) - {"lstm_cnn_deeplab", "cmsa_ordered", "cmsa_released"}


def test_every_number_is_in_the_paper(recipes, samples):
    from paper_tables import PAPER_UNC_VAL

    text = (samples.parent / "paper/cmsa_cvpr2019.txt").read_text()
    numbers = {f"{iou:.2f}" for rows in PAPER_UNC_VAL.values() for iou in rows.values()}
    assert numbers <= set(re.findall(r"\d\d\.\d\d", text))
