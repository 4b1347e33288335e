"""The preset that comes with the package."""

from pathlib import Path

import command
import pytest

from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.presets import files
from keras_cmsa.presets.hub import FILES, PHOTOS

ASTRONAUT = Path(__file__).parents[2] / "docs/astronaut.jpg"
FACE, ROCKET, HELMET = (95, 225), (80, 430), (440, 400)  # row, column


def test_it_finds_things_in_a_photo():
    sentences = ["woman", "top right corner", "bottom right corner"]
    woman, top, bottom = Predictor.from_preset(PHOTOS)(ASTRONAUT, sentences)
    assert woman.mask[FACE] and not woman.mask[ROCKET]
    assert top.mask[ROCKET] and not top.mask[FACE] and not top.mask[HELMET]
    assert bottom.mask[HELMET] and not bottom.mask[FACE] and not bottom.mask[ROCKET]


@pytest.mark.keras
def test_it_answers_as_where_it_was_made():
    """A preset is no file of one backend: this one was trained on TensorFlow."""
    Predictor.from_preset(PHOTOS, verify=True)


def test_it_is_small_and_knows_no_machine():
    folder, config = files.opened(PHOTOS)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 25e6
    assert "/" not in config["training"]["start_from"]
    assert config["metrics"]["splits"]["val"]["overall_iou"] > 0.46


def test_a_folder_of_its_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / PHOTOS).mkdir()
    with pytest.raises(FileNotFoundError, match="is no preset"):
        files.opened(PHOTOS)


def test_the_command_line_takes_it_and_says_so(capsys, tmp_path):
    assert command.run("segment", str(ASTRONAUT), "woman", "-o", str(tmp_path / "x.png")) == 0
    shown = capsys.readouterr()
    assert PHOTOS in shown.err and "“woman”: " in shown.out
