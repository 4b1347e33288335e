"""`keras-cmsa verify`: presets, exports and models on a server."""

import json
import shutil

import numpy as np
import pytest
from command import refused, run

from keras_cmsa.data.masks import run_lengths
from keras_cmsa.inference import verification
from keras_cmsa.presets.reference import read_reference

pytestmark = pytest.mark.usefixtures("untraced")


def test_a_preset(capsys, models_kept, preset):
    assert run("verify", preset) == 0
    assert "JPEG probabilities: 0 of 768 differ" in capsys.readouterr().out


def changed(folder, to):
    """A copy of a folder whose reference says that the masks are the opposite."""
    shutil.copytree(folder, to)
    with np.load(to / "reference.npz") as file:
        arrays = dict(file)
    arrays["masks"] = np.array([run_lengths(~x)["counts"] for x in read_reference(to).masks])
    np.savez(to / "reference.npz", **arrays)
    return to


def test_the_model_has_the_bounds_and_the_graph(preset, tmp_path, monkeypatch):
    """Whatever export the reference is of."""
    coarse, other = (shutil.copytree(preset, tmp_path / name) for name in ("coarse", "other"))
    config = json.loads((coarse / "config.json").read_text())
    config["training"] = {"mixed_precision": "bfloat16"}
    (coarse / "config.json").write_text(json.dumps(config))
    with np.load(preset / "reference.npz") as file:
        arrays = dict(file)
    arrays["probabilities"] = arrays["probabilities"] + np.float16(0.03)
    np.savez(other / "reference.npz", **arrays)
    folders = []
    monkeypatch.setattr(verification, "load_photo_graph", folders.append)
    assert run("verify", coarse, "--reference", other) == 0
    assert run("verify", other, "--reference", coarse) == 0
    assert run("verify", other) == 1
    assert folders == [coarse, other, other]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_server(capsys, server, exported, preset, tmp_path, protocol):
    address = f"{server.urls[protocol]}/v1/models/cmsa"
    for reference in (exported, preset):
        assert run("verify", address, "--reference", reference) == 0
        assert "PNG masks: 0 of 9,216 differ" in capsys.readouterr().out
    other = changed(preset, tmp_path / "other")
    assert run("verify", f"{address}/versions/1", "--reference", other) == 1
    assert "likely cause: a threshold" in capsys.readouterr().out


def test_a_saved_model(capsys, exported):
    assert run("verify", exported) == 0
    assert capsys.readouterr().out.count("JPEG masks: 0 of 9,216 differ") == 2


def test_wrong_input(capsys, preset, tmp_path):
    server = "http://localhost:8501"
    assert "without /v1/models/NAME" in refused(capsys, "verify", server)
    assert "as --reference. Received: no reference" in refused(
        capsys, "verify", f"{server}/v1/models/cmsa"
    )
    shutil.copytree(preset, tmp_path / "bare")
    (tmp_path / "bare/reference.npz").unlink()
    assert "reference.npz is not there" in refused(capsys, "verify", tmp_path / "bare")
    away = "http://127.0.0.1:9/v1/models/cmsa"
    assert "127.0.0.1:9" in refused(capsys, "verify", away, "--reference", preset)
