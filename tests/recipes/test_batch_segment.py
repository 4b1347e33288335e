"""`recipes/batch_segment.py`: every row of a table once, whatever is bad in it, and over a kill."""

import contextlib
import csv
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tiny
from image_files import large_png
from PIL import Image
from pycocotools import mask as coco_mask

from keras_cmsa.preprocessing.reading import read_mask

pytest.importorskip("tensorflow")
pytest.importorskip("apache_beam")
parquet = pytest.importorskip("pyarrow.parquet")

PAGE = Path(__file__).parents[2] / "recipes/batch_segment.py"
TWO_WORKERS = ("--", "--direct_running_mode", "multi_processing", "--direct_num_workers", "2")


def write_table(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "expression"), *rows])
    return path


def found(out, folder):
    """The rows of all shards in a folder of the output, as dicts."""
    return parquet.read_table(out / folder).to_pylist()


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the page in this process: the exit code and the last line that it prints or says."""

    def call(*arguments):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["batch_segment.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(PAGE), run_name="__main__")
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        code = stop.value.code or 0
        return code, printed.err.splitlines()[-1] if code else printed.out

    return call


@pytest.fixture
def table(tmp_path, rng):
    """A table of two photos and one that is missing."""
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (30, 40, 3)).astype("uint8")).save(tmp_path / name)
    rows = [("a.png", "red box"), ("none.png", "box"), ("b.png", "box"), ("a.png", "blue box")]
    return write_table(tmp_path / "pairs.csv", rows)


@pytest.mark.slow
def test_a_table_is_segmented_once_and_its_output_takes_no_other(run, table, exported, tmp_path):
    out = tmp_path / "out"
    command = (table, "--model", exported, "--output", out)
    code, printed = run(*command, "--rows-per-shard", 16)
    assert code == 0 and "4 rows in 1 shards; 0 shards were done before" in printed
    assert "encoded 2 images for 3 expressions" in printed
    assert "3 of 4 rows segmented" in printed and "1 rows could not be" in printed
    assert [row["row"] for row in found(out, "results")] == [1, 3, 4]
    (letter,) = found(out, "dead_letters")
    assert (letter["row"], letter["image"], letter["expression"]) == (2, "none.png", "box")
    assert "No such file" in letter["reason"]

    code, printed = run(*command, "--rows-per-shard", 16)
    assert code == 0 and "1 shards were done before" in printed and "encoded" not in printed
    code, line = run(*command, "--rows-per-shard", 17)
    assert code == 2 and "rows_per_shard was 16 and is 17. Give the same or another" in line
    write_table(table, [("a.png", "red box")])
    code, line = run(*command, "--rows-per-shard", 16)
    assert code == 2 and f"{out} was begun with another table or other settings: table_sha" in line
    assert len(found(out, "results")) == 3

    # The dead letters are a table themselves, once what was wrong is mended.
    (tmp_path / "b.png").rename(tmp_path / "none.png")
    (letters,) = (out / "dead_letters").iterdir()
    command = (letters, "--images", tmp_path, "--model", exported, "--output", tmp_path / "rest")
    assert run(*command)[0] == 0
    assert [row["image"] for row in found(tmp_path / "rest", "results")] == ["none.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.csv", "--model", "MODEL"], "missing.csv"),
        (["pairs.csv", "--model", "."], "wanted a version that keras-cmsa export wrote"),
        (["other.csv", "--model", "MODEL"], "line 1: wanted each of the columns image, expression"),
        (["pairs.csv", "--model", "MODEL", "--rows-per-shard", "3"], "--rows-per-shard must be at"),
        (["pairs.csv", "--model", "MODEL", "--output", "other.csv"], "wanted a folder to write"),
        (["pairs.csv", "--model", "MODEL", "runner"], "wanted options of Beam, behind --"),
    ],
)
def test_what_is_refused(run, table, exported, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("photo,text\n")
    arguments = [str(exported) if x == "MODEL" else x for x in arguments]
    if "--output" not in arguments:
        arguments += ["--output", "out"]
    code, line = run(*arguments)
    assert code == 2 and message in line
    assert not (tmp_path / "out").exists()


def scenes(folder, rng):
    """250 photos and 50 names of images that are bad: `{name: reason, or None if it is good}`."""
    (folder / "images").mkdir()
    images = {}
    for number in range(300):
        path = folder / f"images/{number:03d}.{'jpg' if number % 2 else 'png'}"
        pixels = rng.integers(0, 256, (*rng.integers(20, 50, 2), 3)).astype("uint8")
        Image.fromarray(pixels).save(path)
        name, reason = f"images/{path.name}", None
        if number % 6 == 0:
            name, reason = spoil(path, name, number // 6 % 7)
        images[name] = reason
    return images


def spoil(path, name, kind):
    """Makes a photo bad in one of seven ways: its name, and what the reason says of it."""
    whole = path.read_bytes()
    path.unlink()
    if kind == 0:
        return name, "No such file or directory"
    if kind == 1:
        return f"../{name}", "wanted a path inside"
    if kind == 2:
        return str(path.absolute()), "wanted a path inside"
    content, reason = {
        3: (whole[: len(whole) // 2], "cannot be decoded"),
        4: (b"no image at all", "is not an image"),
        5: (large_png(30_000, 30_000), "wanted an image of 1 to 50,000,000 pixels"),
        6: (b"", "is not an image"),
    }[kind]
    path.write_bytes(content)
    return name, reason


UNREAD = ("No such file or directory", "wanted a path inside")
BAD_EXPRESSIONS = {
    "": "needs at least one word",
    "?!": "needs at least one word",
    "box " * 26: "names one thing in a few words",
}


def two_thousand(images, rng):
    """2,000 pairs, each image in six or seven of them; some expressions are bad too."""
    names = [*images] * 6 + list(rng.choice([*images], 200, replace=False))
    rng.shuffle(names)
    bad = dict(zip((17, 23, 41), BAD_EXPRESSIONS))
    return [
        (name, bad.get(number % 199, f"{tiny.SENTENCES[number % 4]} {number}"))
        for number, name in enumerate(names)
    ]


@pytest.mark.slow
def test_two_thousand_pairs_over_a_kill(exported, tmp_path, rng):
    images = scenes(tmp_path, rng)
    pairs = two_thousand(images, rng)
    assert len(pairs) == 2000 and len(images) == 300 and sum(map(bool, images.values())) == 50
    table, out = write_table(tmp_path / "pairs.csv", pairs), tmp_path / "out"
    command = [sys.executable, PAGE, table, "--model", exported, "--output", out]
    command = [*command, "--rows-per-shard", "50", *TWO_WORKERS]
    total = killed(command, out, tmp_path / "log")
    written = times(out)
    assert 3 <= len(written) < total

    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"2000 rows in {total} shards; {len(written)} shards were done before" in done.stdout
    again = times(out)
    assert len(again) == total and {name: again[name] for name in written} == written
    assert not list((out / "partial").iterdir())

    good, bad = found(out, "results"), found(out, "dead_letters")
    assert Counter(row["row"] for row in [*good, *bad]) == Counter(range(1, 2001))
    assert all((row["image"], row["expression"]) == pairs[row["row"] - 1] for row in [*good, *bad])
    reasons = {row["row"]: row["reason"] for row in bad}
    for number, (image, expression) in enumerate(pairs, start=1):
        wanted = images[image] or BAD_EXPRESSIONS.get(expression)
        assert (number in reasons) == (wanted is not None), (image, expression)
        assert wanted is None or wanted in reasons[number]
    assert f"{len(good)} of 2000 rows segmented" in done.stdout

    # Beam's counter is of the second run: each image that has a file, once.
    shards = shards_of(out)
    asked = {
        image
        for number, (image, _) in enumerate(pairs, start=1)
        if shards[number] not in written and images[image] not in UNREAD
    }
    assert f"encoded {len(asked)} images for " in done.stdout
    check_masks(good[::40], tmp_path, exported)


def times(out):
    """When each shard's results were written."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "results").iterdir()}


