"""Every system gives the same numbers on every backend: those that TensorFlow gave once.

KERAS_BACKEND=tensorflow python tests/models/test_same_numbers.py     writes them anew, after a change
"""

import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script; pytest has it already

import tiny

from keras_cmsa.models.systems import SYSTEMS, build_system

pytestmark = pytest.mark.keras

KNOWN = Path(__file__).with_name("same_numbers.npz")
SIZES = {"word_dim": 6, "attention_dim": 64, "fusion_dim": 8, "max_words": tiny.WORDS}
WORDS = np.array([[[2, 5, 6, 7, 8], [4, 5, 6, 0, 0]], [[9, 0, 0, 0, 0], [3, 3, 4, 0, 0]]], "int32")
TRAINED, STEPS = ("cmsa", "rrn"), 3


def build(name):
    """A system whose weights follow from their paths alone."""
    model = build_system(
        name, len(tiny.vocabulary()), image_size=tiny.SIZE, backbone=tiny.backbone(), **SIZES
    )
    for weight in model.weights:
        rng = np.random.default_rng(zlib.crc32(weight.path.encode()))
        value = rng.normal(scale=1 / np.sqrt(max(1, weight.shape[0])), size=weight.shape)
        weight.assign(1 + 0.1 * value if "moving_variance" in weight.path else value)
    return model


def inputs():
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (2, tiny.SIZE, tiny.SIZE, 3)).astype("float32")
    return {"image": image, "words": WORDS}


def logits_of(name):
    return np.asarray(build(name).predict_on_batch(inputs()))


def losses_of(name):
    """The losses of a few steps as a training takes them."""
    from keras_cmsa.training.loop import compile_model
    from keras_cmsa.training.settings import Settings

    model = build(name)
    compile_model(model, Settings(steps=10, learning_rate=1e-3, dice_weight=1.0))
    masks = (np.random.default_rng(1).random((2, 2, tiny.SIZE, tiny.SIZE, 1)) < 0.3).astype("f")
    weights = np.float32([[1, 1], [1, 0]])
    losses = []
    for _ in range(STEPS):
        model.reset_metrics()
        losses.append(float(model.train_on_batch(inputs(), masks, weights)[0]))
    return losses


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_same_logits(name):
    tiny.assert_near(logits_of(name), np.load(KNOWN)[name], tolerance=1e-5)


@pytest.mark.parametrize("name", TRAINED)
def test_the_same_losses(name):
    np.testing.assert_allclose(losses_of(name), np.load(KNOWN)[f"{name}_losses"], rtol=1e-4)


if __name__ == "__main__":
    numbers = {name: logits_of(name) for name in SYSTEMS}
    numbers |= {f"{name}_losses": losses_of(name) for name in TRAINED}
    np.savez_compressed(KNOWN, **numbers)
