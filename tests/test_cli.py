"""The command line: what it prints, and that bad input is one line and exit code 2."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

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


# --- with a model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a tiny model, its vocabulary and a photo."""
    import keras
    import tiny

    keras.utils.set_random_seed(7)
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(2)
    model = tiny.model()
    for weight in model.trainable_weights:
        weight.assign_add(rng.normal(scale=0.3, size=weight.shape))
    model.save(folder / "model.keras")
    tiny.vocabulary().save(folder / "vocabulary.txt")
    photo = rng.integers(0, 256, (20, 30, 3)).astype("uint8")
    Image.fromarray(photo).save(folder / "photo.png")
    return folder


@pytest.fixture
def predictor(trained):
    from keras_cmsa import Predictor

    return Predictor.load(trained)


def test_segment(capsys, trained, predictor, tmp_path):
    from pycocotools import mask as coco_mask

    from keras_cmsa.visualize import overlay

    photo = trained / "photo.png"
    out, mask = tmp_path / "out.png", tmp_path / "mask.png"
    arguments = ["segment", photo, "red box", "--model", trained, "-o", out, "--mask", mask]
    assert run(*arguments, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    expected = predictor(photo, "red box")
    assert result["expression"] == "red box" and result["words"] == ["red", "box"]
    assert result["score"] == pytest.approx(expected.score, abs=1e-4)
    assert result["area"] == expected.mask.sum()
    assert result["box"] == (list(expected.box) if expected.box else None)
    np.testing.assert_array_equal(coco_mask.decode(result["segmentation"]), expected.mask)
    np.testing.assert_allclose(result["word_attention"], expected.word_attention, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(Image.open(mask)), expected.mask * 255)
    pixels = np.asarray(Image.open(photo))
    np.testing.assert_array_equal(np.asarray(Image.open(out)), overlay(pixels, expected.mask))
    assert run(*arguments) == 0
    assert "red box" in capsys.readouterr().out


def pairs(folder, rows):
    with open(folder / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "expression"), *rows])
    return folder / "pairs.csv"


def results(folder):
    with open(folder / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_segment_a_table_with_bad_rows_and_go_on(capsys, trained, predictor, tmp_path):
    (tmp_path / "photo.png").write_bytes((trained / "photo.png").read_bytes())
    (tmp_path / "notes.txt").write_text("no image")
    table = pairs(
        tmp_path,
        [
            ("photo.png", "red box"),
            ("photo.png", "!"),
            ("notes.txt", "box"),
            ("later.png", "box"),
            ("photo.png", "blue box on left"),
        ],
    )
    out = tmp_path / "out"
    command = ["segment", "--csv", table, "--model", trained, "-o", out]
    assert run(*command) == 0
    printed = capsys.readouterr()
    assert "2 of 5 rows segmented" in printed.out and "row 3: " in printed.err
    rows = results(out)
    assert [row["row"] for row in rows] == ["1", "2", "3", "4", "5"]
    errors = ["at least one word", "is no image", "No such file"]
    for row, error in zip(rows[1:4], errors):
        assert error in row["error"] and not row["mask"]
    for row in (rows[0], rows[4]):
        expected = predictor(trained / "photo.png", row["expression"])
        mask = np.asarray(Image.open(out / row["mask"]))
        np.testing.assert_array_equal(mask, expected.mask * 255)
        assert json.loads(row["segmentation"]) == expected.run_lengths
        assert float(row["score"]) == pytest.approx(expected.score, abs=1e-4)

    # As after a kill: a torn last line, one mask gone; and what was missing is there now.
    lines = (out / "results.csv").read_text().splitlines(keepends=True)
    (out / "results.csv").write_text("".join(lines[:-1]) + lines[-1][:9])
    kept = (out / rows[0]["mask"]).stat().st_mtime_ns
    (tmp_path / "later.png").write_bytes((trained / "photo.png").read_bytes())
    assert run(*command) == 0
    printed = capsys.readouterr()
    assert "1 of 5 rows were done before" in printed.err and "3 of 5 rows" in printed.out
    again = results(out)
    assert again[0] == rows[0] and again[4] == rows[4] and again[3]["mask"]
    assert (out / rows[0]["mask"]).stat().st_mtime_ns == kept
    assert run(*command) == 0  # nothing left but the bad rows
    capsys.readouterr()

    (trained / "other.keras").write_bytes(b"another")
    assert run("segment", "--csv", table, "--model", trained / "other.keras", "-o", out) == 2
    assert "results of another model" in capsys.readouterr().err


def test_bad_input_of_segment_is_one_line(capsys, trained, tmp_path):
    import keras

    photo = trained / "photo.png"
    (tmp_path / "notes.txt").write_text("a red box")
    whole = (trained / "model.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(whole[: len(whole) // 2])
    image = keras.Input((8, 8, 3))
    keras.Model(image, keras.layers.Dense(1)(image)).save(tmp_path / "foreign.keras")
    (tmp_path / "bad.csv").write_text("picture,text\na.png,box\n")
    (tmp_path / "lost.csv").write_text("image,expression\na.png,box\n")
    for arguments, message in [
        ([tmp_path / "notes.txt", "box"], "is no image"),
        ([tmp_path / "none.png", "box"], "No such file"),
        ([photo, "box " * 300], "300 words"),
        ([photo, ""], "at least one word"),
        ([photo, "box", "--model", tmp_path / "cut.keras"], "cannot be loaded"),
        ([photo, "box", "--model", tmp_path / "foreign.keras"], "inputs 'image' and 'words'"),
        ([photo, "box", "--model", tmp_path / "none.keras"], "is not there"),
        ([photo], "wanted IMAGE"),
        (["--csv", tmp_path / "bad.csv"], "image and expression"),
        (["--csv", tmp_path / "lost.csv"], "no row of"),
    ]:
        model = [] if "--model" in arguments else ["--model", trained]
        assert run("segment", *arguments, *model) == 2, arguments
        errors = capsys.readouterr().err
        assert "Traceback" not in errors
        (last,) = [line for line in errors.splitlines() if line.startswith("keras-cmsa: ")]
        assert message in last


def test_explain_and_info(capsys, trained, tmp_path):
    photo = trained / "photo.png"
    Image.fromarray(np.full((20, 30), 255, "uint8")).save(tmp_path / "true.png")
    Image.fromarray(np.full((9, 9), 255, "uint8")).save(tmp_path / "small.png")
    command = ["explain", photo, "red box", "--model", trained, "-o", tmp_path / "figures"]
    assert run(*command, "--truth", tmp_path / "true.png") == 0
    for name in ("words.png", "places.png"):
        with Image.open(tmp_path / "figures" / name) as picture:
            assert picture.width > 500
    assert run(*command, "--truth", tmp_path / "small.png") == 2
    assert "(9, 9)" in capsys.readouterr().err
    assert run("info", trained, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["model"] == "cmsa" and facts["image size"] == 16 and facts["vocabulary"] == 10


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_a_photo_that_is_none_of_ours(capsys, trained, tmp_path, name):
    data = pytest.importorskip("skimage.data", reason="needs scikit-image, of the extra test")
    photo = getattr(data, name)()
    path = tmp_path / f"{name}.jpg"
    Image.fromarray(photo).save(path)
    out, mask = tmp_path / "out.png", tmp_path / "mask.png"
    assert run("segment", path, "red box", "--model", trained, "-o", out, "--mask", mask) == 0
    for written in (out, mask):
        with Image.open(written) as picture:
            assert picture.size == photo.shape[1::-1]
    figures = tmp_path / "figures"
    assert run("explain", path, "red box", "blue box", "--model", trained, "-o", figures) == 0
    assert (
        run("segment", "--csv", pairs(tmp_path, [(path.name, "red box")]), "--model", trained) == 0
    )
    (row,) = results(tmp_path / "pairs")
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "pairs" / row["mask"])), np.asarray(Image.open(mask))
    )


