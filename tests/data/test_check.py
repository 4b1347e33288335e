"""Checking a data set: every fault is found, and told by its kind."""

import os
import warnings
from dataclasses import replace

import numpy as np
import pytest
from image_files import encoded
from one_ref import INSTANCES, REF, SQUARE
from PIL import Image

from keras_cmsa.data.check import check_records, problems_table
from keras_cmsa.data.masks import MaskFile
from keras_cmsa.data.record import Record


def test_a_record_of_nothing_needs_no_mask(one_ref):
    """Nor is its empty mask odd; one with a target has a segmentation."""
    (record,) = one_ref.read()["train"]
    nothing = replace(record, segmentation=None, targets=0)
    good, ((bad, reason),) = check_records([nothing, replace(record, segmentation=None)])
    assert good == [nothing] and bad.targets == 1
    assert reason.startswith("no segmentation: ref 5")


def test_check_finds_every_fault(one_ref):
    faults = {
        1: {"segmentation": [[50, 1, 60, 1, 60, 5]]},
        2: {"segmentation": [[1, 1, 5, 1, 1, 1]]},
        3: {"segmentation": [SQUARE[:-1]]},
    }
    for place, fault in faults.items():
        one_ref.instances["annotations"].append(
            {**INSTANCES["annotations"][0], "id": place, **fault}
        )
        one_ref.refs.append({**REF, "ref_id": place, "ann_id": place})
    one_ref.refs.append({**REF, "ref_id": 4, "sentences": [{**REF["sentences"][0], "sent": " "}]})
    good, problems = check_records(one_ref.read()["train"])
    assert [record.ref_id for record in good] == [5]
    assert [(record.ref_id, reason.split(":")[0]) for record, reason in problems] == [
        (1, "mask covers no pixel"),
        (2, "mask covers no pixel"),
        (3, "bad polygon"),
        (4, "expression blank"),
    ]
    table = problems_table(problems).splitlines()
    assert table[0].startswith("      2  mask covers no pixel, first: ref 1; the segm")
    assert table[2].startswith("      1  expression blank, first: ref 4, sentence 31 ('Café!')")


def test_what_is_odd_is_counted(one_ref):
    """Masks that cover all or next to nothing and parts without area, once per ref."""
    everything = [[0, 0, 12, 0, 12, 8, 0, 8]]
    sentence = REF["sentences"][0]
    few = [[1, 1, 2, 1, 2, 2, 1, 2]]
    parts_of_refs = [everything, everything, [SQUARE, [1, 1, 5, 5]], few]
    for place, parts in enumerate(parts_of_refs, start=1):
        annotation = {**INSTANCES["annotations"][0], "id": place, "segmentation": parts}
        one_ref.instances["annotations"].append(annotation)
        sentences = [{**sentence, "sent_id": 10 * place + i} for i in range(2)]
        one_ref.refs.append({**REF, "ref_id": place, "ann_id": place, "sentences": sentences})
    records = one_ref.read()["train"]
    with pytest.warns(UserWarning) as caught:
        good, problems = check_records(records)
    assert good == records and not problems
    assert [str(w.message) for w in caught if w.category is UserWarning] == [
        "2 masks cover the whole image (a white background is inside). "
        f"The first: ref 1, {one_ref.image}",
        "1 masks have parts of fewer than three points, which are left out. "
        f"The first: ref 3, {one_ref.image}",
        f"1 masks have fewer than 4 pixels. The first: ref 4, {one_ref.image}",
    ]


@pytest.mark.parametrize("turn", [2, 3, 6])
def test_an_image_with_an_orientation_is_as_its_annotations_see_it(one_ref, turn):
    """COCO's are of the stored pixels; where they declare the upright size, of the upright ones."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype("uint8")
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(noise).save(one_ref.image, "WEBP", lossless=True, exif=exif)
    records = one_ref.read()["train"]
    np.testing.assert_array_equal(records[0].image(), noise)
    with pytest.warns(UserWarning, match="1 images have an EXIF orientation and are not turned"):
        good, problems = check_records(records)
    assert good == records and not problems
    one_ref.instances["images"][0] |= {"height": 12, "width": 8}
    (record,) = one_ref.read()["train"]
    if turn == 6:
        assert check_records([record]) == ([record], [])
        np.testing.assert_array_equal(record.image(), np.rot90(noise, -1))
    else:
        assert check_records([record])[1][0][1].startswith("image size differs")


@pytest.mark.parametrize(
    ("values", "remarks"),
    [((0, 1), []), ((0, 255), []), ((0, 1, 255), ["1 mask files have several ids or colours"])],
)
@pytest.mark.parametrize("mode", ["L", "P"])
def test_files_of_several_ids_are_remarked_on(tmp_path, values, remarks, mode):
    image = Image.new("RGB", (12, 8))
    image.save(tmp_path / "1.png")
    ids = np.resize(np.array(values, "uint8"), (8, 12))
    Image.fromarray(ids).convert(mode).save(tmp_path / "mask.png")
    file = MaskFile(tmp_path / "mask.png")
    record = Record(tmp_path / "1.png", 1, 1, 1, "it", "it", "train", 8, 12, file)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        assert check_records([record]) == ([record], [])
    told = [str(w.message) for w in told if w.category is UserWarning]
    assert len(told) == len(remarks) and all(map(str.startswith, told, remarks))
    assert all(str(file.path) in text for text in told)


def cut_short(path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype("uint8")
    path.write_bytes(encoded(noise, "JPEG")[:-300])


@pytest.mark.parametrize(
    ("spoil_image", "message"),
    [
        (os.remove, "image missing: {}"),
        (cut_short, "image unreadable: {} cannot be decoded: image file is truncated"),
        (lambda path: path.write_text("no image"), "image unreadable: {} is not an image"),
        (Image.new("RGB", (8, 12)).save, "image size differs: {} is 12 x 8, declared 8 x 12"),
    ],
    ids=["missing", "cut short", "no image", "other size"],
)
def test_check_opens_the_image(one_ref, spoil_image, message):
    records = one_ref.read()["train"]
    spoil_image(one_ref.image)
    good, ((record, reason),) = check_records(records)
    assert good == [] and record is records[0]
    assert reason.startswith(message.format(one_ref.image))
