"""`keras-cmsa describe`: what it says, and that its table is one to train on."""

import json

import pytest
from command import refused, run
from PIL import Image

LEFT, RIGHT = [3, 4, 15, 4, 15, 20, 3, 20], [22, 4, 38, 4, 38, 20, 22, 20]


@pytest.fixture
def instances(tmp_path):
    Image.new("RGB", (40, 24)).save(tmp_path / "1.png")
    shared = {"image_id": 1, "category_id": 1}
    content = {
        "images": [{"id": 1, "file_name": "1.png", "height": 24, "width": 40}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {**shared, "id": 1, "segmentation": [LEFT]},
            {**shared, "id": 2, "segmentation": [RIGHT]},
            {**shared, "id": 3, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return path


def test_the_table_can_be_trained_on(capsys, instances, tmp_path):
    options = "--val 0 --most 2 --min-area 0.01".split()
    assert run("describe", instances, "-o", tmp_path / "mine", *options) == 0
    printed = capsys.readouterr().out
    assert "1 photos, 3 objects, 2 of them (67%) with a sentence" in printed
    assert "1 too small, 0 too like another, 0 a crowd, 0 without a mask" in printed
    assert run("prepare", tmp_path / "mine/table.csv") == 0
    assert "train: 2 refs, 4 sentences, 1 images" in capsys.readouterr().out


def test_bad_input_is_one_line(capsys, instances, tmp_path):
    command = ["describe", instances, "-o", tmp_path / "mine"]
    assert "--val must be 0 to 1" in refused(capsys, *command, "--val", "2")
    assert "--most must be at least 1" in refused(capsys, *command, "--most", "0")
    assert "as --images" in refused(capsys, *command, "--images", tmp_path / "none")
    assert "holds something" in refused(capsys, "describe", instances, "-o", tmp_path)
    instances.write_text("{")
    assert "is not whole JSON" in refused(capsys, *command)
    assert not (tmp_path / "mine").exists()
