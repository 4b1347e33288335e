"""`keras-cmsa synthesize`: RefShapes as the generator writes them, with the numbers of scenes cut."""

import pytest
from command import refused, run

from keras_cmsa.data.ref_shapes import write_ref_shapes

SCENES = {"train": 3, "val": 2, "testA": 2, "testB": 2}


def files_of(root):
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr("keras_cmsa.data.ref_shapes.layout.SCENES", SCENES)


COLOURS = ["red", "green", "blue", "yellow"]


@pytest.mark.parametrize(
    "options, arguments",
    [
        ((), {}),
        (
            ("--seed", 3, "--targets", "any", "--colours", *COLOURS),
            {"seed": 3, "targets": "any", "colours": COLOURS},
        ),
    ],
    ids=["plain", "options"],
)
def test_the_files_are_the_generators(tmp_path, options, arguments):
    assert run("synthesize", tmp_path / "shapes", *options) == 0
    arguments |= {"processes": 1, "progress": False}
    wanted = write_ref_shapes(tmp_path / "wanted", SCENES, **arguments)
    assert files_of(tmp_path / "shapes") == files_of(wanted)


def test_too_few_colours_are_refused(capsys, tmp_path):
    message = refused(capsys, "synthesize", tmp_path / "shapes", "--colours", "red", "pink")
    assert message.startswith("keras-cmsa: --colours must be 4 or more of red, orange, ")
    assert message.endswith("Received: red, pink")
    assert not list(tmp_path.iterdir())
