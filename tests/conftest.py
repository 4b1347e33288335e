"""What every test file shares: the real samples, and a seed."""

from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.fixture
def samples():
    """The folder of real samples beside the checkout; a test that asks for it is skipped without."""
    if not SAMPLES.is_dir():
        pytest.skip("the real samples are not at ../shared/data")
    return SAMPLES


@pytest.fixture
def seeded():
    """Keras, seeded, for tests that make weights. Keras is imported here only: reading data and
    drawing scenes must not need it."""
    import keras

    keras.utils.set_random_seed(7)
    return keras


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A tiny model with weights away from their start, its vocabulary and the folder of its version."""
    import keras
    import numpy as np
    import tiny

    from keras_cmsa.export import export_saved_model

    keras.utils.set_random_seed(7)
    rng = np.random.default_rng(5)
    model = tiny.shaken(tiny.model(), rng, scale=0.3)
    vocabulary = tiny.vocabulary()
    pixels = rng.integers(0, 256, (1, tiny.SIZE, tiny.SIZE, 3)).astype("float32")
    logits = model.predict_on_batch(
        {"image": pixels, "words": vocabulary.encode(["red box on the left"])}
    )
    model.get_layer("score").bias.assign_sub([np.median(logits)])
    path = export_saved_model(model, vocabulary, tmp_path_factory.mktemp("saved_models") / "cmsa")
    return model, vocabulary, path


@pytest.fixture
def photo():
    """Noise, `(31, 47, 3)` uint8."""
    import numpy as np

    return np.random.default_rng(3).integers(0, 256, (31, 47, 3)).astype("uint8")
