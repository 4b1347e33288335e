"""ONNX and LiteRT files compute what the model does, outside of TensorFlow."""

import gc
import re
import shutil
import subprocess
import sys
import unicodedata
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny
from network_files import run_file
from PIL import Image
from scipy.special import expit

from keras_cmsa import Predictor, Preset, load_preprocessor
from keras_cmsa.export import portable
from keras_cmsa.export.portable import export
from keras_cmsa.export.to_onnx import collecting_often
from keras_cmsa.inference import verification
from keras_cmsa.inference.verification import asking, asking_graph, bounds_of, verify
from keras_cmsa.models.cmsa import with_all_outputs
from keras_cmsa.preprocessing.words import split_words
from keras_cmsa.presets.exported import load_photo_graph
from keras_cmsa.presets.reference import read_reference, write_reference

pytest.importorskip("tensorflow")

from keras_cmsa.export.graph.photo import PhotoGraph

DOCS = Path(__file__).parents[2] / "docs"
FILES = {"onnx": "network.onnx", "litert": "model.tflite"}


def right():
    """A model whose sentences all exist by its threshold.

    One level has scores whose exponentials would vanish, the other has not; both take a map in
    chunks, by a loop that neither form has.
    """
    keras.utils.set_random_seed(7)
    preprocessor = tiny.preprocessor()
    options = {"levels": ("res4", "res5"), "query_chunk": 3}  # of four positions
    model = tiny.finder(preprocessor, existence=True, **options)
    model.get_layer("score").bias.assign_add([2.0])  # few pixels near 0.5, as training leaves them
    wide = model.attention_layers[1]
    for kernel in (wide.query_kernel, wide.key_kernel):
        kernel.assign(60 * kernel)
    return Preset(model, preprocessor, tiny.existence(0.0))


@pytest.fixture(scope="module")
def predictor():
    preset = right()
    return Predictor(preset.model, preset.preprocessor, config=preset.config)


@pytest.fixture(scope="module", params=FILES)
def form(request):
    pytest.importorskip({"onnx": "onnxruntime", "litert": "ai_edge_litert"}[request.param])
    return request.param


@pytest.fixture(scope="module")
def written(form, predictor, tmp_path_factory):
    """The folder of an export."""
    return export(predictor, tmp_path_factory.mktemp(form) / "new" / "tiny", form)


def inputs_of(batch, seed=0):
    rng = np.random.default_rng(seed)
    words = rng.integers(1, len(tiny.vocabulary()), (batch, 2, tiny.WORDS)).astype("int32")
    words[0, 0, 2:] = 0
    image = rng.uniform(0, 255, (batch, tiny.SIZE, tiny.SIZE, 3)).astype("float32")
    return {"image": image, "words": words}


@pytest.mark.slow
def test_it_runs_elsewhere(predictor, written, form):
    assert [p.name for p in written.parent.iterdir()] == ["tiny"]
    names = {"README.md", "config.json", "reference.npz", "vocabulary.txt", FILES[form]}
    if form == "onnx":
        names |= {"model.onnx", "weights.bin"}
    assert {p.name for p in written.iterdir()} == names
    assert load_preprocessor(written).get_config() == predictor.preprocessor.get_config()
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(written / "network.onnx")
        tensors = (*session.get_inputs(), *session.get_outputs())
        axes = {tensor.name: tensor.shape[:2] for tensor in tensors}
        assert axes.pop("image") == ["B", 16] and set(map(tuple, axes.values())) == {("B", "K")}
    for batch in (1, 3):
        inputs = inputs_of(batch, seed=batch)
        found = run_file(written / FILES[form], inputs)
        wanted = with_all_outputs(predictor.model)(inputs, training=False)
        assert set(found) == set(wanted)
        assert set(found) == {"logits", "exists", "word_attention", "position_attention"}
        for name, value in wanted.items():
            tiny.assert_near(found[name], tiny.to_numpy(value), 1e-4)
    assert not any(layer.unroll for layer in predictor.model.attention_layers)
    with pytest.raises(FileExistsError, match="is there already"):
        export(predictor, written, form)


