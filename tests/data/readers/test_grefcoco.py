"""gRefCOCO: refs of no object, of one and of several, against masks drawn by hand."""

import copy
import json

import numpy as np
import pytest
import tiny
from one_ref import NAME
from PIL import Image

from keras_cmsa.data.check import check_records
from keras_cmsa.data.leakage import held_out_images
from keras_cmsa.data.sources import read_records

SIZE = 8, 12
LEFT = tiny.box(*SIZE, 1, 1, 5, 4)
TOP = tiny.box(*SIZE, 0, 3, 2, 9)  # over a corner of LEFT
RIGHT = tiny.box(*SIZE, 4, 8, 7, 11)
INSTANCES = {
    "images": [{"id": 9, "file_name": NAME, "height": 8, "width": 12}],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 5, "segmentation": [[1, 1, 4, 1, 4, 5, 1, 5]]},
        {"id": 2, "image_id": 9, "category_id": 5, "segmentation": tiny.runs(TOP)},
        {"id": 3, "image_id": 9, "category_id": 6, "segmentation": [[8, 4, 11, 4, 11, 7, 8, 7]]},
        {"id": 4, "image_id": 9, "category_id": 7, "segmentation": []},
    ],
    "categories": [{"id": 5, "name": "dog"}, {"id": 6, "name": "cat"}, {"id": 7, "name": "cow"}],
}


def ref(number, ids, split="val"):
    sentence = {"sent_id": 10 * number, "raw": "It!", "sent": "it", "tokens": ["it"]}
    of = {"image_id": 9, "split": split, "category_id": [-1] * len(ids)}
    return {"ref_id": number, "ann_id": ids, "sentences": [sentence], **of}


REFS = [ref(0, [-1]), ref(1, [1]), ref(2, [2, 1]), ref(3, [1, 2, 3], "train")]
MASKS = {0: LEFT * 0, 1: LEFT, 2: LEFT | TOP, 3: LEFT | TOP | RIGHT}


def write(root, refs=REFS, instances=INSTANCES):
    (root / "grefcoco").mkdir(exist_ok=True)
    (root / "grefcoco/grefs(unc).json").write_text(json.dumps(refs))
    (root / "grefcoco/instances.json").write_text(json.dumps(instances))
    return root


@pytest.fixture
def root(tmp_path):
    image = tmp_path / "images/mscoco/images/train2014" / NAME
    image.parent.mkdir(parents=True)
    Image.new("RGB", (12, 8)).save(image)
    return write(tmp_path)


def read(root, **options):
    records = read_records(root, "grefcoco", **options)
    return {record.ref_id: record for of in records.values() for record in of}


def test_masks_are_the_union_of_the_objects(root):
    records = read(root)
    assert {number: record.targets for number, record in records.items()} == {
        0: 0,
        1: 1,
        2: 2,
        3: 3,
    }
    for number, mask in MASKS.items():
        np.testing.assert_array_equal(records[number].mask(), mask)
    assert records[0].segmentation is None
    assert check_records(list(records.values())) == (list(records.values()), [])


def test_classes_of_the_objects_and_of_the_image(root):
    records = read(root)
    classes = {number: record.categories for number, record in records.items()}
    assert classes == {0: set(), 1: {"dog"}, 2: {"dog"}, 3: {"dog", "cat"}}
    assert classes[1] is classes[2]
    assert {id(record.image_categories) for record in records.values()} == {
        id(records[0].image_categories)
    }
    assert records[0].image_categories == {"dog", "cat", "cow"}


def test_classes_without_a_name_are_left_out(root):
    instances = copy.deepcopy(INSTANCES)
    for annotation, category_id in zip(instances["annotations"], (0, None, 6.0, [5])):
        annotation["category_id"] = category_id
    records = read(write(root, instances=instances))
    assert records[2].categories == set()
    assert records[3].categories == records[3].image_categories == {"cat"}
    del instances["categories"]
    record = read(write(root, instances=instances))[3]
    assert record.categories == record.image_categories == set()


def test_a_category_without_a_name_is_named(root):
    write(root, instances={**INSTANCES, "categories": [{"id": 5}]})
    with pytest.raises(ValueError, match=r"instances\.json, category 5: wanted 'name' of type str"):
        read(root)


def test_held_out_images_are_found_in_json_too(root):
    assert held_out_images(root, "refcoco", "unc", {}) == {"grefcoco/unc/val": {9}}


LIST = "wanted 'ann_id' as a list of ids, each once, or as .* Received: "
BAD = {
    LIST + r"\[\]": [],
    LIST + r"\[-1, 1\]": [-1, 1],
    LIST + r"\[1, 2, 1\]": [1, 2, 1],
    "annotation 70 is not in .*instances.json": [1, 70],
    "annotation 4 has no segmentation": [1, 4],
    "annotation 8 to belong to the ref's image 9. Received: image 3": [8, 1],
    "wanted 'ann_id' of type list. Received: int": 1,
    "wanted 'ann_id' of type .* Received: list": [[1]],
    r"wanted one object for ref 2 of image 9. Received: \(1, 3\) after \(2, 1\)": [1, 3],
}


@pytest.mark.parametrize("message", BAD)
def test_bad_refs_are_named_or_left_out(root, message):
    number = 2 if "wanted one object" in message else 7
    bad = {**ref(number, [1]), "ann_id": BAD[message]}
    other = {"id": 8, "image_id": 3, "segmentation": tiny.runs(TOP)}
    instances = {**INSTANCES, "annotations": [*INSTANCES["annotations"], other]}
    write(root, [*REFS, bad], instances)
    with pytest.raises(ValueError, match=message) as caught:
        read(root)
    assert f"grefs(unc).json, entry 4, ref {number}: " in str(caught.value)
    with pytest.warns(UserWarning, match="1 of 5 refs are bad and left out"):
        assert set(read(root, on_bad="skip")) == set(MASKS)


def test_missing_and_damaged_files_are_named(root):
    path = root / "grefcoco/grefs(unc).json"
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"grefs\(unc\)\.json: wanted a list of at most"):
        read(root)
    path.rename(root / "grefcoco/grefs(own).json")
    with pytest.raises(
        FileNotFoundError, match=r"<dataset>/grefs\(.*: grefcoco/grefs\(own\)\.json"
    ):
        read(root)
