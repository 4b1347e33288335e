"""ONNX and LiteRT files compute what the model does, outside of TensorFlow."""

import gc
import re
import shutil
import subprocess
import sys
import unicodedata
import weakref
from pathlib import Path

import numpy as np
import pytest
import tiny
from command import last_line, run
from network_files import run_file
from PIL import Image

from keras_cmsa.export.portable import export

pytest.importorskip("tensorflow")

DOCS = Path(__file__).parents[2] / "docs"
FILES = {"onnx": "network.onnx", "litert": "model.tflite"}


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
    if form == "onnx":
        names |= {"model.onnx", "weights.bin"}
    assert {p.name for p in written.iterdir()} == names
    assert load_preprocessor(written).get_config() == predictor.preprocessor.get_config()
    ours, presets = (read_config(folder) for folder in (written, preset))
    assert ours["metrics"] == presets["metrics"] and ours["data"] == presets["data"]
    assert ours["parameters"] == predictor.model.count_params()
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(written / "network.onnx")
        tensors = (*session.get_inputs(), *session.get_outputs())
        axes = {tensor.name: tensor.shape[:2] for tensor in tensors}
        assert axes.pop("image") == ["B", 16] and set(map(tuple, axes.values())) == {("B", "K")}
    for batch in (1, 3):
        inputs = inputs_of(batch, seed=batch)
        check(predictor.model, run_file(written / FILES[form], inputs), inputs, 1e-4)


@pytest.mark.slow
def test_a_file_is_never_written_over(predictor, preset, written, form, capsys):
    before = (written / FILES[form]).read_bytes()
    with pytest.raises(FileExistsError, match="is there already"):
        export(predictor, written, form)
    assert run("export", written, "--model", preset, "--format", form) == 2
    assert "is there already" in last_line(capsys)
    assert (written / FILES[form]).read_bytes() == before


@pytest.mark.slow
def test_scores_of_any_range_and_chunks_of_a_large_map(seeded, tmp_path, form):
    """The branch of the attention that is taken where exponentials of scores would vanish.

    Neither form has what a loop over chunks needs; the model itself keeps it. Its photos are stretched.
    """
    from keras_cmsa.inference.predictor import Predictor
    from keras_cmsa.presets.preset import Preset

    preprocessor = tiny.preprocessor("stretch")
    wide = tiny.finder(preprocessor, query_chunk=3, levels=("res4", "res5"))  # of four positions
    for layer in wide.attention_layers:
        for kernel in (layer.query_kernel, layer.key_kernel):
            kernel.assign(60 * kernel)
    path = tmp_path / "wide"
    assert export(Preset(wide, preprocessor), path, form) == path
    inputs = inputs_of(2)
    wanted = check(wide, run_file(path / FILES[form], inputs), inputs, 1e-4)
    assert tiny.to_numpy(wanted["word_attention"]).max() > 0.3
    assert not any(layer.unroll for layer in wide.attention_layers)
    check_photo(Predictor(wide, preprocessor), path, (21, 37))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(21, 37), (64, 16), (16, 16), (5, 90)], ids=str)
def test_pixels_become_the_masks_of_the_predictor(predictor, written, size):
    check_photo(predictor, written, size)


def check_photo(predictor, folder, size):
    """The graph of an export finds in noise of some size what a predictor finds."""
    from scipy.special import expit

    from keras_cmsa.presets.exported import load_photo_graph

    image = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3)).astype("uint8")
    sentences = ["red box", "blue box on the left", "box"]
    found = load_photo_graph(folder)(image, predictor.preprocessor.vocabulary.encode(sentences))
    wanted = predictor(image, sentences)
    assert found["mask"].dtype == "uint8" and found["mask"].shape == (3, *size)
    assert found["valid"].all() and found["exists"].all()
    for k, prediction in enumerate(wanted):
        np.testing.assert_allclose(found["probabilities"][k], expit(prediction.logits), atol=1e-4)
        # Where a probability is 0.5 but for rounding either answer is right.
        sure = np.abs(prediction.probabilities - 0.5) > 1e-4
        np.testing.assert_array_equal(found["mask"][k][sure], 255 * prediction.mask[sure])
        assert sure.mean() > 0.99
        assert found["score"][k] == pytest.approx(prediction.score, abs=2e-3)
        sides = np.array(size[::-1] * 2)
        np.testing.assert_allclose(found["box"][k] * sides, prediction.box, atol=1.01)


