"""The table of real photos: which sentences and masks a training gets, and what is reported."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import write_rows
from PIL import Image

from keras_cmsa.data.readers.table import read_table

SENTENCES = [
    ("image", "expression", "mask", "split", "dataset"),
    ("a.jpg", "left dog", "a.png", "train", "refcoco"),
    ("a.jpg", "black one", "a.png", "train", "refcoco+"),
    ("b.jpg", "cat", "b.png", "val", "refcoco"),
    ("b.jpg", "grey one", "b.png", "val", "refcoco+"),
]
BOXES = [
    ("file_name", "sent", "own_split", "x", "y", "w", "h"),
    ("a.jpg", "right dog", "train", 20, 10, 30, 20),
    ("b.jpg", "right cat", "val", 20, 10, 30, 20),
]


@pytest.fixture
def page(recipes):
    import photo_table

    return photo_table


@pytest.fixture
def photos(tmp_path):
    for folder in ("refcoco_photos", "with_masks"):
        (tmp_path / folder).mkdir()
        mask = np.zeros((40, 60), "uint8")
        mask[5:15, 5:25] = 255
        for name in "abc":
            Image.new("RGB", (60, 40)).save(tmp_path / folder / f"{name}.jpg")
            Image.fromarray(mask).save(tmp_path / folder / f"{name}.png")
    refs = tmp_path / "refcoco_photos"
    write_rows(refs / "table.csv", SENTENCES)
    write_rows(refs / "boxes_only.csv", BOXES)
    described = [
        ("image", "expression", "mask", "split", "set"),
        ("a.jpg", "the dog", "a.png", "val", "animals"),
        ("c.jpg", "shirt", "c.png", "train", "clothes"),
    ]
    write_rows(tmp_path / "with_masks/table.csv", described)
    return tmp_path


def expressions(path):
    return {split: [r.expression for r in records] for split, records in read_table(path).items()}


def test_no_training_sees_a_photo_of_val(page, photos):
    page.write_tables(photos)
    own, boxes, described = (
        expressions(photos / name) for name in (page.OWN, page.BOXES, page.DESCRIBED)
    )
    assert own == {"train": ["left dog", "black one"], "val": ["cat"]}
    assert boxes == {"train": ["left dog", "black one", "right dog"], "val": ["cat"]}
    # Clothes are left out; those that are only described are all trained on.
    assert described == {"train": [*boxes["train"], "the dog"], "val": ["cat"]}


def test_fewer_photos_are_among_more(page, photos, monkeypatch):
    monkeypatch.setattr(page, "COUNTS", (0, 1))
    page.write_tables(photos)
    for table, rest in ((page.BOXES, []), (page.DESCRIBED, ["the dog"])):
        none, one = (expressions(photos / page.some(table, count)) for count in (0, 1))
        assert none == ({"train": rest} if rest else {}) | {"val": ["cat"]}
        assert one == expressions(photos / table)


def test_a_second_stage_goes_on_from_the_first_of_its_photos_and_seed(page, photos):
    rows = page.rows_of(photos, photos / "runs", "eyes.keras", None, None)
    for suffix in ("", ", 50 photos"):
        first, second = rows[f"described masks too{suffix}"], rows[page.PUBLISHED + suffix]
        assert second["start_from"] == str(
            photos / f"runs/described masks too{suffix}/seed_{{seed}}"
        )
        assert second["data_dir"] == rows[f"recipe{suffix}"]["data_dir"]
        assert Path(first["data_dir"]).stem.removeprefix("described") == Path(
            second["data_dir"]
        ).stem.removeprefix("boxes")


def test_a_box_becomes_what_fills_most_of_it(page, photos):
    page.write_tables(photos)
    mask = read_table(photos / page.BOXES)["train"][2].mask()
    rows, columns = np.nonzero(mask)
    assert abs(rows.min() - 10) <= 1 and abs(rows.max() - 29) <= 1
    assert abs(columns.min() - 20) <= 1 and abs(columns.max() - 49) <= 1
    assert 0.7 < mask.sum() / (30 * 20) < 0.95 and not mask[10, 20]


def test_a_row_that_lacks_its_file_is_left_out(page, photos):
    rows = page.rows_of(photos, photos / "runs", "eyes.keras", None, None)
    assert "learnt words" in rows and not {"GloVe", "MiniLM"} & set(rows)
    rows = page.rows_of(photos, photos / "runs", "eyes.keras", "glove.txt", "minilm")
    assert rows["GloVe"]["word_vectors"] == "glove.txt"


def test_each_row_and_seed_is_measured_once_and_the_table_has_means_and_ranges(
    recipes, tmp_path, capsys
):
    from run_table import fill

    asked = []

    def measure(row, given):
        asked.append((row, given))
        return {"overall_iou": 49.0 + 3 * given["seed"], "multiply_adds": None}

    rows = {"all": {"start_from": "first/seed_{seed}"}}
    for seeds in (1, 2):
        fill(tmp_path, rows, seeds, measure)
    settings = [
        {"start_from": f"first/seed_{n}", "seed": n, "run_dir": str(tmp_path / f"all/seed_{n}")}
        for n in (0, 1)
    ]
    assert asked == [("all", given) for given in settings]
    assert capsys.readouterr().out.endswith("| all | 2 | 50.5 (49.0 to 52.0) | – |\n")


def test_a_copied_run_names_no_folder_of_its_machine_and_passes_verify(page, preset, tmp_path):
    from keras_cmsa import Predictor

    run_dir = shutil.copytree(preset, tmp_path / "run")
    config = json.loads((run_dir / "config.json").read_text())
    config["training"] = {"image_encoder": "/somewhere/lite0.keras"}
    (run_dir / "config.json").write_text(json.dumps(config))
    page.publish(run_dir, tmp_path / "preset")
    copied = json.loads((tmp_path / "preset/config.json").read_text())
    assert copied["training"]["image_encoder"] == "lite0.keras"
    assert copied["licence"] == page.LICENCE
    assert page.LICENCE in (tmp_path / "preset/README.md").read_text()
    Predictor.from_preset(tmp_path / "preset", verify=True)
