"""What the tests of commands share: a photo as a file, and models that are loaded once."""

import pytest
from PIL import Image


@pytest.fixture
def photo_path(photo, tmp_path):
    """A photo of 31 x 47 pixels as a PNG."""
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    return path


@pytest.fixture
def models_kept(preset, predictor, monkeypatch):
    """Loads `preset` once for all tests: to build its graphs anew takes seconds a time."""
    from keras_cmsa.inference.predictor import Predictor

    load = Predictor.from_preset

    def from_preset(source, *arguments):
        kept = str(source) == str(preset) and not arguments
        return predictor if kept else load(source, *arguments)

    monkeypatch.setattr(Predictor, "from_preset", from_preset)
