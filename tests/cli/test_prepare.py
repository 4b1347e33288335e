"""`keras-cmsa prepare`: what is wrong with a data set."""

import pytest
from command import last_line, read_rows, run
from PIL import Image


def test_problems_are_counted_and_named(capsys, tmp_path):
    from keras_cmsa.data.ref_shapes import write_ref_shapes

    root = write_ref_shapes(
        tmp_path / "shapes", scenes={"train": 6, "val": 2, "testA": 2, "testB": 2}, processes=1
    )
    broken = sorted(root.glob("images/mscoco/images/train2014/*.jpg"))[0]
    broken.write_bytes(broken.read_bytes()[:500])
    assert run("prepare", root, "--problems", tmp_path / "problems.csv") == 0
    printed = capsys.readouterr().out
    rows = read_rows(tmp_path / "problems.csv")
    assert rows and {row["image"] for row in rows} == {str(broken)}
    assert f"{len(rows)} of " in printed and "train: " in printed


def test_missing_images_are_counted(capsys, samples):
    with pytest.warns(UserWarning, match=r"4 of 4 images are missing|counts differ"):
        code = run("prepare", samples / "refer_without_images", "--dataset", "refcoco+")
    assert code == 2
    output = capsys.readouterr()
    assert "25 of 25 expressions skipped" in output.out
    assert "no usable expression" in output.err


@pytest.mark.filterwarnings("ignore:counts differ")
def test_images_that_are_held_out_elsewhere_are_told(capsys, samples):
    assert (
        run("prepare", samples / "refer", "--dataset", "refcocog", "--split-owner", "google") == 0
    )
    printed = capsys.readouterr().out
    assert "The training set has 2 images of refcocog/google/val" in printed
    assert "train: 26 refs, 26 sentences, 26 images" in printed


def test_a_table_without_a_good_row(capsys, tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("image,expression,mask,split\nnone.png,cup,none.png,train\n")
    with pytest.warns(UserWarning, match="1 of 1 rows are bad and left out"):
        assert run("prepare", table) == 2
    assert last_line(capsys).endswith(f"no usable expression in {table}")


def test_problems_run_nothing_in_a_spreadsheet(tmp_path):
    table = tmp_path / "mine.csv"
    Image.new("RGB", (12, 8)).save(tmp_path / "=1.png")
    table.write_text("image,expression,mask,split\n=1.png,=1+1 cups,none.png,train\n")
    assert run("prepare", table, "--problems", tmp_path / "problems.csv") == 2
    (row,) = read_rows(tmp_path / "problems.csv")
    assert row["expression"] == "'=1+1 cups" and row["image"] == str(tmp_path / "=1.png")
