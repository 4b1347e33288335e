"""The SavedModel as a folder: what lies in it, where it loads, what is refused."""

import json
import sys

import c_library
import numpy as np
import pytest
import tiny
from command import refused
from image_files import bomb, encoded, mask_of
from run_signatures import answers_of
from versions import serve, write_version

from keras_cmsa import Predictor, Preprocessor, Vocabulary, load_preset
from keras_cmsa.export import saved_model
from keras_cmsa.export.network import TOLERANCES, Example, OtherOutputs
from keras_cmsa.inference.verification import BOUNDS, bounds_of
from keras_cmsa.models.cmsa import with_all_outputs
from keras_cmsa.models.inputs_and_outputs import computed_in
from keras_cmsa.preprocessing.word_pieces import WordPieces
from keras_cmsa.presets.files import read_config
from keras_cmsa.presets.preset import Preset

pytest.importorskip("tensorflow")

import tensorflow as tf

from keras_cmsa.export import network, served

# --- The folder


def test_the_layout(exported, predictor):
    assert exported.name == "1" and [p.name for p in exported.parent.iterdir()] == ["1"]
    files = {str(p.relative_to(exported)) for p in exported.rglob("*") if p.is_file()}
    assert files == {
        "saved_model.pb",
        "fingerprint.pb",
        "assets/vocabulary.txt",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "config.json",
        "README.md",
        "reference.npz",
        "assets.extra/tf_serving_warmup_requests",
    }
    words = (exported / "assets/vocabulary.txt").read_text(encoding="utf-8")
    assert words.split("\n") == [*predictor.preprocessor.vocabulary.words, ""]


def test_the_config_is_the_presets_and_says_how_it_was_exported(exported, predictor):
    config = json.loads((exported / "config.json").read_text())
    assert config["preprocessor"] == predictor.preprocessor.get_config()
    for key in ("system", "data", "starting_weights", "training", "metrics", "licence"):
        assert config[key] == predictor.config[key]
    assert config["parameters"] == predictor.model.count_params()
    assert config["export"] == {
        "Exported as": "SavedModel",
        "Name for a server": "cmsa",
        "Version": 1,
        "Masks by the profile": "strict",
        "Weights stored as": "float32",
        "Computed before the export in": "float32",
        "Largest image in pixels": 50_000_000,
    }
    card = (exported / "README.md").read_text("utf-8").splitlines()
    for line in ("| Words per expression N | 5 |", "| Version | 1 |", "| Trained on | boxes |"):
        assert line in card


def test_every_output_has_a_batch_and_a_plain_type(exported):
    signatures = c_library.graph_of(exported).signature_def
    for name in ("serving_default", "tensors", "heatmap"):
        for output in signatures[name].outputs.values():
            assert output.tensor_shape.dim[0].size == -1
            assert output.dtype in (tf.float32, tf.string, tf.bool)


@pytest.mark.slow
def test_an_image_of_400_million_pixels_takes_no_memory(exported, photo, tmp_path):
    """It would take 1.2 GB: its size is read from its header, and nothing is decoded."""
    requests = {}
    for signature, file in (("serving_default", encoded(photo)), ("heatmap", bomb())):
        requests[f"{signature}/image_bytes"] = np.array([file], "S")
        requests[f"{signature}/expression"] = np.array([b"red box"], "S")
    answers = answers_of(sys.executable, exported, requests, tmp_path)
    assert [answers[f"{x}/valid"].item() for x in ("serving_default", "heatmap")] == [True, False]
    usual, peak = answers["peaks"]
    assert peak - usual < 50e6


# --- Other forms, each an export of its own


@pytest.mark.slow
def test_an_artefact_of_word_pieces(word_pieces, photo):
    """Same rules, same predictor."""
    ours, path = word_pieces
    config = json.loads((path / "config.json").read_text())
    assert config["preprocessor"]["tokenizer"] == "wordpiece"
    sentence = "red box"
    answer = serve(path)([encoded(photo)], [sentence])
    loaded = Predictor.from_preset(path)
    assert isinstance(loaded.preprocessor.vocabulary, WordPieces)
    tokens = ["red", "b", "##o", "##x"]
    assert ours(photo, sentence).tokens == tokens
    assert [word.decode() for word in answer["words"][0] if word] == tokens
    mask = mask_of(answer["mask_png_bytes"][0])
    assert 0 < mask.mean() < 1
    for predictor in (ours, loaded):
        np.testing.assert_array_equal(mask, predictor(photo, sentence).mask)


