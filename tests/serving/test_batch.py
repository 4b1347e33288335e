"""Batches on Beam, part by part: tables, shards, the handler, the output."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from image_files import encoded, large_png
from PIL import Image
from pycocotools import mask as coco_mask

pytest.importorskip("tensorflow")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
# Skipped without Apache Beam, which they import.
handler, output, pipeline = (
    pytest.importorskip(f"keras_cmsa.serving.batch.{name}")
    for name in ("handler", "output", "pipeline")
)
Batch = pipeline.Batch


def pairs(*rows):
    """Rows of a table from `(image, expression)`."""
    return [
        {"row": number, "image": image, "expression": expression}
        for number, (image, expression) in enumerate(rows, start=1)
    ]


def cut(rows, **sizes):
    """The row numbers of each piece of each shard."""
    batch = Batch("pairs.csv", "model", "out", **sizes)
    return [
        [[row["row"] for row in piece.rows] for piece in shard]
        for shard in pipeline.shards_of(rows, batch)
    ]


def test_rows_of_an_image_lie_together_in_pieces_and_shards_of_bounded_size():
    rows = pairs(*((image, "box") for image in "abacabaa"))
    assert cut(rows) == [[[1, 3, 5, 7, 8], [2, 6], [4]]]
    assert cut(rows, sentences_at_once=2) == [[[1, 3], [5, 7], [8], [2, 6], [4]]]
    assert cut(rows, sentences_at_once=2, rows_per_shard=3) == [
        [[1, 3]], [[5, 7], [8]], [[2, 6], [4]],
    ]  # fmt: skip
    assert cut(rows, sentences_at_once=1, rows_per_shard=1) == [
        [[n]] for n in (1, 3, 5, 7, 8, 2, 6, 4)
    ]


def test_a_table_is_csv_or_parquet(tmp_path):
    rows = {
        "image": ["a.png", None, " b.png"],
        "expression": ["box", "red", None],
        "more": [1, 2, 3],
    }
    parquet.write_table(pyarrow.table(rows), tmp_path / "pairs.parquet")
    (tmp_path / "pairs.csv").write_text("more,expression,image\n1,box,a.png\n2,red,\n3,, b.png\n")
    wanted = pairs(("a.png", "box"), ("", "red"), (" b.png", ""))
    for name in ("pairs.csv", "pairs.parquet"):
        path = tmp_path / name
        assert pipeline.rows_of_table(path.read_bytes(), str(path)) == wanted


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"image": ["a"]}, "wanted Parquet with the columns image, expression of text"),
        ({"image": [[1]], "expression": ["b"]}, "wanted Parquet with the columns"),
        (
            {"image": pyarrow.array([], "string"), "expression": pyarrow.array([], "string")},
            "no rows",
        ),
        (None, "wanted Parquet with the columns"),
    ],
)
def test_parquet_that_is_no_table(table, message, tmp_path):
    path = tmp_path / "pairs.parquet"
    if table:
        parquet.write_table(pyarrow.table(table), path)
    else:
        path.write_text("image,expression\n")
    with pytest.raises(ValueError, match=message) as error:
        pipeline.rows_of_table(path.read_bytes(), str(path))
    assert str(path) in str(error.value)


@pytest.fixture
def photos(tmp_path, rng):
    """A folder with three photos of noise, and files that are none."""
    for name in ("a.png", "b.png", "c.jpg"):
        pixels = rng.integers(0, 256, (*rng.integers(20, 40, 2), 3)).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-200])
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "large.png").write_bytes(large_png(20_000, 20_000))
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "photo.tiff").write_bytes(encoded(np.zeros((9, 9, 3), "uint8"), "TIFF"))
    return tmp_path


@pytest.fixture
def batch(exported, photos):
    made = Batch(str(photos / "pairs.csv"), str(exported), str(photos / "out"))
    return pipeline.located(made)


@pytest.fixture(scope="module")
def segmenter(exported):
    return handler.Segmenter(exported)


@pytest.fixture
def counted(segmenter, monkeypatch):
    """The shapes of the calls of the model."""
    calls, ask = [], segmenter.ask

    def counting(image_bytes, expressions):
        calls.append((image_bytes.shape[0], expressions.shape[1]))
        return ask(image_bytes=image_bytes, expressions=expressions)

    monkeypatch.setattr(segmenter, "ask", counting)
    return calls


def run(segmenter, batch, rows):
    """What the worker's steps make of a table: `{row: result}`."""
    found = {}
    model = handler.ShardHandler(batch.model, batch.images_at_once)
    for shard in pipeline.shards_of(rows, batch):
        read = pipeline.read_shard(("name", shard), batch)
        ((name, results),) = model.run_inference([read], segmenter)
        assert name == "name" and model.get_num_bytes([read]) > 0
        found |= {result["row"]: result for result in results}
    return found


