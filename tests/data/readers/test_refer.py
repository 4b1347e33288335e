"""The REFER reader on real records: counts, fields, and masks equal to pycocotools'."""

import json
import pickle
import shutil
import warnings

import numpy as np
import pytest
from one_ref import REF
from pycocotools import mask as coco_mask

from keras_cmsa.data.check import check_records, problems_table
from keras_cmsa.data.readers.entries import describe_unpublished_counts
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


def all_of(records):
    return [record for of_split in records.values() for record in of_split]


def mask_by_pycocotools(segmentation, height, width):
    parts = coco_mask.frPyObjects(segmentation, height, width)
    return np.any([coco_mask.decode(part) for part in parts], axis=0)


@pytest.fixture
def copied_root(samples, tmp_path):
    """UNC's annotations without any image, in a folder that can be written."""
    (tmp_path / "refcoco").mkdir()
    for name in ("refs(unc).p", "instances.json"):
        shutil.copyfile(samples / "refer/refcoco" / name, tmp_path / "refcoco" / name)
    return tmp_path


@pytest.mark.parametrize("source", REAL_COUNTS, ids="-".join)
def test_counts_of_the_real_records(samples, source):
    folder, dataset, owner = source
    records = read_quietly(samples / folder, dataset, owner)
    assert {split: count(records[split]) for split in records} == REAL_COUNTS[source]


@pytest.mark.parametrize("source", REAL_COUNTS, ids="-".join)
def test_masks_equal_pycocotools(samples, source):
    folder, dataset, owner = source
    path = samples / folder / dataset
    content = json.loads((path / "instances.json").read_bytes())
    annotations = {annotation["id"]: annotation for annotation in content["annotations"]}
    refs = {ref["ref_id"]: ref for ref in pickle.loads((path / f"refs({owner}).p").read_bytes())}
    for record in all_of(read_quietly(samples / folder, dataset, owner)):
        segmentation = annotations[refs[record.ref_id]["ann_id"]]["segmentation"]
        mask = record.mask()
        assert mask.dtype == "uint8"
        np.testing.assert_array_equal(
            mask, mask_by_pycocotools(segmentation, record.height, record.width)
        )


def test_fields_of_a_real_record(samples):
    record = read_quietly(samples / "refer_without_images", "refcoco+")["train"][1]
    assert (record.ref_id, record.sentence_id, record.image_id) == (10472, 29794, 460986)
    assert (record.raw, record.expression, record.kind) == ("darkest bowl", "darkest bowl", "")
    assert (record.split, record.height, record.width) == ("train", 427, 640)
    # The ref's own file_name carries a suffix, COCO_train2014_000000460986_9.jpg.
    folder = samples / "refer_without_images/images/mscoco/images/train2014"
    assert record.image_path == folder / "COCO_train2014_000000460986.jpg"


def test_every_real_record_is_good(samples):
    records = all_of(read_quietly(samples / "refer"))
    good, problems = check_records(records, progress=True)
    assert good == records and problems == []
    assert problems_table(problems) == "no problems"


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


@pytest.mark.parametrize("place", ["ref_shapes.json", "refcoco/ref_shapes.json"])
def test_generated_data_has_no_published_counts(copied_root, place):
    (copied_root / place).write_text("{}")
    with pytest.warns(UserWarning) as caught:
        read_refer(copied_root)
    assert ["images are missing" in str(warning.message) for warning in caught] == [True]


def test_missing_images_are_one_warning(samples):
    with pytest.warns(UserWarning) as caught:
        read_refer(samples / "refer_without_images", "refcoco+")
    counts, message = (str(warning.message) for warning in caught)
    assert "instead of 42278 refs / 120191 sentences / 16992 images" in counts
    assert message.startswith("4 of 4 images are missing from ")
    assert "train2014, first COCO_train2014_000000460986.jpg: put the images of COCO's" in message


def test_some_missing_images_are_counted(copied_root, samples):
    folder = "images/mscoco/images/train2014"
    (copied_root / folder).mkdir(parents=True)
    name = "COCO_train2014_000000000072.jpg"
    shutil.copyfile(samples / "refer" / folder / name, copied_root / folder / name)
    (copied_root / "ref_shapes.json").write_text("{}")  # no published counts
    with pytest.warns(UserWarning, match="43 of 44 images are missing"):
        records = read_refer(copied_root)
    good, problems = check_records(all_of(records))
    assert {record.image_path.name for record in good} == {name}
    assert len(good) + len(problems) == 97
    assert problems_table(problems).strip().startswith("96  image missing, first: ")