def check_masks(rows, folder, exported):
    """Results are what the SavedModel answers to one image and one expression."""
    import tensorflow as tf

    graph = tf.saved_model.load(str(exported))
    for row in rows:
        answer = graph.signatures["serving_default"](
            image_bytes=tf.constant([(folder / row["image"]).read_bytes()]),
            expression=tf.constant([row["expression"]]),
        )
        mask = read_mask(answer["mask_png_bytes"].numpy()[0])
        np.testing.assert_array_equal(coco_mask.decode(json.loads(row["segmentation"])), mask)
        assert row["area"] == mask.sum()
        assert row["score"] == pytest.approx(float(answer["score"][0]), abs=1e-6)
        box = answer["box"].numpy()[0] * (mask.shape * 2)[::-1]
        np.testing.assert_allclose(row["box"] or [0, 0, 0, 0], box, atol=1e-3)
    assert sum(row["area"] > 0 for row in rows) > len(rows) / 2


def shards_of(out):
    """The name of the shard that has each row: dict from row number."""
    return {
        number: path.name
        for path in out.glob("*/part-*")
        for number in parquet.read_table(path, columns=["row"])["row"].to_pylist()
    }


def killed(command, out, log, after=3):
    """Starts a run and kills it with its workers once some shards are whole: how many there are."""
    with open(log, "w") as file:
        process = subprocess.Popen(
            [*map(str, command)], stdout=file, stderr=file, start_new_session=True
        )
    try:
        for _ in range(6000):
            if len(list(out.glob("results/*"))) >= after:
                break
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.05)
        else:
            pytest.fail(log.read_text()[-3000:])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return int(re.search(r"rows in (\d+) shards", log.read_text())[1])