def test_masks_are_the_predictors_and_an_image_is_encoded_once(
    batch, segmenter, predictor, counted, photos
):
    rows = pairs(*((image, e) for e in tiny.SENTENCES for image in ("a.png", "b.png", "c.jpg")))
    rows = [*rows, *pairs(("a.png", "box"))]
    rows[-1]["row"] = len(rows)
    found = run(segmenter, replace(batch, images_at_once=2), rows)
    assert counted == [(2, 4), (1, 5)]
    assert sorted(found) == [row["row"] for row in rows]
    for row in rows:
        result, wanted = found[row["row"]], predictor(photos / row["image"], row["expression"])
        mask = coco_mask.decode(json.loads(result["segmentation"]))
        np.testing.assert_array_equal(mask, wanted.mask)
        assert json.loads(result["segmentation"]) == wanted.run_lengths
        assert result["box"] == wanted.box and result["area"] == wanted.mask.sum()
        assert result["score"] == pytest.approx(wanted.score, abs=1e-5)
        assert {name: result[name] for name in row} == row


def test_more_expressions_than_go_at_once(batch, segmenter, counted):
    rows = pairs(*(("a.png", e) for e in tiny.SENTENCES), ("b.png", "box"))
    found = run(segmenter, replace(batch, sentences_at_once=3), rows)
    assert counted == [(3, 3)] and sorted(found) == [1, 2, 3, 4, 5]
    whole = run(segmenter, batch, rows)
    assert [found[n]["segmentation"] for n in found] == [whole[n]["segmentation"] for n in found]


def test_what_cannot_be_answered_has_a_reason_and_hurts_no_neighbour(batch, segmenter, photos):
    reasons = {
        ("none.png", "box"): "No such file",
        ("cut.png", "box"): f"{photos}/cut.png cannot be decoded",
        ("text.jpg", "box"): f"{photos}/text.jpg is not an image",
        ("large.png", "box"): "wanted an image of 1 to 50,000,000 pixels",
        ("empty.png", "box"): "is not an image",
        ("photo.tiff", "box"): "an exported model reads JPEG and PNG",
        ("..", "box"): "wanted a path inside",
        ("../a.png", "box"): "--outside takes others too",
        (str(photos / "a.png"), "box"): "wanted a path inside",
        ("gs://bucket/../a.png", "box"): "wanted a path inside",
        ("", "box"): "wanted a path inside",
        ("a\0b", "box"): "wanted a path inside",
        ("a.png", ""): "needs at least one word",
        ("a.png", "!?"): "needs at least one word",
        ("a.png", "box " * 26): "names one thing in a few words",
    }
    rows = pairs(("a.png", "box"), *reasons, (" b.png", "box"))
    found = run(segmenter, batch, rows)
    assert sorted(found) == [row["row"] for row in rows]
    for row, reason in zip(rows[1:-1], reasons.values()):
        assert reason in found[row["row"]]["reason"], row
    alone = run(segmenter, batch, pairs(("a.png", "box")))
    assert found[1] == alone[1] and found[len(rows)]["segmentation"]


def test_images_outside_when_they_are_allowed(batch, photos):
    assert pipeline.address_of("gs://bucket/a.png", batch) == f"{photos}/gs://bucket/a.png"
    batch = replace(batch, images=str(photos / "inner"), outside=True)
    assert pipeline.address_of(" ../a.png ", batch) == f"{photos}/inner/../a.png"
    assert pipeline.address_of(str(photos / "a.png"), batch) == str(photos / "a.png")
    assert pipeline.address_of("gs://bucket/a.png", batch) == "gs://bucket/a.png"


def test_a_call_that_fails_is_asked_again_image_by_image(batch, segmenter, monkeypatch):
    import tensorflow as tf

    ask = segmenter.ask

    def failing(image_bytes, expressions):
        if len(image_bytes) > 1 or tf.reduce_any(expressions == "red box"):
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory\nin a node")
        return ask(image_bytes=image_bytes, expressions=expressions)

    monkeypatch.setattr(segmenter, "ask", failing)
    found = run(segmenter, batch, pairs(("a.png", "box"), ("b.png", "red box"), ("c.jpg", "box")))
    assert "segmentation" in found[1] and "segmentation" in found[3]
    assert found[2]["reason"] == "ResourceExhaustedError: out of memory"


