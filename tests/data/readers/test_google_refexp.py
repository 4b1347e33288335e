"""Google Refexp, aligned with COCO and not: the same records as REFER's google split holds."""

import copy
import json
import pickle

import numpy as np
import pytest

from keras_cmsa.data.readers.google_refexp import read_google_refexp
from keras_cmsa.data.readers.refer import read_refer

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
        refexps, annotations, split_images = {}, {}, {}
        for ref in (ref for ref in refs if ref["split"] == split):
            for s in ref["sentences"]:
                entry = {"refexp_id": s["sent_id"], "raw": s["raw"], "tokens": s["tokens"]}
                refexps[s["sent_id"]] = entry
            image_id, ids = ref["image_id"], {"annotation_id": ref["ann_id"]}
            entry = {**ids, "image_id": image_id, "refexp_ids": ref["sent_ids"]}
            if aligned:
                entry = {**outlines[ref["ann_id"]], **entry}
                split_images[image_id] = {**images[image_id], "image_id": image_id}
            annotations[ref["ann_id"]] = entry
        content = {"annotations": annotations, "refexps": refexps, "images": split_images}
        if not aligned:
            content = {key: list(content[key].values()) for key in ("annotations", "refexps")}
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


def test_missing_files_are_named(real, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"wanted google_refexp_train_201511_coco_ali"):
        read_google_refexp(tmp_path)
    write_release(tmp_path, real, aligned=False)
    (tmp_path / "annotations/instances_train2014.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no outlines: wanted .*_coco_aligned\.json"):
        read_google_refexp(tmp_path)


SPOILT = {
    "annotation {}, .*: expression -1 is not in the file": lambda entry, content: entry.update(
        refexp_ids=[-1]
    ),
    "annotation {}: image .* is not in the file": lambda entry, content: content["images"].clear(),
    "wanted each annotation_id once": lambda entry, content: content["annotations"].update(
        again=entry
    ),
}


@pytest.mark.parametrize("message", SPOILT)
def test_bad_annotations_are_named(real, tmp_path, message):
    path = write_release(tmp_path, real, aligned=True) / NAME.format("val", "_coco_aligned")
    content = json.loads(path.read_text())
    key, annotation = next(iter(content["annotations"].items()))
    SPOILT[message](annotation, content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message.format(key)):
        read_google_refexp(tmp_path)
