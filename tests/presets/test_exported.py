"""Exports as Keras models: the same numbers as the model they were made from."""

import shutil

import numpy as np
import pytest
import tiny

from keras_cmsa import Predictor, load_preset
from keras_cmsa.presets.exported import load_photo_graph
from keras_cmsa.presets.files import digest_of, name_of

pytest.importorskip("tensorflow")


def test_an_export_answers_as_the_predictor(predictor, exported, photo):
    loaded = Predictor.from_preset(exported)
    assert loaded.preprocessor.get_config() == predictor.preprocessor.get_config()
    assert loaded.preprocessor.vocabulary == predictor.preprocessor.vocabulary
    assert loaded.levels == predictor.levels
    found = (x(photo, tiny.SENTENCES) for x in (predictor, loaded))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)
        np.testing.assert_allclose(one.word_attention, other.word_attention, atol=1e-5)
        np.testing.assert_allclose(one.position_attention, other.position_attention, atol=1e-5)


def test_the_name_of_a_version_is_of_its_weights(exported, preset):
    assert digest_of(exported)[0].name == "fingerprint.pb"
    assert name_of(exported) != name_of(preset)


def test_another_backend_cannot_load_it(exported, seeded, monkeypatch):
    monkeypatch.setattr(seeded.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="needs KERAS_BACKEND=tensorflow"):
        load_preset(exported)


@pytest.mark.parametrize("damage", ["cut short", "no variables"])
def test_a_damaged_version_is_refused_in_one_line(exported, tmp_path, damage):
    path = tmp_path / "1"
    shutil.copytree(exported, path)
    graph = path / "saved_model.pb"
    if damage == "no variables":
        shutil.rmtree(path / "variables")
    else:
        graph.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be loaded: it is cut short, damaged") as error:
        load_preset(path)
    assert "\n" not in str(error.value)


def test_a_version_without_its_words(exported, tmp_path):
    path = tmp_path / "1"
    shutil.copytree(exported, path)
    (path / "assets/vocabulary.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"vocabulary\.txt is missing"):
        load_preset(path)


def test_another_network_is_no_graph_of_photos(tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    kind = onnx.TensorProto.FLOAT
    ends = [onnx.helper.make_tensor_value_info(name, kind, [1]) for name in ("image", "logits")]
    node = onnx.helper.make_node("Identity", ["image"], ["logits"])
    graph = onnx.helper.make_graph([node], "other", ends[:1], ends[1:])
    opset = [onnx.helper.make_opsetid("", 15)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(
        ValueError, match=r"model\.onnx cannot be loaded.*wanted inputs with so many axes"
    ):
        load_photo_graph(tmp_path)


def test_a_damaged_onnx_file_is_refused_in_one_line(preset, tmp_path):
    pytest.importorskip("onnxruntime")
    folder = shutil.copytree(preset, tmp_path / "cmsa")
    (folder / "model.keras").unlink()
    for content in (b"", b"no network"):
        (folder / "network.onnx").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"network\.onnx cannot be loaded: it is cut short, damaged"
        ) as error:
            load_preset(folder)
        assert "\n" not in str(error.value)
    (folder / "network.onnx").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"wanted model\.keras, saved_model\.pb, network\.onnx or"
    ):
        load_preset(folder)
