"""`keras-cmsa segment` for one photo: the predictor's answer, as text, JSON and pictures."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from command import refused, run
from PIL import Image
from pycocotools import mask as coco_mask

from keras_cmsa.cli.segment import as_line
from keras_cmsa.explain.drawing import overlay


@pytest.mark.usefixtures("untraced")
def test_segment(capsys, preset, predictor, photo_path, tmp_path):
    out, mask = tmp_path / "out.png", tmp_path / "mask.png"
    asked = ["segment", photo_path, "red box", "--model", preset, "-o", out, "--mask", mask]
    assert run(*asked, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    expected = predictor(photo_path, "red box")
    assert result["expression"] == "red box" and result["words"] == ["red", "box"]
    assert result["score"] == pytest.approx(expected.score, abs=1e-4)
    assert result["area"] == expected.mask.sum() > 0
    assert result["box"] == list(expected.box)
    np.testing.assert_array_equal(coco_mask.decode(result["segmentation"]), expected.mask)
    np.testing.assert_allclose(result["word_attention"], expected.word_attention, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(Image.open(mask)), expected.mask * 255)
    pixels = np.asarray(Image.open(photo_path))
    np.testing.assert_array_equal(np.asarray(Image.open(out)), overlay(pixels, expected.mask))


def test_the_line(capsys, models_kept, preset, predictor, photo_path):
    expected = predictor(photo_path, "green zebra")
    assert run("segment", photo_path, "green zebra", "--model", preset) == 0
    box = " ".join(map(str, expected.box))
    assert capsys.readouterr().out == (
        f"“green zebra”: {expected.mask.sum():,} pixels ({100 * expected.mask.mean():.1f} % of the "
        f"image), score {expected.score:.2f}, box {box}; 1 of 2 words unknown\n"
    )


def test_several_expressions_are_asked_in_one_pass(
    capsys, models_kept, preset, predictor, photo_path, tmp_path, spied
):
    asked, calls = ["red box", "blue box", "box"], spied(type(predictor), "__call__")
    outputs = ["-o", tmp_path / "out.png", "--mask", tmp_path / "mask.png"]
    assert run("segment", photo_path, *asked, "--model", preset, *outputs, "--json") == 0
    assert [expressions for *_, expressions in calls] == [asked]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    pixels = np.asarray(Image.open(photo_path))
    for number, (line, expected) in enumerate(zip(lines, predictor(photo_path, asked)), 1):
        assert line["expression"] == expected.expression == asked[number - 1]
        assert line["area"] == expected.mask.sum()
        mask = np.asarray(Image.open(tmp_path / f"mask_{number}.png"))
        np.testing.assert_array_equal(mask, 255 * expected.mask)
        picture = np.asarray(Image.open(tmp_path / f"out_{number}.png"))
        np.testing.assert_array_equal(picture, overlay(pixels, expected.mask))
    assert len(lines) == 3 and not (tmp_path / "out.png").exists()


def test_nothing_found():
    kept = {"tokens": ["red", "box"], "preprocessor": tiny.preprocessor()}
    nothing = SimpleNamespace(expression="red box", box=None, exists=True, **kept)
    assert as_line(nothing, []) == "“red box”: nothing found"


def test_bad_input_is_one_line(capsys, models_kept, preset, photo_path, tmp_path):
    png = tmp_path / "a.png"
    (tmp_path / "notes.txt").write_text("a red box")
    (tmp_path / "bad.csv").write_text("picture,text\na.png,box\n")
    (tmp_path / "lost.csv").write_text("image,expression\na.png,box\n")
    (tmp_path / "empty.csv").write_text("image,expression\n")
    for arguments, message in [
        ([tmp_path / "notes.txt", "box"], "is not an image"),
        ([tmp_path / "none.png", "box"], "which does not exist"),
        ([photo_path, "box " * 300], "300 words"),
        ([photo_path, ""], "at least one word"),
        ([photo_path, "box", "--model", tmp_path], "is no preset: config.json is not there"),
        ([photo_path, "box", "--model", "hf://user"], "wanted hf://user/name"),
        ([photo_path, "box", "-o", tmp_path / "a.jpg"], "whose name ends in .png. Received: "),
        ([photo_path, "box", "-o", png, "--mask", png], "wanted two files"),
        ([photo_path, "box", "-o", png, "--mask", tmp_path / "x" / ".." / png.name], "wanted two"),
        ([png, "box", "-o", png], "other than what is read"),
        ([photo_path, "box", "--outside"], "--format and --outside are for a table"),
        ([photo_path, "box", "--format", "coco"], "--format and --outside are for a table"),
        (["--csv", tmp_path / "lost.csv", "--mask", png], "--mask and --json are for one photo"),
        (["--csv", tmp_path / "lost.csv", "--json"], "--mask and --json are for one photo"),
        ([photo_path], "wanted IMAGE"),
        ([photo_path, "box", "--csv", tmp_path / "lost.csv"], "wanted IMAGE"),
        (["--csv", tmp_path / "nope.csv"], "wanted a table as CSV. Received: "),
        (["--csv", tmp_path / "bad.csv"], "the columns image, expression"),
        (["--csv", tmp_path / "empty.csv"], "has no rows"),
        (["--csv", tmp_path / "lost.csv"], "no row of"),
    ]:
        model = [] if "--model" in arguments else ["--model", preset]
        assert message in refused(capsys, "segment", *arguments, *model)
    assert not (tmp_path / "bad").exists()  # the folder of results
