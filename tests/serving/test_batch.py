"""Batches on Beam: every row of a table is in one of two places, whatever is bad in it."""

import gzip
import json
import shutil
from collections import Counter

import numpy as np
import pytest
import tiny
from command import read_rows, write_rows
from image_files import large_png
from PIL import Image
from pycocotools import mask as coco_mask

pytest.importorskip("apache_beam")
parquet = pytest.importorskip("pyarrow.parquet")
batch = pytest.importorskip("keras_cmsa.serving.batch")

HEAD = ("image", "expression")


@pytest.fixture
def photos(tmp_path, rng):
    """A folder with two photos of noise, and files that are none."""
    for name in ("a.png", "b.png"):
        pixels = rng.integers(0, 256, (*rng.integers(20, 40, 2), 3)).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-200])
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "large.png").write_bytes(large_png(20_000, 20_000))
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "a.png.gz").write_bytes(gzip.compress((tmp_path / "a.png").read_bytes()))
    (tmp_path / "long.png").write_bytes(bytes(200_000))
    return tmp_path


BAD = {
    ("none.png", "box"): "none.png: No such file or directory",
    ("cut.png", "box"): "cut.png cannot be decoded",
    ("text.jpg", "box"): "text.jpg is not an image",
    ("large.png", "box"): "wanted an image of 1 to 50,000,000 pixels",
    ("empty.png", "box"): "is not an image",
    ("a.png.gz", "box"): "a.png.gz is not an image",  # read as it is, not unpacked
    ("long.png", "box"): "long.png: wanted a file of at most 100,000 bytes",
    ("..", "box"): "wanted a path inside",
    ("../a.png", "box"): "wanted a path inside",
    ("gs://bucket/../a.png", "box"): "wanted a path inside",
    ("", "box"): "wanted a path inside",
    ("a.png", ""): "needs at least one word",
    ("a.png", "!?"): "needs at least one word",
    ("a.png", "box " * 26): "names one thing in a few words",
}


@pytest.mark.slow
def test_every_row_is_in_one_of_two_places(photos, preset, predictor, monkeypatch, capsys, spied):
    monkeypatch.setattr(batch, "MAX_BYTES", 100_000)
    asked = spied(batch, "answers_of")
    sentences = [*tiny.SENTENCES, "line\nbreak, “box”"]
    good = [(image, sentence) for sentence in sentences for image in ("a.png", "b.png")]
    rows = [*good[:5], *BAD, *good[5:]]
    table, output = photos / "pairs.csv", photos / "out"
    write_rows(table, [HEAD, *rows])
    batch.segment_batch(table, preset, output)

    results = {row["row"]: row for row in parquet.read_table(output / "results").to_pylist()}
    failures = {int(row["row"]): row for row in read_rows(output / "failures.csv")}
    assert Counter([*results, *failures]) == Counter(range(1, len(rows) + 1))
    printed = capsys.readouterr().out
    assert f"{len(good)} of {len(rows)} rows segmented: {output}" in printed
    assert f"{len(BAD)} rows could not be, and why: {output}/failures.csv" in printed
    assert 5 in [
        len(rows) for *_, rows in asked
    ]  # the expressions about b.png went through the model together
    for number, (image, expression) in enumerate(rows, start=1):
        row = results.get(number) or failures[number]
        assert (row["image"], row["expression"]) == (image, expression)
        if reason := BAD.get((image, expression)):
            assert reason in failures[number]["reason"]
            assert "Errno" not in failures[number]["reason"]
            continue
        wanted = predictor(photos / image, expression)
        mask = coco_mask.decode(json.loads(row["segmentation"]))
        np.testing.assert_array_equal(mask, wanted.mask)
        assert tuple(row["box"]) == wanted.box and row["area"] == wanted.mask.sum()
        assert row["score"] == pytest.approx(wanted.score, abs=1e-5)

    # The failures are a table themselves, once what was wrong is mended.
    shutil.copy(photos / "a.png", photos / "none.png")
    batch.segment_batch(output / "failures.csv", preset, photos / "rest", images=photos)
    assert "none.png" in [
        row["image"] for row in parquet.read_table(photos / "rest/results").to_pylist()
    ]


def test_images_outside_when_they_are_allowed(photos, preset):
    (photos / "inner").mkdir()
    handler = batch.PredictorHandler(preset, str(photos / "inner"), "pairs.csv", True)
    for name in (" ../a.png ", str(photos / "a.png")):
        np.testing.assert_array_equal(handler.read(name), Image.open(photos / "a.png"))
    with pytest.raises(ValueError, match="nowhere"):
        handler.read("nowhere://bucket/a.png")


def test_a_call_that_fails_is_asked_again_in_halves(predictor, photos):
    rows = [{"row": n, "image": "a.png", "expression": x} for n, x in enumerate(["box"] * 7)]
    rows[4]["expression"] = "red box"

    def failing(pixels, expressions):
        if "red box" in expressions or len(expressions) > 4:
            raise MemoryError("out of memory\nin a node")
        return predictor(pixels, expressions)

    found = batch.answers_of(failing, np.zeros((9, 9, 3), "uint8"), rows)
    assert [row["row"] for row in found] == [*range(7)]
    assert [row.get("reason") for row in found] == [None] * 4 + ["out of memory", None, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": "missing.csv"}, "missing.csv"),
        ({"table": "other.csv"}, "line 1: wanted each of the columns image, expression"),
        ({"model": "."}, "config.json is not there"),
        ({"output": "other.csv"}, "`output` must be a folder that is not there yet"),
        ({"output": "other.csv/out"}, "wanted a folder to write"),
        ({"output": "out[1]"}, r"`output` must have no \*, \? and \["),
        ({}, "no row of .*pairs.csv could be segmented"),
    ],
)
def test_what_is_refused(photos, preset, monkeypatch, change, message):
    monkeypatch.chdir(photos)
    (photos / "other.csv").write_text("photo,text\n")
    write_rows(photos / "pairs.csv", [HEAD, ("none.png", "box")])
    arguments = {"table": "pairs.csv", "model": preset, "output": "out"} | change
    with pytest.raises((ValueError, OSError), match=message):
        batch.segment_batch(**arguments)


def test_a_run_that_fails_leaves_no_output(photos, preset, monkeypatch):
    write_rows(photos / "pairs.csv", [HEAD, ("a.png", "box")])
    monkeypatch.setattr(batch, "answers_of", lambda *_: [{"row": "no number"}])
    with pytest.raises(ValueError, match="Beam stopped: .*no number"):
        batch.segment_batch(photos / "pairs.csv", preset, photos / "out")
    assert not (photos / "out").exists()
