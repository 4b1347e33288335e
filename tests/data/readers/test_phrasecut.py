"""PhraseCut: phrases about one object, several and none, against masks drawn by hand."""

import copy
import json

import numpy as np
import pytest
import tiny
from PIL import Image

from keras_cmsa.data.check import check_records
from keras_cmsa.data.leakage import held_out_images
from keras_cmsa.data.readers.phrasecut import read_phrasecut
from keras_cmsa.data.sources import read_records

SIZE = 8, 12
LEFT = tiny.box(*SIZE, 1, 1, 5, 4)
TOP = tiny.box(*SIZE, 0, 3, 2, 9)  # over a corner of LEFT
RIGHT = tiny.box(*SIZE, 4, 8, 7, 11)


def outline(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


ONE = [[outline(1, 1, 4, 5)]]
# Two objects, the first in two pieces.
TWO = [[outline(1, 1, 4, 5), outline(3, 0, 9, 2)], [outline(8, 4, 11, 7)]]


def task(image_id, number, phrase, polygons):
    ids = {"task_id": f"{image_id}__{number}", "image_id": image_id}
    return {**ids, "phrase": phrase, "Polygons": polygons, "instance_boxes": []}


CONTENT = {
    "refer_train": [task(7, 0, "Two dogs!", TWO), task(7, 12, "dog", ONE)],
    "refer_val": [task(8, 0, "dog", ONE)],
    "image_data_split": [
        {"image_id": image_id, "width": 12, "height": 8, "split": split}
        for image_id, split in ((7, "train"), (8, "val"), (9, "test"))
    ],
    "skip": [
        {"image_id": 8, "phrase": "zebra"},
        {"task_id": "7__3", "phrase": "Red car"},
        {"image_id": 9, "phrase": "of a split that is not there"},
    ],
}

pytestmark = pytest.mark.filterwarnings("ignore:counts differ from the published")


def write(root, content):
    for name, entries in content.items():
        (root / f"{name}.json").write_text(json.dumps(entries))
    return root


@pytest.fixture
def root(tmp_path):
    (tmp_path / "images").mkdir()
    for image_id in (7, 8):
        Image.new("RGB", (12, 8)).save(tmp_path / f"images/{image_id}.jpg")
    return write(tmp_path, CONTENT)


def test_masks_are_the_union_of_the_objects(root):
    records = read_records(root, "phrasecut")
    assert {split: [r.targets for r in of] for split, of in records.items()} == {
        "train": [2, 1, 0],
        "val": [1, 0],
    }
    wanted = [LEFT | TOP | RIGHT, LEFT, LEFT * 0, LEFT, LEFT * 0]
    records = [record for of in records.values() for record in of]
    for record, mask in zip(records, wanted, strict=True):
        np.testing.assert_array_equal(record.mask(), mask)
    assert check_records(records) == (records, [])


def test_fields_and_ids(root):
    first, second, absent = read_phrasecut(root, ["train"])["train"]
    assert (first.raw, first.expression, absent.expression) == ("Two dogs!", "two dogs", "red car")
    assert first.image_path == absent.image_path == root / "images/7.jpg"
    assert (first.image_id, first.height, first.width) == (7, 8, 12)
    assert [r.ref_id for r in (first, second, absent)] == [7000000, 7000012, -2]
    assert [r.sentence_id for r in (first, second, absent)] == [7000000, 7000012, -2]


def test_held_out_images_are_those_of_its_own_splits(root):
    tiny.refer_root(root / "refer", {"val": 1})  # images of COCO, whose numbers are others
    (root / "refer/refcoco").rename(root / "refcoco")
    records = read_records(root, "phrasecut")
    assert held_out_images(root, "phrasecut", "unc", records) == {"phrasecut/val": {8}}


def test_skip_json_need_not_be_there(root):
    (root / "skip.json").unlink()
    records = read_phrasecut(root)
    assert {split: len(of) for split, of in records.items()} == {"train": 2, "val": 1}


def test_bad_phrases_of_skip_json_are_left_out(root):
    write(
        root,
        {"skip": ["7__3", {"image_id": 8}, {"phrase": "cat"}, {"image_id": 7, "phrase": "cow"}]},
    )
    message = r"3 of 4 phrases of skip\.json are bad .* entry 0: wanted a dict. Received: str"
    with pytest.warns(UserWarning, match=message):
        records = read_phrasecut(root)
    assert [r.raw for of in records.values() for r in of if not r.targets] == ["cow"]


@pytest.mark.filterwarnings("default:counts differ from the published")
def test_counts_that_differ_are_one_warning(root):
    """Without the phrases of skip.json."""
    with pytest.warns(UserWarning, match="counts differ") as caught:
        read_phrasecut(root, ["val"])
    assert "val 1 refs / 1 sentences / 1 images instead of 20316 refs" in str(caught[0].message)


POLYGONS = "wanted 'Polygons' as a list for each object, .* Received: "
BAD = {
    "wanted '<image>__<n>' as 'task_id'. Received: '8-0'": {"task_id": "8-0"},
    "wanted 'task_id' of type str. Received: int": {"task_id": 8},
    "image 10 is not in image_data_split.json": {"image_id": 10},
    "wanted 'phrase' of type str. Received: NoneType": {"phrase": None},
    "wanted 'Polygons' of type list. Received: dict": {"Polygons": {}},
    POLYGONS + r"\[\]": {"Polygons": []},
    POLYGONS + r"\[\[\], ": {"Polygons": [[], *ONE]},
    POLYGONS + r"\[\[\[1, 2, 3, 4, 5, 6\]\]\]": {"Polygons": [[[1, 2, 3, 4, 5, 6]]]},
    POLYGONS + r"\[\[\[\[1, 2, 3\]\]\]\]": {"Polygons": [[[[1, 2, 3]]]]},
    r"wanted one object for ref 7000000 of image 7. Received: \[\[\[1, 1, ": {
        "task_id": "7__0",
        "image_id": 7,
    },
}


@pytest.mark.parametrize("message", BAD)
def test_bad_phrases_are_named_or_left_out(root, message):
    content = copy.deepcopy(CONTENT)
    content["refer_val"].append({**content["refer_val"][0], "task_id": "8__1", **BAD[message]})
    write(root, content)
    with pytest.raises(ValueError, match=message) as caught:
        read_phrasecut(root)
    assert "refer_val.json, entry 1: " in str(caught.value)
    with pytest.warns(UserWarning, match="1 of 4 phrases are bad and left out"):
        assert len(read_phrasecut(root, on_bad="skip")["val"]) == 2


def test_missing_files_are_named(root, tmp_path):
    wanted = r"wanted image_data_split.json and refer_<split>.json .* splits test. Received: image_"
    with pytest.raises(FileNotFoundError, match=wanted):
        read_phrasecut(root, ["test"])
    (root / "image_data_split.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"Received: refer_train\.json, refer_val\.json"):
        read_phrasecut(root)
    with pytest.raises(FileNotFoundError, match="Received: none"):
        read_phrasecut(root / "images")


@pytest.mark.parametrize("name", CONTENT)
def test_damaged_files_are_named(root, name):
    write(root, {name: {}})
    with pytest.raises(ValueError, match=rf"{name}\.json: wanted a list. Received: dict"):
        read_phrasecut(root)
