"""The authors' checkpoint in this package against what their graph gives: 2e-4, at paper size."""

import json

import numpy as np
import pytest
from fresh_process import run_python
from scipy.special import expit

from keras_cmsa import Explainer, Predictor
from keras_cmsa.convert.checkpoints import TensorFlowCheckpoint
from keras_cmsa.convert.deeplab import load_deeplab
from keras_cmsa.convert.released_checkpoint import convert_checkpoint, load_released_checkpoint
from keras_cmsa.presets.preset import load_preset

pytestmark = pytest.mark.slow
TOLERANCE = 2e-4


def check_logits(reference, logits, rows=(0, 1, 2)):
    """Logits `(S, S)` of some of the three expressions, at the network's size and enlarged."""
    for row, found in zip(rows, logits, strict=True):
        wanted = reference.enlarged[row]
        assert wanted.std() > 1  # the tolerance is one of something
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE)


def test_logits_are_those_of_the_authors_graph(reference, checkpoint):
    model = load_released_checkpoint(checkpoint)
    for row in range(3):
        words = reference.words[None, row : row + 1]  # padded on the left
        logits = model.predict_on_batch({"image": reference.image[None], "words": words})
        check_logits(reference, logits[0, :, :, :, 0], [row])
    # Three sentences about one image, and padding on the right or all over.
    words = np.array([[*row[row > 0], *row[row == 0]] for row in reference.words])[None]
    words[0, 1] = 0
    words[0, 1, 3::2][:7] = reference.words[1][reference.words[1] > 0]
    logits = model.predict_on_batch({"image": reference.image[None], "words": words})
    check_logits(reference, logits[0, :, :, :, 0])


def test_the_backbone_is_deeplabs(reference, checkpoint):
    """As a recipe's start, from the same checkpoint: it has the names of DeepLab's own."""
    backbone = load_deeplab(checkpoint)
    maps = backbone.predict_on_batch(reference.image[None])
    for found, wanted in zip(maps, reference.maps, strict=True):
        error = np.square(found[0].mean(axis=-1) - wanted).mean() / np.square(wanted).mean()
        assert error**0.5 < 1e-5
    kinds = {w.path.split("_")[0].split("/")[-1] for w in backbone.trainable_weights}
    assert kinds == {"conv3", "conv4", "conv5"}
    assert {w.name for w in backbone.trainable_weights} == {"kernel"}


def test_every_variable_is_accounted_for(reference, checkpoint, released_preset):
    model, used = convert_checkpoint(TensorFlowCheckpoint(checkpoint))
    assert used == len(reference.shapes)
    assert len(model.weights) == len(reference.shapes) - 2  # gates' numbers are one here
    assert "568 variables used, 5 ignored" in released_preset.report


def test_words_find_the_same_in_preset_and_saved_model(reference, released_preset, tmp_path):
    """Through the authors' vocabulary: from text to the logits of their graph."""
    import tensorflow as tf

    from keras_cmsa.export.saved_model import ExportOptions, export_saved_model

    asked = [" ".join(f"W{i}" for i in row if i) + " ." for row in reference.words]
    predictor = Predictor.from_preset(released_preset.folder)
    photo = reference.image.astype("uint8")
    check_logits(reference, [found.logits for found in predictor(photo, asked)])

    preset = load_preset(released_preset.folder)
    options = ExportOptions(profile="tf_phrasecut", warmup=False)
    path = export_saved_model(preset, tmp_path / "cmsa", options=options)
    loaded = tf.saved_model.load(str(path))
    tensors = loaded.signatures["tensors"](
        image=tf.constant(reference.image[None]), words=tf.constant(reference.words[None])
    )
    check_logits(reference, tensors["logits"].numpy()[0, :, :, :, 0])
    served = loaded.signatures["serving_default"](
        image_bytes=tf.constant([tf.io.encode_png(photo).numpy()]),
        expression=tf.constant(asked[:1]),
    )
    # The authors' rule: a logit of 1e-9 and more. The photo has the network's size.
    wanted = reference.enlarged[0] >= 1e-9
    found = tf.io.decode_png(served["mask_png_bytes"][0]).numpy()[..., 0] > 0
    sure = np.abs(reference.enlarged[0]) > TOLERANCE
    np.testing.assert_array_equal(found[sure], wanted[sure])


def test_the_importance_of_its_words(reference, released_preset, tmp_path):
    """A word left out is a sentence without it; the network has no attention maps of Figs. 4 and 5."""
    predictor, photo = (
        Predictor.from_preset(released_preset.folder),
        reference.image.astype("uint8"),
    )
    (explanation,) = Explainer(predictor)(photo, ["w40 w50"])
    whole, *shorter = (expit(p.logits) for p in predictor(photo, ["w40 w50", "w50", "w40"]))
    assert explanation.inside is None
    assert [word.word for word in explanation.words] == ["w40", "w50"]
    for word, found in zip(explanation.words, shorter, strict=True):
        change = 1 - np.minimum(whole, found).sum() / np.maximum(whole, found).sum()
        assert word.change == pytest.approx(change, abs=1e-5)


ON_JAX = """
import sys, numpy as np, keras
from keras_cmsa.presets.preset import load_preset
given = np.load(sys.argv[2])
model = load_preset(sys.argv[1]).model
assert keras.backend.backend() == "jax"
np.save(sys.argv[3], model.predict_on_batch({"image": given["image"], "words": given["words"]}))
"""


def test_jax_finds_the_same(reference, released_preset, tmp_path):
    pytest.importorskip("jax")
    np.savez(tmp_path / "given.npz", image=reference.image[None], words=reference.words[None])
    arguments = released_preset.folder, tmp_path / "given.npz", tmp_path / "x.npy"
    run_python(ON_JAX, *arguments, backend="jax", JAX_PLATFORMS="cpu")
    check_logits(reference, np.load(tmp_path / "x.npy")[0, :, :, :, 0])


def test_what_the_preset_says(released_preset):
    config = json.loads((released_preset.folder / "config.json").read_text())
    assert config["system"] == "cmsa_released" and config["data"]["name"] == "G-Ref"
    assert config["preprocessor"]["tokenizer"] == "released"
    assert config["preprocessor"]["resizing"] == "pad"
    card = (released_preset.folder / "README.md").read_text()
    for said in ("G-Ref", "trained on COCO", "state no licence", "lwye/CMSA-Net", "## Leakage"):
        assert said in card