@pytest.mark.slow
def test_what_cannot_be_answered_is_not_valid(predictor, written):
    from keras_cmsa.presets.exported import load_photo_graph

    ask = load_photo_graph(written)
    image = np.full((9, 7, 3), 200, "uint8")
    words = predictor.preprocessor.vocabulary.encode(["red box"] * 4)
    alone = ask(image, words[:1])
    words[1], words[2, 0], words[3, 1] = 0, len(predictor.preprocessor.vocabulary), -1
    found = ask(image, words)
    assert found["valid"].tolist() == found["exists"].tolist() == [True, False, False, False]
    for name, value in found.items():
        np.testing.assert_allclose(value[0], alone[name][0], atol=1e-5)
        assert not value[1:].any()
    assert {name: len(x) for name, x in ask(image, words[:0]).items()} == dict.fromkeys(found, 0)
    for wrong in (image[:0], image[:, :0], image.astype("float32"), image[..., :1], image[0]):
        with pytest.raises(Exception, match="(?i)image|input|dim|gather|bounds|node"):
            ask(wrong, words)
    for wrong in (words[0], words[:, :1], words[:, :-1], words[None], words.astype("int64")):
        with pytest.raises(Exception, match="(?i)words|dim|type|shape"):
            ask(image, wrong)
    assert ask(image, words)["valid"][0]


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, tiny.WORDS - 1, tiny.WORDS + 1])
def test_words_of_another_length_are_an_error_of_the_network(written, form, length):
    with pytest.raises(Exception, match="(?i)words|reshape"):
        run_file(written / FILES[form], {**inputs_of(1), "words": np.ones((1, 2, length), "int32")})


@pytest.mark.slow
@pytest.mark.parametrize("place", ["below", "above"])
def test_ids_outside_of_the_vocabulary_are_an_error_of_the_network(written, form, place):
    inputs = inputs_of(1)
    inputs["words"][0, 1, 0] = -1 if place == "below" else len(tiny.vocabulary())
    with pytest.raises(Exception, match="(?i)out of|bounds"):
        run_file(written / FILES[form], inputs)


@pytest.mark.slow
@pytest.mark.parametrize("name, axis", [("image", 0), ("words", 0), ("words", 1)])
def test_an_empty_batch_is_an_error_of_the_network(written, form, name, axis):
    inputs = inputs_of(1)
    run_file(written / FILES[form], inputs)
    with pytest.raises(Exception, match="(?i)reshape|prepare|size"):
        run_file(
            written / FILES[form], {**inputs, name: np.delete(inputs[name], slice(None), axis)}
        )


@pytest.mark.parametrize("error", [0.5, float("nan")])
@pytest.mark.parametrize("part", ["network", "photo"])
def test_what_computes_something_else_is_not_kept(
    predictor, tmp_path, form, monkeypatch, error, part
):
    """Without the conversion itself, which takes seconds and is run above."""
    import keras_cmsa.export.portable as portable
    from keras_cmsa.inference import verification
    from keras_cmsa.presets.reference import read_reference

    def outputs_of(**inputs):
        outputs = {n: np.array(x) for n, x in predictor.network.predict_on_batch(inputs).items()}
        outputs["logits"][0, 0, 0, 0] += error if part == "network" else 0
        return outputs

    def answers_of(folder):
        reference = read_reference(folder)
        probabilities = reference.probabilities.astype("float32")
        probabilities[0, 0, 0] += error
        return lambda image, words: {"probabilities": probabilities, "mask": reference.masks}

    module = getattr(portable, f"to_{form}")
    for name in ("write_network", "write_photo", "write"):
        monkeypatch.setattr(module, name, lambda *_: None, raising=False)
    monkeypatch.setattr(portable, f"{form}_runner", lambda *_: (outputs_of, {}))
    monkeypatch.setattr(verification, "load_photo_graph", answers_of)
    match = {"network": "gives other logits than the model", "photo": "finds other masks"}[part]
    with pytest.raises(RuntimeError, match=match):
        export(predictor, tmp_path / "cmsa", form)
    assert not list(tmp_path.iterdir())


