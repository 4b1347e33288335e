"""Your own data: each form of a mask gives the same pixels, and bad rows are named."""

import csv
import json

import numpy as np
import pytest
import tiny
from label_tools import BOX, POLYGON, compressed
from PIL import Image

from keras_cmsa.data.check import check_records
from keras_cmsa.data.readers.table import read_table
from keras_cmsa.data.sources import form_of, read_records


@pytest.fixture
def folder(tmp_path):
    """Two images and a mask file."""
    for name in ("1.jpg", "2.png"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", (12, 8)).save(tmp_path / "photos" / name)
    Image.fromarray(BOX * 255).save(tmp_path / "mask.png")
    return tmp_path


MASKS = {
    "file": "mask.png",
    "polygon": POLYGON,
    "polygons": [POLYGON],
    "runs": tiny.runs(BOX),
    "compressed": compressed(BOX),
}


def write(folder, suffix, rows):
    """The rows as a table of either kind; CSV has JSON as text."""
    path = folder / f"table.{suffix}"
    if suffix == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
        return path
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ["split", "image", "mask", "expression", "note"])
        writer.writeheader()
        for row in rows:
            text = row["mask"] if isinstance(row["mask"], str) else json.dumps(row["mask"])
            writer.writerow({**row, "mask": text})
    return path


def row(mask="mask.png", image="photos/1.jpg", expression="The cup!", split="train"):
    return {"image": image, "expression": expression, "mask": mask, "split": split}


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_every_form_of_a_mask_gives_its_pixels(folder, suffix):
    path = write(folder, suffix, [row(mask) for mask in MASKS.values()])
    records = read_table(path)["train"]
    assert len(records) == len(MASKS)
    for record in records:
        np.testing.assert_array_equal(record.mask(), BOX)
    assert check_records(records) == (records, [])


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_fields_splits_and_ids(folder, suffix):
    rows = [
        row(),
        row(expression="cup, left"),
        row(image="photos/2.png", split="val"),
        row(POLYGON),
    ]
    records = read_table(write(folder, suffix, rows))
    assert list(records) == ["train", "val"]
    first, second, third = records["train"]
    (other,) = records["val"]
    assert (first.raw, first.expression, second.expression) == ("The cup!", "the cup", "cup left")
    assert first.image_path == folder / "photos/1.jpg"
    assert (first.height, first.width) == (8, 12)
    assert first.image_id == second.image_id == third.image_id != other.image_id
    assert first.ref_id == second.ref_id and len({r.ref_id for r in (first, third, other)}) == 3
    assert len({r.sentence_id for r in (first, second, third, other)}) == 4
    for splits in (["val"], ["val", "train"]):
        assert list(read_table(folder / f"table.{suffix}", splits)) == splits


def test_what_nothing_fits(folder):
    """A file called none has a path before its name."""
    Image.fromarray(BOX).save(folder / "none", "PNG")
    records = read_table(write(folder, "csv", [row("none"), row(" None"), row("./none")]))["train"]
    assert [record.targets for record in records] == [0, 0, 1]
    assert records[0].segmentation is None and len({record.ref_id for record in records}) > 1
    for record, mask in zip(records, (BOX * 0, BOX * 0, BOX)):
        np.testing.assert_array_equal(record.mask(), mask)
    assert check_records(records) == (records, [])


@pytest.mark.parametrize("name", ["table.CSV", "table.JSONL"])
def test_the_ending_may_be_large(folder, name):
    write(folder, name.lower().partition(".")[2], [row()]).rename(folder / name)
    assert form_of(folder / name) == form_of(str(folder / "none.CSV")) == "table"
    assert len(read_records(folder / name)["train"]) == 1


