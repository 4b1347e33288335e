"""`keras-cmsa segment --csv`: every row answered or named, and resumed after a stop."""

import json
import shutil

import numpy as np
import pytest
from command import read_rows, refused, run, write_rows
from PIL import Image

from keras_cmsa.data.brush import decode_brush
from keras_cmsa.utils.locks import locked


def pairs(folder, rows):
    return write_rows(folder / "pairs.csv", [("image", "expression"), *rows])


def results(folder):
    return read_rows(folder / "results.csv")


ROWS = [
    ("photo.png", "red box"),
    ("photo.png", "!"),
    ("notes.txt", "box"),
    ("later.png", "box"),
    ("photo.png", "=blue box on left"),
]


def test_a_table_with_bad_rows_and_resuming(
    capsys, models_kept, preset, predictor, photo_path, tmp_path
):
    (tmp_path / "notes.txt").write_text("no image")
    table, out = pairs(tmp_path, ROWS), tmp_path / "out"
    command = ["segment", "--csv", table, "--model", preset, "-o", out]
    assert run(*command) == 0
    printed = capsys.readouterr()
    assert "2 of 5 rows segmented" in printed.out and "row 3: " in printed.err
    rows = results(out)
    assert [row["row"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [(row["image"], row["expression"]) for row in rows] == ROWS
    errors = ["at least one word", "is not an image", "which does not exist"]
    for row, error in zip(rows[1:4], errors):
        assert error in row["error"] and not row["mask"]
    for row in (rows[0], rows[4]):
        expected = predictor(photo_path, row["expression"])
        mask = np.asarray(Image.open(out / row["mask"]))
        np.testing.assert_array_equal(mask, expected.mask * 255)
        assert json.loads(row["segmentation"]) == expected.run_lengths
        assert float(row["score"]) == pytest.approx(expected.score, abs=1e-4)
        assert row["box"] == " ".join(map(str, expected.box))

    # As after a kill: a torn last line, one mask gone; and what was missing is there now.
    lines = (out / "results.csv").read_text().splitlines(keepends=True)
    (out / "results.csv").write_text("".join(lines[:-1]) + lines[-1][:9])
    kept = (out / rows[0]["mask"]).stat().st_mtime_ns
    (tmp_path / "later.png").write_bytes(photo_path.read_bytes())
    assert run(*command) == 0
    printed = capsys.readouterr()
    assert "1 of 5 rows were done before" in printed.err and "3 of 5 rows" in printed.out
    again = results(out)
    assert again[0] == rows[0] and again[4] == rows[4] and again[3]["mask"]
    assert (out / rows[0]["mask"]).stat().st_mtime_ns == kept
    assert run(*command) == 0  # nothing left but the bad rows
    assert "3 of 5 rows were done before" in capsys.readouterr().err

    # A row that is edited is answered anew.
    edited = [("photo.png", "blue box on left"), ("later.png", "red box"), *ROWS[2:]]
    pairs(tmp_path, edited)
    assert run(*command) == 0
    assert "2 of 5 rows were done before" in capsys.readouterr().err
    assert [(row["image"], row["expression"]) for row in results(out)] == edited
    found = np.asarray(Image.open(out / "000001.png"))
    np.testing.assert_array_equal(found, predictor(photo_path, edited[0][1]).mask * 255)


def test_a_folder_holds_the_results_of_one_model(capsys, models_kept, preset, photo_path, tmp_path):
    table, out = pairs(tmp_path, ROWS[:1]), tmp_path / "out"
    command = ["segment", "--csv", table, "-o", out, "--model"]
    assert run(*command, preset) == 0
    other = tmp_path / "other"
    shutil.copytree(preset, other)
    assert run(*command, other) == 0  # the same model at another place
    with open(other / "model.keras", "ab") as file:
        file.write(b"\0")
    capsys.readouterr()
    assert "results of another model" in refused(capsys, *command, other)


def test_rows_of_one_image_are_asked_at_once_and_unread_words_told(
    capsys, models_kept, preset, predictor, photo_path, tmp_path, spied
):
    long = "red " * predictor.preprocessor.max_words + "box"
    asked, calls = ["red box", "a box", "zebra", long], spied(type(predictor), "__call__")
    table = pairs(tmp_path, [("photo.png", expression) for expression in asked])
    table = table.rename(tmp_path / "pairs")
    assert run("segment", "--csv", table, "--model", preset) == 0
    assert [expressions for *_, expressions in calls] == [asked]
    told, reads = capsys.readouterr().err, predictor.preprocessor.max_words
    assert "2 of 4 rows have words that the model does not know, first row 2: 'a box'" in told
    assert f"1 of 4 rows have more words than the {reads} that the model reads, first row 4" in told
    assert [row["mask"] for row in results(tmp_path / "pairs_results")] == [
        "000001.png", "000002.png", "000003.png", "000004.png",
    ]  # fmt: skip


def test_a_folder_of_results_that_cannot_be(capsys, preset, photo_path, tmp_path):
    table = pairs(tmp_path, ROWS[:1])
    (tmp_path / "pairs").write_text("a file of the name that the folder would have")
    message = f"wanted a folder to write. Received: {tmp_path / 'pairs'}"
    assert message in refused(capsys, "segment", "--csv", table, "--model", preset)
    command = ["segment", "--csv", table, "--model", preset, "-o", tmp_path]
    (tmp_path / "coco.json").write_text("{}")
    assert "holds a coco.json of something else" in refused(capsys, *command)
    assert (tmp_path / "coco.json").read_text() == "{}"
    (tmp_path / "000001.png").write_bytes(photo_path.read_bytes())
    assert "holds a 000001.png of something else" in refused(capsys, *command)
    assert (tmp_path / "000001.png").read_bytes() == photo_path.read_bytes()
    (tmp_path / "results.csv").write_text("my,own\n1,2\n")
    assert "holds a results.csv of something else" in refused(capsys, *command)
    assert (tmp_path / "results.csv").read_text() == "my,own\n1,2\n"


def test_images_outside_of_the_folder_when_they_are_allowed(
    capsys, models_kept, preset, photo_path, tmp_path
):
    (tmp_path / "tables").mkdir()
    rows = [("../photo.png", "red box"), (str(photo_path), "red box")]
    table, out = pairs(tmp_path / "tables", rows), tmp_path / "out"
    command = ["segment", "--csv", table, "--model", preset, "-o", out]
    assert "no row of" in refused(capsys, *command)
    for row in results(out):
        assert "wanted a path inside" in row["error"] and "--outside takes" in row["error"]
    assert run(*command, "--outside") == 0
    assert [row["error"] for row in results(out)] == ["", ""]


def test_a_folder_is_one_runs_and_what_a_kill_left_goes(capsys, preset, photo_path, tmp_path):
    """A damaged note does not say which model's it is."""
    table, out = pairs(tmp_path, ROWS[:1]), tmp_path / "out"
    (out / ".partial-keras_cmsa-folder").mkdir(parents=True)
    command = ["segment", "--csv", table, "--model", preset, "-o", out]
    with locked(out / ".lock", "a test"):
        assert "another run writes results into" in refused(capsys, *command)
    assert sorted(path.name for path in out.iterdir()) == [".lock", ".partial-keras_cmsa-folder"]
    (out / "made_by.json").write_text("{")
    message = refused(capsys, *command)
    assert f"{out} holds results of another model: give another folder" in message
    assert sorted(path.name for path in out.iterdir()) == [".lock", "made_by.json"]


@pytest.mark.parametrize(
    "format, name", [("coco", "coco.json"), ("label-studio", "label_studio.json")]
)
def test_masks_and_phrases_in_another_format(
    capsys, models_kept, preset, predictor, photo_path, tmp_path, format, name
):
    table, out = pairs(tmp_path, ROWS), tmp_path / "out"
    (tmp_path / "notes.txt").write_text("no image")
    command = ["segment", "--csv", table, "--model", preset, "-o", out]
    assert run(*command) == 0
    assert run(*command, "--format", format) == 0  # also of rows that were done before
    content = json.loads((out / name).read_bytes())
    expected = predictor(photo_path, ["red box", "=blue box on left"])
    assert all(prediction.mask.any() for prediction in expected)
    if format == "coco":
        rows = [(x["caption"], x["segmentation"]) for x in content["annotations"]]
        assert rows == [(p.expression, p.run_lengths) for p in expected]
    else:
        regions = content[0]["predictions"][0]["result"]
        masks = [
            decode_brush(x["value"]["rle"], 31, 47, "it") for x in regions if "rle" in x["value"]
        ]
        np.testing.assert_array_equal(masks, [p.mask for p in expected])
        assert content[0]["data"]["text"] == "red box\n=blue box on left"

    lines = read_rows(out / "results.csv")
    for damaged in ("{}", "x", '{"size": 3, "counts": ""}'):
        lines[0]["segmentation"] = damaged
        write_rows(out / "results.csv", [list(lines[0]), *(list(row.values()) for row in lines)])
        message = refused(capsys, *command, "--format", format)
        assert f"{out / 'results.csv'}, row 1: wanted a score and COCO's run lengths" in message
