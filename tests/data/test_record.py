"""Records: their masks, their names in errors, and their number."""

from dataclasses import replace

import pytest
import tiny

from keras_cmsa.data.record import count, describe_counts


def test_mask_of_a_record_names_the_record(one_ref):
    one_ref.instances["annotations"][0]["segmentation"] = [[50, 1, 60, 1, 60, 5]]
    (record,) = one_ref.read()["train"]
    with pytest.raises(ValueError, match=r"covers no pixel: ref 5, sentence 31 \('Café!'\), /"):
        record.mask()


def test_mask_of_nothing():
    record = replace(
        tiny.record("x.png", tiny.box(8, 12, 2, 3, 6, 9)), segmentation=None, targets=0
    )
    mask = record.mask()
    assert mask.shape == (8, 12) and mask.dtype == "uint8" and not mask.any()
    with pytest.raises(
        ValueError, match="bad image size: ref .*: wanted an image of 1 to 50,000,000"
    ):
        replace(record, height=2**31).mask()  # not allocated


def test_counts():
    """A record is a sentence: two of one ref, another ref of the same image, another image."""
    mask = tiny.box(8, 12, 2, 3, 6, 9)
    ids = [(1, 10), (1, 10), (1, 11), (2, 12)]
    records = [
        replace(tiny.record("x.png", mask), image_id=image_id, ref_id=ref_id)
        for image_id, ref_id in ids
    ]
    assert count(records) == (3, 4, 2)
    assert describe_counts({"train": records, "val": records[:2]}) == (
        "train: 3 refs, 4 sentences, 2 images\nval: 1 refs, 2 sentences, 1 images"
    )
