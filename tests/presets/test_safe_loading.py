"""`.keras` files from strangers: what could run code or fill the disk is refused in one line."""

import os
import shutil
import zipfile

import numpy as np
import pytest
from bad_presets import FILES_OF_STRANGERS, check_line, layer_named, rewrite

from keras_cmsa import load_preset
from keras_cmsa.presets import safe_loading
from keras_cmsa.presets.safe_loading import Refused, load_keras

pytestmark = pytest.mark.keras


@pytest.mark.parametrize("what", FILES_OF_STRANGERS)
def test_files_of_strangers_are_refused(preset, tmp_path, what, monkeypatch):
    def run(*_):
        raise AssertionError("code of the file was run")

    damage, wanted = FILES_OF_STRANGERS[what]
    shutil.copytree(preset, tmp_path / "run")
    damage(tmp_path / "run")
    monkeypatch.setattr(os, "system", run)
    before = {path: path.stat().st_size for path in tmp_path.rglob("*")}
    with pytest.raises(ValueError) as error:
        load_preset(tmp_path / "run")
    check_line(str(error.value), wanted)
    assert {path: path.stat().st_size for path in tmp_path.rglob("*")} == before


def test_a_file_is_not_opened_by_keras_before_it_is_checked(preset, tmp_path, seeded, monkeypatch):
    damage, _ = FILES_OF_STRANGERS["a function of os"]
    shutil.copytree(preset, tmp_path / "run")
    damage(tmp_path / "run")
    monkeypatch.setattr(seeded.saving, "load_model", lambda *_, **__: pytest.fail("was opened"))
    with pytest.raises(Refused):
        load_keras(tmp_path / "run" / "model.keras")


def test_what_is_registered_and_imported_may_be_loaded(seeded, tmp_path):
    """The layers of this package, and those of the user, under any module."""
    keras = seeded

    @keras.saving.register_keras_serializable(package="tests_of_safe_loading")
    class Doubled(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    @keras.saving.register_keras_serializable(package="tests_of_safe_loading")
    def halved(x):
        return x / 2

    image = keras.Input((4, 4, 3))
    hidden = keras.layers.Dense(2, activation=halved)(Doubled()(image))
    keras.Model(image, hidden).save(tmp_path / "own.keras")
    loaded = load_keras(tmp_path / "own.keras")
    pixels = np.ones((1, 4, 4, 3), "float32")
    np.testing.assert_array_equal(
        loaded.predict_on_batch(pixels), keras.Model(image, hidden).predict_on_batch(pixels)
    )


def test_a_harmless_change_is_no_reason(preset, tmp_path):
    """The checks read the whole configuration and mind nothing else in it."""
    path = tmp_path / "model.keras"
    shutil.copy(preset / "model.keras", path)
    rewrite(path, lambda config: layer_named(config, "conv5")["config"].update(trainable=False))
    assert not load_keras(path).image_encoder.get_layer("conv5").trainable


def test_a_config_too_large(preset, tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    shutil.copy(preset / "model.keras", path)
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("config.json").file_size
    monkeypatch.setattr(safe_loading, "MAX_CONFIG_BYTES", size - 1)
    with pytest.raises(ValueError, match=r"its config\.json is over"):
        safe_loading.load_keras(path)
    monkeypatch.setattr(safe_loading, "MAX_CONFIG_BYTES", size)
    monkeypatch.setattr(safe_loading, "MAX_BYTES", size)
    with pytest.raises(ValueError, match="it unpacks to"):
        safe_loading.load_keras(path)
