"""`recipes/batch_segment.py`: two workers and a kill lose no row."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import tiny
from command import read_rows, write_rows
from PIL import Image

pytest.importorskip("apache_beam")
parquet = pytest.importorskip("pyarrow.parquet")

PAGE = Path(__file__).parents[2] / "recipes/batch_segment.py"
TWO_WORKERS = ("--", "--direct_running_mode", "multi_processing", "--direct_num_workers", "2")


def pairs(folder, rng):
    """400 rows about 100 images, of which 20 are bad, and some expressions too."""
    for number in range(100):
        pixels = rng.integers(0, 256, (*rng.integers(20, 50, 2), 3)).astype("uint8")
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        if number % 10 == 0:
            path.unlink()
        if number % 10 == 5:
            path.write_bytes(path.read_bytes()[:100])
    names = [f"{number}.png" for number in range(100)] * 4
    rng.shuffle(names)
    return [(x, "" if n % 97 == 0 else tiny.SENTENCES[n % 4]) for n, x in enumerate(names)]


@pytest.mark.slow
def test_two_workers_and_a_kill_lose_nothing(preset, tmp_path, rng):
    rows = pairs(tmp_path, rng)
    write_rows(tmp_path / "pairs.csv", [("image", "expression"), *rows])
    out = tmp_path / "out"
    command = [sys.executable, PAGE, tmp_path / "pairs.csv", "--model", preset, "--output", out]
    command = [*map(str, command), *TWO_WORKERS]
    kill_while_it_writes(command, tmp_path)
    assert not out.exists()

    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = parquet.read_table(out / "results").to_pylist()
    failures = read_rows(out / "failures.csv")
    assert {path.name for path in out.iterdir()} == {"results", "failures.csv"}
    assert not list(tmp_path.glob(".partial-keras_cmsa-*"))  # of the killed run either
    assert len(list((out / "results").iterdir())) > 1  # both workers wrote
    numbers = [int(row["row"]) for row in [*results, *failures]]
    assert Counter(numbers) == Counter(range(1, 401))
    for row in [*results, *failures]:
        image, expression = rows[int(row["row"]) - 1]
        assert (row["image"], row["expression"]) == (image, expression)
        is_bad = int(image.removesuffix(".png")) % 5 == 0 or not expression
        assert is_bad == ("reason" in row)
    assert f"{len(results)} of 400 rows segmented" in done.stdout

    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2 and "that is not there yet" in again.stderr.splitlines()[-1]


def kill_while_it_writes(command, folder):
    """Starts a run and kills it with its workers once results are being written."""
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        while not list(folder.glob(".partial-keras_cmsa-out-*/results/beam-temp-*/*")):
            assert process.poll() is None, (folder / "log").read_text()[-3000:]
            time.sleep(0.02)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.csv",), "missing.csv"),
        (("pairs.csv", "runner"), "wanted options of Beam, behind --. Received: 'runner'"),
    ],
)
def test_what_is_refused_is_one_line(
    page, preset, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert page("batch_segment", *arguments, model=preset, output="out") == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
