"""Checking a data set: every fault is found, and told by its kind."""

import os

import numpy as np
import pytest
from image_files import encoded
from one_ref import INSTANCES, REF, SQUARE
from PIL import Image

from keras_cmsa.data.check import check_records, problems_table


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
    assert table[0].startswith("      2  mask covers no pixel, first: ref 1; ")
    assert table[2].startswith("      1  expression blank, first: ref 4, sentence 31 ('Café!')")


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
