"""What the pages speak of, at its smallest, and what runs their examples."""

import csv
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ASTRONAUT = Path(__file__).parents[2] / "docs/astronaut.jpg"
IMAGES = "data/ref_shapes/images/mscoco/images/train2014"
# What the pages ask for, beside the words of tiny's scenes.
WORDS = "circle dotted heart man one orange purple shirt square the triangle yellow".split()


@pytest.fixture
def place(seeded, tmp_path, monkeypatch):
    """A folder as `make demo` leaves the clone, with photos, tables and a data root beside."""
    import label_tools
    import tiny

    from keras_cmsa import Preprocessor, Vocabulary
    from keras_cmsa.presets.preset import Preset, save_preset

    monkeypatch.chdir(tmp_path)
    words = sorted({*tiny.vocabulary().words[2:], *WORDS})
    preprocessor = Preprocessor(Vocabulary(words), tiny.SIZE)
    known = {"starting_weights": "random (seed 7)", "data": {"name": "boxes", "counts": {}}}
    model = tiny.finder(preprocessor, max_words=preprocessor.max_words)
    save_preset("runs/demo", Preset(model, preprocessor, known))

    tiny.refer_root(tmp_path / "data/ref_shapes", {"train": 2, "val": 2})
    # README takes this scene of RefShapes' val for its photo.
    shutil.copy(
        f"{IMAGES}/COCO_train2014_000000000003.jpg", f"{IMAGES}/COCO_train2014_000000006015.jpg"
    )
    rng = np.random.default_rng(0)
    for name in ("photo.jpg", "other.jpg"):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3)).astype("uint8")).save(name)
    with open("pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "expression"), ("photo.jpg", "red box")])
    (tmp_path / "photos").mkdir()
    (tmp_path / "docs").mkdir()
    shutil.copy(ASTRONAUT, "docs")
    with open("mine.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "expression", "mask", "split"])
        for number in range(6):
            pixels, mask, expression = tiny.scene(rng)
            Image.fromarray(pixels).save(f"photos/{number}.png")
            Image.fromarray(mask * 255).save(f"photos/{number}_mask.png")
            split = "train" if number < 4 else "val"
            rows.writerow([f"photos/{number}.png", expression, f"photos/{number}_mask.png", split])
    label_tools.write(tmp_path / "export/annotations/instances_default.json", label_tools.coco())
    label_tools.write(tmp_path / "export/images/none.json", {})  # the image
    cup = label_tools.shape("cup", label_tools.points(label_tools.POLYGON))
    label_tools.write(tmp_path / "labelled/7.json", label_tools.labelme(cup))
    return tmp_path


@pytest.fixture
def run_examples(place):
    """Runs every python and sh block of a page in order, and returns the names of its Python."""

    def run(page):
        blocks = re.findall(r"```(python|sh)\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        assert blocks
        names = {"__name__": "page"}
        for kind, code in blocks:
            if kind == "python":
                exec(compile(code, page.name, "exec"), names)
            else:
                for line in code.splitlines():
                    run_line(line)
        return names

    return run


def run_line(line):
    """A line of a shell block; `keras-cmsa` runs in this process, which has Keras already."""
    import command

    program, *arguments = shlex.split(line, comments=True)
    if program in ("keras-cmsa", ".venv/bin/keras-cmsa"):
        assert command.run(*arguments) == 0, line
    else:
        subprocess.run([program, *arguments], check=True)
