"""Names from tables: splits that every later step can carry, paths that stay in a folder."""

from pathlib import Path

import pytest

from keras_cmsa.utils.names import checked_split, path_inside


@pytest.mark.parametrize("name", ["train", "testA", "val-2", "Val_3", "7", "x" * 50])
def test_splits(name):
    assert checked_split(name, "t.csv, line 2") == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "val 1", "test.A", "/../../x", "..", "a/b", "a\\b", "x" * 51, "val\n", "a\nb", "-v",
     "train[:5]", "train+val", "all", "prüfung", "\0"],
)  # fmt: skip
def test_splits_that_something_cannot_carry(name):
    with pytest.raises(ValueError, match=r"^t\.csv, line 2: wanted a split, such as train"):
        checked_split(name, "t.csv, line 2")


@pytest.mark.parametrize("name", ["a.png", " photos/a.png ", "photos//a b.png", "..a.png"])
def test_paths_inside(name):
    assert path_inside(Path("there"), name, "t.csv") == Path("there", name.strip())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("https://x.org/a.png", "an address: download"),
        ("C:\\photos\\a.png", "drive letter"),
        ("~/a.png", "home folder"),
        ("photos\\a.png", "backslashes: write /"),
        ("cafe\u0301.png", "another Unicode form"),
    ],
)
def test_names_that_tell_why_they_are_none_here(tmp_path, name, reason):
    (tmp_path / "caf\u00e9.png").touch()
    with pytest.raises(ValueError, match=f"t.csv, line 2: wanted a path .* Received: .*{reason}"):
        path_inside(tmp_path, name, "t.csv, line 2")
    (tmp_path / "a\\b.png").touch()
    assert path_inside(tmp_path, "a\\b.png", "t.csv").is_file()
    assert path_inside(tmp_path, "caf\u00e9.png", "t.csv").is_file()


@pytest.mark.parametrize(
    "name", ["", ".", "/a.png", " /a.png", "../a.png", "a/../../b.png", "a\0", "x" * 256]
)
def test_paths_that_lead_out(name):
    with pytest.raises(ValueError, match=r"^t\.csv: wanted a path inside there and relative to it"):
        path_inside(Path("there"), name, "t.csv")
