"""A trained model as a folder: what is written is what is read, and what is damaged is refused."""

import json
import shutil

import numpy as np
import pytest
import tiny
from bad_presets import DAMAGED_FILES, check_line, configured

from keras_cmsa import Preprocessor, load_preprocessor, load_preset
from keras_cmsa.presets.files import read_config
from keras_cmsa.presets.preset import Preset, make_config, save_preset

pytestmark = pytest.mark.keras


def test_what_is_loaded_gives_what_was_saved(seeded, photo, tmp_path):
    preprocessor = tiny.preprocessor("stretch")
    model = tiny.finder(preprocessor)
    save_preset(tmp_path / "new" / "run", Preset(model, preprocessor))
    preset = load_preset(tmp_path / "new" / "run")
    assert preset.preprocessor.get_config() == preprocessor.get_config()
    assert preset.preprocessor.vocabulary == preprocessor.vocabulary
    found, wanted = (
        tiny.to_numpy(m(p([photo], ["red box"]), training=False))
        for m, p in ((preset.model, preset.preprocessor), (model, preprocessor))
    )
    np.testing.assert_array_equal(found, wanted)


def test_the_folder(preset):
    assert sorted(path.name for path in preset.iterdir()) == [
        "README.md",
        "config.json",
        "model.keras",
        "reference.npz",
        "vocabulary.txt",
    ]
    words = (preset / "vocabulary.txt").read_text("utf-8")
    assert words.split("\n") == [*tiny.vocabulary().words, ""]


def test_the_config(seeded, preset):
    """Everything that was known of the model, and what the model itself says."""
    keras = seeded
    config = json.loads((preset / "config.json").read_text())
    assert set(config) == {
        "format", "system", "preprocessor", "data", "starting_weights", "training", "metrics",
        "licence", "versions",
    }  # fmt: skip
    assert (config["format"], config["system"]) == (1, "cmsa")
    assert config["preprocessor"] == tiny.preprocessor().get_config()
    assert config["data"]["name"] == "boxes" and config["starting_weights"] == "random (seed 7)"
    assert config["metrics"]["splits"]["val"]["overall_iou"] == 0.5
    backend = keras.backend.backend()
    assert set(config["versions"]) == {"keras-cmsa", "keras", backend}
    assert config["versions"]["keras"] == keras.__version__


def test_what_is_said_of_the_model_comes_from_the_model(seeded):
    preprocessor = tiny.preprocessor()
    stale = {"system": "rmi", "preprocessor": {"image_size": 7}, "format": 0, "versions": {}}
    config = make_config("cmsa", preprocessor, **stale, own="kept")
    assert config["versions"]
    assert config["preprocessor"] == preprocessor.get_config()
    assert (config["format"], config["system"], config["own"]) == (1, "cmsa", "kept")
    assert config["data"]["name"] == config["starting_weights"] == "unknown"


def test_a_config_that_was_read_can_be_saved_again(predictor, tmp_path):
    of_export = predictor.config | {"export": {"Exported as": "ONNX"}}
    save_preset(tmp_path, Preset(predictor.model, predictor.preprocessor, of_export))
    assert read_config(tmp_path) == predictor.config


def test_the_preprocessor_alone(preset, tmp_path):
    assert load_preprocessor(preset).get_config() == tiny.preprocessor().get_config()
    folder = shutil.copytree(preset, tmp_path / "run")
    (folder / "model.keras").unlink()
    assert load_preprocessor(folder).vocabulary == tiny.vocabulary()
    with pytest.raises(FileNotFoundError, match="is no preset"):
        load_preprocessor(tmp_path)
    configured(export=["ONNX"])(folder)
    with pytest.raises(ValueError, match="wanted 'export' of type dict"):
        load_preprocessor(folder)


def test_a_stop_while_saving_leaves_the_preset_before(predictor, preset, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(preset, folder)
    before = (folder / "model.keras").read_bytes()

    def stopped(path, *_, **__):
        with open(path, "wb") as file:
            file.write(before[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(predictor.model, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        predictor.save_to_preset(folder)
    assert (folder / "model.keras").read_bytes() == before
    assert len(list(folder.iterdir())) == 5


def test_a_preprocessor_of_another_model_is_not_saved(predictor, tmp_path):
    with pytest.raises(ValueError, match="does not fit the model"):
        save_preset(tmp_path / "run", Preset(predictor.model, Preprocessor(tiny.vocabulary(), 32)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("what", DAMAGED_FILES)
def test_what_is_damaged_is_refused_in_one_line(preset, tmp_path, what):
    damage, wanted = DAMAGED_FILES[what]
    shutil.copytree(preset, tmp_path / "run")
    damage(tmp_path / "run")
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        load_preset(tmp_path / "run")
    check_line(str(error.value), wanted)


def test_what_is_no_folder(preset, tmp_path):
    for source in (tmp_path / "nowhere", preset / "model.keras", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"is no preset: config\.json is not there"):
            load_preset(source)
