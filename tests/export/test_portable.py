"""ONNX and LiteRT files compute what the model does, outside of TensorFlow."""

import gc
import shutil
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import tiny
from command import last_line, run
from PIL import Image

pytest.importorskip("tensorflow")

DOCS = Path(__file__).parents[2] / "docs"
FILES = {"onnx": "model.onnx", "litert": "model.tflite"}


@pytest.fixture(scope="module", params=FILES)
def form(request):
    pytest.importorskip({"onnx": "onnxruntime", "litert": "ai_edge_litert"}[request.param])
    return request.param


@pytest.fixture(scope="module")
def written(form, preset, tmp_path_factory):
    """The folder that `keras-cmsa export` writes of a preset."""
    folder = tmp_path_factory.mktemp(form) / "new" / "tiny"
    assert run("export", folder, "--model", preset, "--format", form) == 0
    return folder


def writer_and_runner(form):
    """What writes a folder, and what runs the file in it."""
    from keras_cmsa.export import portable

    write, run = {
        "onnx": (portable.export_onnx, portable.run_onnx),
        "litert": (portable.export_litert, portable.run_litert),
    }[form]
    return write, lambda folder, inputs: run(folder / FILES[form], inputs)


def inputs_of(batch, seed=0):
    rng = np.random.default_rng(seed)
    words = rng.integers(1, len(tiny.vocabulary()), (batch, 2, tiny.WORDS)).astype("int32")
    words[0, 0, 2:] = 0
    image = rng.uniform(0, 255, (batch, tiny.SIZE, tiny.SIZE, 3)).astype("float32")
    return {"image": image, "words": words}


def check(model, found, inputs, tolerance):
    from keras_cmsa.models.cmsa import with_attention

    wanted = with_attention(model)(inputs, training=False)
    assert set(found) == set(wanted) == {"logits", "word_attention", "position_attention"}
    for name, value in wanted.items():
        value = tiny.to_numpy(value)
        atol = tolerance * max(1, np.abs(value).max())
        np.testing.assert_allclose(found[name], value, atol=atol, err_msg=name)
    return wanted


@pytest.mark.slow
def test_it_runs_elsewhere(predictor, preset, written, form):
    from keras_cmsa import load_preprocessor
    from keras_cmsa.presets.files import read_config

    assert [p.name for p in written.parent.iterdir()] == ["tiny"]
    names = {"README.md", "config.json", "reference.npz", "vocabulary.txt", FILES[form]}
    assert {p.name for p in written.iterdir()} == names
    assert load_preprocessor(written).get_config() == predictor.preprocessor.get_config()
    ours, presets = (read_config(folder) for folder in (written, preset))
    assert ours["metrics"] == presets["metrics"] and ours["data"] == presets["data"]
    assert ours["parameters"] == predictor.model.count_params()
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(written / "model.onnx")
        tensors = (*session.get_inputs(), *session.get_outputs())
        axes = {tensor.name: tensor.shape[:2] for tensor in tensors}
        assert axes.pop("image") == ["B", 16] and set(map(tuple, axes.values())) == {("B", "K")}
    _, runner = writer_and_runner(form)
    for batch in (1, 3):
        inputs = inputs_of(batch, seed=batch)
        check(predictor.model, runner(written, inputs), inputs, 1e-4)


@pytest.mark.slow
def test_a_file_is_never_written_over(predictor, preset, written, form, capsys):
    before = (written / FILES[form]).read_bytes()
    write, _ = writer_and_runner(form)
    with pytest.raises(FileExistsError, match="is there already"):
        write(predictor, written)
    assert run("export", written, "--model", preset, "--format", form) == 2
    assert "is there already" in last_line(capsys)
    assert (written / FILES[form]).read_bytes() == before