def test_evaluate(capsys, trained, predictor, tmp_path):
    import tiny

    from keras_cmsa.data.refer import read_refer
    from keras_cmsa.evaluation import evaluate, summarize

    root = tiny.refer_root(tmp_path / "refer", {"train": 1, "val": 3, "testA": 2})
    out = tmp_path / "evaluation"
    with pytest.warns(UserWarning, match="counts differ"):
        assert run("evaluate", root, "--model", trained, "-o", out, "--json") == 0
        records = read_refer(root, "refcoco", "unc")
    metrics = json.loads(capsys.readouterr().out)
    assert set(metrics["splits"]) == {"val", "testA"} and metrics["weights"] == "unknown"
    for split, numbers in metrics["splits"].items():
        scores = evaluate(predictor.model, predictor.vocabulary, records[split])
        assert numbers == pytest.approx(summarize(scores))
        assert (out / f"failures_{split}.png").exists() and (out / f"scores_{split}.csv").exists()


def test_train_lists_and_runs_recipes(capsys, monkeypatch, tmp_path):
    from keras_cmsa.commands import train

    assert run("train") == 0
    assert "unc       CMSA on UNC (RefCOCO)." in capsys.readouterr().out
    assert run("train", "nothing") == 2
    assert "recipe must be one of" in capsys.readouterr().err
    (tmp_path / "train_mine.py").write_text('"""Mine."""\nimport sys\nprint(sys.argv[1:])\n')
    monkeypatch.setattr(train, "RECIPES", tmp_path)
    monkeypatch.setattr(sys, "argv", ["keras-cmsa"])
    assert run("train", "mine", "--small", "--steps", "5") == 0
    assert "['--small', '--steps', '5']" in capsys.readouterr().out
    monkeypatch.setattr(train, "RECIPES", tmp_path / "none")
    assert run("train") == 2
    assert "has no recipes" in capsys.readouterr().err


def test_every_command_has_help_without_keras(capsys):
    program = (
        "import sys; sys.argv = ['keras-cmsa', sys.argv[1], '--help']\n"
        "from keras_cmsa.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    for command in ("segment", "evaluate", "explain", "train", "info"):
        done = subprocess.run(
            [sys.executable, "-c", program, command], check=True, capture_output=True, text=True
        )
        assert f"keras-cmsa {command}" in done.stdout and "Parameters" in done.stdout
