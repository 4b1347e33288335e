"""REFER's layout under other names: gRefCOCO's refs of no object, of one and of several, and RRSIS-D,
Ref-ZOM and R-RefCOCO with images in any folder."""

import copy
import json
import pickle

import numpy as np
import pytest
import tiny
from label_tools import BOX, NAME, OTHER, POLYGON, compressed
from PIL import Image

from keras_cmsa.data.check import check_records
from keras_cmsa.data.leakage import held_out_images
from keras_cmsa.data.sources import read_records

THIRD = tiny.box(8, 12, 1, 1, 4, 5)  # over a corner of both
IMAGE = {"id": 9, "file_name": NAME, "height": 8, "width": 12}
INSTANCES = {
    "images": [IMAGE],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 5, "segmentation": [POLYGON]},
        # RRSIS-D has a list of one code in bytes, as JSON text.
        {"id": 2, "image_id": 9, "category_id": 6, "segmentation": [compressed(OTHER)]},
        {"id": 3, "image_id": 9, "category_id": 6, "segmentation": tiny.runs(THIRD)},
        {"id": 4, "image_id": 9, "category_id": 7, "segmentation": []},
    ],
    "categories": [
        {"id": 5, "name": "ship"},
        {"id": 6, "name": "bridge"},
        {"id": 7, "name": "pier"},
    ],
}


def sentence(number, **of):
    return {"sent_id": number, "raw": "The ship!", "sent": "the ship", "tokens": ["ship"], **of}


def ref(number, ann_id, *sentences, split="train", **of):
    sentences = [*sentences] or [sentence(number)]
    return {"ref_id": number, "ann_id": ann_id, "image_id": 9, "split": split,
            "sentences": sentences, **of}  # fmt: skip


def write(root, dataset, owner, *refs, instances=INSTANCES):
    (root / dataset).mkdir(parents=True, exist_ok=True)
    if dataset == "grefcoco":
        (root / "grefcoco" / f"grefs({owner}).json").write_text(json.dumps(refs))
    else:
        (root / dataset / f"refs({owner}).p").write_bytes(pickle.dumps([*refs], 2))
    (root / dataset / "instances.json").write_text(json.dumps(instances))
    folder = root / "images" / dataset / "JPEGImages"
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8)).save(folder / NAME)
    return folder


REFS = ref(0, [-1], split="val"), ref(1, [1]), ref(2, [3, 1]), ref(3, [1, 2, 3])


def read_several(root, *refs, instances=INSTANCES, **options):
    """The records of gRefCOCO by their refs' ids."""
    folder = write(root, "grefcoco", "unc", *refs, instances=instances)
    records = read_records(root, "grefcoco", images=folder, **options)
    return {record.ref_id: record for of in records.values() for record in of}


def test_masks_are_the_union_of_the_objects(tmp_path):
    records = read_several(tmp_path, *REFS)
    assert [record.targets for record in records.values()] == [0, 1, 2, 3]
    masks = BOX * 0, BOX, BOX | THIRD, BOX | OTHER | THIRD
    for record, mask in zip(records.values(), masks, strict=True):
        np.testing.assert_array_equal(record.mask(), mask)
    assert records[0].segmentation is None
    assert check_records([*records.values()])[1] == []
    assert held_out_images(tmp_path, "refcoco", "unc", {}) == {"grefcoco/unc/val": {9}}


def test_classes_of_the_objects_and_of_the_image(tmp_path):
    records = read_several(tmp_path, *REFS, ref(4, [2, 3]), ref(5, [2]))
    classes = [record.categories for record in records.values()]
    both = {"ship", "bridge"}
    assert classes == [set(), {"ship"}, both, both, {"bridge"}, {"bridge"}]
    assert classes[4] is classes[5]
    assert {id(record.image_categories) for record in records.values()} == {
        id(records[0].image_categories)
    }
    assert records[0].image_categories == {"ship", "bridge", "pier"}


def test_classes_without_a_name_are_left_out(tmp_path):
    instances = copy.deepcopy(INSTANCES)
    for annotation, category_id in zip(instances["annotations"], (0, None, 6.0, [5])):
        annotation["category_id"] = category_id
    record = read_several(tmp_path, *REFS, instances=instances)[3]
    assert record.categories == record.image_categories == {"bridge"}
    del instances["categories"]
    record = read_several(tmp_path, *REFS, instances=instances)[3]
    assert record.categories == record.image_categories == set()
    instances["categories"] = [{"id": 5}]
    with pytest.raises(ValueError, match=r"instances\.json, category 5: wanted 'name' of type str"):
        read_several(tmp_path, *REFS, instances=instances)


