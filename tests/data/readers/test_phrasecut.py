"""PhraseCut: phrases about one object, several and none, against masks drawn by hand."""

import json

import numpy as np
import pytest
import tiny
from label_tools import BOX, OTHER, OTHER_POLYGON, POLYGON, points
from PIL import Image

from keras_cmsa.data.check import check_records
from keras_cmsa.data.leakage import held_out_images
from keras_cmsa.data.readers.phrasecut import read_phrasecut
from keras_cmsa.data.sources import read_records

RIGHT = tiny.box(8, 12, 4, 9, 7, 12)
ONE = [[points(POLYGON)]]
# Two objects, the first in two pieces.
TWO = [[points(POLYGON), points(OTHER_POLYGON)], [[[9, 4], [12, 4], [12, 7], [9, 7]]]]


def task(image_id, objects, phrase, polygons):
    ids = {"task_id": f"{image_id}__{objects}", "image_id": image_id}
    return {**ids, "phrase": phrase, "Polygons": polygons, "instance_boxes": []}


def skipped(image_id, phrase, reason="Not in Image", name="reason"):
    return {"task_id": f"{image_id}__1060045", "image_id": image_id, "phrase": phrase, name: reason}


CONTENT = {
    "refer_train": [task(7, "1060021_1060022", "Two dogs!", TWO), task(7, "1060021", "dog", ONE)],
    "refer_val": [task(8, "1060033", "dog", ONE)],
    "image_data_split": [
        {"image_id": image_id, "width": 12, "height": 8, "split": split}
        for image_id, split in ((7, "train"), (8, "val"), (9, "test"), (10**9, "val"))
    ],
    "skip": [
        skipped(8, "zebra"),
        skipped(8, "dog", "Ambiguous Region"),
        skipped(7, "Red car", name="skip_reason"),
        skipped(9, "of a split that is not there"),
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
    wanted = [BOX | OTHER | RIGHT, BOX, BOX * 0, BOX, BOX * 0]
    records = [record for of in records.values() for record in of]
    for record, mask in zip(records, wanted, strict=True):
        np.testing.assert_array_equal(record.mask(), mask)
    assert check_records(records) == (records, [])


def test_fields_and_ids(root):
    first, second, absent = read_phrasecut(root, ["train"])["train"]
    assert (first.raw, first.expression, absent.expression) == ("Two dogs!", "two dogs", "red car")
    assert first.image_path == absent.image_path == root / "images/7.jpg"
    assert (first.image_id, first.height, first.width) == (7, 8, 12)
    assert [r.ref_id for r in (first, second, absent)] == [7000000, 7000001, -3]
    assert [r.sentence_id for r in (first, second, absent)] == [7000000, 7000001, -3]


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
    good, bad = skipped(7, "cow"), [{"phrase": "cat"}, {"image_id": 7, "phrase": "no reason"}]
    write(root, {"skip": ["7__3", skipped(8, None), *bad, good]})
    message = r"4 of 5 phrases of skip\.json are bad .* entry 0: wanted a dict. Received: str"
    with pytest.warns(UserWarning, match=message):
        records = read_phrasecut(root)
    assert [r.raw for of in records.values() for r in of if not r.targets] == ["cow"]


@pytest.mark.filterwarnings("default:counts differ from the published")
def test_counts_that_differ_are_one_warning(root):
    """Without the phrases of skip.json."""
    with pytest.warns(UserWarning, match="counts differ") as caught:
        read_phrasecut(root, ["val"])
    message = (
        "val 1 refs / 1 sentences / 1 images instead of 19495 refs / 19495 sentences / ? images"
    )
    assert str(caught[0].message).endswith(message)


POLYGONS = "wanted 'Polygons' as a list for each object, .* Received: "
BAD = {
    "image 10 is not in image_data_split.json": {"image_id": 10},
    # A ref id holds an image's number and a phrase's, and fits the 64 bits of TFDS.
    "at most nine digits, .* Received: 1000000000": {"image_id": 10**9},
    POLYGONS + r"\[\]": {"Polygons": []},
    POLYGONS + r"\[\[\], ": {"Polygons": [[], *ONE]},
    POLYGONS + r"\[\[\[\[1, 2, 3\]\]\]\]": {"Polygons": [[[[1, 2, 3]]]]},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_phrases_are_named(root, message):
    write(root, {"refer_val": [{**CONTENT["refer_val"][0], **BAD[message]}]})
    with pytest.raises(ValueError, match=message) as caught:
        read_phrasecut(root)
    assert "refer_val.json, entry 0: " in str(caught.value)


def test_missing_files_are_named(root):
    with pytest.raises(
        FileNotFoundError, match=r"wanted refer_train.json, .* in .*images. Received"
    ):
        read_phrasecut(root / "images")
    (root / "image_data_split.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"image_data_split\.json"):
        read_phrasecut(root)
    write(root, {"image_data_split": {}})
    with pytest.raises(ValueError, match=r"image_data_split\.json: wanted a list. Received: dict"):
        read_phrasecut(root)