def test_names_of_mask_files(folder):
    """With an id behind a #, and with what polygons begin with."""
    mask = (folder / "mask.png").read_bytes()
    for name in ("[1].png", "{a", "a#1"):
        (folder / name).write_bytes(mask)
    Image.fromarray(BOX * 3).save(folder / "ids.png")
    names = ["[1].png", "{a", "a#1", "ids.png#3", "ids.png"]
    for kind in ("csv", "jsonl"):
        for record in read_table(write(folder, kind, [row(name) for name in names]))["train"]:
            np.testing.assert_array_equal(record.mask(), BOX)
    (record,) = read_table(write(folder, "csv", [row("ids.png#2")]))["train"]
    with pytest.raises(ValueError, match=r"ids\.png: wanted pixels of the id 2. Received: 0, 3"):
        record.mask()


BAD = {
    "Kaggle's run lengths": (row(mask="1 3 10 5"), "looks like Kaggle's run lengths: '1 3 10 5'"),
    "path out": (row(mask="../mask.png"), r"wanted a path inside .* Received: '\.\./mask.png'"),
    "no mask": (row(mask=" "), "wanted a mask: .* or none where nothing fits .* an empty cell"),
    "image missing": (row(image="photos/3.jpg"), "which does not exist"),
    "no split": (row(split=" "), "wanted a split, such as train"),
    "half an emoji": (row(expression="a \ud83d"), r"as text. Received half a character: 'a .ud83d"),
    "emoji only": (row(expression="🙂 👍"), "wanted an expression with a word. Received: '🙂 👍'"),
    "cut JSON": (row(mask="[[1, 2"), r"wanted the mask in JSON. Received: '\[\[1, 2'"),
    "null": (row(mask=None), "wanted 'mask' of type .*. Received: NoneType"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_named_or_left_out(folder, name):
    bad, message = BAD[name]
    path = write(folder, "jsonl", [row(), bad])
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path)
    assert "table.jsonl, line 2" in str(caught.value)
    with pytest.warns(UserWarning, match="1 of 2 rows are bad and left out"):
        assert len(read_table(path, on_bad="skip")["train"]) == 1


@pytest.mark.parametrize(
    ("suffix", "cut", "message"),
    [
        ("csv", "train,photos/1.jpg,mask.png,cup, left,", "line 3: wanted 5 cells, .* Received 6"),
        ("jsonl", '{"image"', "line 3: wanted an object in JSON. Received: '{\"image\"'"),
    ],
)
def test_a_row_that_is_cut_is_left_out_alone(folder, suffix, cut, message):
    path = write(folder, suffix, [row(), row(), row()])
    lines = path.read_text().splitlines()
    lines[2] = cut
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=rf"table\.{suffix}, {message}"):
        read_table(path)
    left_out = []
    assert len(read_table(path, on_bad=left_out)["train"]) == 2 and len(left_out) == 1


def test_bad_masks_are_found_by_the_check(folder):
    Image.fromarray(BOX[:, :5] * 255).save(folder / "small.png")
    masks = ["small.png", "none.png", "table.jsonl", [[1, 2, 3]], {"size": [1, 2], "counts": [2]}]
    records = read_table(write(folder, "jsonl", [row(mask) for mask in masks]))["train"]
    good, problems = check_records(records)
    assert not good
    faults = [reason.partition(":")[0] for _, reason in problems]
    assert faults == [
        "mask size differs", "mask missing", "mask unreadable", "bad polygon", "bad run lengths",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("t.csv", b"image,mask\na,b\n", "line 1: wanted each of the columns image, expression, m"),
        (
            "t.jsonl",
            b"{}\n\xe9\n",
            "line 2: wanted text in UTF-8. .*: 'é'. Save the table in UTF-8",
        ),
        ("t.jsonl", b"[" * 100_000, "line 1: wanted an object in JSON"),
        ("t.jsonl", b"[]\n", "line 1: wanted a dict. Received: list"),
        ("t.xlsx", b"", r"whose name ends in \.csv or \.jsonl. Received: .*t\.xlsx. Give it"),
    ],
)
def test_files_that_are_no_table_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / name)
