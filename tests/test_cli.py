"""The command line: what it prints, and that bad input is one line and exit code 2."""

import csv
import subprocess
import sys

import pytest

from keras_cmsa.cli import main


def run(*arguments):
    """Exit code of `keras-cmsa <arguments>`."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code or 0


def test_synthesize_and_prepare(capsys, tmp_path):
    from keras_cmsa.data.ref_shapes import write_ref_shapes

    root = write_ref_shapes(
        tmp_path / "shapes", scenes={"train": 6, "val": 2, "testA": 2, "testB": 2}, processes=1
    )
    broken = sorted(root.glob("images/mscoco/images/train2014/*.jpg"))[0]
    broken.write_bytes(broken.read_bytes()[:500])
    assert run("prepare", root, "--problems", tmp_path / "problems.csv") == 0
    printed = capsys.readouterr().out
    with open(tmp_path / "problems.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows and {row["image"] for row in rows} == {str(broken)}
    assert f"{len(rows)} of " in printed and "train: " in printed


def test_prepare_counts_missing_images(capsys, samples):
    with pytest.warns(UserWarning, match=r"4 of 4 images are missing|counts differ"):
        code = run("prepare", samples / "refer_without_images", "--dataset", "refcoco+")
    assert code == 2
    output = capsys.readouterr()
    assert "25 of 25 expressions skipped" in output.out
    assert "no usable expression" in output.err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from inside TFDS
@pytest.mark.filterwarnings("ignore:counts differ")
def test_prepare_writes_shards(capsys, samples, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    arguments = [samples / "refer", "--dataset", "refcocog", "--split-owner", "google"]
    assert run("prepare", *arguments, "--output", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "The training set has 2 images of refcocog/google/val" in printed
    assert "train: 26 refs, 26 sentences, 26 images" in printed
    assert run("prepare", *arguments, "--output", tmp_path, "--exclude-images-of", "all") == 0
    printed = capsys.readouterr().out
    assert "The training set has" not in printed
    assert "train: 24 refs, 24 sentences, 24 images" in printed
    configs = {path.name for path in (tmp_path / "refer_segmentation").glob("gref*[!v]")}
    assert {"gref_google", "gref_google_without_all"} <= configs


def test_bad_input_is_one_line(capsys, tmp_path):
    assert run("prepare", tmp_path) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "refs(unc).p is missing" in error


def test_help_needs_no_keras():
    program = (
        "import sys; sys.argv = ['keras-cmsa', '--help']\n"
        "from keras_cmsa.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