@pytest.mark.slow
def test_scores_of_any_range_and_chunks_of_a_large_map(seeded, tmp_path, form):
    """The branch of the attention that is taken where exponentials of scores would vanish.

    Neither form has what a loop over chunks needs; the model itself keeps it.
    """
    from keras_cmsa.presets.preset import Preset

    preprocessor = tiny.preprocessor()
    wide = tiny.finder(preprocessor, query_chunk=3, levels=("res4", "res5"))  # of four positions
    for layer in wide.attention_layers:
        for kernel in (layer.query_kernel, layer.key_kernel):
            kernel.assign(60 * kernel)
    path = tmp_path / "wide"
    write, runner = writer_and_runner(form)
    assert write(Preset(wide, preprocessor), path) == path
    inputs = inputs_of(2)
    wanted = check(wide, runner(path, inputs), inputs, 1e-4)
    assert tiny.to_numpy(wanted["word_attention"]).max() > 0.3
    assert not any(layer.unroll for layer in wide.attention_layers)


@pytest.mark.parametrize("error", [0.5, float("nan")])
def test_what_computes_something_else_is_not_kept(predictor, tmp_path, form, monkeypatch, error):
    """Without the conversion itself, which takes seconds and is run above."""
    from keras_cmsa.export import portable

    def convert(model, path, **_):
        Path(path).write_bytes(b"converted")
        monkeypatch.setattr(portable, f"run_{form}", lambda _, inputs: outputs_of(model, inputs))

    def outputs_of(model, inputs):
        outputs = {name: np.array(x) for name, x in model.predict_on_batch(inputs).items()}
        outputs["logits"][0, 0, 0, 0] += error
        return outputs

    monkeypatch.setattr("keras.Model.export", convert)
    monkeypatch.setattr(portable, "name_axes", lambda path: None)
    write, _ = writer_and_runner(form)
    path = tmp_path / "cmsa"
    # What is run on the file is looked up when the export begins.
    monkeypatch.setattr(portable, f"run_{form}", lambda *a: getattr(portable, f"run_{form}")(*a))
    with pytest.raises(RuntimeError, match="gives other logits than the model"):
        write(predictor, path)
    assert not list(tmp_path.iterdir())


def test_what_is_refused(predictor, tmp_path, form, monkeypatch):
    from keras_cmsa import Preprocessor, Vocabulary
    from keras_cmsa.presets.preset import Preset

    write, _ = writer_and_runner(form)
    path = tmp_path / "cmsa"
    with pytest.raises(ValueError, match="vocabulary does not fit the model"):
        other = Preprocessor(Vocabulary(["red"], tiny.WORDS), tiny.SIZE)
        write(Preset(predictor.model, other), path)
    library = {"onnx": "tf2onnx", "litert": "ai_edge_litert"}[form]
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=rf"keras-cmsa\[{form}\]"):
        write(predictor, path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_example_of_the_model_card(predictor, written, tmp_path, monkeypatch, photo):
    card = (written / "README.md").read_text(encoding="utf-8")
    (code,) = [part.split("```")[0] for part in card.split("```python\n")[1:]]
    check_example(code.replace("FOLDER", str(written)), predictor, photo, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx"], indirect=True)
def test_the_example_of_the_docs(predictor, written, tmp_path, monkeypatch, photo):
    """The mask of the page is the predictor's."""
    page = (DOCS / "serving.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in page.split("```python\n")[1:]]
    (code,) = [block for block in blocks if "onnxruntime" in block]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(written, "cmsa_onnx")
    check_example(code, predictor, photo, tmp_path, monkeypatch)


def check_example(code, predictor, photo, folder, monkeypatch):
    """Its mask is the predictor's."""
    monkeypatch.chdir(folder)
    Image.fromarray(photo).save("photo.jpg")
    names = {}
    exec(code.replace("man in yellow shirt", "red box"), names)
    wanted = predictor("photo.jpg", "red box").mask
    assert 0 < wanted.mean() < 1
    np.testing.assert_array_equal(names["mask"], wanted)


def test_garbage_in_cycles_is_found_soon_while_a_file_is_made():
    from keras_cmsa.export.portable import collecting_often

    class Node:
        pass

    before = gc.get_threshold()
    with collecting_often():
        node = Node()
        node.itself, is_there = node, weakref.ref(node)
        del node
        made = [[] for _ in range(20_000)]
        assert is_there() is None and made
    assert gc.get_threshold() == before and gc.get_freeze_count() == 0
