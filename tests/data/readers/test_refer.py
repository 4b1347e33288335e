"""The REFER reader on real records: counts, fields, and masks equal to pycocotools'."""

import json
import pickle
import warnings

import numpy as np
import pytest
from one_ref import REF
from pycocotools import mask as coco_mask

from keras_cmsa.data.check import check_records
from keras_cmsa.data.readers.refer import read_refer
from keras_cmsa.data.record import count

# (folder of the samples, dataset, split owner): {split: (refs, sentences, images)}
REAL_COUNTS = {
    ("refer", "refcoco", "unc"): {
        "train": (36, 38, 36),
        "val": (8, 21, 3),
        "testA": (4, 12, 1),
        "testB": (8, 26, 4),
    },
    ("refer", "refcocog", "google"): {"train": (26, 26, 26), "val": (9, 9, 8)},
    ("refer_without_images", "refcoco+", "unc"): {
        "train": (2, 6, 1),
        "val": (2, 7, 1),
        "testA": (2, 6, 1),
        "testB": (2, 6, 1),
    },
}


def read_quietly(*arguments, **options):
    """`read_refer` without its warnings, which tests of their own read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_refer(*arguments, **options)


@pytest.mark.parametrize("source", REAL_COUNTS, ids="-".join)
def test_counts_and_masks_of_the_real_records(samples, source):
    """The masks are pycocotools'; where the images are there, every record is good."""
    folder, dataset, owner = source
    path = samples / folder / dataset
    content = json.loads((path / "instances.json").read_bytes())
    annotations = {annotation["id"]: annotation for annotation in content["annotations"]}
    refs = {ref["ref_id"]: ref for ref in pickle.loads((path / f"refs({owner}).p").read_bytes())}
    records = read_quietly(samples / folder, dataset, owner)
    assert {split: count(records[split]) for split in records} == REAL_COUNTS[source]
    records = [record for of_split in records.values() for record in of_split]
    for record in records:
        polygons = annotations[refs[record.ref_id]["ann_id"]]["segmentation"]
        parts = coco_mask.frPyObjects(polygons, record.height, record.width)
        mask = np.any([coco_mask.decode(part) for part in parts], axis=0)
        np.testing.assert_array_equal(record.mask(), mask)
    if folder == "refer":
        assert check_records(records) == (records, [])


def test_fields_of_a_real_record(samples):
    record = read_quietly(samples / "refer_without_images", "refcoco+")["train"][1]
    assert (record.ref_id, record.sentence_id, record.image_id) == (10472, 29794, 460986)
    assert (record.raw, record.expression, record.kind) == ("darkest bowl", "darkest bowl", "")
    assert (record.split, record.height, record.width) == ("train", 427, 640)
    # The ref's own file_name carries a suffix, COCO_train2014_000000460986_9.jpg.
    folder = samples / "refer_without_images/images/mscoco/images/train2014"
    assert record.image_path == folder / "COCO_train2014_000000460986.jpg"


def test_unknown_split_is_named(samples):
    with pytest.raises(
        ValueError, match=r"refs\(google\)\.p has no split testA; it has train, val"
    ):
        read_refer(samples / "refer", "refcocog", "google", splits=["testA"])


def test_counts_that_differ_are_one_warning(samples):
    with pytest.warns(UserWarning) as caught:
        read_refer(samples / "refer", splits=["train", "val"])
    (message,) = (str(warning.message) for warning in caught)
    assert message == (
        "counts differ from the published: train 36 refs / 38 sentences / 36 images instead of "
        "42404 refs / 120624 sentences / 16994 images; val 8 refs / 21 sentences / 3 images "
        "instead of 3811 refs / 10834 sentences / 1500 images"
    )
    assert caught[0].filename == __file__


def test_generated_data_has_no_published_counts(one_ref):
    path = one_ref.path / "ref_shapes.json"
    path.rename(one_ref.path / "refcoco/ref_shapes.json")
    one_ref.read()
    (one_ref.path / "refcoco/ref_shapes.json").unlink()
    with pytest.warns(UserWarning, match="counts differ"):
        one_ref.read()