def test_what_is_refused(predictor, tmp_path, form, monkeypatch):
    from keras_cmsa import Preprocessor, Vocabulary
    from keras_cmsa.presets.preset import Preset

    path = tmp_path / "cmsa"
    with pytest.raises(ValueError, match="vocabulary does not fit the model"):
        other = Preprocessor(Vocabulary(["red"], tiny.WORDS), tiny.SIZE)
        export(Preset(predictor.model, other), path, form)
    library = {"onnx": "tf2onnx", "litert": "ai_edge_litert"}[form]
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=rf"keras-cmsa\[{form}\]"):
        export(predictor, path, form)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_example_of_the_model_card(predictor, written, tmp_path, monkeypatch, photo):
    card = (written / "README.md").read_text(encoding="utf-8")
    (code,) = [part.split("```")[0] for part in card.split("```python\n")[1:]]
    check_example(code.replace("FOLDER", str(written)), predictor, photo, tmp_path, monkeypatch)


@pytest.fixture
def code_of_the_docs():
    page = (DOCS / "serving.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in page.split("```python\n")[1:]]
    (code,) = [block for block in blocks if "import onnxruntime" in block]
    return code


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx"], indirect=True)
def test_onnxruntime_alone_goes_from_a_file_to_a_mask(
    predictor, written, tmp_path, photo, code_of_the_docs
):
    """The code of the docs, in a process that finds neither Keras, TensorFlow nor this package."""
    Image.fromarray(photo).save(tmp_path / "photo.png")
    shutil.copytree(written, tmp_path / "cmsa_onnx")
    code = code_of_the_docs.replace("man in yellow shirt", "red box").replace(
        "photo.jpg", "photo.png"
    )
    without = "import sys\nfor name in ('keras_cmsa', 'keras', 'tensorflow', 'scipy', 'onnx'):\n"
    without += "    sys.modules[name] = None\n"
    (tmp_path / "code.py").write_text(f"{without}{code}\nnp.save('masks.npy', masks)\n")
    subprocess.run([sys.executable, "-I", "code.py"], cwd=tmp_path, check=True)
    (mask,) = np.load(tmp_path / "masks.npy")
    wanted = predictor(photo, "red box").mask
    assert 0 < wanted.mean() < 1
    np.testing.assert_array_equal(mask, 255 * wanted)


@pytest.fixture
def to_ids(code_of_the_docs):
    """The function of the docs, of a vocabulary whose ids are hashes of words."""
    begin, end = code_of_the_docs.index("def to_ids"), code_of_the_docs.index("def segment")

    class Ids(dict):
        def get(self, word, default):
            return hash(word)

    names = {"re": re, "unicodedata": unicodedata, "id_of": Ids({"[UNK]": 1}), "most": 1000}
    exec(code_of_the_docs[begin:end], names)
    return lambda sentence: [x for x in names["to_ids"](sentence) if x]


def test_ids_in_plain_python_of_each_european_letter(to_ids):
    from keras_cmsa.preprocessing.words import split_words

    blocks = (*range(0x20, 0x250), *range(0x386, 0x530), *range(0x1E00, 0x1F00))
    letters = [x for x in map(chr, blocks) if x.isascii() or unicodedata.category(x)[0] == "L"]
    for letter in letters:
        if letter == "İ":  # which Python makes two characters
            continue
        sentence = f"a{letter}b {letter}, {unicodedata.normalize('NFD', letter)}1_2"
        assert to_ids(sentence) == [hash(word) for word in split_words(sentence)], hex(ord(letter))


def check_example(code, predictor, photo, folder, monkeypatch):
    """Its mask is the predictor's."""
    monkeypatch.chdir(folder)
    Image.fromarray(photo).save("photo.jpg")
    names = {}
    exec(code.replace("man in yellow shirt", "red box"), names)
    wanted = predictor("photo.jpg", "red box").mask
    assert 0 < wanted.mean() < 1
    (mask,) = names["masks"]
    np.testing.assert_array_equal(mask, 255 * wanted)


def test_garbage_in_cycles_is_found_soon_while_a_file_is_made():
    from keras_cmsa.export.to_onnx import collecting_often

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