@pytest.mark.slow
def test_it_is_a_predictor_with_an_answer_for_each_thread(predictor, written):
    """Images of one colour each, asked at once; an interpreter of LiteRT alone would mix them."""
    loaded = Predictor.from_preset(written)
    assert loaded.preprocessor.vocabulary == predictor.preprocessor.vocabulary
    assert loaded.levels == predictor.levels
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype("uint8")
    found = (x(pixels, tiny.SENTENCES) for x in (predictor, loaded))
    for one, other in zip(*found, strict=True):
        for name in ("logits", "word_attention", "position_attention"):
            tiny.assert_near(getattr(other, name), getattr(one, name), 1e-4)
    images = [np.full((20, 30, 3), shade, "uint8") for shade in (0, 90, 180, 250)]
    wanted = [loaded(image, "red box").logits for image in images]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda image: loaded(image, "red box").logits, images * 10))
    np.testing.assert_allclose(found, wanted * 10, atol=1e-6)


# --- What was changed


@pytest.mark.slow
def test_what_was_changed_is_named(written, tmp_path):
    """By the predictor and by the export's own graph, beside the reference of another model."""
    loaded = Predictor.from_preset(written, verify=True)
    asks, bounds = (asking(loaded), asking_graph(written, loaded)), bounds_of(loaded.config)
    for cause, change in (
        ("a threshold", {"config": tiny.existence(1.1)}),  # which nothing reaches
        ("another resize", {"preprocessor": tiny.preprocessor("stretch")}),
    ):
        write_reference(tmp_path, right()._replace(**change))
        for ask in asks:
            assert verify(read_reference(tmp_path), ask, bounds).cause.startswith(cause)


# --- Photos


@pytest.mark.slow
def test_pixels_become_the_masks_of_the_predictor(predictor, written):
    ask = load_photo_graph(written)
    for size in ((21, 37), (64, 16), (16, 16), (5, 90)):
        check_photo(predictor, ask, size)


@pytest.mark.parametrize("resizing", ["pad", "stretch"])
def test_the_graph_around_a_network(predictor, resizing):
    """In TensorFlow, where the network is the model's own; above, its files are asked."""
    preprocessor = tiny.preprocessor(resizing)
    predictor = Predictor(predictor.model, preprocessor, config=predictor.config)
    graph = PhotoGraph(tiny.SIZE, resizing, len(preprocessor.vocabulary), predictor.threshold)

    def ask(image, words):
        given = graph.before(image, words)
        outputs = predictor.network({"image": given["square"], "words": given["ids"]})
        found = graph.after(outputs, given["valid"], given["sides"])
        return {name: x.numpy() for name, x in found.items()}

    check_photo(predictor, ask, (21, 37))


def check_photo(predictor, ask, size):
    """A graph finds in noise of some size what a predictor finds."""
    image = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3)).astype("uint8")
    sentences = ["red box", "blue box on the left", "box"]
    found = ask(image, predictor.preprocessor.vocabulary.encode(sentences))
    wanted = predictor(image, sentences)
    assert found["mask"].dtype == "uint8" and found["mask"].shape == (3, *size)
    assert found["valid"].all() and found["exists"].all()
    for k, prediction in enumerate(wanted):
        np.testing.assert_allclose(found["probabilities"][k], expit(prediction.logits), atol=1e-4)
        assert found["existence"][k] == pytest.approx(prediction.existence, abs=1e-4)
        # Where a probability is 0.5 but for rounding either answer is right.
        sure = np.abs(prediction.probabilities - 0.5) > 1e-4
        np.testing.assert_array_equal(found["mask"][k][sure], 255 * prediction.mask[sure])
        assert sure.mean() > 0.99
        assert found["score"][k] == pytest.approx(prediction.score, abs=2e-3)
        sides = np.array(size[::-1] * 2)
        np.testing.assert_allclose(found["box"][k] * sides, prediction.box, atol=1.01)