def test_missing_images_are_one_warning(samples):
    with pytest.warns(UserWarning) as caught:
        read_refer(samples / "refer_without_images", "refcoco+")
    counts, message = (str(warning.message) for warning in caught)
    assert "instead of 42278 refs / 120191 sentences / 16992 images" in counts
    assert message.startswith("4 of 4 images are missing from ")
    assert (
        "train2014, first COCO_train2014_000000460986.jpg: put there the images of COCO's"
        in message
    )


def test_missing_annotations_say_what_is_there(samples):
    with pytest.raises(FileNotFoundError) as caught:
        read_refer(samples / "refer", "refcocog", "umd")
    message = str(caught.value)
    assert "refs(umd).p is missing. Wanted <root>/<dataset>/refs(<split owner>).p" in message
    assert "Received: refcoco/refs(unc).p, refcocog/refs(google).p in " in message
    with pytest.raises(FileNotFoundError, match="Received: none in"):
        read_refer(samples / "nowhere")


def test_other_words_than_raise_and_skip_are_named(one_ref):
    with pytest.raises(ValueError, match="on_bad must be 'raise', 'skip' or a list. Received: 'ig"):
        one_ref.read(on_bad="ignore")


# --- one ref, spoilt


def test_the_one_ref_is_good(one_ref):
    """The file name in the ref has a suffix, and is not that of the image."""
    (record,) = one_ref.read()["train"]
    assert (record.ref_id, record.sentence_id, record.image_id) == (5, 31, 9)
    assert (record.split, record.height, record.width, record.kind) == ("train", 8, 12, "")
    assert (record.raw, record.expression, record.image_path) == ("Café!", "café", one_ref.image)
    assert record.mask().sum() == 16
    assert check_records([record]) == ([record], [])


def test_other_things_than_a_list_of_refs(one_ref):
    one_ref.refs = {}
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p: wanted a list of at most"):
        one_ref.read()


def test_one_sentence_named_over_and_over(one_ref, monkeypatch):
    monkeypatch.setattr("keras_cmsa.data.readers.entries.MAX_SENTENCES", 4000)
    one_ref.refs[0]["sentences"] *= 2000
    one_ref.refs *= 3  # two bytes each in the pickle
    with pytest.raises(ValueError, match="entry 2: wanted at most 4,000 sentences in a data set"):
        one_ref.read()
    one_ref.refs[0]["sentences"] *= 3
    asked = []
    monkeypatch.setattr("keras_cmsa.data.readers.refer.Record", lambda **of: asked.append(of))
    with pytest.warns(UserWarning, match="3 of 3 refs are bad"):
        one_ref.read(on_bad="skip")
    assert len(asked) == 4001 + 1 + 1  # what follows is not read to its end either


def spoil(key, value):
    return lambda one_ref: one_ref.refs[0].__setitem__(key, value)


def spoil_entry(kind, key, value):
    return lambda one_ref: one_ref.instances[kind][0].__setitem__(key, value)


FAULTS = {
    "ref 5: annotation 71 is not in .*instances.json": spoil("ann_id", 71),
    "ref 5: image 8 is not in .*instances.json": spoil("image_id", 8),
    "ref 5: wanted 'ann_id' of type int | str. Received: NoneType": spoil("ann_id", None),
    "ref 5: wanted at least 1 sentences. Received: 0": spoil("sentences", []),
    "sentences entry 0: wanted 'raw' of type str. Received: nothing": spoil(
        "sentences", [{"sent_id": 1}]
    ),
    "entry 0: wanted a dict. Received: int": lambda one_ref: one_ref.refs.insert(0, 3),
    "annotation 70 to belong to the ref's image 9. Received: image 3": spoil_entry(
        "annotations", "image_id", 3
    ),
    "annotation 70 has no segmentation": spoil_entry("annotations", "segmentation", []),
    "image 9: wanted an image of 1 to 50,000,000 pixels. Received: 0 x 12": spoil_entry(
        "images", "height", 0
    ),
    "image 9: wanted 'width' of type int. Received: float": spoil_entry("images", "width", 12.5),
    "image 9: wanted a path inside .* Received: '../secret.jpg'": spoil_entry(
        "images", "file_name", "../secret.jpg"
    ),
    "wanted 'image_id' as an integer of 64 bits. Received: one of 64 bits": spoil(
        "image_id", -(2**63) - 1
    ),
    "wanted 'sent_id' as an integer of 64 bits. Received: one of 67 bits": spoil(
        "sentences", [{"sent_id": 1e20, "raw": "a", "sent": "a"}]
    ),
    "ref 5: wanted a split, such as train .* Received: '/../../x'": spoil("split", "/../../x"),
}


