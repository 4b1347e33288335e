"""The pages of docs/ prove themselves: every python and sh block runs as it is printed."""

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("using.md", "own_data.md", "evaluation.md", "extending.md")


@pytest.fixture
def place(seeded, tmp_path, monkeypatch):
    """What the pages speak of: a model in runs/mine, photos, tables and a data root."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    run = tmp_path / "runs/mine"
    run.mkdir(parents=True)
    tiny.model(max_words=20).save(run / "model.keras")
    vocabulary = tiny.vocabulary()
    vocabulary.save(run / "vocabulary.txt")
    for name in ("photo.jpg", "other.jpg"):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3)).astype("uint8")).save(name)
    with open("pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "expression"), ("photo.jpg", "red box")])
    (tmp_path / "photos").mkdir()
    with open("mine.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "expression", "mask", "split"])
        for number in range(6):
            pixels, mask, expression = tiny.scene(rng)
            Image.fromarray(pixels).save(f"photos/{number}.png")
            Image.fromarray(mask * 255).save(f"photos/{number}_mask.png")
            split = "train" if number < 4 else "val"
            rows.writerow([f"photos/{number}.png", expression, f"photos/{number}_mask.png", split])
    tiny.refer_root(tmp_path / "data", {"val": 2})
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*counts differ from the published")
@pytest.mark.parametrize("page", PAGES)
def test_examples_run(page, place):
    from keras_cmsa.cli import main

    blocks = re.findall(r"```(python|sh)\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert blocks
    names = {"__name__": "page"}
    for kind, code in blocks:
        if kind == "python":
            exec(compile(code, page, "exec"), names)
            continue
        for line in code.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "keras-cmsa"
            with pytest.raises(SystemExit) as stop:
                main(arguments)
            assert not stop.value.code, line


def test_every_page_with_examples_is_tested():
    with_examples = {
        p.name for p in DOCS.glob("*.md") if re.search("```(python|sh)\n", p.read_text())
    }
    # Those of serving.md need a server and exports: test_client.py and test_portable.py run them.
    assert with_examples == {*PAGES, "serving.md"}
