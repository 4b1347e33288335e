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
