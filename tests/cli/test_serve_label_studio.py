"""`keras-cmsa serve-label-studio`: what is served, and what is refused before a model is loaded."""

import pytest
from command import refused, run

from keras_cmsa.serving import label_studio


@pytest.fixture
def served(monkeypatch):
    """What would be served, instead of a server that waits."""
    pytest.importorskip("fastapi")
    calls = []
    monkeypatch.setattr(label_studio, "serve", lambda *arguments: calls.append(arguments))
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    return calls


def test_the_server_gets_model_images_and_table(
    models_kept, preset, predictor, served, tmp_path, monkeypatch
):
    asked = ["serve-label-studio", "--model", preset]
    assert run(*asked, "--images", tmp_path, "--collect", tmp_path / "collected") == 0
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "t0ken")
    address = ["--label-studio", "http://localhost:8080", "--host", "0.0.0.0", "--port", 7000]
    assert run(*asked, *address) == 0
    (first, *place), (second, *other) = served
    assert (place, other) == (["127.0.0.1", 9090], ["0.0.0.0", 7000])
    assert first.predictor is second.predictor is predictor
    assert first.name == second.name and first.name.startswith("cmsa-") and len(first.name) == 13
    assert (first.images.folder, first.table.folder) == (tmp_path, tmp_path / "collected")
    assert (second.images.origin, second.images.token) == ("http://localhost:8080", "t0ken")
    assert second.table is None


def test_bad_input_is_one_line(capsys, served, tmp_path):
    asked = ["serve-label-studio", "--model", tmp_path]
    address = ["--label-studio", "http://localhost:8080"]
    assert "--images, a folder, or --label-studio" in refused(capsys, *asked)
    assert "give --token" in refused(capsys, *asked, *address)
    assert "Received: both" in refused(capsys, *asked, *address, "--images", tmp_path)
    assert "is no preset" in refused(capsys, *asked, "--images", tmp_path)
    (tmp_path / "file").write_text("")
    message = refused(capsys, *asked, "--images", tmp_path, "--collect", tmp_path / "file")
    assert "wanted a folder to write" in message
    assert not served
