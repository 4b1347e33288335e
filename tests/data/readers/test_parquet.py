"""Rows of Hugging Face in parquet: those with COCO's annotations, and those with images inside."""

import pytest
from label_tools import BOX, NAME, OTHER, annotated, noise, phrases, wanted, with_image
from PIL import Image

from keras_cmsa.data.check import check_records
from keras_cmsa.data.sources import read_records

arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.Table.from_pylist([*rows]), path)
    return path


def test_rows_with_annotations(tmp_path):
    path = write(tmp_path / "refs.parquet", annotated(), annotated(2, "testA", ref_id=5))
    Image.new("RGB", (12, 8)).save(tmp_path / NAME)
    records = read_records(path, images=tmp_path)
    rows = [
        ("train", "The cup 1!"),
        ("train", "cup, 1"),
        ("testA", "The cup 2!"),
        ("testA", "cup, 2"),
    ]
    assert phrases(records) == wanted(*((*row, 1, BOX) for row in rows))
    assert [r.ref_id for of in records.values() for r in of] == [1, 1, 5, 5]
    assert [r.expression for r in records["train"]] == ["the cup 1", "cup 1"]
    assert check_records(records["train"]) == (records["train"], [])
    with pytest.warns(
        UserWarning, match=r"1 of 1 images are missing from .*/images, .* as `images`"
    ):
        assert list(read_records(path, splits=["testA"])) == ["testA"]


def test_images_inside_are_written_once(tmp_path):
    other = with_image(image={"bytes": noise(1, "JPEG"), "path": None})
    write(tmp_path / "data/validation-00000-of-00002.parquet", with_image(), other)
    write(tmp_path / "data/validation-00001-of-00002.parquet", with_image())
    records = read_records(tmp_path / "data")
    assert list(records) == ["val"] and len(records["val"]) == 9
    first = records["val"][:3]
    assert phrases({"val": first}) == wanted(
        ("val", "The cup", 1, BOX), ("val", "cup, middle", 1, BOX), ("val", "corner", 1, OTHER)
    )
    assert first[0].ref_id == first[1].ref_id != first[2].ref_id
    assert len({r.sentence_id for r in records["val"]}) == 9
    assert len({r.image_id for r in records["val"]}) == 3
    assert check_records(records["val"]) == (records["val"], [])
    files = sorted(path.name for path in (tmp_path / "data/images").iterdir())
    assert files == [
        "validation-00000-of-00002_000000.png", "validation-00000-of-00002_000001.jpg",
        "validation-00001-of-00002_000000.png",
    ]  # fmt: skip
    assert first[0].image_path.read_bytes() == noise()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "data/images").iterdir()}
    assert phrases(read_records(tmp_path / "data")) == phrases(records)
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_the_split_is_held_out_where_no_name_tells_it(tmp_path, capsys):
    rows = [with_image(image={"bytes": noise(n), "path": None}) for n in range(10)]
    records = read_records(write(tmp_path / "rows.parquet", *rows), images=tmp_path / "photos")
    assert {split: len(of) for split, of in records.items()} == {"train": 27, "val": 3}
    assert "1 of its 10 images are val" in capsys.readouterr().err
    (tmp_path / "default/test").mkdir(parents=True)
    assert list(read_records(write(tmp_path / "default/test/0000.parquet", *rows))) == ["test"]


BAD = {
    "wanted 'raw_anns' in JSON. Received: '{'": annotated(raw_anns="{"),
    "wanted a split, .* Received: '../x'": annotated(split="../x"),
    "wanted 'image' of type str. Received: dict": with_image(image={"bytes": None, "path": "a"}),
    "train_000000.jpg is not an image": with_image(image={"bytes": b"x", "path": "a"}),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_rows_are_named(tmp_path, message):
    path = write(tmp_path / "train.parquet", BAD[message])
    with pytest.raises(ValueError, match=rf"train\.parquet, row 0.*{message}"):
        read_records(path)


def test_other_files_are_named(tmp_path):
    path = write(tmp_path / "train.parquet", {"question": "a", "answer": ["b"]})
    with pytest.raises(
        ValueError, match=r"train\.parquet: wanted the columns ref_id, .* or image, s"
    ):
        read_records(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"train\.parquet cannot be read as parquet: .* again"):
        read_records(path)
    with pytest.raises(FileNotFoundError, match=r"none\.parquet"):
        read_records(tmp_path / "none.parquet")


def test_rows_without_end_are_refused(tmp_path):
    """A file of a few kilobytes."""
    nothing = arrow.nulls(2_000_001)
    path = tmp_path / "train.parquet"
    parquet.write_table(arrow.table({"image": nothing, "samples": nothing}), path)
    assert path.stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"at most 2,000,000 rows. Received: 2,000,001"):
        read_records(path)