@pytest.mark.parametrize("message", FAULTS)
def test_bad_refs_are_named(one_ref, message):
    FAULTS[message](one_ref)
    with pytest.raises(ValueError, match=message.replace(" | ", r" \| ")) as caught:
        one_ref.read()
    assert "refs(unc).p, entry 0" in str(caught.value)
    assert str(caught.value).endswith("leaves bad entries out; keras-cmsa prepare lists all")


def test_good_refs_stay_when_bad_ones_are_left_out(one_ref):
    one_ref.refs = [REF, {**REF, "ref_id": 6, "ann_id": 71}, {**REF, "ref_id": 7}]
    with pytest.warns(UserWarning, match=r"1 of 3 refs .* entry 1, ref 6: annotation 71 is not in"):
        records = one_ref.read(on_bad="skip")
    assert [record.ref_id for record in records["train"]] == [5, 7]


def test_a_ref_id_is_one_object_of_its_image(one_ref):
    """Shards keep one mask for each ref of an image."""
    other = [1, 1, 3, 1, 3, 3]
    one_ref.instances["annotations"].append({"id": 71, "image_id": 9, "segmentation": [other]})
    one_ref.refs = [REF, REF, {**REF, "ann_id": 71}]
    message = r"entry 2: wanted one object for ref 5 of image 9. Received: \[\[1, .* after \[\[2, "
    with pytest.warns(UserWarning, match=f"1 of 3 refs are bad and left out.*{message}"):
        assert len(one_ref.read(on_bad="skip")["train"]) == 2
    one_ref.refs[2]["ref_id"] = 6
    assert len(one_ref.read()["train"]) == 3


@pytest.mark.parametrize("key", ["images", "annotations"])
def test_an_id_belongs_to_one_entry(one_ref, key):
    """An entry that is there twice is one."""
    entry = one_ref.instances[key][0]
    one_ref.instances[key].append(dict(entry))
    assert len(one_ref.read()["train"]) == 1
    one_ref.instances[key].append({**entry, "height": 9})
    message = f"{key} entry 2: wanted an id of its own. Received: {entry['id']}, which an entry"
    with pytest.raises(ValueError, match=message):
        one_ref.read()


def test_whole_numbers_with_a_point_are_integers(one_ref):
    """An id is then also found, and names the image that has no name."""
    one_ref.instances["images"][0] |= {"id": 9.0, "height": 8.0, "width": 12.0}
    one_ref.refs[0]["image_id"] = 9.0
    del one_ref.instances["images"][0]["file_name"]
    (record,) = one_ref.read()["train"]
    numbers = (record.image_id, record.height, record.width)
    assert numbers == (9, 8, 12) and {type(number) for number in numbers} == {int}
    assert record.image_path == one_ref.image and record.mask().sum() == 16


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "instances.json is not whole JSON"),
        (b"[" * 100_000, "instances.json is not whole JSON: maximum recursion depth"),
        (
            b'{"images": []}',
            "instances.json: wanted 'annotations' of type list .* Received: nothing",
        ),
        (
            b'{"images": [{}], "annotations": []}',
            "images entry 0: wanted 'id' .* Received: nothing",
        ),
    ],
)
def test_broken_json_names_the_file(one_ref, content, message):
    one_ref.write(instances=content)
    with pytest.raises(ValueError, match=message):
        read_refer(one_ref.path)