def test_unpublished_numbers_are_not_compared(samples):
    records = {"val": read_quietly(samples / "refer")["val"]}
    assert describe_unpublished_counts(records, {"val": (8, None, 3)}) == ""
    line = describe_unpublished_counts(records, {"val": (9, None, 3), "test": (1, 1, 1)}, ["val"])
    assert line.endswith(
        ": val 8 refs / 21 sentences / 3 images instead of 9 refs / ? sentences / 3 images"
    )


def test_missing_annotations_say_what_is_there(samples):
    with pytest.raises(FileNotFoundError) as caught:
        read_refer(samples / "refer", "refcocog", "umd")
    message = str(caught.value)
    assert "refs(umd).p is missing. Wanted <root>/<dataset>/refs(<split owner>).p" in message
    assert "Received: refcoco/refs(unc).p, refcocog/refs(google).p in " in message
    with pytest.raises(FileNotFoundError, match="Received: none in"):
        read_refer(samples / "nowhere")


def test_unknown_options_are_named(one_ref):
    with pytest.raises(
        FileNotFoundError, match=r"refcoc/refs\(unc\)\.p is missing\. Wanted .*Received"
    ):
        one_ref.read(dataset="refcoc")
    with pytest.raises(ValueError, match="on_bad must be 'raise', 'skip' or a list. Received: 'ig"):
        one_ref.read(on_bad="ignore")


# --- one ref, spoilt


def test_the_one_ref_is_good(one_ref):
    (record,) = one_ref.read()["train"]
    assert (record.raw, record.expression, record.image_path) == ("Café!", "café", one_ref.image)
    assert record.mask().sum() == 16
    assert check_records([record]) == ([record], [])


@pytest.mark.parametrize("refs", [{}, "refs", None, 7], ids=repr)
def test_other_things_than_a_list_of_refs(one_ref, refs):
    one_ref.refs = refs
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p: wanted a list of at most"):
        one_ref.read()


def test_one_sentence_named_over_and_over(one_ref, monkeypatch):
    monkeypatch.setattr("keras_cmsa.data.readers.entries.MAX_SENTENCES", 4000)
    one_ref.refs[0]["sentences"] *= 2000
    one_ref.refs *= 3  # two bytes each in the pickle
    with pytest.raises(
        ValueError,
        match="entry 2, ref 5: wanted at least 1 and at most 0 sentences. Received: 2000",
    ):
        one_ref.read()


def spoil(key, value):
    return lambda one_ref: one_ref.refs[0].__setitem__(key, value)


def spoil_entry(kind, key, value):
    return lambda one_ref: one_ref.instances[kind][0].__setitem__(key, value)


FAULTS = {
    "ref 5: annotation 71 is not in .*instances.json": spoil("ann_id", 71),
    "ref 5: image 8 is not in .*instances.json": spoil("image_id", 8),
    "ref 5: wanted 'ann_id' of type int | str. Received: NoneType": spoil("ann_id", None),
    "ref 5: wanted 'split' of type str. Received: int": spoil("split", 3),
    "ref 5: wanted 'sentences' of type list. Received: str": spoil("sentences", "a dog"),
    "ref 5: wanted at least 1 and .* Received: 0": spoil("sentences", []),
    "ref 5: wanted a dict. Received: str": spoil("sentences", ["a dog"]),
    "ref 5: wanted 'raw' of type str. Received: nothing": spoil("sentences", [{"sent_id": 1}]),
    "entry 0: wanted 'ref_id' of type int. Received: str": spoil("ref_id", "5"),
    "entry 0: wanted a dict. Received: int": lambda one_ref: one_ref.refs.insert(0, 3),
    "annotation 70 to belong to the ref's image 9. Received: image 3": spoil_entry(
        "annotations", "image_id", 3
    ),
    "annotation 70 has no segmentation": spoil_entry("annotations", "segmentation", []),
    "image 9: wanted an image of 1 to 50,000,000 pixels. Received: 0 x 12": spoil_entry(
        "images", "height", 0
    ),
    "image 9: wanted 'width' of type int. Received: float": spoil_entry("images", "width", 12.5),
    "entry 0: wanted 'ref_id' as an integer of 64 bits. Received: one of 64 bits": spoil(
        "ref_id", 2**63
    ),
    "wanted 'image_id' as an integer of 64 bits. Received: one of 64 bits": spoil(
        "image_id", -(2**63) - 1
    ),
    "wanted 'sent_id' as an integer of 64 bits. Received: one of 67 bits": spoil(
        "sentences", [{"sent_id": 1e20, "raw": "a", "sent": "a"}]
    ),
    "ref 5: wanted a split, such as train .* Received: '/../../x'": spoil("split", "/../../x"),
    "ref 5: wanted a split, such as train .* Received: 'val.n'": spoil("split", "val\n"),
}