@pytest.mark.slow
def test_a_model_of_mixed_precision_is_exported_in_float32(seeded, tmp_path, photo):
    plain = tiny.finder(tiny.preprocessor())
    plain.get_layer("score").bias.assign_add([2.0])  # few pixels near 0.5, as training leaves them
    with tiny.dtype_policy(seeded, "mixed_bfloat16"):
        mixed = tiny.model()
    mixed.set_weights(plain.get_weights())
    assert computed_in(plain) == "float32" and computed_in(mixed) == "bfloat16"
    path = write_version(Predictor(mixed, tiny.preprocessor()), tmp_path / "cmsa")
    # Its reference has what the model computes, which says nothing of its precision.
    assert bounds_of(read_config(path)) == BOUNDS["bfloat16"]
    wanted = Predictor(plain, tiny.preprocessor())(photo, "red box")
    found = Predictor.from_preset(path)(photo, "red box")
    np.testing.assert_allclose(found.logits, wanted.logits, atol=1e-5)
    np.testing.assert_allclose(found.position_attention, wanted.position_attention, atol=1e-5)


# --- What is refused


def test_what_does_not_fit_is_refused(exported, predictor, tmp_path):
    model, folder = predictor.model, tmp_path / "cmsa"
    export = saved_model.export_saved_model
    other_words = Preprocessor(Vocabulary(["red"], tiny.WORDS), tiny.SIZE)
    with pytest.raises(ValueError, match="vocabulary does not fit the model"):
        export(Preset(model, other_words), folder)
    with pytest.raises(ValueError, match="takes images of 16 x 16"):
        export(Preset(model, Preprocessor(tiny.vocabulary(), 32)), folder)
    for version in (0, -1, "1", 1.0, True):
        with pytest.raises(ValueError, match="version must be a positive integer"):
            export(predictor, folder, version)
    with pytest.raises(ValueError, match="dtype must be one of"):
        saved_model.ExportOptions(dtype="int8")
    with pytest.raises(ValueError, match="profile must be one of"):
        saved_model.ExportOptions(profile="phrasecut")
    with pytest.raises(ValueError, match="comes from an export: copy its folder"):
        export(load_preset(exported), folder)
    assert not folder.exists()
    with pytest.raises(FileExistsError, match="is there already, and may be in service"):
        export(predictor, exported.parent)


@pytest.mark.parametrize("place", ["fold", pytest.param("store", marks=pytest.mark.slow)])
def test_what_computes_something_else_is_not_kept(
    predictor, tensors_alone, tmp_path, monkeypatch, place
):
    fold, store = network.fold_for_inference, served.stored

    def folded_wrong(*arguments):
        folded = fold(*arguments)
        folded.set_weights([1.5 * weight for weight in folded.get_weights()])
        return folded

    def stored_wrong(variable, dtype):
        found = store(variable, dtype)
        found.assign(1.5 * found)
        return found

    if place == "fold":
        monkeypatch.setattr(network, "fold_for_inference", folded_wrong)
    else:
        monkeypatch.setattr(served, "stored", stored_wrong)
    with pytest.raises(RuntimeError, match="gives other .* than the model"):
        write_version(predictor, tmp_path / "cmsa")
    assert not list((tmp_path / "cmsa").glob("*"))


def test_the_check_looks_at_each_output(predictor):
    """In int8, small differences everywhere and a few large ones are none."""
    example = Example(with_all_outputs(predictor.model), len(tiny.vocabulary()))
    example.check(example.outputs)
    assert set(example.outputs) == {"logits", "word_attention", "position_attention"}
    for name, value in example.outputs.items():
        near = 1.05 * value
        near.flat[0] = value.max()
        example.check({**example.outputs, name: near}, "int8")
        wrong = [(dtype, x * value) for dtype in TOLERANCES for x in (0, np.nan)]
        flipped = np.flip(value, -2 if name == "logits" else -1)
        for dtype, other in [*wrong, ("int8", flipped)]:
            hint = ".* int8 wants a CPU with VNNI" if dtype == "int8" else ""
            with pytest.raises(
                OtherOutputs, match=f"gives other {name} than .* in {dtype} at{hint}"
            ):
                example.check({**example.outputs, name: other}, dtype)


def test_another_backend_cannot_export(predictor, seeded, tmp_path, monkeypatch):
    monkeypatch.setattr(seeded.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="set KERAS_BACKEND=tensorflow"):
        write_version(predictor, tmp_path / "cmsa")


def test_a_full_disk_is_one_line_that_names_the_version(capsys, preset, tmp_path, monkeypatch):
    """As TensorFlow says it; nothing is left."""

    def save(*_):
        raise tf.errors.ResourceExhaustedError(
            None, None, "a.pb; No space left on device\n[Op:Save]"
        )

    monkeypatch.setattr(tf.saved_model, "save", save)
    line = refused(capsys, "export", tmp_path / "cmsa", "--model", preset, "--no-warmup")
    assert line == f"keras-cmsa: {tmp_path / 'cmsa/1'}: No space left on device"
    assert not list((tmp_path / "cmsa").iterdir())
