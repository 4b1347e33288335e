"""Images that a training set shares with held-out splits: found, told, removed."""

import json
import pickle

import pytest
import tiny

from keras_cmsa.data.leakage import held_out_images, remove_held_out
from keras_cmsa.data.readers.refer import read_refer
from keras_cmsa.data.readers.referit import read_referit
from keras_cmsa.data.record import Record


@pytest.fixture
def root(tmp_path):
    """RefCOCO (images 1 to 4 train, 5 and 6 val), and others that hold some of them out."""
    root = tiny.refer_root(tmp_path, {"train": 4, "val": 2})
    (root / "ref_shapes.json").write_text("{}")  # no published counts
    others = {
        "refcoco+/refs(unc).p": [("train", 1), ("val", 2), ("testA", 3), ("testA", 9)],
        "refcocog/refs(umd).p": [("test", 1), ("test", 3.0), ("val", 8), (None, 4), ("val", 2.5)],
        "refclef/refs(unc).p": [("test", 1)],  # other images
    }
    for name, splits in others.items():
        (root / name).parent.mkdir()
        refs = [{"split": split, "image_id": image_id} for split, image_id in splits]
        (root / name).write_bytes(pickle.dumps([*refs, "no ref", {}], 2))
    return root


def held_out(root):
    return held_out_images(root, "refcoco", "unc", read_refer(root))


def told(numbers):
    """The lines about `{split: number}`."""
    return "".join(
        f"The training set has {number} images of {name} (--exclude-images-of {name} removes them)\n"
        for name, number in numbers.items()
    )


def test_images_held_out_are_found(root):
    assert held_out(root) == {
        "refcoco/unc/val": {5, 6},
        "refcoco+/unc/val": {2},
        "refcoco+/unc/testA": {3, 9},
        "refcocog/umd/test": {1, 3},
        "refcocog/umd/val": {8},
    }


ALL = {"refcoco+/unc/val": 1, "refcoco+/unc/testA": 1, "refcocog/umd/test": 2}


@pytest.mark.parametrize(
    "names, left, shared",
    [
        ([], [1, 2, 3, 4], ALL),
        (["refcoco+/unc/testA"], [1, 2, 4], {"refcoco+/unc/val": 1, "refcocog/umd/test": 1}),
        (["refcoco+", "refcocog/umd/val"], [1, 4], {"refcocog/umd/test": 1}),
        (["refcocog/umd", "refcoco+/unc/val"], [4], {}),
        (["all"], [4], {}),
        (["refcoco"], [1, 2, 3, 4], ALL),
    ],
    ids=str,
)
def test_excluded_images_are_gone_and_what_is_left_is_reported(root, capsys, names, left, shared):
    records = remove_held_out(read_refer(root)["train"], held_out(root), names)
    assert [record.image_id for record in records] == left
    assert capsys.readouterr().out == told(shared)


@pytest.mark.parametrize("name", ["refcocog/google", "refcoc", "refcoco+/unc/train"])
def test_unknown_splits_are_named(root, name):
    with pytest.raises(
        ValueError,
        match=f"wanted the name of a held-out split, .* Received: '{name}'".replace("+", r"\+"),
    ):
        remove_held_out([], held_out(root), [name])


@pytest.mark.filterwarnings("ignore:counts differ from the published")
def test_the_releases(samples, tmp_path):
    records = read_referit(samples / "referit")
    test = {record.image_id for record in records["test"]}
    for dataset, known in (("refclef", {}), ("referit", records)):
        images = held_out_images(samples / "referit", dataset, "unc", known)
        assert images == {"referit/test": test}
    entries = [{"annotation_id": 1, "image_id": 7}, {}]
    path = tmp_path / "google_refexp_val_201511.json"
    path.write_text(json.dumps({"annotations": entries}))
    assert held_out_images(tmp_path, "refcoco", "unc", {}) == {"refexp/val": {7}}
    (tmp_path / "referit_query_test.json").write_text("[3]")
    with pytest.warns(UserWarning, match="not all files were searched"):
        assert held_out_images(tmp_path, "refclef", "unc", {}) == {}


def test_another_data_set_that_is_damaged_is_no_obstacle(root):
    path = root / "refcocog/refs(umd).p"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.warns(
        UserWarning, match=r"not all files were searched .*refs\(umd\)\.p is not a whole"
    ):
        found = held_out(root)
    assert {"refcoco/unc/val", "refcoco+/unc/val"} <= set(found)  # the others are searched


def test_a_table_is_held_against_its_own_splits(tmp_path):
    train, val, test = (
        [Record(f"{i}.jpg", i, i, i, "it", "it", "", 2, 2, None) for i in images]
        for images in ([1, 2, 3], [3, 4], [5])
    )
    root = tmp_path / "mine.csv"
    records = {"train": train, "trainval": train, "val": val, "test": test}
    held_out = {"mine/val": {3, 4}, "mine/test": {5}}
    assert held_out_images(root, "refcoco", "unc", records) == held_out
    fit = {"fit": train, "val": val, "test": test}
    assert held_out_images(root, "refcoco", "unc", fit, "fit") == held_out
    assert held_out_images(root, "refcoco", "unc", {"train": train}) == {}