@pytest.mark.parametrize("message", FAULTS)
def test_bad_refs_are_named_or_left_out(one_ref, message):
    FAULTS[message](one_ref)
    with pytest.raises(ValueError, match=message.replace(" | ", r" \| ")) as caught:
        one_ref.read()
    assert "refs(unc).p, entry 0" in str(caught.value)
    assert str(caught.value).endswith("on_bad='skip' leaves bad entries out")
    left_out = r"1 of \d refs are bad and left out. The first: .*entry 0"
    with pytest.warns(UserWarning, match=left_out):
        one_ref.read(on_bad="skip")


def test_good_refs_stay_when_bad_ones_are_left_out(one_ref):
    one_ref.refs = [REF, {**REF, "ref_id": 6, "ann_id": 71}, {**REF, "ref_id": 7}]
    with pytest.warns(UserWarning, match=r"1 of 3 refs .* entry 1, ref 6: annotation 71 is not in"):
        records = one_ref.read(on_bad="skip")
    assert [record.ref_id for record in records["train"]] == [5, 7]


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/passwd", "a/b.jpg", "..", "", "a\\b.jpg", "a\0.jpg", 5, None]
)
def test_image_name_cannot_leave_the_folder(one_ref, name):
    one_ref.instances["images"][0]["file_name"] = name
    with pytest.raises(ValueError, match=r"wanted the plain name of an image file"):
        one_ref.read()


def test_image_without_a_name_is_found_by_its_id(one_ref):
    del one_ref.instances["images"][0]["file_name"]
    assert one_ref.read()["train"][0].image_path == one_ref.image


def test_a_ref_id_is_one_object_of_its_image(one_ref):
    """Shards keep one mask for each ref of an image."""
    other = [1, 1, 3, 1, 3, 3]
    one_ref.instances["annotations"].append({"id": 71, "image_id": 9, "segmentation": [other]})
    one_ref.refs = [REF, REF, {**REF, "ann_id": 71}]
    message = (
        r"entry 2, ref 5: wanted one object for ref 5 of image 9. Received: \(71,\) after \(70,\)"
    )
    with pytest.raises(ValueError, match=message):
        one_ref.read()
    with pytest.warns(UserWarning, match=f"1 of 3 refs are bad and left out.*{message}"):
        assert len(one_ref.read(on_bad="skip")["train"]) == 2
    one_ref.refs[2]["ref_id"] = 6
    assert len(one_ref.read()["train"]) == 3


def test_whole_numbers_with_a_point_are_integers(one_ref):
    one_ref.instances["images"][0] |= {"id": 9.0, "height": 8.0, "width": 12.0}
    one_ref.refs[0]["image_id"] = 9.0
    del one_ref.instances["images"][0]["file_name"]
    (record,) = one_ref.read()["train"]
    numbers = (record.image_id, record.height, record.width)
    assert numbers == (9, 8, 12) and {type(number) for number in numbers} == {int}
    assert record.image_path == one_ref.image and record.mask().sum() == 16


def test_annotation_without_ref_is_no_fault(one_ref):
    one_ref.instances["annotations"].append({"id": 71, "image_id": 9, "segmentation": []})
    assert len(one_ref.read()["train"]) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [', "instances.json is not whole JSON"),
        (b"\xff\xfe\x00", "instances.json is not whole JSON"),
        (b"[" * 100_000, "instances.json is not whole JSON: maximum recursion depth"),
        (b"[]", "instances.json: wanted a dict. Received: list"),
        (b'{"images": []}', "instances.json: wanted 'annotations' of type list. Received: nothing"),
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
