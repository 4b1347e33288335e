"""The REFER reader on real records: counts, fields, and masks equal to pycocotools'."""

import json
import pickle
import shutil
import warnings

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from keras_cmsa.data.check import check_records, problems_table
from keras_cmsa.data.records import count, describe_counts
from keras_cmsa.data.refer import PUBLISHED_COUNTS, read_refer

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


def test_raw_and_normalised_expression_are_apart(samples):
    pairs = {(r.raw, r.expression) for r in all_of(read_quietly(samples / "refer"))}
    assert any(raw != expression for raw, expression in pairs)


def test_every_real_record_is_good(samples):
    records = all_of(read_quietly(samples / "refer"))
    good, problems = check_records(records, progress=True)
    assert good == records and problems == []
    assert problems_table(problems) == "no problems"


def test_only_the_splits_wanted(samples):
    records = read_quietly(samples / "refer", splits=["val", "testA"])
    assert list(records) == ["val", "testA"]


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


@pytest.mark.parametrize(
    "source, total",
    [
        (("refcoco", "unc"), [50000, 142210, 19994]),
        (("refcoco+", "unc"), [49856, 141564, 19992]),
        (("refcocog", "google"), [49822, 95010]),
        (("refcocog", "umd"), [49822, 95010, 25799]),
    ],
)
def test_published_counts_add_up(source, total):
    """To the totals of the papers; an image may be in several splits of google."""
    counts = zip(*PUBLISHED_COUNTS[source].values())
    assert [sum(of) for of in counts][: len(total)] == total


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


def test_describe_counts(samples):
    records = read_quietly(samples / "refer", "refcocog", "google")
    assert describe_counts(records) == (
        "train: 26 refs, 26 sentences, 26 images\nval: 9 refs, 9 sentences, 8 images"
    )


def test_unpublished_numbers_are_not_compared(samples, tmp_path):
    """RefCOCO has a split by google too, whose sentences nobody counted; test is one of three."""
    (tmp_path / "refcoco").mkdir()
    shutil.copyfile(samples / "refer/refcoco/instances.json", tmp_path / "refcoco/instances.json")
    refs = pickle.loads((samples / "refer/refcoco/refs(unc).p").read_bytes())
    for place, ref in enumerate(refs):
        ref["split"] = ("train", "val", "test")[place % 3]
    (tmp_path / "refcoco/refs(google).p").write_bytes(pickle.dumps(refs, 2))
    with pytest.warns(UserWarning) as caught:
        records = read_refer(tmp_path, "refcoco", "google")
    assert sum(len(of) for of in records.values()) == 97
    shared = {r.image_id for r in records["train"]} & {r.image_id for r in records["test"]}
    assert shared, "an image can have refs in several splits"
    counts = str(caught[0].message)
    assert "instead of 5000 refs / ? sentences / 4527 images" in counts


def test_missing_annotations_say_what_is_there(samples):
    with pytest.raises(FileNotFoundError) as caught:
        read_refer(samples / "refer", "refcocog", "umd")
    message = str(caught.value)
    assert "refs(umd).p is missing. Wanted <root>/<dataset>/refs(<split owner>).p" in message
    assert message.endswith("there is: refcoco/refs(unc).p, refcocog/refs(google).p")


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is: none"):
        read_refer(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "options, wanted",
    [
        ({"dataset": "../refcoco"}, r"wanted a dataset of refcoco, refcoco\+, refcocog"),
        ({"on_bad": "ignore"}, "wanted on_bad 'raise' or 'skip'; received: 'ignore'"),
    ],
    ids=str,
)
def test_unknown_options_are_named(tmp_path, options, wanted):
    with pytest.raises(ValueError, match=wanted):
        read_refer(tmp_path, **options)
