"""The authors' checkpoint in this package against what their graph gives: 2e-4, at paper size."""

import json

import numpy as np
import pytest

from keras_cmsa import Predictor, load_deeplab

pytestmark = pytest.mark.slow
TOLERANCE = 2e-4


def check_logits(reference, logits, rows=(0, 1, 2)):
    """Logits `(S, S)` of some of the three expressions, at the network's size and enlarged."""
    for row, found in zip(rows, logits, strict=True):
        wanted = reference.enlarged[row]
        assert wanted.std() > 1  # the tolerance is one of something
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE)


def test_logits_are_those_of_the_authors_graph(reference, released_preset):
    """Of word ids, and through the authors' vocabulary from text to the logits of their graph."""
    predictor = Predictor.from_preset(released_preset[0])
    model = predictor.model
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

    asked = [" ".join(f"W{i}" for i in row if i) + " ." for row in reference.words]
    found = predictor(reference.image.astype("uint8"), asked)
    check_logits(reference, [prediction.logits for prediction in found])


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


def test_what_the_preset_says(reference, released_preset):
    folder, printed = released_preset
    assert len(reference.shapes) == 568
    assert "568 variables used, 5 ignored" in printed
    config = json.loads((folder / "config.json").read_text())
    assert config["system"] == "cmsa_released" and config["data"]["name"].startswith("G-Ref")
    assert config["preprocessor"]["tokenizer"] == "released"
    assert config["preprocessor"]["resizing"] == "pad"
    assert {x.name for x in folder.iterdir()} == {
        "README.md", "config.json", "model.keras", "reference.npz", "vocabulary.txt",
    }  # fmt: skip
    card = (folder / "README.md").read_text()
    for said in ("G-Ref", "trained on COCO", "state no licence", "lwye/CMSA-Net", "## Leakage"):
        assert said in card
