"""What an import pulls in, seen from fresh processes."""

import importlib.util
import json

import pytest
import tiny
from fresh_process import ROOT, run_python

FRAMEWORKS = ("keras", "tensorflow", "jax", "torch", "matplotlib", "PIL")

# Takes TensorFlow away as if it had never been installed: nobody finds it, nothing is refused.
WITHOUT_TENSORFLOW = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *arguments):
        if name.split(".")[0] not in ("tensorflow", "tensorboard"):
            return self.finder.find_spec(name, *arguments)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


def needs_jax():
    if not importlib.util.find_spec("jax"):
        pytest.skip("JAX is not installed")


def test_importing_the_package_and_reading_data_need_no_framework():
    script = f"""
import sys, keras_cmsa
assert keras_cmsa.__version__
assert {{"build_cmsa", "train"}} <= set(dir(keras_cmsa))
print([name for name in {FRAMEWORKS} if name in sys.modules])
from keras_cmsa import Preprocessor, Record, Vocabulary, read_image, read_records
import keras_cmsa.data.ref_shapes
frameworks = "keras", "tensorflow", "jax", "torch", "tensorflow_datasets"
print([name for name in frameworks if name in sys.modules])
"""
    assert run_python(script).split() == ["[]", "[]"]


def test_what_stands_around_an_onnx_file_needs_no_framework(preset):
    script = f"""
import sys
from keras_cmsa import load_preprocessor, read_image, to_mask
assert load_preprocessor({str(preset)!r}).image_size == 16
print([name for name in ("keras", "tensorflow", "jax", "torch") if name in sys.modules])
"""
    assert run_python(script).strip() == "[]"


def test_a_name_that_is_not_there():
    import keras_cmsa

    with pytest.raises(AttributeError, match="'keras_cmsa' has no attribute 'build'"):
        _ = keras_cmsa.build


def test_every_public_name_is_what_it_says_and_needs_no_tensorflow():
    """Under JAX. A class or function comes from its own module, under the name it has there."""
    needs_jax()
    script = """
import sys, keras_cmsa
for name in keras_cmsa.__all__:
    thing = getattr(keras_cmsa, name)
    if callable(thing):
        assert thing.__name__ == name and thing.__module__.startswith("keras_cmsa."), name
        assert thing.__doc__, name
    assert "tensorflow" not in sys.modules, name
import keras
print(keras.backend.backend(), "tensorflow" in sys.modules)
"""
    assert run_python(script, backend="jax").split() == ["jax", "False"]


@pytest.mark.parametrize("chosen", [{}, {"backend": "tensorflow"}, {"backend": "jax"}])
def test_the_backend_that_is_installed_is_taken_and_named(tmp_path, chosen):
    """Where nobody has chosen one; keras.json has TensorFlow from a first import."""
    needs_jax()
    (tmp_path / "keras.json").write_text(json.dumps(chosen))
    script = f"""
{WITHOUT_TENSORFLOW}
import contextlib, io, os
os.environ["KERAS_HOME"] = {str(tmp_path)!r}
with contextlib.redirect_stderr(io.StringIO()) as said:
    from keras_cmsa.utils import silence
    silence.take_installed_backend()
print(os.environ.get("KERAS_BACKEND"), said.getvalue())
"""
    said = (
        "None"
        if chosen == {"backend": "jax"}
        else "jax TensorFlow is not installed: computing on jax"
    )
    assert run_python(script).startswith(said)


@pytest.mark.slow
def test_the_recipe_runs_where_there_is_no_tensorflow(tmp_path):
    """From a REFER root to metrics and pictures; the demo's own code on another backend."""
    needs_jax()
    root = tiny.refer_root(tmp_path / "refer", {"train": 6, "val": 3, "testA": 2, "testB": 2})
    script = f"""
{WITHOUT_TENSORFLOW}
import importlib.util, runpy, warnings
assert importlib.util.find_spec("tensorflow") is None
warnings.filterwarnings("ignore", "counts differ from the published")
recipe, *arguments = sys.argv[1:]
sys.argv = [recipe, *arguments]
try:
    runpy.run_path(recipe, run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
assert "tensorflow" not in sys.modules
"""
    run_dir = tmp_path / "run"
    options = {"data-dir": root, "run-dir": run_dir, "steps": 2, "batch-size": 2, "image-size": 16}
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    run_python(
        script, ROOT / "recipes/train_unc.py", "--small", *arguments, backend="jax", cwd=tmp_path
    )
    config = json.loads((run_dir / "config.json").read_text())
    metrics = config["metrics"]
    samples = {split: numbers["samples"] for split, numbers in metrics["splits"].items()}
    assert samples == {"val": 3, "testA": 2, "testB": 2}
    assert metrics["profile"] == "strict"
    assert metrics["weights"] == config["starting_weights"] == "random (seed 0)"
    assert "jax" in config["versions"] and "tensorflow" not in config["versions"]
    left = {path.name for path in run_dir.iterdir()}
    assert {"model.keras", "vocabulary.txt", "README.md", "history.csv", "scores_val.csv"} <= left
    assert {f"examples_{split}.png" for split in samples} <= left
    assert "tensorboard" not in left
