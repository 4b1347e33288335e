"""What every test file shares: the real samples, seeds, an exported model, a photo."""

from pathlib import Path

import pytest
from hypothesis import settings

# Cases drawn by chance would fail a change that has nothing to do with them; `make fuzz` draws those.
settings.register_profile("repeatable", derandomize=True, max_examples=150)
settings.register_profile("fuzz", max_examples=10_000)
settings.load_profile("repeatable")

SAMPLES = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.hookimpl(tryfirst=True)  # before pytest picks tests by their marks
def pytest_collection_modifyitems(items):
    """Marks every test that asks for the real samples, be it through another fixture."""
    for item in items:
        if "samples" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.samples)


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


@pytest.fixture
def untraced(monkeypatch):
    """Runs models without a graph on TensorFlow, which traces one for longer than a few runs take."""
    import keras

    if keras.backend.backend() == "tensorflow":
        eagerly = property(lambda model: True, lambda model, value: None)
        monkeypatch.setattr(keras.Model, "run_eagerly", eagerly)


@pytest.fixture
def spied(monkeypatch):
    """A function from an owner and the name of its function, which works on as it did, to a list of
    the arguments of each call."""

    def spy(owner, name):
        calls, function = [], getattr(owner, name)

        def noted(*arguments, **options):
            calls.append(arguments)
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, noted)
        return calls

    return spy


@pytest.fixture(scope="session")
def hub():
    """The models of KerasHub, of which `towers` makes tiny ones."""
    return pytest.importorskip("keras_hub").models


@pytest.fixture(scope="session")
def preset(tmp_path_factory):
    """The folder of a tiny model that finds about half of an image of noise."""
    import keras
    import tiny

    from keras_cmsa.presets.preset import Preset, save_preset

    keras.utils.set_random_seed(7)
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    numbers = {"overall_iou": 0.5, "mean_iou": 0.25, "samples": 3}
    known = {
        "data": {"name": "boxes", "counts": {"val": {"refs": 2, "expressions": 3, "images": 1}}},
        "starting_weights": "random (seed 7)",
        "metrics": {"profile": "strict", "weights": "random (seed 7)", "splits": {"val": numbers}},
    }
    preprocessor = tiny.preprocessor()
    save_preset(folder, Preset(tiny.finder(preprocessor), preprocessor, known))
    return folder


@pytest.fixture(scope="session")
def predictor(preset):
    """The `Predictor` of `preset`. Tests share it, so none changes it."""
    from keras_cmsa import Predictor

    return Predictor.from_preset(preset)


@pytest.fixture
def rng():
    """NumPy's random numbers, seeded."""
    import numpy as np

    return np.random.default_rng(4)


@pytest.fixture(scope="session")
def exported(predictor, tmp_path_factory):
    """The folder of an exported version of `preset`, with requests to warm up with."""
    from keras_cmsa.export.saved_model import export_saved_model

    folder = tmp_path_factory.mktemp("saved_models") / "cmsa"
    return export_saved_model(predictor, folder)


@pytest.fixture(scope="session")
def server(exported):
    """A server of `exported` with TensorFlow Serving's interfaces."""
    pytest.importorskip("tensorflow_serving")
    pytest.importorskip("httpx")
    from serving_server import Server

    with Server(exported) as running:
        yield running


@pytest.fixture
def tensors_alone(monkeypatch):
    """Exports with one graph, the one that is compared: to trace the others takes most of the time."""
    from keras_cmsa.export import saved_model, served

    monkeypatch.setattr(saved_model, "check_masks", lambda *_: None)
    monkeypatch.setattr(
        served.ServedModel,
        "signatures",
        lambda self: dict.fromkeys(("tensors", "segment_many"), self.run),
    )


@pytest.fixture
def photo():
    """Noise, `(31, 47, 3)` uint8."""
    import numpy as np

    return np.random.default_rng(3).integers(0, 256, (31, 47, 3)).astype("uint8")