@pytest.mark.parametrize("ids", [[], [-1, 1], [1, 2, 1], 1], ids=str)
def test_other_lists_of_ids_are_named(tmp_path, ids):
    with pytest.raises(
        ValueError, match=r"grefs\(unc\).json, entry 0, ref 7: wanted 'ann_id' .* list"
    ):
        read_several(tmp_path, ref(7, ids))


def test_missing_files_are_named(tmp_path):
    write(tmp_path, "grefcoco", "own")
    with pytest.raises(
        FileNotFoundError, match=r"<dataset>/grefs\(.*: grefcoco/grefs\(own\)\.json"
    ):
        read_records(tmp_path, "grefcoco")


def test_rrsis_d(tmp_path, monkeypatch):
    """`images` is relative to where one is, as paths on a command line are."""
    folder = write(tmp_path, "rrsisd", "unc", ref(1, 1), ref(2, 2, split="val"))
    monkeypatch.chdir(tmp_path)
    for images in (folder, "images/rrsisd/JPEGImages"):
        records = read_records(tmp_path, "rrsisd", images=images)
        (first,), (second,) = records["train"], records["val"]
        np.testing.assert_array_equal(first.mask(), BOX)
        np.testing.assert_array_equal(second.mask(), OTHER)
        assert first.image_path == folder / NAME and first.categories == {"ship"}
        assert check_records([first, second])[1] == []
    assert held_out_images(tmp_path, "rrsisd", "unc", records) == {"rrsisd/unc/val": {9}}


def test_ref_zom(tmp_path):
    """A list of ids is several objects; the ids of what nothing fits tell nothing."""
    refs = ref(1, [1, 2], source="many"), ref(2, 2, source="one"), ref(3, [0], source="zero")
    folder = write(tmp_path, "ref-zom", "final", *refs)
    records = read_records(tmp_path, "ref-zom", "final", images=folder)["train"]
    assert [record.targets for record in records] == [2, 1, 0]
    for record, mask in zip(records, (BOX | OTHER, OTHER, BOX * 0), strict=True):
        np.testing.assert_array_equal(record.mask(), mask)


def test_sentences_of_r_refcoco_that_fit_nothing(tmp_path):
    """They stand in the ref of the object whose sentence was changed."""
    one = ref(1, 1, sentence(1), sentence(2, exist=True), sentence(3, exist=False))
    folder = write(tmp_path, "rrefcoco", "unc", one)
    records = read_records(tmp_path, "rrefcoco", images=folder)["train"]
    assert [record.targets for record in records] == [1, 1, 0]
    assert [record.categories for record in records] == [{"ship"}, {"ship"}, frozenset()]
    np.testing.assert_array_equal([r.mask() for r in records], [BOX, BOX, BOX * 0])


def test_the_images_of_a_known_set_may_be_elsewhere(tmp_path):
    write(tmp_path, "refcoco", "unc", ref(1, 1))
    (tmp_path / "ref_shapes.json").write_text("{}")  # no published counts
    folder = tmp_path / "images/refcoco/JPEGImages"
    (record,) = read_records(tmp_path, images=folder)["train"]
    assert record.image_path == folder / NAME
    assert tiny.box(8, 12, 2, 3, 6, 9).tolist() == record.mask().tolist()


def test_what_is_wrong_is_named(tmp_path):
    folder = write(tmp_path, "rrsisd", "unc", ref(2, 1))
    with pytest.raises(ValueError, match="wanted the folder of the images of rrsisd as `images`"):
        read_records(tmp_path, "rrsisd")
    outside = {**INSTANCES, "images": [{**IMAGE, "file_name": "a/../../7.jpg"}]}
    (tmp_path / "rrsisd/instances.json").write_text(json.dumps(outside))
    with pytest.raises(ValueError, match=r"wanted a path inside .*JPEGImages"):
        read_records(tmp_path, "rrsisd", images=folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "a"}, "`text` would be ignored: .* of no label tool"),
        ({"one_each": True}, "`one_each` would be ignored"),
        ({"images": "a", "dataset": "phrasecut"}, "`images` would be ignored"),
    ],
)
def test_what_a_reader_does_not_take_is_an_error(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        read_records(tmp_path, **options)
    with pytest.raises(ValueError, match=message):
        read_records(tmp_path / "mine.csv", **options)