@pytest.mark.slow
def test_what_cannot_be_answered_is_not_valid(predictor, written):
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
def test_what_is_an_error_of_the_network(written, form):
    """Words of another length, ids outside of the vocabulary, and an empty batch."""
    path, inputs = written / FILES[form], inputs_of(1)
    run_file(path, inputs)
    wrong = {}
    for length in (1, tiny.WORDS - 1, tiny.WORDS + 1):
        wrong[f"{length} words"] = {"words": np.ones((1, 2, length), "int32")}, "words|reshape"
    for word in (-1, len(tiny.vocabulary())):
        words = inputs["words"].copy()
        words[0, 1, 0] = word
        wrong[f"the id {word}"] = {"words": words}, "out of|bounds"
    for name, axis in (("image", 0), ("words", 0), ("words", 1)):
        empty = np.delete(inputs[name], slice(None), axis)
        wrong[f"no {name} on {axis}"] = {name: empty}, "reshape|prepare|size"
    for case, (given, message) in wrong.items():
        with pytest.raises(Exception, match=f"(?i){message}"):
            run_file(path, inputs | given)
            pytest.fail(case)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["network", "photo"])
def test_what_computes_something_else_is_not_kept(predictor, tmp_path, monkeypatch, part):
    """Without the conversion itself, which takes seconds and is run above."""

    def outputs_of(**inputs):
        outputs = {n: np.array(x) for n, x in predictor.network.predict_on_batch(inputs).items()}
        outputs["logits"][0, 0, 0, 0] += 0.5 if part == "network" else 0
        return outputs

    def answers_of(folder):
        reference = read_reference(folder)
        probabilities = reference.probabilities.astype("float32")
        probabilities[0, 0, 0] += 0.5
        return lambda image, words: {"probabilities": probabilities, "mask": reference.masks}

    monkeypatch.setattr(portable, "check_libraries", lambda *_: None)
    monkeypatch.setattr(portable.to_litert, "write", lambda *_: None)
    monkeypatch.setattr(portable, "litert_runner", lambda *_: (outputs_of, {}))
    monkeypatch.setattr(verification, "load_photo_graph", answers_of)
    match = {"network": "gives other logits than the model", "photo": "finds other masks"}[part]
    with pytest.raises(RuntimeError, match=match):
        export(predictor, tmp_path / "cmsa", "litert")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "form, library, records",
    [
        ("onnx", "tf2onnx", None),
        ("litert", "ai_edge_litert", None),
        ("litert", "ai_edge_quantizer", []),
    ],
)
def test_a_missing_library_is_named_before_work_begins(
    predictor, tmp_path, monkeypatch, form, library, records
):
    for each in ("onnx", "tf2onnx", "onnxruntime", "ai_edge_litert"):
        pytest.importorskip(each)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=rf"keras-cmsa\[{form}\]"):
        export(predictor, tmp_path / "cmsa", form, records)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_example_of_the_model_card(predictor, written, tmp_path, monkeypatch, photo):
    card = (written / "README.md").read_text(encoding="utf-8")
    (code,) = [part.split("```")[0] for part in card.split("```python\n")[1:]]
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("photo.jpg")
    names = {}
    exec(code.replace("FOLDER", str(written)).replace("man in yellow shirt", "red box"), names)
    wanted = predictor("photo.jpg", "red box").mask
    assert 0 < wanted.mean() < 1
    (mask,) = names["masks"]
    np.testing.assert_array_equal(mask, 255 * wanted)


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


def test_ids_in_plain_python_of_each_european_letter(code_of_the_docs):
    """By the function of the docs, of a vocabulary whose ids are hashes of words."""
    begin, end = code_of_the_docs.index("def to_ids"), code_of_the_docs.index("def segment")

    class Ids(dict):
        def get(self, word, default):
            return hash(word)

    names = {"re": re, "unicodedata": unicodedata, "id_of": Ids({"[UNK]": 1}), "most": 1000}
    exec(code_of_the_docs[begin:end], names)
    blocks = (*range(0x20, 0x250), *range(0x386, 0x530), *range(0x1E00, 0x1F00))
    letters = [x for x in map(chr, blocks) if x.isascii() or unicodedata.category(x)[0] == "L"]
    for letter in letters:
        if letter == "İ":  # which Python makes two characters
            continue
        sentence = f"a{letter}b {letter}, {unicodedata.normalize('NFD', letter)}1_2"
        found = [x for x in names["to_ids"](sentence) if x]
        assert found == [hash(word) for word in split_words(sentence)], hex(ord(letter))


def test_garbage_in_cycles_is_found_soon_while_a_file_is_made():
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
