"""What `costs.py` counts, against products counted by hand."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tiny

from keras_cmsa.models.systems import build_system
from keras_cmsa.presets.preset import Preset, save_preset


def test_multiply_adds_are_those_of_the_definitions(recipes):
    """On layers whose products are easily counted by hand, loops and branches among them."""
    jax = pytest.importorskip("jax")
    import costs

    x, w = np.ones((2, 3, 5), "float32"), np.ones((5, 7), "float32")
    image, kernel = np.ones((1, 8, 8, 3), "float32"), np.ones((3, 3, 3, 4), "float32")

    def convolve(image, **options):
        return jax.lax.conv_general_dilated(
            image, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
        )

    def loop(x):
        return jax.lax.scan(
            lambda state, _: (state @ np.ones((5, 5), "float32"), None), x, length=4
        )

    def branch(x):
        return jax.lax.cond(x.sum() > 0, lambda x: x @ w, lambda x: x @ np.ones((5, 5)) @ w, x)

    for function, argument, wanted in (
        (lambda x: x @ w, x, 2 * 3 * 5 * 7),
        (jax.jit(lambda x: jax.numpy.einsum("abc,adc->abd", x, x)), x, 2 * 3 * 3 * 5),
        (lambda x: convolve(x, window_strides=(1, 1), padding="SAME"), image, 64 * 27 * 4),
        (lambda x: convolve(x, window_strides=(2, 2), padding="SAME"), image, 16 * 27 * 4),
        # A transposed convolution of stride 2: each of 64 inputs meets the whole kernel.
        (
            lambda x: convolve(
                x, window_strides=(1, 1), padding=((1, 2), (1, 2)), lhs_dilation=(2, 2)
            ),
            image,
            64 * 27 * 4,
        ),
        (loop, x, 4 * 2 * 3 * 5 * 5),
        (branch, x, 2 * 3 * 5 * 7),
    ):
        assert costs.multiply_adds_of(jax.make_jaxpr(function)(argument).jaxpr) == wanted


@pytest.mark.slow
def test_multiply_adds_of_a_system(seeded, recipes, tmp_path):
    """LSTM-CNN on a backbone of one dense map, by hand; from a preset and in another process."""
    pytest.importorskip("jax")
    import costs

    preprocessor = tiny.preprocessor()
    model = build_system(
        "lstm_cnn_deeplab",
        len(preprocessor.vocabulary),
        image_size=tiny.SIZE,
        backbone=tiny.backbone(),
        word_dim=6,
        fusion_dim=8,
        max_words=tiny.WORDS,
    )
    save_preset(tmp_path, Preset(model, preprocessor))
    positions = 2 * 2
    by_hand = positions * 8 * 8 * 3 * 4  # the stem: 8 x 8 from 3 channels to 4
    by_hand += positions * 4 * (5 + 6 + 7)  # Res3 to Res5
    by_hand += positions * 7 * 6  # reduced
    by_hand += 5 * 4 * (6 * 6 + 6 * 6)  # LSTM: five words, four gates
    by_hand += positions * (6 + 8 + 6) * 8 + positions * 8  # fusion and score
    counted = costs.measure_costs(model, tmp_path)
    # Keras resizes bilinearly by two matrix products on JAX: 2 x 2 to 16 x 16.
    assert 0 <= counted["multiply_adds"] - by_hand <= 2 * 2 * 16 + 16 * 16 * 2 + 1
    assert counted["parameters"] == model.count_params()


def test_costs_are_counted_on_jax_only(page, monkeypatch, capsys):
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    assert page("costs", model="none") == 2
    assert "set KERAS_BACKEND=jax. Received: 'tensorflow'" in capsys.readouterr().err


def test_a_backend_that_is_none_is_one_line(recipes):
    environment = {**os.environ, "KERAS_BACKEND": "nothing"}
    command = [sys.executable, recipes / "costs.py", "none"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "nothing" in done.stderr and "Traceback" not in done.stderr
