"""The ReferIt release: real queries and boxes, masks equal to SciPy's reading of the .mat files."""

import json
import shutil

import numpy as np
import pytest
import scipy.io
from PIL import Image

from keras_cmsa.data.check import check_records
from keras_cmsa.data.readers.referit import read_referit
from keras_cmsa.data.record import count

pytestmark = pytest.mark.filterwarnings("ignore:counts differ from the published")


@pytest.fixture
def release(tmp_path):
    """A release of one image with two regions, to be spoilt."""
    for folder in ("images", "mask"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (12, 8)).save(tmp_path / "images/7.jpg")
    inside = np.ones((8, 12), "int16")
    inside[2:5, 3:9] = 0
    for region in (1, 2):
        scipy.io.savemat(tmp_path / f"mask/7_{region}.mat", {"segimg_t": inside})
    (tmp_path / "referit_imsize.json").write_text('{"7.jpg": [12, 8]}')
    queries = {"train": {"7_1": ["The Sky!", "sky"]}, "val": {"7_2": ["ground"]}, "test": {}}
    for split, of in queries.items():
        (tmp_path / f"referit_query_{split}.json").write_text(json.dumps(of))
    return tmp_path


def test_counts_of_the_real_samples(samples):
    records = read_referit(samples / "referit")
    assert {split: count(of) for split, of in records.items()} == {
        "train": (9, 10, 1),
        "val": (0, 0, 0),
        "test": (15, 17, 3),
    }


def test_real_masks_equal_the_mat_arrays(samples):
    records = read_referit(samples / "referit")
    every = [*records["train"], *records["test"]]
    for record in every:
        array = scipy.io.loadmat(record.segmentation.path)["segimg_t"]
        mask = record.mask()
        assert mask.dtype == "uint8"
        np.testing.assert_array_equal(mask, array == 0)
    # The samples' masks are their boxes, which are inclusive and written x then y.
    boxes = json.loads((samples / "referit/referit_bbox.json").read_text())
    for record in every:
        left, top, right, bottom = boxes[record.segmentation.path.stem]
        rows, columns = np.nonzero(record.mask())
        assert [columns.min(), rows.min(), columns.max(), rows.max()] == [left, top, right, bottom]
    assert check_records(every) == (every, [])


def test_counts_that_differ_are_one_warning(release):
    with pytest.warns(UserWarning, match="val 1 refs / 1 sentences / 1 images instead of 4866 "):
        read_referit(release, ["val"])


def test_fields(release):
    first, second = read_referit(release)["train"]
    assert (first.raw, first.expression, first.split) == ("The Sky!", "the sky", "train")
    assert (first.image_id, first.ref_id, first.sentence_id) == (7, 7001, 7001000)
    assert (second.ref_id, second.sentence_id) == (7001, 7001001)
    assert (first.height, first.width, first.mask().sum()) == (8, 12, 18)


def test_trainval_is_made_where_it_is_not_there(release):
    records = read_referit(release, ["trainval"])
    assert [r.raw for r in records["trainval"]] == ["The Sky!", "sky", "ground"]
    assert {r.split for r in records["trainval"]} == {"trainval"}
    (release / "referit_query_trainval.json").write_text('{"7_2": ["only this"]}')
    assert [r.raw for r in read_referit(release, ["trainval"])["trainval"]] == ["only this"]


def test_json_files_may_lie_in_data(release):
    (release / "data").mkdir()
    for file in release.glob("referit_*.json"):
        shutil.move(file, release / "data")
    assert len(read_referit(release)["train"]) == 2


@pytest.mark.parametrize(
    "queries, message",
    [
        ({"../7_1": ["sky"]}, "wanted '<image>_<region>'"),
        ({"7_1": "sky"}, "wanted '<image>_<region>' with a list of expressions"),
        ({"7_1": []}, "wanted at least 1 and .* Received: 0"),
        ({"7_1": [3]}, "wanted expression 0 as text. Received: int"),
        ({"8_1": ["sky"]}, r"wanted \[width, height\] as the size of 8.jpg. Received: None"),
    ],
    ids=str,
)
def test_bad_regions_are_named_or_left_out(release, queries, message):
    path = release / "referit_query_train.json"
    path.write_text(json.dumps({**queries, "7_2": ["ground"]}))
    with pytest.raises(ValueError, match=message) as caught:
        read_referit(release)
    assert "referit_query_train.json, region" in str(caught.value)
    with pytest.warns(UserWarning, match="1 of 3 regions are bad and left out"):
        records = read_referit(release, on_bad="skip")
    assert [r.raw for r in records["train"]] == ["ground"]


def test_a_size_may_be_written_with_a_point(release):
    (release / "referit_imsize.json").write_text('{"7.jpg": [12.0, 8.0]}')
    record = read_referit(release)["train"][0]
    assert (record.height, record.width) == (8, 12) and type(record.height) is int
    for size in ("[12.5, 8]", "[12]", "{}", "[0.0, 8]", "[true, 8]"):
        (release / "referit_imsize.json").write_text(f'{{"7.jpg": {size}}}')
        with pytest.raises(ValueError, match=r"wanted \[width, height\] as the size of 7.jpg"):
            read_referit(release)


def test_a_region_that_is_written_in_two_ways_is_named(release):
    """Both would be one ref, with two masks."""
    path = release / "referit_query_train.json"
    path.write_text(json.dumps({"7_1": ["sky"], "7_01": ["ground"]}))
    with pytest.raises(
        ValueError, match="train.json, region '7_01': wanted one object for ref 7001"
    ):
        read_referit(release)
    path.write_text(json.dumps({"7_1": ["sky \ud83d"]}))
    with pytest.raises(
        ValueError, match="region '7_1': wanted 'expression 0' as text. Received half"
    ):
        read_referit(release)


@pytest.mark.parametrize("text", ["[]", '{"7_1": [', '"x"'])
def test_damaged_queries_are_named(release, text):
    (release / "referit_query_test.json").write_text(text)
    with pytest.raises(ValueError, match=r"referit_query_test\.json"):
        read_referit(release)


def test_missing_files_say_what_is_there(release):
    (release / "referit_imsize.json").unlink()
    with pytest.raises(FileNotFoundError, match="Received: referit_query_test.json, "):
        read_referit(release)
    with pytest.raises(FileNotFoundError, match=r"referit_query_train\.json is missing"):
        (release / "referit_imsize.json").write_text("{}")
        for file in release.glob("referit_query*"):
            file.unlink()
        read_referit(release)


def test_masks_that_are_missing_or_of_another_size_are_problems(release):
    (release / "mask/7_1.mat").unlink()
    scipy.io.savemat(release / "mask/7_2.mat", {"segimg_t": np.zeros((12, 8), "int16")})
    records = read_referit(release)
    _, problems = check_records([*records["train"], *records["val"]])
    reasons = [reason for _, reason in problems]
    assert reasons[0].startswith("mask missing: ") and reasons[0] == reasons[1]
    assert "has no matrix 'segimg_t' of 8 x 12 numbers; it has: 'segimg_t' of 12 x 8" in reasons[2]
