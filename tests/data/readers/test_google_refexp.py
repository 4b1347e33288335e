"""Google Refexp, aligned with COCO and not: the same records as REFER's google split holds."""

import copy
import json
import pickle

import numpy as np
import pytest

from keras_cmsa.data.readers.google_refexp import read_google_refexp
from keras_cmsa.data.readers.refer import read_refer
from keras_cmsa.data.sources import read_records

NAME = "google_refexp_{}_201511{}.json"
pytestmark = pytest.mark.filterwarnings("ignore:.*images are missing", "ignore:counts differ")


@pytest.fixture
def real(samples):
    """G-Ref's real refs and COCO's real entries for them."""
    folder = samples / "refer/refcocog"
    refs = pickle.loads((folder / "refs(google).p").read_bytes())
    return refs, json.loads((folder / "instances.json").read_bytes())


def write_release(folder, real, aligned):
    """The refs in the layout of the release, as downloaded or as the toolbox aligns it."""
    refs, instances = copy.deepcopy(real)
    images = {image["id"]: image for image in instances["images"]}
    outlines = {annotation["id"]: annotation for annotation in instances["annotations"]}
    for split in ("train", "val"):
        refexps, annotations, of_images = [], [], {}
        for ref in (ref for ref in refs if ref["split"] == split):
            refexps += [
                {"refexp_id": s["sent_id"], "raw": s["raw"], "tokens": s["tokens"]}
                for s in ref["sentences"]
            ]
            ids = {"annotation_id": ref["ann_id"], "refexp_ids": ref["sent_ids"]}
            more = {"image_id": ref["image_id"], "category_id": 1, "region_candidates": []}
            if aligned:
                coco = {k: v for k, v in outlines[ref["ann_id"]].items() if k != "id"}
                more = {**coco, **more}
                image = {k: v for k, v in images[ref["image_id"]].items() if k != "id"}
                of_images[ref["image_id"]] = {**image, "image_id": ref["image_id"]}
            annotations.append({**ids, **more})
        content = {"annotations": annotations, "refexps": refexps}
        if aligned:
            content = {
                "annotations": {entry["annotation_id"]: entry for entry in annotations},
                "refexps": {entry["refexp_id"]: entry for entry in refexps},
                "images": of_images,
            }
        path = folder / NAME.format(split, "_coco_aligned" if aligned else "")
        path.write_text(json.dumps(content))
    if not aligned:
        (folder / "annotations").mkdir()
        (folder / "annotations/instances_train2014.json").write_text(json.dumps(instances))
    return folder


@pytest.mark.parametrize("aligned", [True, False], ids=["aligned", "as downloaded"])
def test_equals_refers_google_split(real, samples, tmp_path, aligned):
    records = read_google_refexp(write_release(tmp_path, real, aligned))
    expected = read_refer(samples / "refer", "refcocog", "google")
    assert list(records) == ["train", "val"]
    for split, of_split in expected.items():
        assert len(records[split]) == len(of_split) > 0
        by_sentence = {record.sentence_id: record for record in records[split]}
        for other in of_split:
            record = by_sentence[other.sentence_id]
            assert (record.raw, record.image_id) == (other.raw, other.image_id)
            assert record.image_path.name == other.image_path.name
            np.testing.assert_array_equal(record.mask(), other.mask())


def test_read_records_finds_it(real, tmp_path):
    write_release(tmp_path, real, aligned=True)
    assert list(read_records(tmp_path, "refexp", splits=["val"])) == ["val"]
    with pytest.raises(ValueError, match=r"dataset must be one of refcoco, .* Received: 'coco'"):
        read_records(tmp_path, "coco")


def test_missing_files_are_named(real, tmp_path):
    with pytest.raises(FileNotFoundError, match="splits train, val. Received: none"):
        read_google_refexp(tmp_path)
    write_release(tmp_path, real, aligned=False)
    with pytest.raises(FileNotFoundError, match="splits test. Received: google_refexp_train_2015"):
        read_google_refexp(tmp_path, ["test"])
    (tmp_path / "annotations/instances_train2014.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no outlines: wanted .*_coco_aligned\.json"):
        read_google_refexp(tmp_path)


def spoil_expression(annotation, content):
    annotation["refexp_ids"] = [-1]


def spoil_image(annotation, content):
    content["images"].clear()


def spoil_name(annotation, content):
    for image in content["images"].values():
        image["file_name"] = "../x.jpg"


def spoil_outline(annotation, content):
    del annotation["segmentation"]


def spoil_ref(annotation, content):
    """The same id once more, as another object."""
    entries = list(content["annotations"].values())
    content["annotations"] = {str(place): entry for place, entry in enumerate(entries)}
    content["annotations"]["again"] = {**annotation, "segmentation": [[1, 1, 3, 1, 3, 3]]}


SPOILT = {
    spoil_ref: r"wanted one object for ref \d+ of image \d+. Received: \[\[1, 1, 3, 1, 3, 3\]\]",
    spoil_expression: "expression -1 is not in the file",
    spoil_image: "is not in the file",
    spoil_name: r"wanted the plain name of an image file .* Received: '\.\./x\.jpg'",
    spoil_outline: "wanted 'segmentation' of type .*. Received: nothing",
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda function: function.__name__)
def test_bad_annotations_are_named_or_left_out(real, tmp_path, spoil):
    path = write_release(tmp_path, real, aligned=True) / NAME.format("val", "_coco_aligned")
    content = json.loads(path.read_text())
    key, annotation = next(iter(content["annotations"].items()))
    spoil(annotation, content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=SPOILT[spoil]) as caught:
        read_google_refexp(tmp_path)
    assert f"annotation {key}" in str(caught.value)
    with pytest.warns(UserWarning, match="annotations are bad and left out"):
        assert len(read_google_refexp(tmp_path, on_bad="skip")["train"]) == 26


@pytest.mark.parametrize("text", ["[]", "{}", '{"annotations": [], "refexps": 3}', "{"])
def test_damaged_files_are_named(tmp_path, text):
    (tmp_path / NAME.format("val", "_coco_aligned")).write_text(text)
    with pytest.raises(ValueError, match=r"google_refexp_val_201511_coco_aligned\.json"):
        read_google_refexp(tmp_path)
