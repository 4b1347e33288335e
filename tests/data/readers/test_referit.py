"""The ReferIt release: real queries and boxes, masks equal to SciPy's reading of the .mat files."""

import json
import shutil

import numpy as np
import pytest
import scipy.io
from PIL import Image

from keras_cmsa.data.check import check_records
from keras_cmsa.data.readers import referit
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


def test_real_counts_and_masks(samples):
    """The masks equal the .mat arrays."""
    records = read_referit(samples / "referit")
    assert {split: count(of) for split, of in records.items()} == {
        "train": (9, 10, 1),
        "val": (0, 0, 0),
        "test": (15, 17, 3),
    }
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


def test_fields(release):
    first, second = read_referit(release)["train"]
    assert (first.raw, first.expression, first.split) == ("The Sky!", "the sky", "train")
    assert (first.image_id, first.ref_id, first.sentence_id) == (7, 7001, 7001000)
    assert (second.ref_id, second.sentence_id) == (7001, 7001001)
    assert (first.height, first.width, first.mask().sum()) == (8, 12, 18)


@pytest.mark.filterwarnings("error")
def test_a_whole_release_brings_no_warning(release, monkeypatch):
    """Nor does trainval, which is read on request alone."""
    counts = {"train": (1, 2, 1), "val": (1, 1, 1), "trainval": (2, 3, None), "test": (0, 0, 0)}
    monkeypatch.setattr(referit, "PUBLISHED_COUNTS", counts)
    assert set(read_referit(release)) == {"train", "val", "test"}


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
        ({"7_1": "sky"}, "wanted '<image>_<region>' with a list of at most 1,000 expressions"),
        ({"7_1": [3]}, "expressions entry 0: wanted 'expressions' of type str. Received: int"),
        ({"7_1": []}, "wanted at least 1 expressions. Received: 0"),
        ({"8_1": ["sky"]}, r"wanted '8.jpg' of type list. Received: nothing"),
        # Both would be one ref, with two masks.
        ({"7_1": ["a"], "7_01": ["b"]}, "'7_01': wanted one object for ref 7001"),
    ],
    ids=str,
)
def test_bad_regions_are_named(release, queries, message):
    (release / "referit_query_train.json").write_text(json.dumps(queries))
    with pytest.raises(ValueError, match=f"referit_query_train.json, region .*{message}"):
        read_referit(release)


def test_a_size_may_be_written_with_a_point(release):
    sizes = release / "referit_imsize.json"
    sizes.write_text('{"7.jpg": [12.0, 8.0]}')
    record = read_referit(release)["train"][0]
    assert (record.height, record.width) == (8, 12) and type(record.height) is int
    a_side, two = r"'(width|height)' of type int", r"\[width, height\]"
    for size, said in {"12.5, 8": a_side, "true, 8": a_side, "12": two, "12, 8, 3": two}.items():
        sizes.write_text(f'{{"7.jpg": [{size}]}}')
        with pytest.raises(ValueError, match=f"size of 7.jpg: wanted {said}"):
            read_referit(release)


def test_missing_files_are_named(release):
    (release / "referit_imsize.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"wanted referit_imsize\.json in .* none of them"):
        read_referit(release)