def test_a_shard_is_two_files_and_counts_only_with_both(tmp_path):
    row = {"row": 2, "image": "a.png", "expression": "box"}
    good = {**row, "score": 0.75, "box": (1, 2, 3, 4), "area": 3, "segmentation": "{}"}
    nothing = {**good, "row": 1, "score": 0.0, "box": None, "area": 0}
    bad = {**row, "row": 3, "reason": "no image"}
    tmp_path = tmp_path / "out [1] *"
    folder, name = str(tmp_path), output.name_of(1, 3)
    with output.only_run(folder):
        output.write_shard((name, [good, bad, nothing]), folder)
        assert output.whole_shards(folder, 3) == {1}
        assert output.count_rows(folder) == {"results": 2, "dead_letters": 1}
        found = parquet.read_table(tmp_path / "results" / name).to_pylist()
        assert found == [nothing, {**good, "box": [1, 2, 3, 4]}]
        assert parquet.read_table(tmp_path / "dead_letters").to_pylist() == [bad]
        (tmp_path / "dead_letters" / name).unlink()
        (tmp_path / "partial/left").touch()
        assert output.whole_shards(folder, 3) == set()
        output.remove_partial(folder)
        assert not list((tmp_path / "partial").iterdir())
        with pytest.raises(ValueError, match="another run writes these results already"):
            with output.only_run(folder):
                pass


def test_an_output_is_of_one_table_and_one_setting(tmp_path):
    folder = str(tmp_path)
    with output.only_run(folder):
        output.check_output(folder, {"table_sha256": "ab", "outside": False})
        output.check_output(folder, {"table_sha256": "ab", "outside": False})
        with pytest.raises(
            ValueError,
            match="outside was False and is True; table_sha256 was 'ab' and is 'cd'",
        ):
            output.check_output(folder, {"table_sha256": "cd", "outside": True})
        for damage in ("", "[1]", "{}"):
            (tmp_path / "made_by.json").write_text(damage)
            with pytest.raises(ValueError, match="table_sha256 was None"):
                output.check_output(folder, {"table_sha256": "ab"})
        (tmp_path / "made_by.json").unlink()
        (tmp_path / "results/part-0.parquet").touch()
        with pytest.raises(ValueError, match="holds results of something else"):
            output.check_output(folder, {"table_sha256": "ab"})


def test_the_same_table_and_model_elsewhere_is_the_same_run(batch, exported, tmp_path):
    facts = pipeline.facts_of(batch, b"table")
    assert pipeline.facts_of(replace(batch, table="other.csv", images_at_once=1), b"table") == facts
    assert pipeline.facts_of(batch, b"other")["table_sha256"] != facts["table_sha256"]
    (tmp_path / "model").mkdir()
    (tmp_path / "model/saved_model.pb").touch()
    (tmp_path / "model/fingerprint.pb").touch()
    other = replace(batch, model=str(tmp_path / "model"))
    assert pipeline.facts_of(other, b"table")["model_sha256"] != facts["model_sha256"]


def test_paths_that_hold_on_a_worker(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    batch = pipeline.located(Batch("pairs.csv", str(exported), "out"))
    assert batch.images == str(tmp_path) and Path(batch.output) == tmp_path / "out"
    remote = Batch("/a/pairs.csv", str(exported), "gs://b/out", images="s3://c/photos")
    assert pipeline.located(remote) == remote


def test_a_version_that_is_not_whole_is_refused_before_a_worker_has_it(exported, tmp_path):
    version = shutil.copytree(exported, tmp_path / "1")
    config = json.loads((version / "config.json").read_text())
    vocabulary = version / "assets/vocabulary.txt"
    (version / "config.json").write_text(json.dumps({**config, "export": {}}))
    batch = Batch("pairs.csv", str(version), "out")
    with pytest.raises(ValueError, match=r"config\.json says nothing of an export\. Wanted a vers"):
        pipeline.located(batch)
    (version / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json is not there"):
        pipeline.located(batch)
    (version / "config.json").write_text(json.dumps(config))
    vocabulary.unlink()
    with pytest.raises(FileNotFoundError, match=r"vocabulary\.txt"):
        pipeline.located(batch)
